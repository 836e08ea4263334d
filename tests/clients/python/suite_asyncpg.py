"""asyncpg: its own protocol implementation, binary format only, statements cached by text, types read from the catalog."""

import asyncio
import datetime
import decimal
import json
import ssl
import uuid

import asyncpg

from samples import JSON, VALUES
from transcript import ASLEEP, CONTEXT, ROOT, WRONG_ROOT, note, run_all_async, scenario


async def connect(**more):
    # As a parameter of its own in the startup packet.
    settings = {"bemi.context": CONTEXT} if CONTEXT else {}
    return await asyncpg.connect(server_settings=settings, **more)


async def refused(awaitable):
    """Notes the error that a call ends with."""
    try:
        await awaitable
    except asyncpg.PostgresError as error:
        note(type(error).__name__, error.sqlstate, str(error), error.detail, error.as_dict().get("position"))
    else:
        note("no error")


@scenario("connect")
async def passwords_in_the_clear_and_over_tls():
    async def attempt(**how):
        try:
            connection = await connect(**how)
            note(await connection.fetchval("SELECT current_user"))
            await connection.close()
        except (asyncpg.PostgresError, ssl.SSLError) as error:
            note(type(error).__name__, str(error))

    await attempt()
    await attempt(password="wrong")
    for root in (ROOT, WRONG_ROOT):
        await attempt(ssl=ssl.create_default_context(cafile=root))
    await attempt(ssl=ssl.create_default_context(cafile=ROOT), password="wrong")


@scenario("types")
async def values_of_many_types():
    connection = await connect()
    for kind, value in VALUES:
        note(kind, await connection.fetchval(f"SELECT $1::{kind}", value))
    note(await connection.fetchrow("SELECT $1::json, $2::jsonb", json.dumps(JSON), json.dumps(JSON)))
    await connection.close()


@scenario("prepared")
async def one_statement_a_thousand_times():
    connection = await connect()
    for sql in ("INSERT INTO todo (task) VALUES ($1) RETURNING length(task)", "SELECT length($1)"):
        statement = await connection.prepare(sql)
        note(sum([await statement.fetchval(f"row {number}") for number in range(1000)]))
    await connection.close()


@scenario("errors")
async def statements_and_their_cache():
    connection = await connect()
    insert = "INSERT INTO todo (task, done) VALUES ($1, $2) RETURNING id, task"
    for number in range(5):
        note(await connection.fetchrow(insert, f"task {number} é", number % 2 == 0))
    note(await connection.execute("UPDATE todo SET done = $1 WHERE id < $2", True, 4))
    note(await connection.execute("INSERT INTO todo (task) VALUES ('a'); DELETE FROM todo WHERE task = 'a'"))
    await refused(connection.execute("INSERT INTO todo (id) VALUES ($1)", 1))
    await refused(connection.fetch("INSERT INTO todo VALUES ($1, mistake)", 1))
    await refused(connection.execute("SELECT 1; INSERT INTO todo VALUES (9, mistake)"))
    statement = await connection.prepare("UPDATE todo SET task = $2 WHERE id = $1 RETURNING *")
    note(statement.get_parameters(), statement.get_attributes(), statement.get_statusmsg())
    note(await statement.fetch(1, "prepared"), statement.get_statusmsg())
    note(await statement.explain(1, "x") is not None)
    listed = await connection.fetch("SELECT statement FROM pg_prepared_statements ORDER BY statement")
    note([row["statement"] for row in listed])
    await connection.close()


@scenario("prepared")
async def a_schema_that_changes_under_the_cache():
    connection = await connect()
    for change in ("SELECT 1", "ALTER TABLE todo ADD COLUMN extra int", "ALTER TABLE todo DROP COLUMN extra", "DISCARD ALL"):
        await connection.execute(change)
        try:
            note(await connection.fetch("UPDATE todo SET done = false WHERE id = $1 RETURNING *", 2))
        except asyncpg.PostgresError as error:
            note(type(error).__name__, str(error))
            await connection.reload_schema_state()
    await connection.close()


@scenario("transaction")
async def transactions_and_savepoints():
    connection = await connect()
    async with connection.transaction():
        await connection.execute("INSERT INTO todo (task) VALUES ($1)", "kept")
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO todo (task) VALUES ($1)", "undone")
                await connection.execute("INSERT INTO todo (id) VALUES ($1)", 1)
        except asyncpg.UniqueViolationError as error:
            note(str(error), error.constraint_name)
        async with connection.transaction():
            await connection.execute("INSERT INTO todo (task) VALUES ($1)", "kept, too")
    async with connection.transaction(isolation="serializable", readonly=True, deferrable=True):
        note(await connection.fetchval("SELECT count(*) FROM todo"))
        await refused(connection.execute("INSERT INTO todo (task) VALUES ($1)", "read only"))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("UPDATE todo SET task = $1", "undone")
    await transaction.rollback()
    note(await connection.fetch("SELECT id, task FROM todo ORDER BY id"))
    await connection.close()


@scenario("context")
async def contexts_of_requests():
    pool = await asyncpg.create_pool(server_settings={"bemi.context": CONTEXT} if CONTEXT else {}, min_size=1, max_size=3)

    async def request(who):
        context = json.dumps({"user_id": who})
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('bemi.context', $1, true)", context)
            await connection.execute("UPDATE todo SET who = $1 WHERE id = $2", who, who)
            await connection.executemany("UPDATE todo SET who = $1, task = $2 WHERE id = $1", [(who, "a"), (who, "b")])
        async with pool.acquire() as connection:
            # The pool resets what this leaves behind.
            async with connection.transaction():
                await connection.execute(f"SET LOCAL bemi.context = '{context}'")
                await connection.execute("UPDATE todo SET who = $1, task = 'set local' WHERE id = $1", who)
            await connection.execute(f"SET bemi.context = '{context}'")
            await connection.execute("UPDATE todo SET task = 'set' WHERE id = $1", who)
            await connection.execute("SELECT set_config('bemi.context', $1, false)", context)
            await connection.execute("UPDATE todo SET task = $2 WHERE id = $1", who, "session")
        async with pool.acquire() as connection:
            comment = f'/*Bemi {{"user_id": {who}}} Bemi*/'
            await connection.execute(f"{comment} UPDATE todo SET who = $1 WHERE id = $2", who, who)
            await connection.execute("UPDATE todo SET who = NULL WHERE id = $1", who)

    for who in range(1, 6):
        await request(who)
    async with pool.acquire() as connection:
        note(await connection.fetch("SELECT id, task, who FROM todo ORDER BY id"))
    await pool.close()


@scenario("pipeline")
async def many_rows_at_once():
    connection = await connect()
    await connection.executemany("INSERT INTO todo (id, task) VALUES ($1, $2)", [(n, f"m{n}") for n in range(101000, 101500)])
    await refused(connection.executemany("INSERT INTO todo (id) VALUES ($1)", [(n,) for n in (102000, 101000, 102001)]))
    note(await connection.fetchmany("INSERT INTO todo (task) VALUES ($1) RETURNING task", [("f1",), ("f2",)]))
    note(await connection.execute("DELETE FROM todo WHERE id >= 100000"))
    await connection.close()


@scenario("copy")
async def copies():
    connection = await connect()
    note(await connection.copy_records_to_table("todo", records=[(n, "copied") for n in range(3000, 8000)], columns=["id", "task"]))
    await refused(connection.copy_records_to_table("todo", records=[(3000, "copied")], columns=["id", "task"]))
    chunks = []

    async def collect(chunk):
        chunks.append(len(chunk))

    note(await connection.copy_from_query("SELECT id, task FROM todo WHERE id >= $1 ORDER BY id", 3000, output=collect))
    note(sum(chunks))
    note(await connection.execute("DELETE FROM todo WHERE id >= 3000"))
    await connection.close()


@scenario("stream")
async def cursors():
    connection = await connect()
    async with connection.transaction():
        rows = connection.cursor("SELECT n, 'row ' || n AS t FROM generate_series(1, $1::int) AS n", 100_000, prefetch=5000)
        note(sum([row["n"] + len(row["t"]) async for row in rows]))
        cursor = await connection.cursor("INSERT INTO todo (task) SELECT 'c' FROM generate_series(1, 9) RETURNING id")
        note(len(await cursor.fetch(4)), len(await cursor.fetch(4)), len(await cursor.fetch(4)))
    await connection.close()


@scenario("types")
async def types_of_the_server_and_of_the_database():
    connection = await connect()
    await connection.execute(
        "CREATE TYPE mood AS ENUM ('calm', 'busy'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN positive AS int CHECK (value > 0);"
        "CREATE TABLE typed (id serial PRIMARY KEY, m mood, p pair, d positive, a mood[], j jsonb, n numeric, r int4range, t timestamptz, u uuid, b bytea)"
    )
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    values = (
        "busy", (1, "x"), 5, ["calm", None], {"a": [1]}, decimal.Decimal("1.50"), asyncpg.Range(1, 5),
        datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc), uuid.UUID(int=9), bytes(range(256)),
    )
    sql = "INSERT INTO typed (m, p, d, a, j, n, r, t, u, b) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *"
    note(await connection.fetchrow(sql, *values))
    await refused(connection.fetchrow(sql, *values[:2], -1, *values[3:]))
    note(await connection.fetchval("UPDATE typed SET b = $1 RETURNING length(b)", b"x" * 1_000_000))
    await connection.close()


@scenario("notify")
async def notifications_and_notices():
    connection = await connect()
    heard, notices = asyncio.Queue(), []

    def hear(_connection, _pid, channel, payload):
        heard.put_nowait((channel, payload))

    await connection.add_listener("changed", hear)
    connection.add_log_listener(lambda _connection, message: notices.append((message.severity_en, message.message)))
    await connection.execute("INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'")
    note(await asyncio.wait_for(heard.get(), 5))
    await connection.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
    await asyncio.sleep(0.1)
    note(notices)
    await connection.remove_listener("changed", hear)
    await connection.reset()
    await connection.close()


@scenario("cancel")
async def timeouts_and_cancelling():
    connection = await connect()
    try:
        await connection.fetch("INSERT INTO todo (task) SELECT pg_sleep($1)::text", 60, timeout=0.5)
    except asyncio.TimeoutError:
        note("timed out")
    task = asyncio.ensure_future(connection.execute("UPDATE todo SET task = pg_sleep($1)::text", 60))
    other = await connect()
    while not await other.fetchval(ASLEEP):
        await asyncio.sleep(0.02)
    await other.close()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        note("cancelled")
    note(await connection.execute("INSERT INTO todo (task) VALUES ($1)", "after"))
    await connection.close()


asyncio.run(run_all_async(f"asyncpg {asyncpg.__version__}"))
