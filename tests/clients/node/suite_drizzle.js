// Drizzle over node-postgres: its query builder, prepared queries, nested transactions, raw SQL.
'use strict';

const { Client, Pool } = require('pg');
const { drizzle } = require('drizzle-orm/node-postgres');
const {
  bigint, boolean, customType, date, doublePrecision, integer, interval, json, jsonb, numeric, pgTable, real, smallint, text, time,
  timestamp, uuid,
} = require('drizzle-orm/pg-core');
const { and, asc, count, eq, gt, inArray, like, sql, sum } = require('drizzle-orm');
const {
  options, authority, REUSES, KINDS, VALUES, ASLEEP, note, noteError, refused, version, runAll,
} = require('./transcript.js');

const todo = pgTable('todo', {
  id: integer().primaryKey().generatedByDefaultAsIdentity(),
  task: text(),
  done: boolean().default(false),
  who: integer(),
});

const bytea = customType({ dataType: () => 'bytea' });

const kinds = pgTable('kinds', {
  id: integer().primaryKey(),
  i2: smallint(),
  i4: integer(),
  i8: bigint({ mode: 'bigint' }),
  f4: real(),
  f8: doublePrecision(),
  n: numeric(),
  t: text(),
  bytes: bytea(),
  b: boolean(),
  d: date(),
  ti: time(),
  ts: timestamp({ mode: 'string' }),
  tz: timestamp({ withTimezone: true }),
  iv: interval(),
  u: uuid(),
  j: json(),
  jb: jsonb(),
  ints: integer().array(),
  texts: text().array(),
});

async function withDb(work, more = {}) {
  const client = new Client({ options, ...more });
  await client.connect();
  try {
    await work(drizzle(client));
  } finally {
    await client.end();
  }
}

const whoAmI = async (db) => note((await db.execute(sql`SELECT session_user AS me`)).rows);

const scenarios = {
  'connect: with a password': async () => {
    await withDb(whoAmI);
    await refused(withDb(whoAmI, { password: 'wrong' }));
  },

  'connect: over TLS, with a certificate that is verified': async () => {
    await withDb(whoAmI, { ssl: { ca: authority('BEMI_ROOT_CERT') } });
    await refused(withDb(whoAmI, { ssl: { ca: authority('BEMI_WRONG_ROOT_CERT') } }));
  },

  'types: parameters there and back': () => withDb(async (db) => {
    await db.execute(sql.raw(KINDS));
    const values = { ...VALUES, i8: BigInt(VALUES.i8), j: JSON.parse(VALUES.j), jb: JSON.parse(VALUES.jb) };
    note(await db.insert(kinds).values({ id: 1, ...values }).returning());
    note(await db.insert(kinds).values([{ id: 2 }, { id: 3, ...values }]).returning());
    note(await db.update(kinds).set({ jb: { changed: true }, ints: null }).where(eq(kinds.id, 3)).returning({ jb: kinds.jb, ints: kinds.ints }));
    note(await db.select().from(kinds).where(inArray(kinds.id, [2, 3])).orderBy(asc(kinds.id)));
  }),

  'prepared: an INSERT and a SELECT, again and again': () => withDb(async (db) => {
    const put = db.insert(todo).values({ task: sql.placeholder('task'), done: sql.placeholder('done') }).returning({ id: todo.id }).prepare('put');
    const get = db.select({ task: todo.task }).from(todo).where(eq(todo.id, sql.placeholder('id'))).prepare('get');
    let found = 0;
    for (let n = 0; n < REUSES; n += 1) {
      const [{ id }] = await put.execute({ task: `p${n}`, done: n % 2 === 0 });
      const [{ task }] = await get.execute({ id });
      found += task === `p${n}` ? id : 0;
    }
    note(found);
    note((await db.execute(sql`SELECT name, statement FROM pg_prepared_statements ORDER BY name`)).rows);
    note(await put.execute({ task: 'after the list', done: null }));
  }),

  'transaction: committed, rolled back, and back to a savepoint': () => withDb(async (db) => {
    await db.transaction(async (tx) => {
      await tx.insert(todo).values({ task: 'kept' });
      await tx.transaction(async (inner) => {
        await inner.update(todo).set({ done: true }).where(eq(todo.id, 1));
        await inner.insert(todo).values({ id: 1 });
      }).catch(noteError);
      await tx.transaction((inner) => inner.insert(todo).values({ task: 'kept, too' }));
    }, { isolationLevel: 'serializable' });
    await refused(db.transaction(async (tx) => {
      await tx.update(todo).set({ task: 'undone' });
      tx.rollback();
    }));
    await refused(db.transaction((tx) => tx.delete(todo), { accessMode: 'read only' }));
    note(await db.select({ rows: count(), ids: sum(todo.id) }).from(todo).where(like(todo.task, 'kept%')));
    note(await db.select().from(todo).orderBy(asc(todo.id)).limit(5).for('update'));
  }),

  'pipeline: of a client that has one': () => withDb(async (db) => {
    const queries = [];
    for (let n = 0; n < 30; n += 1) {
      queries.push(db.insert(todo).values({ task: `q${n}` }).returning({ task: todo.task }));
      queries.push(db.execute(sql`SELECT 1 / (${n}::int % 5) AS n`).then(({ rows }) => rows, ({ cause }) => cause.code));
    }
    note(await Promise.all(queries));
  }, { pipeline: true }),

  'cancel: a sleeping SELECT': () => withDb(async (db) => {
    const { rows: [{ pid }] } = await db.execute(sql`SELECT pg_backend_pid() AS pid`);
    const sleeping = refused(db.execute(sql`SELECT pg_sleep(${60})`));
    await withDb(async (other) => {
      while ((await other.execute(sql.raw(ASLEEP))).rowCount === 0);
      await other.execute(sql`SELECT pg_cancel_backend(${pid})`);
    });
    await sleeping;
    note((await db.insert(todo).values({ task: 'after' })).rowCount);
  }),

  'errors: of builders and of raw SQL': () => withDb(async (db) => {
    await refused(db.insert(todo).values({ id: 1 }));
    await refused(db.insert(todo).values({ id: 100_000_000_000 }));
    await refused(db.update(todo).set({ task: sql`mistake` }).where(gt(todo.id, 0)));
    await refused(db.execute(sql`INSERT INTO todo (id) VALUES (${'no number'})`));
    await refused(db.execute(sql.raw("/* é */ UPDATE todo SET done = true; DELETE FROM todo WHERE 'é' = mistake")));
    note(await db.insert(todo).values({ id: 1, task: 'merged' }).onConflictDoUpdate({ target: todo.id, set: { task: 'merged' } }).returning());
  }),

  'context: of requests': async () => {
    const pool = new Pool({ options, max: 2 });
    const db = drizzle(pool);
    for (const who of [1, 2, 3]) {
      await db.transaction(async (tx) => {
        await tx.execute(sql`SELECT set_config('bemi.context', ${JSON.stringify({ user_id: who, name: 'Zoë' })}, true)`);
        await tx.insert(todo).values([{ task: 'local', who }, { task: 'local, too', who }]);
        await tx.update(todo).set({ who }).where(and(eq(todo.id, 1), eq(todo.done, false)));
        await refused(tx.transaction(async (inner) => {
          await inner.execute(sql.raw(`SET LOCAL bemi.context = '{"user_id": ${who + 10}}'`));
          await inner.insert(todo).values({ task: 'undone', who: who + 10 });
          inner.rollback();
        }));
        await tx.insert(todo).values({ task: 'local again', who });
      });
      await db.update(todo).set({ who: null }).where(eq(todo.id, 1));
      await db.execute(sql`${sql.raw(`/*Bemi {"user_id": ${who}} Bemi*/`)} INSERT INTO todo (task, who) VALUES (${'comment'}, ${who})`);
      await db.delete(todo).where(eq(todo.task, 'comment'));
    }
    await pool.end();
    await withDb(async (session) => {
      for (const who of [4, 5]) {
        await session.execute(sql.raw(`SET bemi.context = '{"user_id": ${who}}'`));
        await session.insert(todo).values({ task: 'session', who });
        await session.execute(sql`RESET bemi.context`);
        await session.update(todo).set({ who: null }).where(eq(todo.id, 2));
      }
    });
  },
};

runAll('Drizzle', version('drizzle-orm'), scenarios, {
  copy: 'it has no COPY',
  notify: 'it does not listen',
  stream: 'over node-postgres it returns whole results',
});
