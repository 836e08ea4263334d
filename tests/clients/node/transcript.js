// Prints what a driver sees, scenario by scenario, and what it does not have.
'use strict';

const { readFileSync } = require('node:fs');
const { join } = require('node:path');

const context = process.env.BEMI_CONTEXT || '';

// Options that a session starts with.
const options = context ? `-c bemi.context=${context}` : '';

// How often a statement that is prepared once is used.
const REUSES = 1000;

// 100,000 rows.
const STREAM = 'SELECT n, md5(n::text) AS digest FROM generate_series(1, 100000) AS n';

// A column of each type, and what goes into it.
const KINDS = `CREATE TABLE kinds (id int PRIMARY KEY, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, t text, bytes bytea,
  b bool, d date, ti time, ts timestamp, tz timestamptz, iv interval, u uuid, j json, jb jsonb, ints int[], texts text[])`;

const VALUES = {
  i2: -32768,
  i4: 2147483647,
  i8: '-9223372036854775808',
  f4: 1.5,
  f8: -1e-300,
  n: '123456789012345678901234567890.000100',
  t: 'quote \' backslash \\ elephant \u{1f418}',
  bytes: Buffer.from(Array.from({ length: 256 }, (_, n) => n)),
  b: true,
  d: '2024-02-29',
  ti: '23:59:59.999999',
  ts: '2024-02-29 12:00:00.123456',
  tz: new Date(Date.UTC(2024, 1, 29, 23, 59, 59, 999)),
  iv: '1 year 2 days 03:04:05.678',
  u: '00000000-0000-0000-0000-000000000007',
  j: JSON.stringify({ a: [1, { b: null }] }),
  jb: JSON.stringify({ z: 'é', a: [1.50, false] }),
  ints: [1, null, -3],
  texts: ['a,"b"', null, '', 'é'],
};

// Has a row once somebody sleeps in this database: what is cancelled earlier goes on.
const ASLEEP = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";

// The authorities whose certificates a client trusts: the right one, and one that signed nothing.
const authority = (variable) => readFileSync(process.env[variable], 'utf8');

// What node calls a certificate that no trusted authority has signed; which one depends on what the server sends along.
const UNTRUSTED = /^(SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT(_LOCALLY)?|DEPTH_ZERO_SELF_SIGNED_CERT|CERT_SIGNATURE_FAILURE)$/;

function note(...values) {
  console.log(JSON.stringify(values, (_key, value) => {
    if (typeof value === 'bigint') return `${value}n`;
    // JSON.stringify has made an object of a Buffer by now, and not of the arrays that others use.
    if (value && value.type === 'Buffer') return `bytes ${Buffer.from(value.data).toString('hex')}`;
    return value instanceof Uint8Array ? `bytes ${Buffer.from(value).toString('hex')}` : value;
  }));
}

// What is the same from run to run in an error of the server, and in the one it is the cause of.
function noteError(error) {
  const { code, message, severity, detail, hint, position, where, routine, constraint_name, constraint } = error;
  if (UNTRUSTED.test(code)) {
    note('the certificate is not trusted');
  } else {
    // A wrong password may be found out by the proxy itself, which has no routines of the server.
    const place = code === '28P01' ? undefined : routine;
    note({ code, message, severity, detail, hint, position, where, routine: place, constraint: constraint || constraint_name });
  }
  if (error.cause instanceof Error) noteError(error.cause);
}

// Notes the error that a promise ends with.
async function refused(promise) {
  try {
    await promise;
    note('no error');
  } catch (error) {
    noteError(error);
  }
}

// The version of an installed package; not every one exports its package.json.
function version(name) {
  const folder = require.resolve.paths(name).map((path) => join(path, name, 'package.json'));
  for (const path of folder) {
    try {
      return JSON.parse(readFileSync(path, 'utf8')).version;
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
  }
  throw new Error(`${name} is not installed`);
}

// Runs scenarios, named `feature: sentence`; the exit code says whether all of them came to their end.
// `lacks` says of each feature that the driver does not have why.
async function runAll(driver, driverVersion, scenarios, lacks = {}) {
  console.log(`! ${driver} ${driverVersion}`);
  for (const [feature, why] of Object.entries(lacks)) console.log(`- ${feature}: ${why}`);
  for (const [name, scenario] of Object.entries(scenarios)) {
    console.log(`# ${name}`);
    try {
      await scenario();
    } catch (error) {
      console.log('FAILED');
      console.error(name, error);
      process.exitCode = 1;
    }
  }
}

module.exports = {
  context, options, authority, REUSES, STREAM, KINDS, VALUES, ASLEEP, note, noteError, refused, version, runAll,
};
