// postgres.js: pipelines by default, prepares every statement it can, describes before it binds, writes COPY as streams.
'use strict';

const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const postgres = require('postgres');
const { context, note, noteError, refused, runAll } = require('./transcript.js');

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

runAll({
  'prepared statements': () => withSql(async (sql) => {
    for (let n = 0; n < 4; n += 1) note(await sql`INSERT INTO todo (task, done) VALUES (${`é ${n}`}, ${n % 2 === 0}) RETURNING id, task`);
    const rows = [{ task: 'one', done: true }, { task: 'two', done: false }];
    note(await sql`INSERT INTO todo ${sql(rows)} RETURNING task, done`);
    note((await sql`UPDATE todo SET ${sql({ task: 'set' })} WHERE id IN ${sql([1, 2])}`).count);
    note(await sql`DELETE FROM todo WHERE id = ${3} RETURNING *`);
    await refused(sql`INSERT INTO todo (id) VALUES (${1})`);
    await refused(sql`INSERT INTO todo VALUES (${9}, mistake)`);
    note(await sql`SELECT statement FROM pg_prepared_statements ORDER BY statement`);
    note((await sql`INSERT INTO todo (task) VALUES (${'described'})`.describe()).string);
  }),

  'simple and unprepared statements': async () => {
    await withSql(async (sql) => {
      note(await sql.unsafe("INSERT INTO todo (task) VALUES ('a') RETURNING task; SELECT 7 AS n; UPDATE todo SET done = true"));
      note(await sql`UPDATE todo SET done = false WHERE id = 1`.simple());
      await refused(sql.unsafe('SELECT 1; INSERT INTO todo VALUES (9, mistake)'));
    });
    await withSql(async (sql) => {
      note(await sql`INSERT INTO todo (task) VALUES (${'unprepared'}) RETURNING task`);
      note(await sql`SELECT ${'x'}::text AS x`);
    }, { prepare: false });
  },

  'pipelines with errors in them': () => withSql(async (sql) => {
    const all = [];
    for (let n = 0; n < 60; n += 1) {
      all.push(sql`INSERT INTO todo (task) VALUES (${`p${n}`}) RETURNING task`);
      all.push(sql`SELECT 1 / (${n}::int % 7) AS n`.catch((error) => error.code));
    }
    note(await Promise.all(all));
    note(await sql`SELECT count(*)::int AS n FROM todo WHERE task LIKE 'p%'`);
  }),

  'transactions and savepoints': () => withSql(async (sql) => {
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

  'contexts of requests': async () => {
    await withSql(async (sql) => {
      for (const who of [1, 2, 3]) {
        const value = JSON.stringify({ user_id: who });
        await sql.begin((tx) => [
          tx`SELECT set_config('bemi.context', ${value}, true)`,
          tx`INSERT INTO todo (task, who) VALUES ('local', ${who})`,
          tx`UPDATE todo SET who = ${who} WHERE id = 1`,
        ]);
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
    });
  },

  'cursors and copies': () => withSql(async (sql) => {
    const sizes = [];
    await sql`INSERT INTO todo (task) SELECT 'c' FROM generate_series(1, 25) RETURNING id`.cursor(10, (rows) => { sizes.push(rows.length); });
    for await (const rows of sql`SELECT n FROM generate_series(1, 95) AS n`.cursor(30)) sizes.push(rows.length);
    await sql`SELECT n FROM generate_series(1, 10) AS n`.forEach(({ n }) => sizes.push(n));
    note(sizes);
    await pipeline(Readable.from(['40000\ta\n', '40001\tb\n']), await sql`COPY todo (id, task) FROM STDIN`.writable());
    let length = 0;
    for await (const chunk of await sql`COPY (SELECT id, task FROM todo WHERE id >= 40000) TO STDOUT`.readable()) length += chunk.length;
    note(length);
    note((await sql`DELETE FROM todo WHERE id >= ${40000}`).count);
  }),

  'notifications': () => withSql(async (sql) => {
    const heard = new Promise((resolve) => {
      sql.listen('changed', resolve, () => sql`SELECT pg_notify('changed', 'payload')`.then(() => {}));
    });
    note(await heard);
    await sql.notify('unheard', 'x');
    note((await sql`INSERT INTO todo (task) VALUES ('after')`).count);
  }),

  'a cancelled write': () => withSql(async (sql) => {
    const sleeping = sql`INSERT INTO todo (task) SELECT pg_sleep(60)::text`.execute();
    setTimeout(() => sleeping.cancel(), 300);
    await refused(sleeping);
    note((await sql`INSERT INTO todo (task) VALUES ('after')`).count);
  }),
});
