"""psqlodbc, by pyodbc: its own parser of placeholders, statements prepared by the server, cursors behind the scenes."""

import datetime
import json
import os
import uuid

import pyodbc

from samples import JSON, VALUES
from transcript import OPTIONS, ROOT, WRONG_ROOT, note, once_asleep, run_all, scenario

pyodbc.pooling = False


def connect(autocommit=True, tls=None, **more):
    settings = {
        "DRIVER": "{PostgreSQL Unicode}", "SERVER": os.environ["PGHOST"], "PORT": os.environ["PGPORT"],
        "DATABASE": os.environ["PGDATABASE"], "UID": os.environ["PGUSER"], "PWD": os.environ["PGPASSWORD"],
        "SSLmode": "verify-full" if tls else "disable", "BoolsAsChar": "0",
    }  # fmt: skip
    libpq = [f"sslrootcert={tls}"] if tls else []
    if OPTIONS:
        libpq.append(f"options='{OPTIONS}'")
    if libpq:
        # Its own braces end at the first brace that is not doubled.
        settings["pqopt"] = "{" + " ".join(libpq).replace("}", "}}") + "}"
    settings.update(more)
    return pyodbc.connect(";".join(f"{name}={value}" for name, value in settings.items()), autocommit=autocommit)


def refused(function):
    """Notes the error that a call ends with."""
    try:
        function()
    except pyodbc.Error as error:
        note(type(error).__name__, *error.args)
    else:
        note("no error")


@scenario("connect")
def passwords_in_the_clear_and_over_tls():
    for how in ({}, {"PWD": "wrong"}, {"tls": ROOT}, {"tls": ROOT, "PWD": "wrong"}, {"tls": WRONG_ROOT}):
        refused(lambda: note(connect(**how).execute("SELECT current_user").fetchone()))


def as_odbc_has_it(value):
    """ODBC has neither lists nor, in this driver, intervals and UUIDs: they go as text."""
    if isinstance(value, list):
        return "{" + ",".join("NULL" if item is None else json.dumps(item) for item in value) + "}"
    return str(value) if isinstance(value, (datetime.timedelta, uuid.UUID)) else value


@scenario("types")
def values_of_many_types():
    for prepared in ("0", "1"):
        connection = connect(UseServerSidePrepare=prepared)
        for kind, value in [*VALUES, ("json", json.dumps(JSON)), ("jsonb", json.dumps(JSON))]:
            note(kind, connection.execute(f"SELECT CAST(? AS {kind})", as_odbc_has_it(value)).fetchone())
        connection.close()


@scenario("prepared")
def one_statement_a_thousand_times():
    connection = connect()
    for sql in ("INSERT INTO todo (task) VALUES (?) RETURNING length(task)", "SELECT length(CAST(? AS text))"):
        cursor = connection.cursor()
        note(sum(cursor.execute(sql, f"row {number}").fetchone()[0] for number in range(1000)))
    cursor = connection.cursor()
    cursor.fast_executemany = True
    cursor.executemany("INSERT INTO todo (task, done) VALUES (?, ?)", [(f"array {number}", 1) for number in range(50)])
    note(connection.execute("DELETE FROM todo WHERE id > 5").rowcount)
    connection.close()


@scenario("transaction")
def commits_and_savepoints():
    # What the driver undoes after an error: nothing, the transaction, the statement (by a savepoint of its own).
    for protocol in ("7.4-0", "7.4-1", "7.4-2"):
        connection = connect(autocommit=False, Protocol=protocol)
        connection.execute("INSERT INTO todo (task) VALUES (?)", f"kept {protocol}")
        connection.execute("SAVEPOINT one")
        refused(lambda: connection.execute("INSERT INTO todo (id) VALUES (?)", 1))
        refused(lambda: connection.execute("ROLLBACK TO one"))
        refused(lambda: connection.execute("INSERT INTO todo (task) VALUES (?)", f"after {protocol}"))
        connection.commit()
        connection.execute("UPDATE todo SET task = 'undone'")
        connection.rollback()
        note(connection.execute("SELECT task FROM todo ORDER BY id").fetchall())
        connection.close()


@scenario("cancel")
def another_thread_cancels():
    connection = connect()
    other = connect()
    cursor = connection.cursor()
    thread = once_asleep(lambda asleep: other.execute(asleep).fetchone()[0], cursor.cancel)
    refused(lambda: cursor.execute("INSERT INTO todo (task) SELECT pg_sleep(60)::text"))
    thread.join()
    note(connection.execute("INSERT INTO todo (task) VALUES ('after')").rowcount)
    other.close()
    connection.close()


@scenario("errors")
def errors_in_both_protocols():
    for prepared in ("0", "1"):
        connection = connect(UseServerSidePrepare=prepared)
        for sql, *values in (
            ("INSERT INTO todo (id) VALUES (1)",),
            ("INSERT INTO todo (id) VALUES (?)", 1),
            ("INSERT INTO todo VALUES (9, 'é', mistake)",),
            ("INSERT INTO todo VALUES (?, mistake)", 9),
            ("UPDATE todo SET id = 1 / (id - id)",),
            ("SELECT 1; INSERT INTO todo VALUES (9, mistake)",),
        ):
            refused(lambda: connection.execute(sql, *values))
        connection.close()


@scenario("stream")
def a_cursor_behind_the_scenes():
    connection = connect(autocommit=False, UseDeclareFetch="1", Fetch="5000")
    rows = connection.execute("SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n")
    note(sum(number + len(text) for number, text in rows))
    connection.close()


@scenario()
def the_catalog_is_asked():
    connection = connect()
    cursor = connection.cursor()
    note([(row.table_name, row.table_type) for row in cursor.tables(schema="public")])
    note([(row.column_name, row.type_name, row.nullable) for row in cursor.columns(table="todo")])
    note([row.column_name for row in cursor.primaryKeys("todo")])
    connection.close()


@scenario("context")
def contexts_of_requests():
    connection = connect(autocommit=False)
    insert = "INSERT INTO todo (task, who) VALUES (?, ?)"
    for who in range(1, 5):
        context = f'{{"user_id": {who}}}'
        note(connection.execute("SELECT set_config('bemi.context', ?, true)", context).fetchone())
        connection.execute(insert, "set_config", who)
        connection.commit()
        connection.execute(f"SET LOCAL bemi.context = '{context}'")
        connection.execute(insert, "local", who)
        connection.commit()
        connection.execute(insert, "of the session", None)
        connection.execute(f"/*Bemi {context} Bemi*/ {insert}", "comment", who)
        connection.execute(f"SET bemi.context = '{context}'")
        connection.commit()
        connection.execute(insert, "set", who)
        connection.execute("RESET bemi.context")
        connection.commit()
    connection.close()


run_all(
    f"psqlodbc {connect().getinfo(pyodbc.SQL_DRIVER_VER)} (pyodbc {pyodbc.version})",
    pipeline="the driver has no pipeline",
    copy="ODBC has no COPY",
    notify="ODBC has no notifications",
)
