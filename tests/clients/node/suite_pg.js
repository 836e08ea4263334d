// node-postgres: simple, parameterised and named statements, its pipelines, cursors, streams and COPY.
'use strict';

const { once } = require('node:events');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { Client, Pool, Query } = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const copy = require('pg-copy-streams');
const {
  options, authority, REUSES, STREAM, KINDS, VALUES, ASLEEP, note, noteError, refused, version, runAll,
} = require('./transcript.js');

async function withClient(work, more = {}) {
  const client = new Client({ options, ...more });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

const outline = (result) => [].concat(result).map(({ command, rowCount, rows }) => ({ command, rowCount, rows }));

const whoAmI = async (client) => note(outline(await client.query('SELECT session_user AS me')));

const scenarios = {
  'connect: with a password': async () => {
    await withClient(whoAmI);
    await refused(withClient(whoAmI, { password: 'wrong' }));
    await refused(withClient(whoAmI, { database: 'nowhere' }));
  },

  'connect: over TLS, with a certificate that is verified': async () => {
    for (const host of ['localhost', '127.0.0.1']) {
      await withClient(whoAmI, { host, ssl: { ca: authority('BEMI_ROOT_CERT') } });
    }
    await refused(withClient(whoAmI, { ssl: { ca: authority('BEMI_WRONG_ROOT_CERT') } }));
    await refused(withClient(whoAmI, { password: 'wrong', ssl: { ca: authority('BEMI_ROOT_CERT') } }));
  },

  'types: parameters there and back': () => withClient(async (client) => {
    await client.query(KINDS);
    const columns = Object.keys(VALUES);
    const places = columns.map((_, index) => `$${index + 2}`);
    const insert = `INSERT INTO kinds (id, ${columns}) VALUES ($1, ${places}) RETURNING *`;
    note(outline(await client.query(insert, [1, ...Object.values(VALUES)])));
    note(outline(await client.query(insert, [2, ...columns.map(() => null)])));
    note(outline(await client.query({ text: 'SELECT i2, i4, f4, f8, t, bytes, b FROM kinds ORDER BY id', binary: true })));
    note(outline(await client.query('UPDATE kinds SET t = repeat($1, 200000) WHERE id = $2 RETURNING length(t)', ['long ', 1])));
  }),

  'prepared: a named INSERT and a named SELECT, again and again': () => withClient(async (client) => {
    let sum = 0;
    for (let n = 0; n < REUSES; n += 1) {
      const put = { name: 'put', text: 'INSERT INTO todo (task, done) VALUES ($1, $2) RETURNING id', values: [`p${n}`, n % 2 === 0] };
      const { rows: [{ id }] } = await client.query(put);
      const { rows: [{ task }] } = await client.query({ name: 'get', text: 'SELECT task FROM todo WHERE id = $1', values: [id] });
      sum += task === `p${n}` ? id : 0;
    }
    note(sum);
    await refused(client.query({ name: 'bad', text: 'INSERT INTO todo (id) VALUES ($1)', values: [1] }));
    note(outline(await client.query({ name: 'bad', text: 'INSERT INTO todo (id) VALUES ($1)', values: [10000] })));
    note(outline(await client.query('SELECT name, statement FROM pg_prepared_statements ORDER BY name')));
    note(outline(await client.query('SELECT name FROM pg_prepared_statements WHERE name <> $1', ['bad'])));
    note(outline(await client.query({ name: 'put', text: 'INSERT INTO todo (task, done) VALUES ($1, $2) RETURNING id', values: ['after the list', true] })));
  }),

  'transaction: committed, rolled back, and back to a savepoint': () => withClient(async (client) => {
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

  'pipeline: written without waiting': () => withClient(async (client) => {
    const queries = [];
    for (let n = 0; n < 40; n += 1) {
      queries.push(client.query('INSERT INTO todo (task) VALUES ($1) RETURNING task', [`q${n}`]));
      queries.push(client.query({ name: 'named', text: 'UPDATE todo SET done = $1 WHERE id = 1', values: [n % 2 === 0] }));
      queries.push(client.query(`SELECT 1 / (${n} % 5) AS n`).catch((error) => ({ command: error.code, rowCount: 0, rows: [] })));
    }
    queries.push(client.query('BEGIN'));
    queries.push(client.query('DELETE FROM todo WHERE task = $1', ['q1']));
    queries.push(client.query('ROLLBACK'));
    note(outline(await Promise.all(queries)));
  }, { pipeline: true }),

  'copy: in and out': () => withClient(async (client) => {
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

  'notify: notifications and notices': () => withClient(async (client) => {
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

  'cancel: a sleeping SELECT, and a write': () => withClient(async (client) => {
    for (const text of ['SELECT pg_sleep(60)', 'INSERT INTO todo (task) SELECT pg_sleep(60)::text']) {
      const sleeping = new Query(text);
      const ended = new Promise((resolve, reject) => { sleeping.callback = (error) => (error ? reject(error) : resolve()); });
      client.query(sleeping);
      const answered = refused(ended);
      await withClient(async (other) => {
        while ((await other.query(ASLEEP)).rowCount === 0);
      });
      // Until the server closes, its signal may still be on the way, to whatever runs then.
      const canceller = new Client();
      const closed = once(canceller.connection, 'end');
      canceller.cancel(client, sleeping);
      await Promise.all([answered, closed]);
    }
    note(outline(await client.query('INSERT INTO todo (task) VALUES ($1)', ['after'])));
  }),

  'errors: of both protocols': () => withClient(async (client) => {
    note(outline(await client.query("INSERT INTO todo (task) VALUES ('é €') RETURNING id, task")));
    note(outline(await client.query('SELECT 1 AS a; UPDATE todo SET done = true; SELECT 2 AS b')));
    note(outline(await client.query({ text: 'UPDATE todo SET done = $1 WHERE id < $2', values: [false, 3], rowMode: 'array' })));
    note(outline(await client.query('')));
    await refused(client.query('INSERT INTO todo (id) VALUES (1)'));
    await refused(client.query('INSERT INTO todo (id) VALUES ($1)', [1]));
    await refused(client.query('INSERT INTO todo VALUES (9, mistake)'));
    await refused(client.query('SELECT 1; INSERT INTO todo VALUES (9, mistake)'));
    await refused(client.query("/* é */ UPDATE todo SET done = true; DELETE FROM todo WHERE 'é' = mistake"));
    await refused(client.query('INSERT INTO todo VALUES ($1, mistake)', [9]));
    await refused(client.query('INSERT INTO todo (id) VALUES ($1)', ['no number']));
    await refused(client.query('UPDATE nowhere SET done = $1', [true]));
    await refused(client.query('INSERT INTO todo (task) VALES ($1)', ['x']));
    await refused(client.query("DO $$ BEGIN RAISE EXCEPTION 'mine' USING DETAIL = 'a detail', HINT = 'a hint', ERRCODE = 'ZZ999'; END $$"));
    note(outline(await client.query('SELECT id, task, done FROM todo ORDER BY id LIMIT 5')));
  }),

  'stream: cursors, and many rows': () => withClient(async (client) => {
    await client.query('BEGIN');
    const read = client.query(new Cursor('SELECT n FROM generate_series(1, $1) AS n', [10]));
    note(await read.read(4), await read.read(4), await read.read(4));
    const write = client.query(new Cursor("INSERT INTO todo (task) SELECT 'c' FROM generate_series(1, 10) RETURNING task"));
    note((await write.read(3)).length, (await write.read(3)).length);
    await write.close();
    await client.query('COMMIT');
    let [count, sum] = [0, 0];
    for await (const { n, digest } of client.query(new QueryStream(STREAM, [], { batchSize: 1000 }))) {
      count += 1;
      sum += n + parseInt(digest.slice(0, 4), 16);
    }
    note(count, sum);
    for await (const row of client.query(new QueryStream('INSERT INTO todo (task) SELECT $1 FROM generate_series(1, 50) RETURNING task', ['s'], { batchSize: 7 }))) sum += row.task.length;
    note(sum);
  }),

  'context: of requests': async () => {
    const pool = new Pool({ options, max: 2 });
    for (const who of [1, 2, 3, 4]) {
      const client = await pool.connect();
      await client.query('BEGIN');
      await client.query("SELECT set_config('bemi.context', $1, true)", [JSON.stringify({ user_id: who, name: 'Zoë' })]);
      await client.query('INSERT INTO todo (task, who) VALUES ($1, $2)', ['local', who]);
      await client.query(`UPDATE todo SET who = ${who} WHERE id = 1; UPDATE todo SET who = ${who} WHERE id = 2`);
      await client.query('COMMIT');
      await client.query('UPDATE todo SET who = NULL WHERE id = 1');
      await client.query(`BEGIN; SET LOCAL bemi.context = '{"user_id": ${who + 10}}'`);
      await client.query('INSERT INTO todo (task, who) VALUES ($1, $2)', ['SET LOCAL', who + 10]);
      await client.query('COMMIT');
      const comment = `/*Bemi {"user_id": ${who}} Bemi*/`;
      await client.query({ name: `c${who}`, text: `INSERT INTO todo (task, who) VALUES ($1, $2) ${comment}`, values: ['comment', who] });
      await client.query(`SET bemi.context = '${JSON.stringify({ user_id: who })}'`);
      await client.query('INSERT INTO todo (task, who) VALUES ($1, $2)', ['session', who]);
      await client.query('RESET bemi.context');
      await client.query('UPDATE todo SET who = NULL WHERE id = $1', [2]);
      client.release();
    }
    await pool.end();
  },

  'context: of requests in a pipeline': () => withClient(async (client) => {
    for (const who of [1, 2, 3, 4]) {
      await Promise.all([
        client.query("SELECT set_config('bemi.context', $1, false)", [JSON.stringify({ user_id: who })]),
        client.query('INSERT INTO todo (task, who) VALUES ($1, $2)', ['set', who]),
        client.query(`/*Bemi {"user_id": ${who + 10}} Bemi*/ INSERT INTO todo (task, who) VALUES ($1, $2)`, ['comment', who + 10]),
        client.query(`UPDATE todo SET who = ${who} WHERE id = 1`),
        client.query('RESET bemi.context'),
        client.query('UPDATE todo SET who = NULL WHERE id = $1', [1]),
      ]);
    }
  }, { pipeline: true }),
};

runAll('node-postgres', version('pg'), scenarios);
