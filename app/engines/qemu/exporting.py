"""Files that are written outside the store: whole under their name or not there, and nothing left of them after a kill."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from app.engines.qemu.store import Store, read_record, remove_durably, sync_folder, write_durably


class Exports:
    """Files under way; the store remembers where, for it could not look for them everywhere."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def written(self, path: Path) -> AsyncIterator[Path]:
        """Write a file under the name that is given, which gets its own when all went well."""
        token = secrets.token_hex(8)
        pending, note = path.with_name(f".{path.name}.{token}"), self._store.exports / f"{token}.json"
        await asyncio.to_thread(write_durably, {note: {"path": str(pending.absolute())}})
        try:
            yield pending
            await asyncio.to_thread(_rename, pending, path)
        finally:
            await asyncio.to_thread(remove_durably, pending, note)

    def clear(self) -> None:
        """Remove what an earlier run has left."""
        for note in self._store.exports.glob("*.json"):
            record = read_record(note)
            remove_durably(*([Path(str(record["path"]))] if record else []), note)


def _rename(pending: Path, path: Path) -> None:
    pending.replace(path)
    sync_folder(path.parent)
