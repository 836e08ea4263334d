// A to-do list with Express and Prisma 7. Every row change carries who asked for it, and by which request.

import { AsyncLocalStorage } from "node:async_hooks";
import { PrismaPg } from "@prisma/adapter-pg";
import type { SqlCommenterPlugin, SqlCommenterTags } from "@prisma/sqlcommenter";
import express, { type Request } from "express";
import { PrismaClient } from "./generated/client";

// What is known of the request that runs. A global variable would be overwritten by the next request while this one waits
// for the database; this stays with its request across every `await`.
const current = new AsyncLocalStorage<SqlCommenterTags>();

// Prisma asks for this at each statement, and appends it as a comment: /*endpoint='%2Ftodos',method='POST',user_id='42'*/.
// The proxy reads it. Outside of requests there is nothing to say.
const requestContext: SqlCommenterPlugin = () => current.getStore() ?? {};

const prisma = new PrismaClient({
  adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL, max: Number(process.env.POOL_SIZE ?? 10) }),
  comments: [requestContext],
});

// Your authentication goes here.
const userOf = (request: Request) => request.get("X-User-Id");
const authorOf = (request: Request) => Number(userOf(request)) || null;

const app = express();
app.use(express.json());
app.use((request, _response, next) => {
  // Keys that are undefined are left out.
  current.run({ user_id: userOf(request), endpoint: request.path, method: request.method }, next);
});

// From here on nothing knows of contexts.

app.post("/todos", async (request, response) => {
  const { task } = request.body;
  response.status(201).json(await prisma.todo.create({ data: { task, author: authorOf(request) } }));
});

app.post("/todos/import", async (request, response) => {
  const author = authorOf(request);
  const tasks: string[] = request.body.tasks;
  // All of them, or none.
  const todos = await prisma.$transaction(tasks.map((task) => prisma.todo.create({ data: { task, author } })));
  response.status(201).json(todos);
});

app.patch("/todos/:id", async (request, response) => {
  const { done } = request.body;
  response.json(await prisma.todo.update({ where: { id: Number(request.params.id) }, data: { done } }));
});

app.delete("/todos/:id", async (request, response) => {
  await prisma.todo.delete({ where: { id: Number(request.params.id) } });
  response.status(204).end();
});

app.listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
