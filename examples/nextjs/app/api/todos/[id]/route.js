import { databaseFor } from "../../../../lib/db.js";

const answer = ({ rows: [todo] }) =>
  todo ? Response.json(todo) : Response.json({ error: "no such todo" }, { status: 404 });

export async function PATCH(request, { params }) {
  const { id } = await params;
  const { done } = await request.json();
  return answer(
    await databaseFor(request).query("UPDATE todo SET done = $1 WHERE id = $2 RETURNING *", [done, id]),
  );
}

export async function DELETE(request, { params }) {
  const { id } = await params;
  return answer(await databaseFor(request).query("DELETE FROM todo WHERE id = $1 RETURNING *", [id]));
}
