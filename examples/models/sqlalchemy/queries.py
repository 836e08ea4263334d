"""The questions one asks of the table `changes`, with SQLAlchemy. The answers are those of the example in ../README.md.

DATABASE_URL=postgresql://... python queries.py
"""

import os

from sqlalchemy import create_engine, make_url, select
from sqlalchemy.orm import Session

from changes import NEWEST_FIRST, OLDEST_FIRST, Change

url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")


def show(question, found, expected):
    print(f"{question}\n  {found}")
    assert found == expected, f"expected {expected}"


def what(change):
    return f"{change.operation} {change.primary_key}"


with Session(create_engine(url)) as session:
    of_user = session.scalars(Change.of({"user_id": 187234}).order_by(*NEWEST_FIRST).limit(100))
    show("What did user 187234 change, newest first?", [what(c) for c in of_user], ["CREATE 2", "UPDATE 1", "CREATE 1"])

    of_todo = session.scalars(Change.history("todo", "1")).all()
    show("What happened to todo 1?", [what(c) for c in of_todo], ["CREATE 1", "UPDATE 1"])

    at_first = session.scalar(Change.as_of("todo", "1", of_todo[0].committed_at))
    show("What was todo 1 at first?", at_first, {"id": 1, "task": "Sleep", "done": False})

    difference = [tuple(row) for row in session.execute(of_todo[1].diff())]
    show("What did the update change?", difference, [("task", "Sleep", "Eat", True)])

    of_request = session.scalars(Change.of({"request_id": "r-2"}).order_by(*OLDEST_FIRST))
    show("What did request r-2 change?", [what(c) for c in of_request], ["UPDATE 1", "CREATE 2"])

    deleted = session.scalars(
        select(Change)
        .where(Change.schema == "public", Change.table == "todo", Change.operation == "DELETE")
        .order_by(*NEWEST_FIRST)
    )
    gone = [(c.before["task"], c.context["user_id"]) for c in deleted]
    show("What was deleted, and by whom?", gone, [("Repeat", 42)])
