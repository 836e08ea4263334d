// TypeORM over node-postgres: repositories, its query builder, managed and manual transactions, raw SQL, streams.
'use strict';

const { DataSource, EntitySchema, In } = require('typeorm');
const {
  options, authority, STREAM, KINDS, VALUES, ASLEEP, note, noteError, refused, version, runAll,
} = require('./transcript.js');

const Todo = new EntitySchema({
  name: 'todo',
  columns: {
    id: { type: 'int', primary: true, generated: 'identity' },
    task: { type: 'text', nullable: true },
    done: { type: 'boolean', nullable: true, default: false },
    who: { type: 'int', nullable: true },
  },
});

const nullable = (type, more = {}) => ({ type, nullable: true, ...more });

const Kinds = new EntitySchema({
  name: 'kinds',
  columns: {
    id: { type: 'int', primary: true },
    i2: nullable('smallint'),
    i4: nullable('int'),
    i8: nullable('bigint'),
    f4: nullable('real'),
    f8: nullable('double precision'),
    n: nullable('numeric'),
    t: nullable('text'),
    bytes: nullable('bytea'),
    b: nullable('boolean'),
    d: nullable('date'),
    ti: nullable('time'),
    ts: nullable('timestamp'),
    tz: nullable('timestamptz'),
    iv: nullable('interval'),
    u: nullable('uuid'),
    j: nullable('json'),
    jb: nullable('jsonb'),
    ints: nullable('int', { array: true }),
    texts: nullable('text', { array: true }),
  },
});

async function withSource(work, more = {}) {
  const source = await new DataSource({
    type: 'postgres',
    host: process.env.PGHOST,
    port: Number(process.env.PGPORT),
    username: process.env.PGUSER,
    password: process.env.PGPASSWORD,
    database: process.env.PGDATABASE,
    entities: [Todo, Kinds],
    extra: { options, max: 2 },
    ...more,
  }).initialize();
  try {
    await work(source);
  } finally {
    await source.destroy();
  }
}

async function withRunner(source, work) {
  const runner = source.createQueryRunner();
  try {
    await work(runner);
  } finally {
    await runner.release();
  }
}

const whoAmI = async (source) => note(await source.query('SELECT session_user AS me'));

const scenarios = {
  'connect: with a password': async () => {
    await withSource(whoAmI);
    await refused(withSource(whoAmI, { password: 'wrong' }));
  },

  'connect: over TLS, with a certificate that is verified': async () => {
    await withSource(whoAmI, { ssl: { ca: authority('BEMI_ROOT_CERT') } });
    await refused(withSource(whoAmI, { ssl: { ca: authority('BEMI_WRONG_ROOT_CERT') } }));
  },

  'types: parameters there and back': () => withSource(async (source) => {
    await source.query(KINDS);
    const kinds = source.getRepository(Kinds);
    const values = { ...VALUES, ts: new Date(2024, 1, 29, 12, 0, 0, 123), j: JSON.parse(VALUES.j), jb: JSON.parse(VALUES.jb) };
    note(await kinds.insert({ id: 1, ...values }));
    note(await kinds.save([{ id: 2 }, { id: 3, ...values }]));
    note(await kinds.update({ id: 3 }, { jb: { changed: true }, ints: null }));
    note(await kinds.find({ where: { id: In([1, 2, 3]) }, order: { id: 'ASC' } }));
  }),

  'transaction: committed, rolled back, and back to a savepoint': () => withSource(async (source) => {
    await source.transaction('SERIALIZABLE', async (manager) => {
      await manager.insert(Todo, { task: 'kept' });
      await manager.transaction(async (inner) => {
        await inner.update(Todo, { id: 1 }, { done: true });
        await inner.insert(Todo, { id: 1 });
      }).catch(noteError);
      await manager.transaction((inner) => inner.save(Todo, { task: 'kept, too' }));
    });
    await refused(source.transaction(async (manager) => {
      await manager.createQueryBuilder().update(Todo).set({ task: 'undone' }).execute();
      throw new Error('given up');
    }));
    await withRunner(source, async (runner) => {
      await runner.startTransaction();
      await runner.manager.delete(Todo, { id: 5 });
      await runner.startTransaction();
      await refused(runner.query('SELECT 1/0'));
      await refused(runner.manager.insert(Todo, { task: 'in a failed one' }));
      await runner.rollbackTransaction();
      await runner.manager.insert(Todo, { task: 'kept, as well' });
      await runner.commitTransaction();
    });
    note(await source.getRepository(Todo).find({ order: { id: 'ASC' } }));
    await source.transaction(async (manager) => {
      note(await manager.findOne(Todo, { where: { id: 1 }, lock: { mode: 'pessimistic_write' } }));
    });
  }),

  'cancel: a sleeping SELECT': () => withSource((source) => withRunner(source, async (runner) => {
    const [{ pid }] = await runner.query('SELECT pg_backend_pid() AS pid');
    const sleeping = refused(runner.query('SELECT pg_sleep($1)', [60]));
    while ((await source.query(ASLEEP)).length === 0);
    await source.query('SELECT pg_cancel_backend($1)', [pid]);
    await sleeping;
    note(await runner.manager.insert(Todo, { task: 'after' }));
  })),

  'errors: of repositories and of raw SQL': () => withSource(async (source) => {
    const todos = source.getRepository(Todo);
    await refused(todos.insert({ id: 1 }));
    await refused(todos.insert({ id: 100_000_000_000 }));
    await refused(todos.update({ id: 1 }, { task: () => 'mistake' }));
    await refused(source.query('INSERT INTO todo (id) VALUES ($1)', ['no number']));
    await refused(source.query("/* é */ UPDATE todo SET done = true; DELETE FROM todo WHERE 'é' = mistake"));
    note(await todos.upsert({ id: 1, task: 'merged' }, ['id']));
    note(await source.query('UPDATE todo SET task = $1 WHERE id = $2 RETURNING id, task', ['set', 3]));
  }),

  'stream: of a query builder, and of many rows': () => withSource(async (source) => {
    let tasks = 0;
    for await (const row of await source.createQueryBuilder(Todo, 'todo').orderBy('todo.id').stream()) tasks += row.todo_task.length;
    note(tasks);
    await withRunner(source, async (runner) => {
      let [count, sum] = [0, 0];
      for await (const { n, digest } of await runner.stream(STREAM)) {
        count += 1;
        sum += n + parseInt(digest.slice(0, 4), 16);
      }
      note(count, sum);
    });
  }),

  'context: of requests': () => withSource(async (source) => {
    const todos = source.getRepository(Todo);
    for (const who of [1, 2, 3]) {
      await source.transaction(async (manager) => {
        await manager.query("SELECT set_config('bemi.context', $1, true)", [JSON.stringify({ user_id: who, name: 'Zoë' })]);
        const saved = await manager.save(Todo, [{ task: 'local', who }, { task: 'local, too', who }]);
        await manager.save(Todo, saved.map((row) => ({ ...row, done: true })));
        await manager.transaction(async (inner) => {
          await inner.query(`SET LOCAL bemi.context = '{"user_id": ${who + 10}}'`);
          await inner.insert(Todo, { task: 'undone', who: who + 10 });
          throw new Error('given up');
        }).catch(noteError);
        await manager.insert(Todo, { task: 'local again', who });
      });
      await todos.update({ id: 1 }, { done: true });
      const comment = `Bemi {"user_id": ${who}} Bemi`;
      await todos.createQueryBuilder().insert().values({ task: 'comment', who }).comment(comment).execute();
      await source.query(`INSERT INTO todo (task, who) VALUES ($1, $2) /*${comment}*/`, ['raw comment', who]);
      await todos.delete({ task: 'raw comment' });
      await withRunner(source, async (runner) => {
        await runner.query(`SET bemi.context = '{"user_id": ${who}}'`);
        await runner.manager.insert(Todo, { task: 'session', who });
        await runner.query('RESET bemi.context');
        await runner.manager.update(Todo, { id: 2 }, { who: null });
      });
    }
  }),
};

runAll('TypeORM', version('typeorm'), scenarios, {
  prepared: 'it names no statements',
  pipeline: 'it waits for each answer',
  copy: 'it has no COPY',
  notify: 'it does not listen',
});
