"""Tidying up: uploads that have expired, files that no upload has, and uploads whose end was interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog
from tortoise.expressions import F
from tortoise.queryset import QuerySet

from app import db, files
from app.enums import UploadStatus
from app.uploads import intake, receiving, service
from app.uploads.models import Upload

log = structlog.get_logger(__name__)

EVERY_S = 3600.0


@asynccontextmanager
async def tidying() -> AsyncIterator[None]:
    """While open, it is tidied now and every hour."""
    task = asyncio.create_task(_keep_tidy())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_tidy() -> None:
    while True:
        try:
            await tidy()
        except Exception:
            log.exception("tidying_failed")
        await asyncio.sleep(EVERY_S)


async def tidy() -> None:
    """Remove what nobody can ask for any more, and end what has all its bytes."""
    expired = Upload.filter(expires_at__lt=db.now()).exclude(status=UploadStatus.USED)
    for upload_id in await _ids(expired):
        if await service.forget(upload_id, only_expired=True):
            log.info("upload_expired", upload_id=str(upload_id))
    place = intake.current()
    there = set(
        await asyncio.to_thread(lambda: list(files.upload_ids(place.data_dir)))
    )  # before the rows: these come first
    known = set(await _ids(Upload.all()))
    for upload_id in there - known:
        log.warning("rubbish_removed", what=files.path_of(place.data_dir, upload_id).name)
        await place.remove(upload_id)
    whole = Upload.filter(status=UploadStatus.RECEIVING, offset_bytes=F("size_bytes"))
    for upload_id in await _ids(whole):
        await receiving.complete(upload_id)


async def _ids(query: QuerySet[Upload]) -> list[UUID]:
    return [row.id for row in await query.only("id")]
