"""SQLAlchemy over psycopg 3 and asyncpg: reflection, bulk inserts, two-phase commits, savepoints."""

import asyncio
import json

import sqlalchemy
from sqlalchemy import Boolean, Column, Integer, MetaData, String, Table, create_engine, event, func, insert, inspect, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.schema import ForeignKey

from samples import JSON, VALUES
from transcript import CONTEXT, OPTIONS, ROOT, WRONG_ROOT, note, run_all, scenario


def engine(how=None, **more):
    return create_engine("postgresql+psycopg://", connect_args={"options": OPTIONS, **(how or {})}, **more)


class Base(DeclarativeBase):
    pass


class List(Base):
    __tablename__ = "list"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    items: Mapped[list["Item"]] = relationship(back_populates="list", cascade="all, delete-orphan")


class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)
    list_id: Mapped[int] = mapped_column(ForeignKey("list.id"))
    name: Mapped[str]
    list: Mapped[List] = relationship(back_populates="items")


@scenario("connect")
def passwords_in_the_clear_and_over_tls():
    wrong = {"password": "wrong"}
    trusted, mistrusted = ({"sslmode": "verify-full", "sslrootcert": root} for root in (ROOT, WRONG_ROOT))
    for how in ({}, wrong, trusted, {**trusted, **wrong}, mistrusted):
        made = engine(how)
        try:
            with made.connect() as connection:
                note(connection.scalar(text("SELECT current_user")))
        except DBAPIError as error:
            note(str(error))
        made.dispose()


@scenario("types")
def values_of_many_types():
    made = engine()
    with made.connect() as connection:
        for kind, value in VALUES:
            note(kind, connection.scalar(text(f"SELECT CAST(:value AS {kind})"), {"value": value}))
        note(connection.scalar(select(sqlalchemy.literal(JSON, JSONB))))
    made.dispose()


@scenario("prepared")
def one_statement_a_thousand_times():
    made = engine({"prepare_threshold": 1})
    with made.begin() as connection:
        for sql in ("INSERT INTO todo (task) VALUES (:task) RETURNING length(task)", "SELECT length(:task)"):
            note(sum(connection.scalar(text(sql), {"task": f"row {number}"}) for number in range(1000)))
    made.dispose()


@scenario("errors")
def errors_of_the_server():
    made = engine(isolation_level="AUTOCOMMIT")
    with made.connect() as connection:
        for sql, values in (
            ("INSERT INTO todo (id) VALUES (1)", {}),
            ("INSERT INTO todo (id) VALUES (:id)", {"id": 1}),
            ("INSERT INTO todo VALUES (9, mistake)", {}),
            ("INSERT INTO todo VALUES (:id, mistake)", {"id": 9}),
            ("UPDATE todo SET id = id / :by", {"by": 0}),
        ):
            try:
                connection.execute(text(sql), values)
            except DBAPIError as error:
                diag = error.orig.diag
                note(type(error).__name__, diag.sqlstate, str(error), diag.message_detail, diag.statement_position)
    made.dispose()


@scenario("stream")
def rows_as_they_arrive():
    made = engine()
    with made.connect() as connection:
        rows = connection.execution_options(yield_per=5000).execute(text("SELECT n, 'row ' || n FROM generate_series(1, 100000) AS n"))
        note(sum(number + len(task) for number, task in rows))
    made.dispose()


@scenario()
def tables_are_made_and_reflected():
    made = engine()
    Base.metadata.create_all(made)
    reflected = Table("todo", MetaData(), autoload_with=made)
    note([(column.name, str(column.type), column.nullable) for column in reflected.columns])
    note(inspect(made).get_table_names(), inspect(made).get_foreign_keys("item"))
    made.dispose()


@scenario("transaction")
def objects_are_stored():
    made = engine()
    with Session(made) as session:
        session.add_all(List(name=f"list {n}", items=[Item(name=f"item {n}.{m}") for m in range(30)]) for n in range(3))
        session.commit()
        first = session.get(List, 1)
        first.name = "renamed"
        first.items.pop()
        with session.begin_nested():
            session.add(Item(list_id=2, name="nested"))
        try:
            with session.begin_nested():
                session.execute(insert(Item).values(id=2, list_id=2, name="duplicate"))
        except IntegrityError as error:
            note(str(error.orig))
        session.commit()
        note(session.scalars(select(func.count()).select_from(Item)).one())
        session.delete(first)
        session.flush()
        session.rollback()
        note(session.scalars(select(List.name).order_by(List.id)).all())
    made.dispose()


@scenario()
def many_rows_and_streams():
    todo = Table("todo", MetaData(), Column("id", Integer, primary_key=True), Column("task", String), Column("done", Boolean))
    made = engine()
    with made.begin() as connection:
        rows = [{"task": f"bulk {n}"} for n in range(1500)]
        note(len(connection.execute(insert(todo).returning(todo.c.id), rows).all()))
        connection.execute(update(todo).where(todo.c.task.like("bulk 1%")).values(done=True))
        streamed = select(todo).where(todo.c.task.like("bulk%")).execution_options(stream_results=True, max_row_buffer=100)
        note(sum(1 for _ in connection.execute(streamed)))
        note(connection.execute(text("DELETE FROM todo WHERE task LIKE 'bulk%'")).rowcount)
    with made.connect() as connection:
        transaction = connection.begin_twophase("sqlalchemy")
        connection.execute(insert(todo).values(task="two-phase"))
        transaction.prepare()
        transaction.rollback()
    made.dispose()


@scenario("context")
def contexts_of_requests():
    made = engine(pool_size=1)
    who = {"user_id": None}

    @event.listens_for(made, "begin")
    def set_context(connection):
        if who["user_id"]:
            connection.execute(text("SELECT set_config('bemi.context', :context, true)"), {"context": json.dumps(who)})

    for who["user_id"] in (1, 2, None, 3):
        with made.begin() as connection:
            connection.execute(text("UPDATE todo SET who = :who WHERE id = 1"), {"who": who["user_id"]})
            connection.execute(text("INSERT INTO todo (task, who) VALUES (:task, :who)"), {"task": "x", "who": who["user_id"]})
    insert_todo = "INSERT INTO todo (task, who) VALUES (:task, :who)"
    for user in (4, 5):
        who["user_id"] = None
        context = json.dumps({"user_id": user}).replace(":", "\\:")
        with made.begin() as connection:
            connection.execute(text(f"SET LOCAL bemi.context = '{context}'"))
            connection.execute(text(insert_todo), {"task": "set local", "who": user})
        with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"{insert_todo} /*Bemi {context} Bemi*/"), {"task": "comment", "who": user})
            connection.execute(text(f"SET bemi.context = '{context}'"))
            connection.execute(text(insert_todo), {"task": "set", "who": user})
            connection.execute(text("RESET bemi.context"))
            connection.execute(text(insert_todo), {"task": "reset", "who": None})
    made.dispose()


@scenario()
def the_same_over_asyncpg():
    settings = {"bemi.context": CONTEXT} if CONTEXT else {}

    async def work():
        made = create_async_engine("postgresql+asyncpg://", connect_args={"server_settings": settings})
        async with made.begin() as connection:
            result = await connection.execute(text("INSERT INTO todo (task) VALUES (:task) RETURNING task"), {"task": "asyncpg"})
            note(result.all())
            await connection.execute(text("UPDATE todo SET done = :done WHERE who IS NULL"), [{"done": True}, {"done": False}])
            rows = await connection.stream(text("SELECT generate_series(1, 500) AS n"))
            note(sum([row.n async for row in rows]))
        try:
            async with made.begin() as connection:
                await connection.execute(text("INSERT INTO todo (id) VALUES (1)"))
        except IntegrityError as error:
            note(str(error.orig))
        await made.dispose()

    asyncio.run(work())


BY_DRIVER = "SQLAlchemy leaves it to its driver"
run_all(
    f"SQLAlchemy {sqlalchemy.__version__} (psycopg, asyncpg)",
    pipeline=BY_DRIVER, copy=BY_DRIVER, notify=BY_DRIVER, cancel=BY_DRIVER,
)
