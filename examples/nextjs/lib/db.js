// A connection to the database that says, in a comment of each statement, which request it belongs to.

import pg from "pg";

// Kept where reloads of `next dev` do not make another.
globalThis.pool ??= new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.POOL_SIZE ?? 10),
});

// Your authentication goes here.
export function userOf(request) {
  return Number(request.headers.get("X-User-Id")) || undefined;
}

export function databaseFor(request) {
  const context = { user_id: userOf(request), endpoint: new URL(request.url).pathname, method: request.method };
  // Another way to write "/" in JSON: what users choose can then not end the comment.
  const comment = ` /*Bemi ${JSON.stringify(context).replaceAll("/", "\\/")} Bemi*/`;
  const through = (client) => ({ query: (text, values) => client.query(text + comment, values) });
  return {
    ...through(globalThis.pool),

    async transaction(work) {
      const client = await globalThis.pool.connect();
      try {
        await client.query("BEGIN");
        const result = await work(through(client));
        await client.query("COMMIT");
        return result;
      } catch (error) {
        await client.query("ROLLBACK");
        throw error;
      } finally {
        client.release();
      }
    },
  };
}
