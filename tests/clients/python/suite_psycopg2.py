"""psycopg2: simple queries only, parameters put into the text by the client, execute_values, named cursors, COPY."""

import io
import json
import select

import psycopg2
import psycopg2.extras
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from transcript import OPTIONS, note, run_all, scenario


def connect(autocommit=False):
    connection = psycopg2.connect("", options=OPTIONS)
    if autocommit:
        connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
    return connection


def refused(cursor, *arguments):
    """Notes the error that a statement ends with."""
    try:
        cursor.execute(*arguments)
    except psycopg2.Error as error:
        note(type(error).__name__, error.pgcode, str(error), error.diag.statement_position)
    else:
        note("no error")


@scenario
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


@scenario
def many_rows_at_once():
    with connect() as connection, connection.cursor() as cursor:
        rows = [(f"value {n}", n % 2 == 0) for n in range(250)]
        psycopg2.extras.execute_values(cursor, "INSERT INTO todo (task, done) VALUES %s RETURNING id", rows, page_size=100)
        note(len(cursor.fetchall()))
        psycopg2.extras.execute_batch(cursor, "UPDATE todo SET done = %s WHERE task = %s", [(True, row[0]) for row in rows])
        cursor.executemany("DELETE FROM todo WHERE task = %s", [(row[0],) for row in rows[:50]])
        cursor.execute("SELECT count(*), count(*) FILTER (WHERE done) FROM todo")
        note(cursor.fetchall())


@scenario
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


@scenario
def contexts_of_requests():
    connection = connect()
    for who in range(1, 5):
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('bemi.context', %s, true)", [json.dumps({"user_id": who})])
            cursor.execute("INSERT INTO todo (task, who) VALUES (%s, %s)", ["local", who])
            psycopg2.extras.execute_values(cursor, "INSERT INTO todo (task, who) VALUES %s", [("v", who)] * 3)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET bemi.context = %s", [json.dumps({"user_id": who})])
            cursor.execute("UPDATE todo SET who = %s WHERE id = 1", [who])
            connection.rollback()
            cursor.execute("UPDATE todo SET task = 'outside' WHERE who IS NULL")
        with connection, connection.cursor() as cursor:
            sql = "INSERT INTO todo (task, who) VALUES (%s, %s) /*Bemi {\"user_id\": %s} Bemi*/"
            cursor.execute(sql, ["comment", who, who])
    connection.close()


@scenario
def copies_and_cursors():
    connection = connect()
    with connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY todo (id, task) FROM STDIN", io.StringIO("".join(f"{n}\ttask\n" for n in range(5000, 9000))))
        note(cursor.rowcount)
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT id FROM todo WHERE id >= 5000 ORDER BY id) TO STDOUT", out)
        note(len(out.getvalue()))
        with connection.cursor("named") as named:
            named.execute("SELECT id FROM todo WHERE id >= 5000 ORDER BY id")
            note(sum(row[0] for row in named))
    try:
        with connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY todo (id) FROM STDIN", io.StringIO("1\n"))
    except psycopg2.Error as error:
        note(error.pgcode, str(error))
    connection.close()


@scenario
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


run_all()
