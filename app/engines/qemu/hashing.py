"""What a guest would read from a layer, hashed as it lies in the files.

QEMU says where each piece of a disk is, `qemu-img map`: so many bytes at an offset of one of the chain's files, or zeros. Nothing is
written, memory stays the same however large the disk, and holes cost no reads. (qemu-img can copy to a file only.)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from app.engines.base import Progress
from app.enums import ErrorCode
from app.errors import EngineError

CLUSTER_BYTES = 64 << 10
PIECE_BYTES = 1 << 20
BATCH_BYTES = 64 << 20
"""Hashed between two calls of progress: a tenth of a second or less."""
BATCH_EXTENTS = 4096
ZEROS = memoryview(bytes(PIECE_BYTES))


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes that lie in one piece: in the file of so many layers below, or nowhere because they are zeros."""

    length: int
    depth: int
    offset: int | None


def read_extent(line: bytes) -> Extent | None:
    """One line of what `qemu-img map --output=json` says; None for one that holds no extent.

    Raises: EngineError: DAMAGED for one whose bytes cannot be read from the file as they are.
    """
    text = line.strip().strip(b"[],")
    if not text:
        return None
    said = json.loads(text)
    if said["zero"] or not said["data"]:
        return Extent(said["length"], said["depth"], None)
    if "offset" not in said:
        raise EngineError(ErrorCode.DAMAGED, "a layer is compressed or damaged")
    return Extent(said["length"], said["depth"], said["offset"])


async def sha256_of(lines: AsyncIterator[bytes], files: Sequence[Path], progress: Progress, *, total_bytes: int) -> str:
    """The SHA-256 of a disk; `lines` say where it lies, `files` are its layers, top first.

    Raises: EngineError: DAMAGED. What progress raises.
    """
    digest, done = hashlib.sha256(), 0
    # Not a thread that others use later: its priority cannot be raised again.
    with ExitStack() as opened, ThreadPoolExecutor(1, initializer=_be_modest) as thread:
        handles = [opened.enter_context(path.open("rb", buffering=0)) for path in files]
        sizes = [os.fstat(handle.fileno()).st_size for handle in handles]

        def add(extents: Sequence[Extent]) -> None:
            for extent in extents:
                if extent.offset is None:
                    _add_zeros(digest.update, extent.length)
                elif extent.offset + extent.length >= sizes[extent.depth] + CLUSTER_BYTES:
                    raise EngineError(ErrorCode.DAMAGED, "a layer is damaged: it ends too soon")
                else:
                    _add_file(digest.update, handles[extent.depth].fileno(), extent.offset, extent.length)

        await progress(0, total_bytes)
        async for extents in _batches(lines):
            await asyncio.get_running_loop().run_in_executor(thread, add, extents)
            done += sum(extent.length for extent in extents)
            await progress(min(done, total_bytes), total_bytes)
    if done != total_bytes:
        raise EngineError(ErrorCode.DAMAGED, "a layer is damaged: it is not as long as it says")
    return digest.hexdigest()


async def _batches(lines: AsyncIterator[bytes]) -> AsyncIterator[list[Extent]]:
    batch: list[Extent] = []
    size = 0
    async for line in lines:
        whole = read_extent(line)
        for extent in _split(whole) if whole else ():
            batch.append(extent)
            size += extent.length
            if size >= BATCH_BYTES or len(batch) == BATCH_EXTENTS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _split(extent: Extent) -> Iterator[Extent]:
    for begin in range(0, extent.length, BATCH_BYTES):
        offset = None if extent.offset is None else extent.offset + begin
        yield Extent(min(BATCH_BYTES, extent.length - begin), extent.depth, offset)


def _add_zeros(add: Callable[[memoryview], None], length: int) -> None:
    for begin in range(0, length, PIECE_BYTES):
        add(ZEROS[: length - begin])


def _add_file(add: Callable[[memoryview], None], file: int, offset: int, length: int) -> None:
    piece = bytearray(min(PIECE_BYTES, length))
    while length:
        got = os.preadv(file, [memoryview(piece)[:length]], offset)
        if not got:
            # The last cluster of a file need not be whole; what is missing reads as zeros.
            return _add_zeros(add, length)
        add(memoryview(piece)[:got])
        offset, length = offset + got, length - got
    return None


def _be_modest() -> None:
    # The kernel takes the priority for disk accesses from this one.
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
