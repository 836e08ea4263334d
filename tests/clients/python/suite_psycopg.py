"""psycopg 3: its protocol is libpq's, with server-side binding, pipeline mode, COPY, server cursors, asyncio."""

import asyncio
import datetime
import decimal
import json
import uuid

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from samples import JSON, VALUES
from transcript import OPTIONS, ROOT, WRONG_ROOT, note, once_asleep, run_all, scenario


def connect(**more):
    return psycopg.connect(options=OPTIONS, **more)


def refused(function):
    """Notes the error that a call ends with."""
    try:
        function()
    except psycopg.Error as error:
        diag = error.diag
        note(type(error).__name__, diag.sqlstate, diag.message_primary, diag.message_detail, diag.statement_position)
    else:
        note("no error")


@scenario("connect")
def passwords_in_the_clear_and_over_tls():
    def attempt(**how):
        try:
            with connect(**how) as connection:
                note(connection.execute("SELECT current_user").fetchone(), connection.pgconn.used_password)
        except psycopg.OperationalError as error:
            note(error.sqlstate, str(error))

    attempt()
    attempt(password="wrong")
    attempt(password="")
    attempt(user="nobody")
    attempt(dbname="nowhere")
    for root in (ROOT, WRONG_ROOT):
        attempt(sslmode="verify-full", sslrootcert=root)
        attempt(sslmode="verify-full", sslrootcert=root, channel_binding="require")
    attempt(sslmode="verify-full", sslrootcert=ROOT, password="wrong")
    attempt(sslmode="disable", channel_binding="require")
    with connect() as connection:
        has_direct_tls = connection.info.server_version >= 170000
    if has_direct_tls:
        attempt(sslmode="verify-full", sslrootcert=ROOT, sslnegotiation="direct")
        attempt(sslmode="verify-full", sslrootcert=WRONG_ROOT, sslnegotiation="direct")


@scenario("errors")
def statements_in_autocommit():
    with connect(autocommit=True) as connection:
        note(connection.execute("INSERT INTO todo (task) VALUES (%s) RETURNING id, task", ["é €"]).fetchall())
        note(connection.execute("UPDATE todo SET done = true WHERE id < %s", [3]).rowcount)
        note(connection.execute("DELETE FROM todo WHERE id = 3").statusmessage)
        note(connection.execute("INSERT INTO todo (task) VALUES ('a'); UPDATE todo SET done = false").nextset())
        refused(lambda: connection.execute("INSERT INTO todo (id) VALUES (1)"))
        refused(lambda: connection.execute("INSERT INTO todo (id) VALUES (%s)", [1]))
        refused(lambda: connection.execute("INSERT INTO todo VALUES (9, mistake)"))
        refused(lambda: connection.execute("SELECT 1; INSERT INTO todo VALUES (9, mistake)"))
        refused(lambda: connection.execute("INSERT INTO todo VALUES (%s, mistake)", [9]))
        note(connection.execute("SELECT id, task, done FROM todo ORDER BY id").fetchall())


@scenario("prepared")
def one_statement_a_thousand_times():
    with connect(autocommit=True) as connection:

        def total(statement):
            rows = (connection.execute(statement, [f"row {number}"], prepare=True).fetchone() for number in range(1000))
            return sum(row[0] for row in rows)

        note(total("INSERT INTO todo (task) VALUES (%s) RETURNING length(task)"), total("SELECT length(%s)"))
        connection.execute("DELETE FROM todo WHERE task LIKE 'row %'")


@scenario("prepared")
def statements_prepared_by_the_driver():
    with connect(autocommit=True, prepare_threshold=2) as connection:
        for number in range(8):
            row = connection.execute("INSERT INTO todo (task) VALUES (%s) RETURNING id", [f"p{number}"]).fetchone()
            note(row, connection.execute("SELECT count(*) FROM todo WHERE task LIKE %s", ["p%"]).fetchone())
        names = "SELECT name, statement FROM pg_prepared_statements ORDER BY name"
        note(connection.execute(names).fetchall())
        connection.execute("DEALLOCATE ALL")
        refused(lambda: connection.execute("INSERT INTO todo (task) VALUES (%s) RETURNING id", ["gone"]))
        note(connection.execute("UPDATE todo SET done = %s", [True], prepare=True).rowcount)
    with connect(prepare_threshold=0) as connection:
        for number in range(3):
            connection.execute("INSERT INTO todo (task) VALUES (%s)", [f"q{number}"])
        connection.rollback()
        connection.execute("INSERT INTO todo (task) VALUES (%s)", ["kept"])
    with connect(prepare_threshold=0, autocommit=True) as connection:
        connection.prepared_max = 3
        for number in range(10):
            connection.execute(f"UPDATE todo SET done = %s /* {number} */ WHERE id = 1", [True])
        note(len(connection.execute(names).fetchall()))


@scenario("pipeline")
def pipelines():
    with connect(autocommit=True) as connection:
        with connection.pipeline() as pipeline:
            cursors = [
                connection.execute("INSERT INTO todo (task) VALUES (%s) RETURNING task", [f"n{number}"])
                for number in range(50)
            ]
            pipeline.sync()
            reads = [connection.execute("SELECT %s::int", [number]) for number in range(50)]
        note([cursor.fetchone() for cursor in cursors], [cursor.fetchone() for cursor in reads])

        def failing():
            with connection.pipeline():
                connection.execute("INSERT INTO todo (task) VALUES ('undone')")
                connection.execute("INSERT INTO todo (id) VALUES (%s)", [1])
                connection.execute("INSERT INTO todo (task) VALUES ('never')")

        refused(failing)
        with connection.pipeline(), connection.transaction():
            connection.execute("UPDATE todo SET task = %s WHERE id = 1", ["in a block"])
            connection.execute("DELETE FROM todo WHERE id = %s", [2])
        cursor = connection.cursor()
        cursor.executemany(
            "INSERT INTO todo (task) VALUES (%s) RETURNING id", [[f"many {n}"] for n in range(20)], returning=True
        )
        note(cursor.fetchone(), cursor.nextset(), cursor.fetchone())
        note(connection.execute("SELECT count(*), min(task), max(task) FROM todo").fetchall())


@scenario("transaction")
def transactions_and_savepoints():
    with connect() as connection:
        connection.execute("INSERT INTO todo (task) VALUES ('one')")
        with connection.transaction():
            connection.execute("INSERT INTO todo (task) VALUES ('two')")
        try:
            with connection.transaction():
                connection.execute("INSERT INTO todo (task) VALUES ('undone')")
                connection.execute("INSERT INTO todo (id) VALUES (%s)", [1])
        except psycopg.errors.UniqueViolation as error:
            note(str(error))
        connection.execute("INSERT INTO todo (task) VALUES ('three')")
        with connection.transaction(force_rollback=True):
            connection.execute("UPDATE todo SET task = 'undone'")
        note(connection.execute("SELECT task FROM todo WHERE id > 5 ORDER BY id").fetchall(), connection.info.transaction_status)
    with connect() as connection:
        refused(lambda: connection.execute("SELECT 1/0"))
        refused(lambda: connection.execute("INSERT INTO todo (task) VALUES ('in a failed one')"))
        note(connection.info.transaction_status)
        connection.rollback()
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        connection.execute("INSERT INTO todo (task) VALUES ('serializable')")
        connection.commit()
        connection.read_only = True
        refused(lambda: connection.execute("INSERT INTO todo (task) VALUES ('read only')"))
        connection.rollback()
        connection.read_only = False
        connection.tpc_begin("one")
        connection.execute("INSERT INTO todo (task) VALUES ('two-phase')")
        connection.tpc_prepare()
        connection.tpc_rollback()


@scenario("context")
def contexts_of_requests():
    with connect(autocommit=True, prepare_threshold=1) as connection:
        for who in range(1, 6):
            context = json.dumps({"user_id": who, "name": "Zoë"})
            with connection.transaction():
                connection.execute("SELECT set_config('bemi.context', %s, true)", [context])
                connection.execute("INSERT INTO todo (task, who) VALUES (%s, %s)", ["local", who])
                connection.execute("UPDATE todo SET who = %s WHERE id = 1", [who])
            connection.execute("INSERT INTO todo (task) VALUES (%s)", ["outside"])
            with connection.transaction():
                connection.execute(sql.SQL("SET LOCAL bemi.context = {}").format(context))
                connection.execute("INSERT INTO todo (task, who) VALUES (%s, %s)", ["set local", who])
            with connection.pipeline():
                connection.execute("SELECT set_config('bemi.context', %s, true)", [context])
                connection.execute("INSERT INTO todo (task, who) VALUES (%s, %s)", ["pipelined", who])
            comment = f'/*Bemi {{"user_id": {who}}} Bemi*/ '
            connection.execute(comment + "INSERT INTO todo (task, who) VALUES (%s, %s)", ["comment", who])
            connection.execute(sql.SQL("SET bemi.context = {}").format(context))
            connection.execute("INSERT INTO todo (task, who) VALUES (%s, %s)", ["session", who])
            connection.execute("RESET bemi.context")
            connection.execute("UPDATE todo SET who = NULL WHERE who IS NOT NULL")


@scenario("copy")
def copies():
    rows = [(n, f"row {n}\t\\ é") for n in range(10000, 11000)]
    with connect(autocommit=True) as connection:
        cursor = connection.cursor()
        with cursor.copy("COPY todo (id, task) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        note(cursor.rowcount)
        with cursor.copy("COPY todo (id, task) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for number, task in rows[:100]:
                copy.write_row((number + 5000, task))
        note(cursor.rowcount)

        def broken():
            with cursor.copy("COPY todo (id, task) FROM STDIN") as copy:
                copy.write_row((1, "duplicate"))

        def given_up():
            with cursor.copy("COPY todo (id, task) FROM STDIN") as copy:
                copy.write_row((9999, "never"))
                raise psycopg.DataError("given up")

        refused(broken)
        refused(given_up)
        with cursor.copy("COPY (SELECT id, task FROM todo ORDER BY id) TO STDOUT") as copy:
            note(sum(len(block) for block in copy))
        with cursor.copy("COPY (SELECT id, task FROM todo WHERE id BETWEEN 10000 AND 10003 ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            note(list(copy.rows()))
        note(connection.execute("DELETE FROM todo WHERE id >= 9000").rowcount)


@scenario("stream")
def server_cursors_and_streams():
    with connect() as connection:
        with connection.cursor(name="named") as cursor:
            cursor.itersize = 5000
            cursor.execute("SELECT n FROM generate_series(1, 100000) AS n")
            note(sum(row[0] for row in cursor))
        with connection.cursor(name="scrolling", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM todo ORDER BY id")
            note(cursor.fetchmany(3))
            cursor.scroll(-2)
            note(cursor.fetchone())
        with connection.cursor(name="walking") as cursor:
            cursor.execute("SELECT id FROM todo ORDER BY id FOR UPDATE")
            note(cursor.fetchmany(2))
            connection.execute("UPDATE todo SET done = true WHERE CURRENT OF walking")
            note(cursor.fetchall())
        cursor = connection.cursor()
        note(sum(row[0] for row in cursor.stream("SELECT n FROM generate_series(1, 100000) AS n")))
        sql_text = "INSERT INTO todo (task) SELECT 'streamed' FROM generate_series(1, 20) RETURNING id"
        note(len(list(cursor.stream(sql_text))))


@scenario("types")
def values_of_many_types():
    values = {
        "int": -(2**40),
        "numeric": decimal.Decimal("123456789012345678901234567890.000100"),
        "text": "quote ' backslash \\ elephant \U0001f418",
        "bytes": bytes(range(256)),
        "date": datetime.datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=datetime.timezone.utc),
        "list": [1, None, 3],
        "uuid": uuid.UUID(int=7),
        "json": Jsonb({"a": [1, {"b": None}]}),
        "null": None,
        "long": "x" * 2_000_000,
    }
    with connect() as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            for kind, value in VALUES:
                note(kind, cursor.execute(f"SELECT %s::{kind}", [value]).fetchone())
            note(cursor.execute("SELECT %s::json, %s::jsonb", [Jsonb(JSON), Jsonb(JSON)]).fetchone())
    with connect(autocommit=True, row_factory=dict_row) as connection:
        connection.execute("CREATE TABLE kept (id serial PRIMARY KEY, kind text, t text)")
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            for kind, value in values.items():
                row = cursor.execute("SELECT %s AS value", [value]).fetchone()
                note(kind, len(row["value"]) if kind == "long" else row)
                stored = cursor.execute("INSERT INTO kept (kind, t) VALUES (%s, %s::text) RETURNING length(t)", [kind, value])
                note(stored.fetchone())


@scenario("notify")
def notifications_and_notices():
    with connect(autocommit=True) as connection:
        notices = []
        connection.add_notice_handler(lambda diag: notices.append((diag.severity, diag.message_primary, diag.sqlstate)))
        connection.execute("LISTEN changed")
        connection.execute("SET bemi.context = '{\"user_id\": 7}'")
        connection.execute("INSERT INTO todo (task, who) VALUES ('notifying', 7)")
        connection.execute("NOTIFY changed, 'payload'")
        connection.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
        note([(item.channel, item.payload) for item in connection.notifies(timeout=1, stop_after=1)])
        note(notices)


@scenario("cancel")
def cancelling_a_write():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        thread = once_asleep(lambda asleep: other.execute(asleep).fetchone()[0], connection.cancel_safe)
        refused(lambda: connection.execute("INSERT INTO todo (task) SELECT pg_sleep(60)::text"))
        thread.join()
        connection.execute("INSERT INTO todo (task) VALUES (%s)", ["after"])


@scenario("cancel")
def cancelling_over_tls():
    """From version 17 on, libpq asks by TLS as well."""
    tls = {"sslmode": "verify-full", "sslrootcert": ROOT}
    with connect(autocommit=True, **tls) as connection, connect(autocommit=True) as other:
        thread = once_asleep(lambda asleep: other.execute(asleep).fetchone()[0], connection.cancel_safe)
        refused(lambda: connection.execute("INSERT INTO todo (task) SELECT pg_sleep(60)::text"))
        thread.join()


@scenario()
def many_tasks_at_once():
    async def work(number):
        async with await psycopg.AsyncConnection.connect(options=OPTIONS) as connection:
            async with connection.pipeline():
                for step in range(5):
                    await connection.execute("INSERT INTO todo (task) VALUES (%s)", [f"{number}.{step}"])
            await connection.rollback()
            cursor = await connection.execute("SELECT count(*) FROM todo WHERE task LIKE %s", [f"{number}.%"])
            return await cursor.fetchone()

    async def all_of_them():
        note(await asyncio.gather(*(work(number) for number in range(8))))

    asyncio.run(all_of_them())


run_all(f"psycopg {psycopg.__version__} (libpq {psycopg.pq.version_pretty(psycopg.pq.version())})")
