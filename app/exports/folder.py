"""The folder of exports: a file for each, which has its name only once it is whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from app.enums import ExportFormat

BLOCK_BYTES = 1 << 20
SLICE_BYTES = 64 << 20
"""Hashed in one go."""
SUFFIX: Mapping[ExportFormat, str] = {format_: format_.value.lower() for format_ in ExportFormat}


def folder_of(data_dir: Path) -> Path:
    """Where the files are."""
    return data_dir / "exports"


def path_of(data_dir: Path, export_id: UUID | str, format_: ExportFormat) -> Path:
    """The file of an export."""
    return folder_of(data_dir) / f"{export_id}.{SUFFIX[format_]}"


def files(data_dir: Path) -> Iterator[tuple[UUID, Path]]:
    """The exports that have a file. What is still being written has a name that begins with a dot, and is the engine's."""
    for path in folder_of(data_dir).glob("*.*"):
        with suppress(ValueError):
            yield UUID(path.stem), path


class Hashing:
    """The SHA-256 of a file, a slice at a time. Its methods block, and may be called in threads."""

    def __init__(self, path: Path) -> None:
        self._path, self._hash = path, hashlib.sha256()
        self.done, self.total = 0, path.stat().st_size

    def hash_on(self) -> bool:
        """Hash some more; whether that was all."""
        with self._path.open("rb") as file:
            file.seek(self.done)
            for _ in range(SLICE_BYTES // BLOCK_BYTES):
                block = file.read(BLOCK_BYTES)
                self._hash.update(block)
                self.done += len(block)
                if not block:
                    return True
        return self.done >= self.total

    def hexdigest(self) -> str:
        """The hash in 64 digits."""
        return self._hash.hexdigest()
