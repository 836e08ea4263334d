"""The table `changes`, which bemi track makes and fills, for SQLAlchemy 2. An application reads it only."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, DateTime, Select, Text, TextualSelect, func, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Where you have one already, take yours. Keep the table out of create_all and of Alembic (include_name)."""

    type_annotation_map = {str: Text, int: BigInteger, datetime: DateTime(timezone=True), dict[str, Any]: JSONB}


class Change(Base):
    __tablename__ = "changes"

    # Orders as the source committed. Unique also where the table is partitioned and its key is (id, committed_at).
    id: Mapped[UUID] = mapped_column(primary_key=True)
    database: Mapped[str]
    schema: Mapped[str]
    table: Mapped[str]
    # One column as text, several as a JSON array: [1,"a"].
    primary_key: Mapped[str | None]
    previous_primary_key: Mapped[str | None]
    # CREATE, UPDATE, DELETE or TRUNCATE.
    operation: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    incomplete: Mapped[dict[str, Any] | None]
    # Ask with contains(), which is `@>`: the index serves nothing else, so that context["user_id"] == ... reads all.
    context: Mapped[dict[str, Any]]
    committed_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    created_at: Mapped[datetime]
    transaction_id: Mapped[int]
    position: Mapped[int]

    @classmethod
    def of(cls, context: dict[str, Any]) -> Select[tuple["Change"]]:
        """The changes made in a context that has all of this."""
        return select(cls).where(cls.context.contains(context))

    @classmethod
    def history(cls, table: str, primary_key: str, schema: str = "public") -> Select[tuple["Change"]]:
        """All changes of one record, oldest first."""
        found = text("SELECT * FROM changes_history(:table, :primary_key, :schema)")
        return select(cls).from_statement(found.bindparams(table=table, primary_key=primary_key, schema=schema))

    @staticmethod
    def as_of(table: str, primary_key: str, at: datetime, schema: str = "public") -> Select[tuple[dict[str, Any] | None]]:
        """The record as it was at that time; None where it was not there."""
        return select(func.changes_as_of(table, primary_key, at, schema, type_=JSONB))

    def diff(self) -> TextualSelect:
        """The columns that this change changed: name, before, after, and whether that is known."""
        found = text("SELECT d.* FROM changes c CROSS JOIN LATERAL changes_diff(c) d WHERE c.id = :id")
        return found.bindparams(id=self.id).columns(column=Text, before=JSONB, after=JSONB, known=Boolean)


OLDEST_FIRST = (Change.committed_at, Change.id)
NEWEST_FIRST = (Change.committed_at.desc(), Change.id.desc())
