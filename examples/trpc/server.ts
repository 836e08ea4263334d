// A to-do list with tRPC and node-postgres. Every row change carries who asked for it, and by which procedure.
//   npm ci && DATABASE_URL=postgresql://... npm start

import { initTRPC, TRPCError } from "@trpc/server";
import { type CreateHTTPContextOptions, createHTTPServer } from "@trpc/server/adapters/standalone";
import pg from "pg";
import { z } from "zod";

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.POOL_SIZE ?? 10),
});

// The only way to a connection of the pool. The setting belongs to the database session and outlives the request: whoever
// had the connection before has left theirs, so that it is written each time, before any transaction. (What a transaction
// sets, its ROLLBACK undoes, and the one before would be back.) Who has nothing to say, a job at night, says {}.
async function withConnection<T>(context: object, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("SELECT set_config('bemi.context', $1, false)", [JSON.stringify(context)]);
    return await work(client);
  } finally {
    client.release();
  }
}

// Your authentication goes here.
function createContext({ req }: CreateHTTPContextOptions) {
  return { userId: Number(req.headers["x-user-id"]) || null, method: req.method };
}

const t = initTRPC.context<typeof createContext>().create();

// A procedure that has a connection, for as long as it runs.
const procedure = t.procedure.use(({ ctx, path, next }) => {
  const context = { user_id: ctx.userId ?? undefined, endpoint: path, method: ctx.method };
  return withConnection(context, (client) => next({ ctx: { ...ctx, client } }));
});

// From here on nothing knows of contexts.

type Todo = { id: number; task: string; done: boolean; author: number | null };

const INSERT = "INSERT INTO todo (task, author) VALUES ($1, $2) RETURNING *";

async function one(client: pg.PoolClient, text: string, values: unknown[]): Promise<Todo> {
  const { rows } = await client.query<Todo>(text, values);
  if (rows.length === 0) {
    throw new TRPCError({ code: "NOT_FOUND" });
  }
  return rows[0];
}

const router = t.router({
  todo: t.router({
    create: procedure
      .input(z.object({ task: z.string() }))
      .mutation(({ ctx, input }) => one(ctx.client, INSERT, [input.task, ctx.userId])),

    // All of them, or none.
    import: procedure.input(z.object({ tasks: z.array(z.string()) })).mutation(async ({ ctx, input }) => {
      const todos: Todo[] = [];
      await ctx.client.query("BEGIN");
      try {
        for (const task of input.tasks) {
          todos.push(await one(ctx.client, INSERT, [task, ctx.userId]));
        }
        await ctx.client.query("COMMIT");
      } catch (error) {
        await ctx.client.query("ROLLBACK");
        throw error;
      }
      return todos;
    }),

    complete: procedure
      .input(z.object({ id: z.int() }))
      .mutation(({ ctx, input }) =>
        one(ctx.client, "UPDATE todo SET done = true WHERE id = $1 RETURNING *", [input.id]),
      ),

    delete: procedure
      .input(z.object({ id: z.int() }))
      .mutation(({ ctx, input }) => one(ctx.client, "DELETE FROM todo WHERE id = $1 RETURNING *", [input.id])),
  }),
});

export type AppRouter = typeof router;

createHTTPServer({ router, createContext }).listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
