"""Tidying up: exports that have expired, and files that no export has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from app import db
from app.exports import folder, removing
from app.exports.models import Export

log = structlog.get_logger(__name__)

EVERY_S = 3600.0


@asynccontextmanager
async def tidying(data_dir: Path) -> AsyncIterator[None]:
    """While open, it is tidied now and every hour."""
    task = asyncio.create_task(_keep_tidy(data_dir))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_tidy(data_dir: Path) -> None:
    while True:
        try:
            await tidy(data_dir)
        except Exception:
            log.exception("tidying_failed")
        await asyncio.sleep(EVERY_S)


async def tidy(data_dir: Path) -> None:
    """Remove what nobody can fetch any more."""
    for row in await Export.filter(expires_at__lt=db.now()):
        if await removing.remove(data_dir, row):
            log.info("export_expired", export_id=str(row.id))
    there = await asyncio.to_thread(lambda: dict(folder.files(data_dir)))  # before the rows: these come first
    known = {row.id for row in await Export.all().only("id")}
    for export_id in there.keys() - known:
        log.warning("rubbish_removed", what=there[export_id].name)
        await asyncio.to_thread(there[export_id].unlink, missing_ok=True)
