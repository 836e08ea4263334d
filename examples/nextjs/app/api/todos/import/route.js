import { databaseFor, userOf } from "../../../../lib/db.js";

// All of them, or none.
export async function POST(request) {
  const { tasks } = await request.json();
  const todos = await databaseFor(request).transaction(async (database) => {
    const todos = [];
    for (const task of tasks) {
      const { rows } = await database.query("INSERT INTO todo (task, author) VALUES ($1, $2) RETURNING *", [
        task,
        userOf(request),
      ]);
      todos.push(rows[0]);
    }
    return todos;
  });
  return Response.json(todos, { status: 201 });
}
