"""A migrated, empty SQLite database, kept from run to run: migrating one takes seconds, copying it milliseconds."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from tortoise.context import TortoiseContext

from app import db, migrating

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "migrated"
SOURCES = ("migrations/*.py", "db.py", "enums.py", "migrating.py", "sqlite.py", "tables.py")
"""Of the service: whatever a change of could make another database."""


def _version() -> str:
    digest = hashlib.sha256(version("tortoise-orm").encode())
    for path in sorted(path for pattern in SOURCES for path in (ROOT / "app").glob(pattern)):
        digest.update(f"\n{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


VERSION = _version()
"""What of the sources the database depends on, as they were when they were imported."""


async def migrate(url: str | None, folder: Path) -> None:
    """Bring an empty database up to date; that in the folder when there is no URL."""
    async with TortoiseContext():
        await db.connect(url, folder, everywhere=False)
        await migrating.migrate()
        await db.disconnect()


async def migrated_folder() -> Path:
    """A folder with such a database, to be copied."""
    folder = CACHE / VERSION
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=CACHE) as name:
            fresh = Path(name) / "data"
            fresh.mkdir()
            await migrate(None, fresh)
            with suppress(OSError):  # another process has made it meanwhile
                fresh.rename(folder)
    return folder
