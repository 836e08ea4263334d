// The questions one asks of the table `changes`, with Prisma. The answers are those of the example in ../README.md.
//   prisma generate && DATABASE_URL=postgresql://... tsx queries.ts

import assert from "node:assert/strict";
import { PrismaPg } from "@prisma/adapter-pg";
import { type Change, Prisma, PrismaClient } from "./generated/client";

const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) });

const byTime = (order: Prisma.SortOrder) => [{ committedAt: order }, { id: order }];

// `@>` is what the index on `context` serves, and Prisma's own filters do not write it.
async function byContext(context: object, order: Prisma.SortOrder = "desc", limit = 100): Promise<Change[]> {
  const direction = order === "desc" ? Prisma.sql`DESC` : Prisma.sql`ASC`;
  const found = await prisma.$queryRaw<{ id: string }[]>`
    SELECT id FROM changes WHERE context @> ${JSON.stringify(context)}::jsonb
     ORDER BY committed_at ${direction}, id ${direction} LIMIT ${limit}`;
  return prisma.change.findMany({ where: { id: { in: found.map(({ id }) => id) } }, orderBy: byTime(order) });
}

// The changes of one record, where its key never changed; changes_history also knows keys that did.
function history(table: string, primaryKey: string): Promise<Change[]> {
  return prisma.change.findMany({ where: { schema: "public", table, primaryKey }, orderBy: byTime("asc") });
}

async function asOf(table: string, primaryKey: string, at: Date): Promise<Prisma.JsonValue> {
  const [{ row }] = await prisma.$queryRaw<{ row: Prisma.JsonValue }[]>`
    SELECT changes_as_of(${table}, ${primaryKey}, ${at}::timestamptz) AS row`;
  return row;
}

type Difference = { column: string; before: Prisma.JsonValue; after: Prisma.JsonValue; known: boolean };

function diff(change: Change): Promise<Difference[]> {
  return prisma.$queryRaw<Difference[]>`
    SELECT d.* FROM changes c CROSS JOIN LATERAL changes_diff(c) d WHERE c.id = ${change.id}::uuid`;
}

function deleted(table: string): Promise<Change[]> {
  return prisma.change.findMany({ where: { schema: "public", table, operation: "DELETE" }, orderBy: byTime("desc") });
}

function show(question: string, found: unknown, expected: unknown) {
  console.log(`${question}\n  ${JSON.stringify(found)}`);
  assert.deepEqual(found, expected, question);
}

const what = ({ operation, primaryKey }: Change) => `${operation} ${primaryKey}`;

const ofUser = await byContext({ user_id: 187234 });
show("What did user 187234 change, newest first?", ofUser.map(what), ["CREATE 2", "UPDATE 1", "CREATE 1"]);

const ofTodo = await history("todo", "1");
show("What happened to todo 1?", ofTodo.map(what), ["CREATE 1", "UPDATE 1"]);

// A Date has milliseconds, the table microseconds: the next one is past the change.
const then = new Date(ofTodo[0].committedAt.getTime() + 1);
show("What was todo 1 at first?", await asOf("todo", "1", then), { id: 1, done: false, task: "Sleep" });

show("What did the update change?", await diff(ofTodo[1]), [
  { column: "task", before: "Sleep", after: "Eat", known: true },
]);

const ofRequest = await byContext({ request_id: "r-2" }, "asc");
show("What did request r-2 change?", ofRequest.map(what), ["UPDATE 1", "CREATE 2"]);

const gone = (await deleted("todo")).map(({ before, context }) => [
  (before as Prisma.JsonObject).task,
  (context as Prisma.JsonObject).user_id,
]);
show("What was deleted, and by whom?", gone, [["Repeat", 42]]);

await prisma.$disconnect();
