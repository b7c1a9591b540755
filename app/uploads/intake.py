"""What requests may know of the place where uploads arrive: its rules, its threads, its folder. Set once, when the service starts."""

from __future__ import annotations

import asyncio
import errno
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from app import files
from app.enums import ErrorCode
from app.errors import Refused
from app.files import Digest, Part
from app.settings import Settings

T = TypeVar("T")
THREADS = 8
REMEMBERED = 1000
"""Hashes of files that are not finished; those of others are worked out anew when they are continued."""


class Intake:
    """The upload folder of this installation."""

    def __init__(self, settings: Settings) -> None:
        self.data_dir = settings.data_dir
        self.max_bytes = settings.max_upload_gib << 30
        self.kept = timedelta(hours=settings.upload_kept_h)
        self.completing: dict[UUID, asyncio.Task[None]] = {}
        self._reserve_bytes = settings.reserve_disk_mib << 20
        self._digests: OrderedDict[UUID, Digest] = OrderedDict()
        self._threads = ThreadPoolExecutor(THREADS, "upload")
        files.folder_of(self.data_dir).mkdir(mode=0o700, exist_ok=True)

    async def run(self, work: Callable[..., T], *values: object) -> T:
        """What blocks, in a thread. Once called it is done, whether its caller waits for it or not.

        Raises: Refused: INSUFFICIENT_STORAGE. OSError.
        """
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *values)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise full() from error
            raise

    async def open(self, upload_id: UUID) -> Part:
        """The file of an upload, for its writer.

        Raises: BlockingIOError: another has it.
        """
        digest = self._digests[upload_id].copy() if upload_id in self._digests else Digest()
        path = files.path_of(self.data_dir, upload_id)
        return await self.run(lambda: Part(path, digest, reserve_bytes=self._reserve_bytes))

    def remember(self, upload_id: UUID, digest: Digest) -> None:
        """Keep the hash of what is durable of a file."""
        self._digests[upload_id] = digest.copy()
        self._digests.move_to_end(upload_id)
        if len(self._digests) > REMEMBERED:
            self._digests.popitem(last=False)

    async def remove(self, upload_id: UUID) -> None:
        """Remove the file of an upload whose row is gone, or that has failed."""
        self._digests.pop(upload_id, None)
        await self.run(files.path_of(self.data_dir, upload_id).unlink, True)

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much could be written now without touching the reserve."""
        return files.free_bytes(files.folder_of(self.data_dir)) >= self._reserve_bytes + size_bytes

    async def close(self) -> None:
        """End what is still at work; it goes on after the next start."""
        for task in list(self.completing.values()):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        self._threads.shutdown(wait=False, cancel_futures=True)


def full() -> Refused:
    """There is no space for what is to be written."""
    message = "The service's storage is full; what was received is kept, so go on later."
    return Refused(ErrorCode.INSUFFICIENT_STORAGE, message)


class _Current:
    intake: Intake | None = None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Intake]:
    """While open, files can be received."""
    before, _Current.intake = _Current.intake, Intake(settings)
    try:
        yield _Current.intake
    finally:
        await _Current.intake.close()
        _Current.intake = before


def current() -> Intake:
    """The intake of this installation."""
    assert _Current.intake, "the service has not been started"
    return _Current.intake
