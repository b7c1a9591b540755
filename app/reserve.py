"""Space for the service's own small writes when the file system is full: a file that is given up piece by piece, and made again later.

Copies end before the file system is full, and a machine that finds it full stands still until there is more than copies leave free. So what
is given up here is there for whoever writes a few pages: the database, and the records of machines and disks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Lock

PIECES = 16
EVERY_S = 1.0


class Reserve:
    """The file of a data folder, which this process alone gives up and makes."""

    def __init__(self, data_dir: Path, size_bytes: int) -> None:
        self._path, self._folder, self._size = data_dir / "reserve", data_dir, size_bytes
        self._piece = -(-size_bytes // PIECES)
        self._guard = Lock()

    def make_room(self) -> None:
        """Before something small is written: see that a piece is free, as long as there are any. Takes microseconds."""
        missing = self._piece - self._free()
        if missing <= 0:
            return
        with self._guard, suppress(FileNotFoundError):
            os.truncate(self._path, max(0, self._path.stat().st_size - missing))

    def refill(self) -> None:
        """Take back what was given up, once there is plenty. Blocks."""
        with self._guard:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size > self._size:
                    os.ftruncate(descriptor, self._size)
                elif size < self._size and self._free() >= 2 * self._size:
                    os.posix_fallocate(descriptor, 0, self._size)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
            finally:
                os.close(descriptor)

    def _free(self) -> int:
        facts = os.statvfs(self._folder)
        return facts.f_bavail * facts.f_frsize


class _Current:
    reserve: Reserve | None = None


@asynccontextmanager
async def kept(data_dir: Path, size_bytes: int) -> AsyncIterator[None]:
    """While open, this process keeps a reserve in the data folder that is its own."""
    before, reserve = _Current.reserve, Reserve(data_dir, size_bytes)
    _Current.reserve = reserve
    reserve.make_room()
    keeping = asyncio.create_task(_keep(reserve))
    try:
        yield
    finally:
        _Current.reserve = before
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep(reserve: Reserve) -> None:
    while True:
        with suppress(
            OSError
        ):  # the next time, then: without it the service works as well, until the file system is full
            reserve.make_room()
            await asyncio.to_thread(reserve.refill)
        await asyncio.sleep(EVERY_S)


def make_room() -> None:
    """Before something small is written, if a reserve is kept."""
    if _Current.reserve is not None:
        with suppress(OSError):
            _Current.reserve.make_room()
