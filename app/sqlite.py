"""SQLite as Tortoise opens it, with write locks taken early. Migrations know a database by the word in this module's name."""

from __future__ import annotations

import asyncio
import sqlite3

import aiosqlite
from tortoise.backends.base.client import ConnectionWrapper
from tortoise.backends.sqlite.client import SqliteClient, SqliteTransactionContext, SqliteTransactionWrapper
from tortoise.exceptions import OperationalError

from app import reserve


class _ImmediateTransaction(SqliteTransactionWrapper):
    """A transaction that takes SQLite's write lock when it begins: a deferred one fails when it first writes under another writer."""

    async def begin(self) -> None:
        try:
            await self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise OperationalError(error) from error

    async def commit(self) -> None:
        reserve.make_room()  # what a transaction has changed is written now
        try:
            await super().commit()
        except BaseException:
            # The one connection must not stay in a transaction; after a commit that was only interrupted this does nothing.
            await self._connection.rollback()
            raise


class ImmediateSqliteClient(SqliteClient):
    """Tortoise's client with write locks taken early."""

    async def create_connection(self, with_db: bool) -> None:
        """Raises: sqlite3.OperationalError: the file cannot be opened."""
        # Tried apart: aiosqlite's thread tells of a failure twice, the second time to a loop that may be closed by then.
        await asyncio.to_thread(lambda: sqlite3.connect(self.filename).close())
        await super().create_connection(with_db)
        assert self._connection is not None
        await self._connection.create_function("UPPER", 1, _upper, deterministic=True)

    def acquire_connection(self) -> ConnectionWrapper[aiosqlite.Connection]:
        """For a statement by itself."""
        reserve.make_room()
        return super().acquire_connection()

    def _in_transaction(self) -> SqliteTransactionContext:
        return SqliteTransactionContext(_ImmediateTransaction(self), self._lock)


def _upper(text: str | None) -> str | None:
    """SQLite's own knows the letters of ASCII only, and by it the ORM ignores case."""
    return None if text is None else text.upper()


def is_full(error: BaseException | None) -> bool:
    """Whether a statement or commit failed because there is no space for it."""
    causes = [error, *(error.args if error else ())]  # the ORM wraps what statements raise
    return any(isinstance(e, sqlite3.Error) and e.sqlite_errorcode == sqlite3.SQLITE_FULL for e in causes)


client_class = ImmediateSqliteClient
"""The name by which Tortoise finds the client in a module that is named as an engine."""
