"""Serial consoles, read from their logs: plain files, so any process of the host can.

QEMU appends a machine's output to machines/<id>/console.log; an offset of the console is an offset of that file. What is older than
the kept size is cut out of the file as a hole, which frees its blocks and moves nothing. Typing is not the engine's: QEMU also serves
the console on machines/<id>/console.sock, to one client at a time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from app.engines.qemu.store import Store
from app.errors import NotFound

POLL_S = 0.01
"""Between two looks at a log: two system calls, 0.5 % of a core for each follower."""
PIECE_BYTES = 64 << 10
BLOCK_BYTES = 4096


class QemuConsoles:
    """See `app.engines.base.Consoles`. Needs nothing but the store's folder."""

    def __init__(self, root: Path) -> None:
        self._store = Store(root)

    async def tail(self, machine_id: UUID, *, max_bytes: int, from_offset: int | None = None) -> tuple[int, bytes]:
        """Up to max_bytes from an offset, or the last of it."""
        return await asyncio.to_thread(_tail, self._log(machine_id), max_bytes, from_offset)

    def follow(self, machine_id: UUID, *, from_offset: int | None = None) -> AsyncIterator[tuple[int, bytes]]:
        """Output as it comes, until the machine is deleted."""
        path = self._log(machine_id)
        return self._follow(path, _size(path) if from_offset is None else from_offset)

    async def _follow(self, path: Path, offset: int) -> AsyncIterator[tuple[int, bytes]]:
        file = -1
        try:
            while True:
                is_deleted = not os.path.isdir(path.parent)  # noqa: ASYNC240, PTH112 - answered from the kernel's cache
                # Kept open: what a machine said last can be read even when it has been deleted since.
                if file < 0 and not is_deleted:
                    with suppress(FileNotFoundError):
                        file = os.open(path, os.O_RDONLY)
                if file >= 0 and os.fstat(file).st_size > offset:
                    begin, data = await asyncio.to_thread(_read, file, PIECE_BYTES, offset)
                    if data:
                        yield begin, data
                        offset = begin + len(data)
                        continue
                if is_deleted:
                    return
                await asyncio.sleep(POLL_S)
        finally:
            if file >= 0:
                os.close(file)

    def _log(self, machine_id: UUID) -> Path:
        folder = self._store.machine(machine_id)
        if not folder.is_dir():
            raise NotFound(f"no machine {machine_id}")
        return folder / "console.log"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _tail(path: Path, max_bytes: int, from_offset: int | None) -> tuple[int, bytes]:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        if path.parent.is_dir():
            return 0, b""
        raise NotFound(f"no machine {path.parent.name}") from None
    try:
        return _read(file, max_bytes, from_offset)
    finally:
        os.close(file)


def _read(file: int, max_bytes: int, from_offset: int | None) -> tuple[int, bytes]:
    size = os.fstat(file).st_size
    begin = max(0, size - max_bytes) if from_offset is None else min(from_offset, size)
    if begin < size:
        # OSError: only a hole follows.
        with suppress(OSError):
            begin = os.lseek(file, begin, os.SEEK_DATA)
    return begin, os.pread(file, max_bytes, begin)


async def trim(path: Path, max_bytes: int) -> None:
    """Cut the oldest output out of a log that takes more than max_bytes, down to half of it."""
    try:
        status = await asyncio.to_thread(path.stat)
    except FileNotFoundError:
        return
    if status.st_blocks * 512 > max_bytes + BLOCK_BYTES:
        length = (status.st_size - max_bytes // 2) // BLOCK_BYTES * BLOCK_BYTES
        command = ("fallocate", "--punch-hole", "--offset", "0", "--length", str(length), str(path))
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        # A file system without holes keeps it all; that is no reason to stop a machine.
        await process.wait()
