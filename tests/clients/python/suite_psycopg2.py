"""psycopg2: simple queries only, parameters put into the text by the client, execute_values, named cursors, COPY."""

import io
import json
import select

import psycopg2
import psycopg2.extras
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from samples import JSON, VALUES
from transcript import OPTIONS, ROOT, WRONG_ROOT, note, once_asleep, run_all, scenario


def connect(autocommit=False, **more):
    connection = psycopg2.connect("", options=OPTIONS, **more)
    if autocommit:
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    return connection


def refused(cursor, *arguments):
    """Notes the error that a statement ends with."""
    try:
        cursor.execute(*arguments)
    except psycopg2.Error as error:
        note(type(error).__name__, error.pgcode, str(error), error.diag.message_detail, error.diag.statement_position)
    else:
        note("no error")


@scenario("connect")
def passwords_in_the_clear_and_over_tls():
    def attempt(**how):
        try:
            connection = connect(**how)
            note(connection.info.ssl_in_use, connection.info.used_password)
            connection.close()
        except psycopg2.OperationalError as error:
            note(str(error))

    attempt()
    attempt(password="wrong")
    for root in (ROOT, WRONG_ROOT):
        attempt(sslmode="verify-full", sslrootcert=root)
    attempt(sslmode="verify-full", sslrootcert=ROOT, password="wrong")


@scenario("types")
def values_of_many_types():
    connection = connect()
    cursor = connection.cursor()
    psycopg2.extras.register_uuid()
    for kind, value in VALUES:
        cursor.execute(f"SELECT CAST(%s AS {kind})", [value])
        (found,) = cursor.fetchone()
        note(kind, bytes(found) if kind == "bytea" else found)
    cursor.execute("SELECT %s::json, %s::jsonb", [psycopg2.extras.Json(JSON)] * 2)
    note(cursor.fetchone())
    connection.close()


@scenario("prepared")
def one_statement_a_thousand_times():
    connection = connect(autocommit=True)
    cursor = connection.cursor()

    def total(name):
        for number in range(1000):
            cursor.execute(f"EXECUTE {name} (%s)", [f"row {number}"])
            yield cursor.fetchone()[0]

    cursor.execute("PREPARE put (text) AS INSERT INTO todo (task) VALUES ($1) RETURNING length(task)")
    cursor.execute("PREPARE read (text) AS SELECT length($1)")
    note(sum(total("put")), sum(total("read")))
    connection.close()


@scenario("errors")
def statements_in_autocommit():
    connection = connect(autocommit=True)
    cursor = connection.cursor()
    cursor.execute("INSERT INTO todo (task) VALUES (%s) RETURNING id, task", ["it's \\ é €"])
    note(cursor.fetchall(), cursor.statusmessage)
    cursor.execute("INSERT INTO todo (task) VALUES (%(a)s); UPDATE todo SET done = true; SELECT 7", {"a": "b"})
    note(cursor.fetchall())
    refused(cursor, "INSERT INTO todo (id) VALUES (1)")
    refused(cursor, "SELECT 1; INSERT INTO todo VALUES (%s, mistake)", [9])
    refused(cursor, "INSERT INTO todo VALUES (%s, mistake, %s)", ["é", True])
    cursor.callproc("lower", ["CALLED"])
    note(cursor.fetchall())
    connection.close()


@scenario()
def many_rows_at_once():
    with connect() as connection, connection.cursor() as cursor:
        rows = [(f"value {n}", n % 2 == 0) for n in range(250)]
        psycopg2.extras.execute_values(cursor, "INSERT INTO todo (task, done) VALUES %s RETURNING id", rows, page_size=100)
        note(len(cursor.fetchall()))
        psycopg2.extras.execute_batch(cursor, "UPDATE todo SET done = %s WHERE task = %s", [(True, row[0]) for row in rows])
        cursor.executemany("DELETE FROM todo WHERE task = %s", [(row[0],) for row in rows[:50]])
        cursor.execute("SELECT count(*), count(*) FILTER (WHERE done) FROM todo")
        note(cursor.fetchall())


@scenario("transaction")
def transactions():
    connection = connect()
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO todo (task) VALUES ('kept')")
        cursor.execute("SAVEPOINT one")
        refused(cursor, "INSERT INTO todo (id) VALUES (1)")
        refused(cursor, "INSERT INTO todo (task) VALUES ('in a failed one')")
        cursor.execute("ROLLBACK TO one")
        cursor.execute("INSERT INTO todo (task) VALUES ('kept, too')")
        note(connection.get_transaction_status())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO todo (task) VALUES ('undone')")
            raise ValueError
    except ValueError:
        note(connection.get_transaction_status())
    connection.set_session(readonly=True)
    with connection, connection.cursor() as cursor:
        refused(cursor, "UPDATE todo SET done = true")
    connection.set_session(readonly=False, isolation_level="SERIALIZABLE")
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE todo SET done = true WHERE id = 1")
    connection.reset()
    connection.close()


@scenario("context")
def contexts_of_requests():
    connection = connect()
    for who in range(1, 5):
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('bemi.context', %s, true)", [json.dumps({"user_id": who})])
            cursor.execute("INSERT INTO todo (task, who) VALUES (%s, %s)", ["local", who])
            psycopg2.extras.execute_values(cursor, "INSERT INTO todo (task, who) VALUES %s", [("v", who)] * 3)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL bemi.context = %s", [json.dumps({"user_id": who})])
            cursor.execute("INSERT INTO todo (task, who) VALUES (%s, %s)", ["set local", who])
        with connection, connection.cursor() as cursor:
            cursor.execute("SET bemi.context = %s", [json.dumps({"user_id": who})])
            cursor.execute("UPDATE todo SET who = %s WHERE id = 1", [who])
            connection.rollback()
            cursor.execute("UPDATE todo SET task = 'outside' WHERE who IS NULL")
        with connection, connection.cursor() as cursor:
            sql = "INSERT INTO todo (task, who) VALUES (%s, %s) /*Bemi {\"user_id\": %s} Bemi*/"
            cursor.execute(sql, ["comment", who, who])
    connection.close()


@scenario("copy")
def copies():
    connection = connect()
    with connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY todo (id, task) FROM STDIN", io.StringIO("".join(f"{n}\ttask\n" for n in range(5000, 9000))))
        note(cursor.rowcount)
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT id FROM todo WHERE id >= 5000 ORDER BY id) TO STDOUT", out)
        note(len(out.getvalue()))
    try:
        with connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY todo (id) FROM STDIN", io.StringIO("1\n"))
    except psycopg2.Error as error:
        note(error.pgcode, str(error))
    connection.close()


@scenario("stream")
def a_named_cursor():
    with connect() as connection, connection.cursor("named") as named:
        named.execute("SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n")
        numbers, lengths = zip(*((number, len(text)) for number, text in named))
        note(len(numbers), sum(numbers), sum(lengths))


@scenario("cancel")
def cancelling_a_write():
    connection = connect(autocommit=True)
    cursor = connection.cursor()
    other = connect(autocommit=True)

    def ask(asleep):
        with other.cursor() as watching:
            watching.execute(asleep)
            return watching.fetchone()[0]

    thread = once_asleep(ask, connection.cancel)
    refused(cursor, "INSERT INTO todo (task) SELECT pg_sleep(60)::text")
    thread.join()
    other.close()
    cursor.execute("INSERT INTO todo (task) VALUES ('after')")
    connection.close()


@scenario("notify")
def notifications_notices_and_large_objects():
    connection = connect(autocommit=True)
    cursor = connection.cursor()
    cursor.execute("LISTEN changed; INSERT INTO todo (task) VALUES ('x'); NOTIFY changed, 'one'; NOTIFY changed, 'two'")
    select.select([connection], [], [], 1)
    connection.poll()
    note([(item.channel, item.payload) for item in connection.notifies])
    cursor.execute("DO $$ BEGIN RAISE NOTICE 'seen'; END $$; DROP TABLE IF EXISTS nowhere; UPDATE todo SET done = false WHERE id = 1 AND who IS NULL")
    note(connection.notices)
    connection.set_isolation_level(1)
    large = connection.lobject(0, "wb")
    large.write(b"x" * 100_000)
    large.seek(10)
    large.truncate(50_000)
    oid = large.oid
    large.close()
    cursor.execute("INSERT INTO todo (task) VALUES ('beside a large object')")
    connection.commit()
    note(len(connection.lobject(oid, "rb").read()))
    connection.lobject(oid).unlink()
    connection.close()


run_all(
    f"psycopg2 {psycopg2.__version__.split()[0]} (libpq {psycopg2.__libpq_version__ // 10000}.{psycopg2.__libpq_version__ % 10000})",
    pipeline="the driver has no pipeline",
)
