// node-postgres: simple, parameterised and named statements, its cursors, streams and COPY.
'use strict';

const { once } = require('node:events');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { Client, Pool } = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const copy = require('pg-copy-streams');
const { options, note, noteError, refused, runAll } = require('./transcript.js');

async function withClient(work) {
  const client = new Client({ options });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

const outline = (result) => [].concat(result).map(({ command, rowCount, rows }) => ({ command, rowCount, rows }));

runAll({
  'simple and parameterised statements': () => withClient(async (client) => {
    note(outline(await client.query("INSERT INTO todo (task) VALUES ('é €') RETURNING id, task")));
    note(outline(await client.query('INSERT INTO todo (task) VALUES ($1) RETURNING id, task', ["it's \\"])));
    note(outline(await client.query('SELECT 1 AS a; UPDATE todo SET done = true; SELECT 2 AS b')));
    note(outline(await client.query({ text: 'UPDATE todo SET done = $1 WHERE id < $2', values: [false, 3], rowMode: 'array' })));
    note(outline(await client.query('')));
    await refused(client.query('INSERT INTO todo (id) VALUES ($1)', [1]));
    await refused(client.query('SELECT 1; INSERT INTO todo VALUES (9, mistake)'));
    await refused(client.query('INSERT INTO todo VALUES ($1, mistake)', [9]));
    note(outline(await client.query('SELECT id, task, done FROM todo ORDER BY id')));
  }),

  'named statements': () => withClient(async (client) => {
    const insert = (task) => ({ name: 'put', text: 'INSERT INTO todo (task) VALUES ($1) RETURNING task', values: [task] });
    for (const task of ['a', 'b', 'c']) note(outline(await client.query(insert(task))));
    await refused(client.query({ name: 'bad', text: 'INSERT INTO todo (id) VALUES ($1)', values: [1] }));
    note(outline(await client.query({ name: 'bad', text: 'INSERT INTO todo (id) VALUES ($1)', values: [1000] })));
    note(outline(await client.query('SELECT name, statement FROM pg_prepared_statements ORDER BY name')));
    note(outline(await client.query('SELECT name FROM pg_prepared_statements WHERE name <> $1', ['bad'])));
    note(outline(await client.query(insert('after the list'))));
    note(outline(await client.query({ text: 'SELECT $1::int AS n, $2::bytea AS b', values: [7, Buffer.alloc(100000, 1)], binary: true })));
  }),

  'requests that are queued without waiting': () => withClient(async (client) => {
    const queries = [];
    for (let n = 0; n < 40; n += 1) {
      queries.push(client.query('INSERT INTO todo (task) VALUES ($1) RETURNING task', [`q${n}`]));
      queries.push(client.query(`SELECT 1 / (${n} % 5) AS n`).catch((error) => ({ command: error.code, rowCount: 0, rows: [] })));
    }
    note(outline(await Promise.all(queries)));
  }),

  'transactions and savepoints': () => withClient(async (client) => {
    await client.query('BEGIN');
    await client.query('INSERT INTO todo (task) VALUES ($1)', ['kept']);
    await client.query('SAVEPOINT one');
    await refused(client.query('INSERT INTO todo (id) VALUES ($1)', [1]));
    await refused(client.query('INSERT INTO todo (task) VALUES ($1)', ['in a failed one']));
    await client.query('ROLLBACK TO SAVEPOINT one');
    await client.query('INSERT INTO todo (task) VALUES ($1)', ['kept, too']);
    note(outline(await client.query('COMMIT')));
    await client.query('BEGIN');
    await client.query('UPDATE todo SET task = $1', ['undone']);
    await client.query('ROLLBACK');
    note(outline(await client.query('SELECT count(*) FROM todo WHERE task = $1', ['undone'])));
  }),

  'contexts of requests': async () => {
    const pool = new Pool({ options, max: 2 });
    for (const who of [1, 2, 3, 4]) {
      const client = await pool.connect();
      await client.query('BEGIN');
      await client.query("SELECT set_config('bemi.context', $1, true)", [JSON.stringify({ user_id: who, name: 'Zoë' })]);
      await client.query('INSERT INTO todo (task, who) VALUES ($1, $2)', ['local', who]);
      await client.query(`UPDATE todo SET who = ${who} WHERE id = 1; UPDATE todo SET who = ${who} WHERE id = 2`);
      await client.query('COMMIT');
      await client.query('UPDATE todo SET who = NULL WHERE id = 1');
      const comment = `/*Bemi {"user_id": ${who}} Bemi*/`;
      const context = JSON.stringify({ user_id: who });
      await Promise.all([
        client.query({ name: `c${who}`, text: `INSERT INTO todo (task, who) VALUES ($1, $2) ${comment}`, values: ['comment', who] }),
        client.query(`SET bemi.context = '${context}'`),
        client.query('INSERT INTO todo (task, who) VALUES ($1, $2)', ['session', who]),
        client.query('RESET bemi.context'),
        client.query('UPDATE todo SET who = NULL WHERE id = $1', [2]),
      ]);
      client.release();
    }
    await pool.end();
  },

  'cursors and streams': () => withClient(async (client) => {
    await client.query('BEGIN');
    const read = client.query(new Cursor('SELECT n FROM generate_series(1, $1) AS n', [10]));
    note(await read.read(4), await read.read(4), await read.read(4));
    const write = client.query(new Cursor("INSERT INTO todo (task) SELECT 'c' FROM generate_series(1, 10) RETURNING task"));
    note((await write.read(3)).length, (await write.read(3)).length);
    await write.close();
    await client.query('COMMIT');
    let sum = 0;
    for await (const row of client.query(new QueryStream('SELECT n FROM generate_series(1, 5000) AS n', [], { batchSize: 100 }))) sum += row.n;
    note(sum);
    for await (const row of client.query(new QueryStream('INSERT INTO todo (task) SELECT $1 FROM generate_series(1, 50) RETURNING task', ['s'], { batchSize: 7 }))) sum += row.task.length;
    note(sum);
  }),

  'copies in and out': () => withClient(async (client) => {
    const into = client.query(copy.from('COPY todo (id, task) FROM STDIN'));
    await pipeline(Readable.from((function* rows() { for (let n = 20000; n < 24000; n += 1) yield `${n}\trow ${n}\n`; })()), into);
    note(into.rowCount);
    const out = client.query(copy.to('COPY (SELECT id, task FROM todo WHERE id >= 20000 ORDER BY id) TO STDOUT'));
    let length = 0;
    for await (const chunk of out) length += chunk.length;
    note(length, out.rowCount);
    const broken = client.query(copy.from('COPY todo (id) FROM STDIN'));
    await pipeline(Readable.from(['1\n']), broken).then(() => note('no error'), noteError);
    note(outline(await client.query('DELETE FROM todo WHERE id >= $1', [20000])));
  }),

  'notifications and notices': () => withClient(async (client) => {
    const notices = [];
    client.on('notice', ({ severity, message, code }) => notices.push({ severity, message, code }));
    await client.query('LISTEN changed');
    const heard = once(client, 'notification');
    await client.query("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'payload'");
    const [{ channel, payload }] = await heard;
    note(channel, payload);
    await client.query("DO $$ BEGIN RAISE WARNING 'careful'; END $$");
    note(notices);
  }),

  'a cancelled write': () => withClient(async (client) => {
    const sleeping = client.query('INSERT INTO todo (task) SELECT pg_sleep(60)::text');
    const { processID } = client;
    setTimeout(() => withClient((other) => other.query('SELECT pg_cancel_backend($1)', [processID])), 300);
    await refused(sleeping);
    note(outline(await client.query('INSERT INTO todo (task) VALUES ($1)', ['after'])));
  }),
});
