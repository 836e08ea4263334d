"""A to-do list with FastAPI and SQLAlchemy. Every row change carries who asked for it, and by which request.

python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
DATABASE_URL=postgresql://... .venv/bin/uvicorn app:app --port 3000
"""

import json
import os
from contextvars import ContextVar

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import create_engine, event, make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column, sessionmaker

# What is known of the request that runs. A global variable would be overwritten by the next request; every request, and the
# thread that an endpoint runs in, has its own value of this.
current: ContextVar[dict | None] = ContextVar("current", default=None)

url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
engine = create_engine(url, pool_size=int(os.environ.get("POOL_SIZE", 10)), max_overflow=0)


@event.listens_for(engine, "before_cursor_execute", retval=True)
def append_context(connection, cursor, statement, parameters, context, executemany):
    """Appends the context to each statement as a comment, which the proxy reads: /*Bemi {"user_id": 42} Bemi*/."""
    request = current.get()
    if request is not None:
        # Other ways to write "/" and "%" in JSON: what users choose can then not end the comment, nor be taken for a
        # placeholder of the driver.
        text = json.dumps(request).replace("/", r"\/").replace("%", r"\u0025")
        statement = f"{statement} /*Bemi {text} Bemi*/"
    return statement, parameters


app = FastAPI()


@app.middleware("http")
async def remember_request(request: Request, call_next):
    context = {"endpoint": request.url.path, "method": request.method}
    if (user := user_of(request)) is not None:
        context["user_id"] = user
    token = current.set(context)
    try:
        return await call_next(request)
    finally:
        current.reset(token)


def user_of(request: Request) -> int | None:
    """Your authentication goes here."""
    user = request.headers.get("X-User-Id")
    return int(user) if user else None


# From here on nothing knows of contexts.


class Base(MappedAsDataclass, DeclarativeBase):
    pass


class Todo(Base):
    __tablename__ = "todo"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    task: Mapped[str]
    author: Mapped[int | None]
    done: Mapped[bool] = mapped_column(default=False)


class NewTodo(BaseModel):
    task: str


class NewTodos(BaseModel):
    tasks: list[str]


class Progress(BaseModel):
    done: bool


session_of = sessionmaker(engine, expire_on_commit=False)


def find(session: Session, id: int) -> Todo:
    todo = session.get(Todo, id)
    if todo is None:
        raise HTTPException(404)
    return todo


@app.post("/todos", status_code=201)
def create(new: NewTodo, request: Request):
    with session_of.begin() as session:
        todo = Todo(new.task, user_of(request))
        session.add(todo)
    return todo


@app.post("/todos/import", status_code=201)
def import_all(new: NewTodos, request: Request):
    """All of them, or none."""
    with session_of.begin() as session:
        todos = [Todo(task, user_of(request)) for task in new.tasks]
        for todo in todos:
            session.add(todo)
            session.flush()
    return todos


@app.patch("/todos/{id}")
def update(id: int, progress: Progress):
    with session_of.begin() as session:
        todo = find(session, id)
        todo.done = progress.done
    return todo


@app.delete("/todos/{id}", status_code=204)
def delete(id: int):
    with session_of.begin() as session:
        session.delete(find(session, id))
