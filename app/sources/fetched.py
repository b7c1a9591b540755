"""Files that jobs fetch, each for one image: where they are while they come, and that none is left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from app.enums import ErrorCode, JobStatus, JobType
from app.errors import Refused
from app.fetching import folder, schemes
from app.fetching.fetch import fetch
from app.jobs.models import Job
from app.jobs.work import RetryLater, Work
from app.runtime import Runtime

log = structlog.get_logger(__name__)

SHARE = 0.5
"""Of the job's progress; the rest is for making an image of the file."""
PHASE = "fetching the file"
AGAIN_S = 1.0


async def fetch_file(runtime: Runtime, work: Work) -> Path:
    """The file of the job's address, once it is here and has the checksum that was given.

    Raises: as app.fetching.fetch. Refused: CHECKSUM_MISMATCH. RetryLater: a worker that has lost the job is still at it.
    """
    settings, url = runtime.settings, str(work.input["url"])
    path = folder.path_of(settings.data_dir, str(work.image_id))

    async def beat(done: int, total: int | None) -> None:
        share = done / total if total else 0.0
        await work.progress(SHARE * share, phase=PHASE, bytes_done=done, bytes_total=total)

    await work.progress(0.0, phase=PHASE)
    try:
        sha256 = await fetch(
            schemes.opener_of(url, work.project_id),
            url,
            path,
            max_bytes=settings.max_upload_gib << 30,
            reserve_bytes=settings.reserve_disk_mib << 20,
            beat=beat,
        )
    except BlockingIOError:
        raise RetryLater(AGAIN_S) from None
    if work.input["sha256"] not in (None, sha256):
        message = f"The file's SHA-256 is {sha256}, not {work.input['sha256']} as was said."
        raise Refused(ErrorCode.CHECKSUM_MISMATCH, message)
    return path


async def discard(data_dir: Path, image_id: UUID | None) -> None:
    """Remove what was fetched for an image, if anything was."""
    await asyncio.to_thread(folder.remove, data_dir, str(image_id))


async def sweep(data_dir: Path) -> None:
    """Before jobs run: remove what no job will ask for any more."""
    there = await asyncio.to_thread(lambda: set(folder.image_ids(data_dir)))
    unfinished: Any = [JobStatus.INIT, JobStatus.RUNNING]
    jobs = Job.filter(type=JobType.IMPORT_IMAGE, status__in=unfinished, image_id__in=list(there))
    for image_id in there - {job.image_id for job in await jobs}:
        log.warning("rubbish_removed", what=folder.path_of(data_dir, image_id).name)
        await discard(data_dir, image_id)
