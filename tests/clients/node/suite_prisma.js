// Prisma over its adapter for node-postgres: models, batches, interactive and nested transactions, raw SQL, its own comments.
'use strict';

const { createHash } = require('node:crypto');
// What Prisma generates is TypeScript.
require('tsx/cjs');
const { PrismaPg } = require('@prisma/adapter-pg');
const { PrismaClient } = require('../../../target/clients/orm/generated/client.ts');
const {
  options, authority, REUSES, KINDS, VALUES, ASLEEP, note, noteError, refused, version, runAll,
} = require('./transcript.js');

async function withPrisma(work, { adapter = {}, client = {}, ...pool } = {}) {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ options, max: 2, ...pool }, adapter), errorFormat: 'minimal', ...client });
  try {
    await work(prisma);
  } finally {
    await prisma.$disconnect();
  }
}

const whoAmI = async (prisma) => note(await prisma.$queryRaw`SELECT session_user::text AS me`);

const digest = (text) => createHash('sha256').update(text).digest('hex').slice(0, 16);

const scenarios = {
  'connect: with a password': async () => {
    await withPrisma(whoAmI);
    await refused(withPrisma(whoAmI, { password: 'wrong' }));
  },

  'connect: over TLS, with a certificate that is verified': async () => {
    await withPrisma(whoAmI, { ssl: { ca: authority('BEMI_ROOT_CERT') } });
    await withPrisma(whoAmI, { ssl: { ca: authority('BEMI_WRONG_ROOT_CERT') } })
      .then(() => note('no error'), ({ code, meta }) => note(code, meta.driverAdapterError.cause.kind));
  },

  'types: parameters there and back': () => withPrisma(async (prisma) => {
    await prisma.$executeRawUnsafe(KINDS);
    const { iv, ...values } = {
      ...VALUES,
      i8: BigInt(VALUES.i8),
      d: new Date(VALUES.d),
      ti: new Date('1970-01-01T23:59:59.999Z'),
      ts: new Date('2024-02-29T12:00:00.123Z'),
      j: JSON.parse(VALUES.j),
      jb: JSON.parse(VALUES.jb),
      // Its lists hold no nulls.
      ints: [1, -3],
      texts: ['a,"b"', '', 'é'],
    };
    note(await prisma.kinds.create({ data: { id: 1, ...values } }));
    note(await prisma.kinds.createManyAndReturn({ data: [{ id: 2 }, { id: 3, ...values }] }));
    note(await prisma.kinds.update({ where: { id: 3 }, data: { jb: { changed: true }, i4: { increment: -7 }, ints: { push: 8 } } }));
    note(await prisma.$executeRaw`UPDATE kinds SET iv = ${iv}::interval, ts = ${values.ts} WHERE id = ${3}`);
    note(await prisma.$queryRaw`SELECT iv::text, i2, i8, f4, f8, n, d, ti, ts, tz, j, jb, u, bytes, ints FROM kinds ORDER BY id`);
    note(await prisma.kinds.findMany({ where: { u: VALUES.u, jb: { path: ['z'], equals: 'é' }, tz: { lte: VALUES.tz } } }));
  }),

  'prepared: statements with names': () => withPrisma(async (prisma) => {
    let found = 0;
    for (let n = 0; n < REUSES; n += 1) {
      const { id } = await prisma.todo.create({ data: { task: `p${n}`, done: n % 2 === 0 } });
      const { task } = await prisma.todo.findUnique({ where: { id } });
      found += task === `p${n}` ? id : 0;
    }
    note(found);
    note(await prisma.$queryRaw`SELECT name, statement FROM pg_prepared_statements ORDER BY name`);
    note(await prisma.todo.create({ data: { task: 'after the list' } }));
  }, { max: 1, adapter: { statementNameGenerator: ({ sql }) => digest(sql) } }),

  'transaction: a batch of statements': () => withPrisma(async (prisma) => {
    note(await prisma.$transaction([
      prisma.todo.create({ data: { task: 'kept' } }),
      prisma.todo.updateMany({ where: { task: 'kept' }, data: { done: true } }),
      prisma.todo.upsert({ where: { id: 1 }, create: { task: 'never' }, update: { task: 'merged' } }),
      prisma.$executeRaw`INSERT INTO todo (task) VALUES (${'raw'})`,
    ]));
    await refused(prisma.$transaction([
      prisma.todo.create({ data: { task: 'undone' } }),
      prisma.todo.create({ data: { id: 1, task: 'never' } }),
    ]));
    note(await prisma.todo.count({ where: { task: { in: ['kept', 'undone', 'never', 'raw'] } } }));
  }),

  'transaction: committed, rolled back, and back to a savepoint': () => withPrisma(async (prisma) => {
    await prisma.$transaction(async (tx) => {
      await tx.todo.create({ data: { task: 'outer' } });
      await tx.$transaction(async (inner) => {
        await inner.todo.update({ where: { id: 1 }, data: { done: true } });
        await inner.todo.create({ data: { id: 1 } });
      }).catch(noteError);
      await tx.$transaction((inner) => inner.todo.create({ data: { task: 'inner' } }));
    }, { isolationLevel: 'Serializable' });
    await refused(prisma.$transaction(async (tx) => {
      await tx.todo.deleteMany();
      throw new Error('given up');
    }));
    note(await prisma.todo.findMany({ orderBy: { id: 'asc' }, where: { OR: [{ id: { lte: 5 } }, { task: { in: ['outer', 'inner'] } }] } }));
  }),

  'cancel: a sleeping SELECT': () => withPrisma(async (prisma) => {
    await prisma.$transaction(async (tx) => {
      const [{ pid }] = await tx.$queryRaw`SELECT pg_backend_pid() AS pid`;
      const sleeping = refused(tx.$queryRaw`SELECT pg_sleep(${60})::text`);
      while ((await prisma.$queryRawUnsafe(ASLEEP)).length === 0);
      await prisma.$queryRaw`SELECT pg_cancel_backend(${pid})`;
      await sleeping;
      throw new Error('given up');
    }).catch(noteError);
    note(await prisma.todo.create({ data: { task: 'after' }, select: { task: true } }));
  }),

  'errors: of models and of raw SQL': () => withPrisma(async (prisma) => {
    const raw = ({ code, meta }) => note(code, meta.driverAdapterError?.cause);
    await prisma.todo.create({ data: { id: 1 } }).catch(raw);
    await refused(prisma.todo.update({ where: { id: 1_000_000 }, data: { task: 'never' } }));
    await prisma.$executeRaw`INSERT INTO todo (id) VALUES (${1})`.catch(raw);
    await prisma.$executeRaw`INSERT INTO todo (id) VALUES (${'no number'})`.catch(raw);
    await prisma.$executeRawUnsafe('INSERT INTO todo VALUES ($1, mistake)', 9).catch(raw);
    await prisma.$executeRawUnsafe("/* é */ UPDATE todo SET done = true; DELETE FROM todo WHERE 'é' = mistake").catch(raw);
    await prisma.$queryRaw`SELECT 1/0`.catch(raw);
    note(await prisma.todo.updateManyAndReturn({ where: { id: { in: [2] } }, data: { done: true } }));
  }),

  'context: of requests': () => withPrisma(async (prisma) => {
    for (const who of [1, 2, 3]) {
      const context = JSON.stringify({ user_id: who, name: 'Zoë' });
      await prisma.$transaction([
        prisma.$executeRaw`SELECT set_config('bemi.context', ${context}, true)`,
        prisma.todo.create({ data: { task: 'batch', who } }),
        prisma.todo.createMany({ data: [{ task: 'many', who }, { task: 'of them', who }] }),
      ]);
      await prisma.$transaction(async (tx) => {
        await tx.$executeRawUnsafe(`SET LOCAL bemi.context = '{"user_id": ${who + 10}}'`);
        await tx.todo.update({ where: { id: 1 }, data: { who: who + 10 } });
        await tx.$transaction(async (inner) => {
          await inner.$executeRaw`SELECT set_config('bemi.context', ${context}, true)`;
          await inner.todo.create({ data: { task: 'undone', who } });
          throw new Error('given up');
        }).catch(noteError);
        await tx.todo.create({ data: { task: 'interactive', who: who + 10 } });
      });
      await prisma.todo.update({ where: { id: 1 }, data: { who: null } });
      await prisma.$executeRawUnsafe(`/*Bemi {"user_id": ${who}} Bemi*/ INSERT INTO todo (task, who) VALUES ($1, $2)`, 'comment', who);
      await prisma.todo.deleteMany({ where: { task: 'comment' } });
    }
  }),

  'context: of a session': () => withPrisma(async (prisma) => {
    for (const who of [4, 5]) {
      await prisma.$executeRawUnsafe(`SET bemi.context = '{"user_id": ${who}}'`);
      await prisma.todo.create({ data: { task: 'session', who } });
      await prisma.$executeRaw`RESET bemi.context`;
      await prisma.todo.update({ where: { id: 2 }, data: { who: null } });
    }
  }, { max: 1 }),

  'context: in the comments that Prisma writes': () => withPrisma(async (prisma) => {
    note(await prisma.todo.create({ data: { task: 'where it comes from' } }));
    note(await prisma.todo.updateMany({ where: { id: 3 }, data: { done: true } }));
  }, { client: { comments: [({ query }) => ({ route: '/todo', operation: query.action })] } }),
};

runAll('Prisma', version('@prisma/client'), scenarios, {
  pipeline: 'it waits for each answer',
  copy: 'it has no COPY',
  notify: 'it does not listen',
  stream: 'it returns whole results',
});
