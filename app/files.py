"""The upload folder: a file for each upload, written by one writer at a time, and hashed as it grows.

What a file has beyond its upload's offset is what a crash left behind; it is cut off before anything is added.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from uuid import UUID

BLOCK_BYTES = 1 << 20
"""What is written, and read again, at a time."""
DEBT_FACTOR = 4
"""After a restart, so much of what was received before is hashed with each new block: nobody has to wait for all of it at once."""
SLICE_BLOCKS = 64
"""Hashed in one go once everything is here."""
_ZEROS = bytes(2 * BLOCK_BYTES)  # blocks are a little larger, as chunks are not cut


def folder_of(data_dir: Path) -> Path:
    """Where the files are."""
    return data_dir / "uploads"


def path_of(data_dir: Path, upload_id: UUID | str) -> Path:
    """The file of an upload."""
    return folder_of(data_dir) / f"{upload_id}.part"


def upload_ids(data_dir: Path) -> Iterator[UUID]:
    """The uploads that have a file."""
    for path in folder_of(data_dir).glob("*.part"):
        with suppress(ValueError):
            yield UUID(path.stem)


def free_bytes(folder: Path) -> int:
    """What the file system has left for us."""
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


class Digest:
    """SHA-256 of the first `offset` bytes of a file."""

    def __init__(self) -> None:
        self.offset, self._hash = 0, hashlib.sha256()

    def copy(self) -> Digest:
        """Another that goes on by itself."""
        other = Digest()
        other.offset, other._hash = self.offset, self._hash.copy()
        return other

    def add(self, block: bytes) -> None:
        """The next bytes."""
        self._hash.update(block)
        self.offset += len(block)

    def hexdigest(self) -> str:
        """The hash in 64 digits."""
        return self._hash.hexdigest()


class Part:
    """An upload's file in the hands of its one writer, in this process or any other. Its methods block, and may be called in threads."""

    def __init__(self, path: Path, digest: Digest, *, reserve_bytes: int = 0) -> None:
        """`digest` is of the file's beginning, or empty.

        Raises: BlockingIOError: another writer has it.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.end = os.fstat(self._descriptor).st_size
            if not self.end:
                _sync_folder(path.parent)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.digest = digest
        self._folder, self._reserve_bytes = path.parent, reserve_bytes
        self._guard = Lock()  # a thread cannot be cancelled: what closes the file waits for what writes it

    def cut(self, end: int) -> None:
        """Keep only so much of it."""
        with self._guard:
            os.ftruncate(self._descriptor, end)
            self.end = end

    def add(self, block: bytes, check: Callable[[bytes], object] | None = None) -> None:
        """Write at its end and hash it, by `check` too. Zeros take no space.

        Raises: OSError: ENOSPC, before the file system is full.
        """
        with self._guard:
            if block == _ZEROS[: len(block)]:
                os.ftruncate(self._descriptor, self.end + len(block))
            else:
                if free_bytes(self._folder) < self._reserve_bytes + len(block):
                    raise OSError(errno.ENOSPC, "No space left but the reserve")
                _write(self._descriptor, block, self.end)
            if self.digest.offset == self.end:
                self.digest.add(block)
            self.end += len(block)
            if check:
                check(block)
            self._hash_more(DEBT_FACTOR)

    def sync(self) -> None:
        """Make it durable."""
        with self._guard:
            os.fsync(self._descriptor)

    def hash_on(self) -> bool:
        """Hash some of what is not hashed; whether that was all."""
        with self._guard:
            self._hash_more(SLICE_BLOCKS)
            return self.digest.offset == self.end

    def _hash_more(self, blocks: int) -> None:
        for _ in range(blocks):
            if self.digest.offset == self.end:
                return
            length = min(BLOCK_BYTES, self.end - self.digest.offset)
            block = os.pread(self._descriptor, length, self.digest.offset)
            if not block:
                raise OSError(errno.EIO, "The file is shorter than it was")
            self.digest.add(block)

    def close(self) -> None:
        """Let another writer have it."""
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def _write(descriptor: int, block: bytes, at: int) -> None:
    rest = memoryview(block)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        rest, at = rest[written:], at + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
