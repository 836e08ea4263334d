// A to-do list with Apollo Server and node-postgres. Every row change carries who asked for it, and by which mutation.
//   npm ci && DATABASE_URL=postgresql://... npm start

import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import pg from "pg";

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.POOL_SIZE ?? 10),
});

// Makes a resolver of `work`, which gets a transaction. The setting belongs to the transaction and ends with it, committed or
// not: whoever gets the connection next finds nothing. All requests have the same path here; the field tells more.
const mutation = (work) => async (_parent, args, { userId, method }, info) => {
  const context = { user_id: userId, endpoint: info.fieldName, method };
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("SELECT set_config('bemi.context', $1, true)", [JSON.stringify(context)]);
    const result = await work(client, args, userId);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
};

// Your authentication goes here.
const context = async ({ req }) => ({ userId: Number(req.headers["x-user-id"]) || undefined, method: req.method });

// From here on nothing knows of contexts.

const typeDefs = `#graphql
  type Todo {
    id: Int!
    task: String!
    done: Boolean!
    author: Int
  }

  type Query {
    todos: [Todo!]!
  }

  type Mutation {
    createTodo(task: String!): Todo!
    "All of them, or none."
    importTodos(tasks: [String!]!): [Todo!]!
    completeTodo(id: Int!): Todo!
    deleteTodo(id: Int!): Todo!
  }
`;

const INSERT = "INSERT INTO todo (task, author) VALUES ($1, $2) RETURNING *";

async function one(client, text, values) {
  const { rows } = await client.query(text, values);
  if (rows.length === 0) {
    throw new Error("no such todo");
  }
  return rows[0];
}

const resolvers = {
  Query: {
    todos: async () => (await pool.query("SELECT * FROM todo ORDER BY id")).rows,
  },
  Mutation: {
    createTodo: mutation((client, { task }, userId) => one(client, INSERT, [task, userId])),
    importTodos: mutation(async (client, { tasks }, userId) => {
      const todos = [];
      for (const task of tasks) {
        todos.push(await one(client, INSERT, [task, userId]));
      }
      return todos;
    }),
    completeTodo: mutation((client, { id }) =>
      one(client, "UPDATE todo SET done = true WHERE id = $1 RETURNING *", [id]),
    ),
    deleteTodo: mutation((client, { id }) => one(client, "DELETE FROM todo WHERE id = $1 RETURNING *", [id])),
  },
};

await startStandaloneServer(new ApolloServer({ typeDefs, resolvers }), {
  context,
  listen: { host: "127.0.0.1", port: Number(process.env.PORT ?? 3000) },
});
