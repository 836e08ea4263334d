// A to-do list with route handlers of Next.js. Every row change carries who asked for it, and by which request: lib/db.js.
//   npm ci && npm run build && DATABASE_URL=postgresql://... npm start

import { databaseFor, userOf } from "../../../lib/db.js";

export async function POST(request) {
  const { task } = await request.json();
  const { rows } = await databaseFor(request).query(
    "INSERT INTO todo (task, author) VALUES ($1, $2) RETURNING *",
    [task, userOf(request)],
  );
  return Response.json(rows[0], { status: 201 });
}
