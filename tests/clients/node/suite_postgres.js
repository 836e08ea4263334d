// postgres.js: pipelines by default, prepares every statement it can, describes before it binds, writes COPY as streams.
'use strict';

const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const postgres = require('postgres');
const {
  context, authority, REUSES, STREAM, KINDS, VALUES, ASLEEP, note, noteError, refused, version, runAll,
} = require('./transcript.js');

function connect(more = {}) {
  return postgres({
    max: 1,
    onnotice: () => {},
    // As a parameter of its own in the startup packet.
    connection: context ? { 'bemi.context': context } : {},
    ...more,
  });
}

async function withSql(work, more) {
  const sql = connect(more);
  try {
    await work(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

const whoAmI = async (sql) => note(await sql`SELECT session_user AS me`);

const scenarios = {
  'connect: with a password': async () => {
    await withSql(whoAmI);
    await refused(withSql(whoAmI, { password: 'wrong' }));
    await refused(withSql(whoAmI, { database: 'nowhere' }));
  },

  'connect: over TLS, with a certificate that is verified': async () => {
    for (const host of ['localhost', '127.0.0.1']) {
      await withSql(whoAmI, { host, ssl: { ca: authority('BEMI_ROOT_CERT') } });
    }
    await refused(withSql(whoAmI, { ssl: { ca: authority('BEMI_WRONG_ROOT_CERT') } }));
    await refused(withSql(whoAmI, { password: 'wrong', ssl: { ca: authority('BEMI_ROOT_CERT') } }));
  },

  'types: parameters there and back': () => withSql(async (sql) => {
    await sql.unsafe(KINDS);
    // The driver makes JSON of what goes into json columns by itself.
    const values = { ...VALUES, j: JSON.parse(VALUES.j), jb: JSON.parse(VALUES.jb) };
    note(await sql`INSERT INTO kinds ${sql({ id: 1, ...values })} RETURNING *`);
    const nulls = Object.fromEntries(Object.keys(values).map((column) => [column, null]));
    note(await sql`INSERT INTO kinds ${sql([{ id: 2, ...nulls }, { id: 3, ...values }])} RETURNING *`);
    note(await sql`SELECT ${sql.array([1, 2])}::int[] AS ints, ${sql.json({ a: 1 })} AS json, ${sql.typed(7, 20)} AS big`);
    note(await sql`UPDATE kinds SET t = repeat(${'long '}, 200000) WHERE id = ${1} RETURNING length(t)`);
  }),

  'prepared: an INSERT and a SELECT, again and again': () => withSql(async (sql) => {
    let sum = 0;
    for (let n = 0; n < REUSES; n += 1) {
      const [{ id }] = await sql`INSERT INTO todo (task, done) VALUES (${`p${n}`}, ${n % 2 === 0}) RETURNING id`;
      const [{ task }] = await sql`SELECT task FROM todo WHERE id = ${id}`;
      sum += task === `p${n}` ? id : 0;
    }
    note(sum);
    note(await sql`SELECT statement FROM pg_prepared_statements ORDER BY statement`);
    note((await sql`INSERT INTO todo (task) VALUES (${'described'})`.describe()).string);
    await sql`DELETE FROM todo WHERE id > 5`;
  }),

  'transaction: committed, rolled back, and back to a savepoint': () => withSql(async (sql) => {
    note(await sql.begin(async (tx) => {
      await tx`INSERT INTO todo (task) VALUES ('kept')`;
      await tx.savepoint(async (inner) => {
        await inner`INSERT INTO todo (task) VALUES ('undone')`;
        await inner`INSERT INTO todo (id) VALUES (1)`;
      }).catch(noteError);
      // Sent without waiting.
      return Promise.all([tx`INSERT INTO todo (task) VALUES ('three') RETURNING task`, tx`UPDATE todo SET done = true WHERE id = 1`]);
    }));
    await sql.begin(async (tx) => {
      await tx`UPDATE todo SET task = 'undone'`;
      throw new Error('given up');
    }).catch(({ message }) => note(message));
    await refused(sql.begin('READ ONLY', (tx) => tx`UPDATE todo SET done = true`));
    note(await sql`SELECT task FROM todo ORDER BY id LIMIT 5`);
  }),

  'pipeline: with errors in it': () => withSql(async (sql) => {
    const all = [];
    for (let n = 0; n < 60; n += 1) {
      all.push(sql`INSERT INTO todo (task) VALUES (${`p${n}`}) RETURNING task`);
      all.push(sql`SELECT 1 / (${n}::int % 7) AS n`.catch((error) => error.code));
    }
    note(await Promise.all(all));
    note(await sql`SELECT count(*)::int AS n FROM todo WHERE task LIKE 'p%'`);
  }),

  'copy: in and out': () => withSql(async (sql) => {
    const rows = (function* rows() { for (let n = 40000; n < 44000; n += 1) yield `${n}\trow ${n}\n`; })();
    await pipeline(Readable.from(rows), await sql`COPY todo (id, task) FROM STDIN`.writable());
    let length = 0;
    // Few: more than a stream buffers, in one piece with their end, and the driver never reads its socket again
    // (porsager/postgres, pull request 1016).
    for await (const chunk of await sql`COPY (SELECT id, task FROM todo WHERE id >= 43500) TO STDOUT`.readable()) length += chunk.length;
    note(length);
    note((await sql`DELETE FROM todo WHERE id >= ${40000}`).count);
  }),

  'notify: a notification': () => withSql(async (sql) => {
    const heard = new Promise((resolve) => {
      sql.listen('changed', resolve, () => sql`SELECT pg_notify('changed', 'payload')`.then(() => {}));
    });
    note(await heard);
    await sql.notify('unheard', 'x');
    note((await sql`INSERT INTO todo (task) VALUES ('after')`).count);
  }),

  'cancel: a sleeping SELECT, and a write': () => withSql(async (sql) => {
    for (const sleeping of [sql`SELECT pg_sleep(60)`, sql`INSERT INTO todo (task) SELECT pg_sleep(60)::text`]) {
      const answered = refused(sleeping.execute());
      await withSql(async (other) => {
        while ((await other.unsafe(ASLEEP)).length === 0);
      });
      sleeping.cancel();
      await answered;
      // The server signals twice (postmaster.c, signal_child), and the driver does not tell when it is done with it.
      await sql`SELECT pg_sleep(1)`.catch(() => {});
    }
    note((await sql`INSERT INTO todo (task) VALUES ('after')`).count);
  }),

  'errors: of prepared statements': () => withSql(async (sql) => {
    const rows = [{ task: 'one', done: true }, { task: 'two', done: false }];
    note(await sql`INSERT INTO todo ${sql(rows)} RETURNING task, done`);
    note((await sql`UPDATE todo SET ${sql({ task: 'set' })} WHERE id IN ${sql([1, 2])}`).count);
    note(await sql`DELETE FROM todo WHERE id = ${3} RETURNING *`);
    await refused(sql`INSERT INTO todo (id) VALUES (${1})`);
    await refused(sql`INSERT INTO todo VALUES (${9}, mistake)`);
    await refused(sql`UPDATE nowhere SET done = ${true}`);
    await refused(sql`SELECT 'é', 1 / ${0}::int FROM todo`);
  }),

  'errors: of simple and unprepared statements': async () => {
    await withSql(async (sql) => {
      note(await sql.unsafe("INSERT INTO todo (task) VALUES ('a') RETURNING task; SELECT 7 AS n; UPDATE todo SET done = true"));
      note(await sql`UPDATE todo SET done = false WHERE id = 1`.simple());
      await refused(sql.unsafe('SELECT 1; INSERT INTO todo VALUES (9, mistake)'));
      await refused(sql`/* é */ INSERT INTO todo (id) VALUES (1)`.simple());
      await refused(sql`/* é */ DELETE FROM todo WHERE 'é' = mistake`.simple());
    });
    await withSql(async (sql) => {
      note(await sql`INSERT INTO todo (task) VALUES (${'unprepared'}) RETURNING task`);
      note(await sql`SELECT ${'x'}::text AS x`);
      await refused(sql`INSERT INTO todo (id) VALUES (${1})`);
    }, { prepare: false });
  },

  'stream: cursors, and many rows': () => withSql(async (sql) => {
    const sizes = [];
    await sql`INSERT INTO todo (task) SELECT 'c' FROM generate_series(1, 25) RETURNING id`.cursor(10, (rows) => { sizes.push(rows.length); });
    for await (const rows of sql`SELECT n FROM generate_series(1, 95) AS n`.cursor(30)) sizes.push(rows.length);
    await sql`SELECT n FROM generate_series(1, 10) AS n`.forEach(({ n }) => sizes.push(n));
    note(sizes);
    let [count, sum] = [0, 0];
    for await (const rows of sql.unsafe(STREAM).cursor(1000)) {
      for (const { n, digest } of rows) {
        count += 1;
        sum += n + parseInt(digest.slice(0, 4), 16);
      }
    }
    note(count, sum);
  }),

  'context: of requests': () => withSql(async (sql) => {
    for (const who of [1, 2, 3]) {
      const value = JSON.stringify({ user_id: who });
      await sql.begin((tx) => [
        tx`SELECT set_config('bemi.context', ${value}, true)`,
        tx`INSERT INTO todo (task, who) VALUES ('local', ${who})`,
        tx`UPDATE todo SET who = ${who} WHERE id = 1`,
      ]);
      await sql.begin(async (tx) => {
        await tx.unsafe(`SET LOCAL bemi.context = '{"user_id": ${who + 20}}'`);
        await tx`INSERT INTO todo (task, who) VALUES ('SET LOCAL', ${who + 20})`;
      });
      await Promise.all([
        sql`UPDATE todo SET who = NULL WHERE id = 1`,
        sql`SELECT set_config('bemi.context', ${value}, false)`,
        sql`INSERT INTO todo (task, who) VALUES ('session', ${who})`,
        sql`SELECT set_config('bemi.context', concat('{"user_id":', ${who}::int + 10, '}'), false)`,
        sql`INSERT INTO todo (task, who) VALUES ('computed', ${who + 10})`,
        sql`RESET bemi.context`,
        sql.unsafe(`/*Bemi {"user_id": ${who}} Bemi*/ INSERT INTO todo (task, who) VALUES ('comment', $1)`, [who]),
      ]);
    }
  }),
};

runAll('postgres.js', version('postgres'), scenarios);
