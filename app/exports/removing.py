"""Removing exports, wherever their bytes lie."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from app import db, object_storage
from app.errors import Refused
from app.exports import folder
from app.exports.models import Export

log = structlog.get_logger(__name__)


async def remove(data_dir: Path, row: Export) -> bool:
    """See that nothing is left of an export, however far it got; first the bytes, then the row. Whether it is gone.

    It has expired before anything else happens: after a kill nobody is told of a file that is not there, and the janitor goes on. Nor
    does anybody wait for an object storage that does not answer.
    """
    await Export.filter(id=row.id).update(expires_at=db.now())
    await asyncio.to_thread(folder.path_of(data_dir, row.id, row.format).unlink, missing_ok=True)
    if row.in_bucket and not await _removed_from_bucket(row):
        return False
    await Export.filter(id=row.id).delete()
    return True


async def _removed_from_bucket(row: Export) -> bool:
    storage = object_storage.current()
    if storage is None:
        log.warning("export_not_removed", export_id=str(row.id), reason="there is no object storage any more")
        return False
    try:
        await storage.remove(folder.name_of(row.id, row.format))
    except Refused as error:
        log.warning("export_not_removed", export_id=str(row.id), reason=error.message)
        return False
    return True
