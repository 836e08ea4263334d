"""Django: its ORM over psycopg, savepoints in atomic blocks, server-side cursors, comments by an execute wrapper."""

import contextlib
import json
import os

import django
import psycopg
from django.conf import settings
from django.db import DatabaseError, connection, connections, models, transaction

from samples import JSON, VALUES
from transcript import OPTIONS, ROOT, WRONG_ROOT, note, run_all, scenario

settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "OPTIONS": {"options": OPTIONS, "server_side_binding": True},
        }
    },
    USE_TZ=True,
)
django.setup()


class Todo(models.Model):
    task = models.TextField(null=True)
    done = models.BooleanField(null=True)
    who = models.IntegerField(null=True)
    id = models.AutoField(primary_key=True)

    class Meta:
        app_label = "suite"
        db_table = "todo"


class Typed(models.Model):
    small = models.SmallIntegerField()
    big = models.BigIntegerField()
    number = models.DecimalField(max_digits=40, decimal_places=12)
    real = models.FloatField()
    text = models.TextField()
    bytes = models.BinaryField()
    day = models.DateField()
    at = models.DateTimeField()
    span = models.DurationField()
    uuid = models.UUIDField()
    json = models.JSONField()

    class Meta:
        app_label = "suite"


class Numbered(models.Model):
    task = models.TextField()

    class Meta:
        app_label = "suite"
        db_table = "numbered"
        managed = False


def refused(function):
    """Notes the error that a call ends with."""
    try:
        function()
    except DatabaseError as error:
        diag = getattr(error.__cause__, "diag", None)
        note(type(error).__name__, str(error), diag and (diag.sqlstate, diag.message_detail, diag.statement_position))
    else:
        note("no error")


def execute(sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else cursor.rowcount


@contextlib.contextmanager
def options(**more):
    """Another session, with these options of libpq."""
    kept = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict["OPTIONS"] = {**kept["OPTIONS"], **more}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(kept)


@scenario("connect")
def passwords_in_the_clear_and_over_tls():
    trusted, mistrusted = ({"sslmode": "verify-full", "sslrootcert": root} for root in (ROOT, WRONG_ROOT))
    wrong = {"password": "wrong"}
    for how in ({}, wrong, trusted, {**trusted, **wrong}, mistrusted):
        with options(**how):
            refused(lambda: note(execute("SELECT current_user")))


@scenario("types")
def values_of_many_types():
    for kind, value in VALUES:
        note(kind, execute(f"SELECT %s::{kind}", [value]))
    with connection.schema_editor() as editor:
        editor.create_model(Typed)
    by_kind = dict(VALUES)
    Typed.objects.create(
        small=by_kind["int2"], big=by_kind["int8"], number=by_kind["numeric"], real=0.1, text="it's \\ é", bytes=by_kind["bytea"],
        day=by_kind["date"], at=by_kind["timestamptz"], span=by_kind["interval"], uuid=by_kind["uuid"], json=JSON,
    )
    note({name: bytes(value) if name == "bytes" else value for name, value in Typed.objects.values().get().items()})
    with connection.schema_editor() as editor:
        editor.delete_model(Typed)


@scenario("prepared")
def one_statement_a_thousand_times():
    with options(prepare_threshold=1):
        tasks = (Todo.objects.create(id=40_000 + number, task=f"row {number}") for number in range(1000))
        note(sum(len(todo.task) for todo in tasks), sum(len(Todo.objects.get(id=40_000 + n).task) for n in range(1000)))
        note(execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT%%'", []))
        note(Todo.objects.filter(id__gte=40_000).delete())


@scenario("transaction")
def atomic_blocks():
    with transaction.atomic():
        Todo.objects.create(task="kept")
        refused(lambda: in_savepoint(lambda: Todo.objects.create(id=1)))
        with transaction.atomic():
            Todo.objects.create(task="kept, too")
        kept = transaction.savepoint()
        Todo.objects.update(task="undone")
        transaction.savepoint_rollback(kept)
    with contextlib.suppress(ValueError), transaction.atomic():
        Todo.objects.update(task="undone")
        raise ValueError
    with transaction.atomic():
        todo = Todo.objects.select_for_update().get(id=1)
        todo.done = True
        todo.save()
    note(list(Todo.objects.order_by("id").values_list("id", "task", "done")))
    note(Todo.objects.get_or_create(task="kept", defaults={"done": True})[1], Todo.objects.bulk_create([Todo(task="b")] * 3)[0].task)


def in_savepoint(function):
    with transaction.atomic():
        function()


@scenario("copy")
def copies_by_the_cursor_below():
    with connection.cursor() as cursor:
        with cursor.copy("COPY todo (id, task) FROM STDIN") as copy:
            for number in range(5000):
                copy.write_row((30_001 + number, "copied"))
        with cursor.copy("COPY (SELECT id, task FROM todo WHERE id > 30000 ORDER BY id) TO STDOUT") as copy:
            note(sum(len(block) for block in copy))
    note(Todo.objects.filter(id__gt=30_000).delete())


@scenario("errors")
def errors_of_the_server():
    refused(lambda: Todo.objects.create(id=1))
    refused(lambda: Todo.objects.extra(where=["mistake = 1"]).update(done=True))
    refused(lambda: Todo.objects.update(who=models.F("id") / (models.F("id") - models.F("id"))))
    for sql, values in (
        ("INSERT INTO todo (id) VALUES (1)", None),
        ("SELECT 1; INSERT INTO todo VALUES (9, mistake)", None),
        ("INSERT INTO todo VALUES (%s, mistake)", [9]),
        ("INSERT INTO nowhere VALUES (%s)", ["é"]),
    ):
        refused(lambda: execute(sql, values))


@scenario("stream")
def an_iterator():
    execute("CREATE VIEW numbered AS SELECT n AS id, 'row ' || n AS task FROM generate_series(1, 100000) AS n")
    note(sum(row.id + len(row.task) for row in Numbered.objects.iterator(chunk_size=5000)))


@scenario("context")
def contexts_of_requests():
    for who in range(1, 5):
        context = json.dumps({"user_id": who})
        with transaction.atomic():
            note(execute("SELECT set_config('bemi.context', %s, true)", [context]))
            Todo.objects.create(task="set_config", who=who)
        with transaction.atomic():
            execute(f"SET LOCAL bemi.context = '{context}'")
            Todo.objects.bulk_create([Todo(task="local", who=who)] * 3)
        Todo.objects.create(task="of the session")

        def commented(run, sql, values, many, state):
            return run(f"{sql} /*Bemi {context} Bemi*/", values, many, state)

        with connection.execute_wrapper(commented):
            Todo.objects.create(task="comment", who=who)
            Todo.objects.filter(id=1).update(who=who)
        Todo.objects.filter(id=1).update(who=None)
        execute(f"SET bemi.context = '{context}'")
        Todo.objects.create(task="set", who=who)
        execute("RESET bemi.context")
    connections.close_all()


BY_DRIVER = "Django leaves it to its driver"
run_all(f"Django {django.__version__} (psycopg {psycopg.__version__})", pipeline=BY_DRIVER, notify=BY_DRIVER, cancel=BY_DRIVER)
