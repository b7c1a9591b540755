"""The folder of exports: a file for each, which has its name only once it is whole."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from app.enums import ExportFormat

BLOCK_BYTES = 1 << 20
SLICE_BYTES = 64 << 20
"""Hashed in one go."""
ZEROS = memoryview(bytes(BLOCK_BYTES))
SUFFIX: Mapping[ExportFormat, str] = {format_: format_.value.lower() for format_ in ExportFormat}


def folder_of(data_dir: Path) -> Path:
    """Where the files are."""
    return data_dir / "exports"


def name_of(export_id: UUID | str, format_: ExportFormat) -> str:
    """What the file of an export is called, here and in a bucket."""
    return f"{export_id}.{SUFFIX[format_]}"


def path_of(data_dir: Path, export_id: UUID | str, format_: ExportFormat) -> Path:
    """The file of an export."""
    return folder_of(data_dir) / name_of(export_id, format_)


def files(data_dir: Path) -> Iterator[tuple[UUID, Path]]:
    """The exports that have a file. What is still being written has a name that begins with a dot, and is the engine's."""
    for path in folder_of(data_dir).glob("*.*"):
        with suppress(ValueError):
            yield UUID(path.stem), path


class Hashing:
    """The SHA-256 of a file, a slice at a time; holes are not read. Its methods block, and may be called in threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._hash = path, hashlib.sha256()
        self.done, self.total = 0, path.stat().st_size

    def hash_on(self) -> bool:
        """Hash some more; whether that was all."""
        end = min(self.done + SLICE_BYTES, self.total)
        with self._path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size < self.total:  # what is missing would pass for a hole
                raise _shorter()
            while self.done < end:
                begin = min(_next(file.fileno(), self.done, os.SEEK_DATA, self.total), end)
                self._add_zeros(begin - self.done)
                hole = min(_next(file.fileno(), begin, os.SEEK_HOLE, self.total), end) if begin < end else end
                while self.done < hole:
                    block = os.pread(file.fileno(), min(BLOCK_BYTES, hole - self.done), self.done)
                    if not block:
                        raise _shorter()
                    self._hash.update(block)
                    self.done += len(block)
        return self.done == self.total

    def _add_zeros(self, length: int) -> None:
        self.done += length
        while length:
            zeros = ZEROS[:length]
            self._hash.update(zeros)
            length -= len(zeros)

    def hexdigest(self) -> str:
        """The hash in 64 digits."""
        return self._hash.hexdigest()


def _shorter() -> OSError:
    return OSError(errno.EIO, "The file is shorter than it was")


def _next(file: int, offset: int, what: int, end: int) -> int:
    """Where data, or a hole, comes next; the end if there is none."""
    try:
        return os.lseek(file, offset, what)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return end
        raise
