import { defineConfig } from "prisma/config";

export default defineConfig({
  schema: "schema.prisma",
  // bemi track makes these tables; without this, `prisma migrate` would drop or make them.
  experimental: { externalTables: true },
  tables: { external: ["public.changes", "public.changes_progress", "public.changes_gaps"] },
});
