"""The one file that knows which database this is: connecting, transactions, and reads without model hydration.

Tortoise writes the SQL of a read from a QuerySet, but its models are not made: that conversion is most of a list's cost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from pypika_tortoise.context import SqlContext
from pypika_tortoise.terms import Parameterizer
from tortoise import Tortoise, connections, fields
from tortoise.expressions import RawSQL, Subquery
from tortoise.fields.data import CharEnumFieldInstance
from tortoise.models import Model
from tortoise.queryset import QuerySet
from tortoise.transactions import in_transaction

from app.enums import ErrorCode
from app.errors import Refused, StartupError
from app.sqlite import is_full

MODELS = ["projects", "jobs", "contents", "images", "sharing", "disks", "ecs", "backups", "uploads", "exports"]

ANNOTATED: dict[str, fields.Field[Any]] = {"shared_at": fields.DatetimeField()}
"""Columns that a query works out itself, so that a list can be ordered by them; they come behind the table's own."""

Decode = Callable[[Any], object]
Within = tuple[str, Sequence[str]]
"""A foreign key or the id, and the ids that it may be. Statements have them as one parameter, so that their text stays the same."""


def config(database_url: str | None, data_dir: Path) -> dict[str, Any]:
    """Tortoise's configuration: PostgreSQL by URL, else SQLite in the data folder."""
    connection: object
    if database_url is None:
        credentials = {"file_path": str(data_dir / "service.sqlite"), "busy_timeout": 10000, "synchronous": "NORMAL"}
        connection = {"engine": "app.sqlite", "credentials": credentials}
    else:
        parts = urlsplit(database_url)
        if parts.scheme not in ("postgres", "postgresql", "asyncpg"):
            raise StartupError(
                f"DATABASE_URL begins with {parts.scheme!r}; give postgres://user:password@host/database."
            )
        connection = urlunsplit(parts._replace(scheme="asyncpg"))
    models = [f"app.{noun}.models" for noun in MODELS]
    return {
        "connections": {"default": connection},
        "apps": {"app": {"models": models, "default_connection": "default", "migrations": "app.migrations"}},
        "use_tz": True,
    }


def make_folder(data_dir: Path) -> None:
    """See that the data folder is there; one that is made belongs to its owner alone.

    Raises: StartupError: it cannot be used.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise StartupError(f"Cannot use the folder {data_dir} ({why}); give another (--data).") from error


async def connect(database_url: str | None, data_dir: Path, *, everywhere: bool = True) -> None:
    """Open the database: for the whole process, or only for tasks that begin in the current context.

    Raises: StartupError: it cannot be reached.
    """
    await Tortoise.init(config=config(database_url, data_dir), _enable_global_fallback=everywhere)
    try:
        await connections.get("default").execute_query("SELECT 1")
    except Exception as error:  # each driver fails in its own way
        await disconnect()
        where = "the database in the data folder" if database_url is None else "the database at DATABASE_URL"
        raise StartupError(
            f"Cannot open {where} ({error}); check that it is there and that you may write to it."
        ) from error


async def disconnect() -> None:
    """Close it."""
    await Tortoise.close_connections()


def dialect() -> str:
    """The database's kind: sqlite or postgres."""
    name: str = connections.get("default").capabilities.dialect
    return name


def now() -> datetime:
    """The time, aware, in UTC."""
    return datetime.now(UTC)


_after_commit: ContextVar[list[Callable[[], None]] | None] = ContextVar("after_commit", default=None)


@asynccontextmanager
async def transaction() -> AsyncIterator[None]:
    """All or nothing. A transaction inside another is part of it. No I/O but the database's belongs in one.

    Raises: Refused: INSUFFICIENT_STORAGE: the database has no space for it.
    """
    if _after_commit.get() is not None:
        yield
        return
    callbacks: list[Callable[[], None]] = []
    token = _after_commit.set(callbacks)
    try:
        async with _begun():
            yield
    except Exception as error:
        if not is_full(error):
            raise
        message = "The service's disk is full, and what is set aside for its records is used up; try again later."
        raise Refused(ErrorCode.INSUFFICIENT_STORAGE, message) from error
    finally:
        _after_commit.reset(token)
    for callback in callbacks:
        callback()


@asynccontextmanager
async def _begun() -> AsyncIterator[None]:
    """Tortoise's transaction, which alone would keep its lock or connection for ever when its beginning fails or is cancelled."""
    context = in_transaction()
    try:
        await context.__aenter__()
    except BaseException as error:
        if hasattr(context, "token"):  # it got as far as taking them
            with suppress(Exception):  # what did not begin cannot be rolled back on PostgreSQL
                await context.__aexit__(type(error), error, error.__traceback__)
        raise
    async with AsyncExitStack() as exits:
        exits.push_async_exit(context)
        yield


def after_commit(callback: Callable[[], None]) -> None:
    """Call when the current transaction has been committed, never if it is rolled back; at once outside of one."""
    pending = _after_commit.get()
    callback() if pending is None else pending.append(callback)


async def execute(sql: str, values: Sequence[object] = ()) -> Sequence[Any]:
    """Rows of a statement that the ORM cannot write; placeholders are ?1 on SQLite and $1 on PostgreSQL."""
    rows: Sequence[Any] = (await connections.get("default").execute_query(sql, list(values)))[1]
    return rows


_DECODE: dict[str, dict[type[Any], Decode]] = {
    "sqlite": {fields.DatetimeField: datetime.fromisoformat, fields.BooleanField: bool, fields.JSONField: orjson.loads},
    "postgres": {fields.UUIDField: str, fields.JSONField: orjson.loads},
}


async def fetch(
    query: QuerySet[Any],
    columns: Sequence[str],
    *,
    order: Sequence[str] = (),
    within: Within | None = None,
    limit: int | None = None,
) -> Iterable[tuple[Any, ...]]:
    """Rows of columns, in order, by one statement; ids are str on both databases. A limit within parents counts for each of them."""
    if within and not within[1]:
        return ()
    statement = _Statement(query.model, within)
    query = query.order_by(*order)
    if within and limit:
        sql = statement.first_of_each(query, columns, order, key=within[0], limit=limit)
    else:
        own = [name for name in columns if name not in ANNOTATED]
        sql = statement.text((query.limit(limit) if limit else query).only(*own))
    rows = await statement.run(sql)
    values: list[Sequence[Any]] = list(zip(*rows, strict=True))
    for index, name in enumerate(columns if rows else ()):
        kind = ANNOTATED.get(name) or query.model._meta.fields_map[name]
        if decode := _decoder(kind, statement.dialect):
            values[index] = [None if value is None else decode(value) for value in values[index]]
    return zip(*values, strict=True)


async def count(query: QuerySet[Any], within: Within | None = None) -> dict[str | None, int]:
    """How many rows each parent has (parents without any are left out), or under None how many there are."""
    if within is None:
        return {None: await query.count()}
    statement = _Statement(query.model, within)
    rows = statement.text(query.only(within[0]))
    counts = await statement.run(f'SELECT "{within[0]}", COUNT(*) FROM ({rows}) _child GROUP BY "{within[0]}"')
    return {str(parent): number for parent, number in counts}


async def count_by(query: QuerySet[Any], columns: Sequence[str], *, limit: int) -> Sequence[Any]:
    """The values of columns and how many rows have them, most frequent first; rows where any is null are left out."""
    statement = _Statement(query.model, None)
    rows = statement.text(query.order_by().only(*columns))
    names = ", ".join(f'"{name}"' for name in columns)
    known = " AND ".join(f'"{name}" IS NOT NULL' for name in columns)
    return await statement.run(
        f"SELECT {names}, COUNT(*) FROM ({rows}) _row WHERE {known} GROUP BY {names} ORDER BY COUNT(*) DESC, {names} LIMIT {limit:d}"
    )


class _Statement:
    """One SQL text in the making. The ids of within, if any, are its first parameter."""

    def __init__(self, model: type[Model], within: Within | None) -> None:
        self.model, self.within, self.connection = model, within, model._meta.db
        self.dialect = self.connection.capabilities.dialect
        sqlite = self.dialect == "sqlite"
        parameterizer = Parameterizer("?{}".format if sqlite else None)
        self.context: SqlContext = self.connection.query_class.SQL_CONTEXT.copy(parameterizer=parameterizer)
        self.values = parameterizer.values
        if within:
            self.values.append(orjson.dumps(within[1]).decode() if sqlite else within[1])
            kind = model._meta.fields_map[within[0]].get_for_dialect("postgres", "SQL_TYPE")
            self.array = f"$1::{kind}[]"

    def text(self, query: QuerySet[Any]) -> str:
        if self.within and self.dialect == "sqlite":
            query = query.filter(**{f"{self.within[0]}__in": RawSQL("(SELECT value FROM json_each(?1))")})
        elif self.within:  # IN (SELECT unnest(…)) scans the whole table
            query = query.filter(**{self.within[0]: RawSQL(f"ANY({self.array})")})
        return Subquery(query).get_sql(self.context)

    def first_of_each(
        self, query: QuerySet[Any], columns: Sequence[str], order: Sequence[str], *, key: str, limit: int
    ) -> str:
        """An index scan for each parent: neither row_number() nor slicing in Python survives one parent with very many rows."""
        each = query.filter(**{key: RawSQL('"_parent".value')}).limit(limit)
        by = ", ".join(f'_child."{name.removeprefix("-")}"' + " DESC" * name.startswith("-") for name in order)
        if self.dialect == "sqlite":
            names = ", ".join(f'_child."{name}"' for name in columns)
            ids = Subquery(each.only("id")).get_sql(self.context)
            table = self.model._meta.db_table
            return f'SELECT {names} FROM json_each(?1) "_parent" JOIN "{table}" _child ON _child.id IN ({ids}) ORDER BY {by}'
        rows = Subquery(each.only(*columns)).get_sql(self.context)
        return f'SELECT _child.* FROM unnest({self.array}) "_parent"(value) CROSS JOIN LATERAL ({rows}) _child ORDER BY {by}'

    async def run(self, sql: str) -> Sequence[Any]:
        rows: Sequence[Any] = (await self.connection.execute_query(sql, self.values))[1]
        return rows


@cache
def _decoder(field: Hashable, dialect: str) -> Decode | None:
    if isinstance(field, CharEnumFieldInstance):
        return field.enum_type._value2member_map_.__getitem__
    return next((decode for kind, decode in _DECODE[dialect].items() if isinstance(field, kind)), None)
