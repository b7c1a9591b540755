"""The database's version: which migrations it has, and bringing it up to date. They are made by `tortoise -c app.migrating.TORTOISE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tortoise import connections
from tortoise.migrations.executor import MigrationExecutor
from tortoise.migrations.recorder import MigrationRecorder

from app import db
from app.errors import StartupError

TORTOISE = db.config(None, Path(".data"))
"""For Tortoise's own command line; which database it names does not matter for making migrations."""
APPS: dict[str, Any] = TORTOISE["apps"]


async def pending() -> list[str]:
    """Names of migrations that the database has not got.

    Raises: StartupError: it has some that this version does not know.
    """
    known = {path.stem for path in Path(__file__).with_name("migrations").glob("[0-9]*.py")}
    executor = MigrationExecutor(connections.get("default"), APPS)
    plan = [step.migration.name for step in await executor.plan(None)]
    try:
        applied = {key.name for key in await MigrationRecorder(connections.get("default")).applied_migrations()}
    except Exception:  # noqa: BLE001 - each driver says in its own way that a fresh database has no such table
        applied = set()
    if later := sorted(applied - known):
        raise StartupError(
            f"The database is of a later version of this service (it has migration {later[-1]}); "
            "install that version, or use another data folder or DATABASE_URL."
        )
    return plan


async def migrate() -> list[str]:
    """Bring the database up to date; names of what was applied.

    Raises: StartupError: it is of a later version.
    """
    names = await pending()
    if names:
        await MigrationExecutor(connections.get("default"), APPS).migrate(None)
    return names
