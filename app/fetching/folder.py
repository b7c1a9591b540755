"""The folder of fetched files: while one is on its way there is a note beside it of what goes on where, if it is cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Note:
    """What is durable of a file."""

    offset: int = 0
    total_bytes: int | None = None
    validator: str | None = None
    sha256: str | None = None
    """Of all of it, once it is all here."""


def folder_of(data_dir: Path) -> Path:
    """Where the files are."""
    return data_dir / "fetched"


def path_of(data_dir: Path, image_id: UUID | str) -> Path:
    """The file that an image is to be made of."""
    return folder_of(data_dir) / f"{image_id}.part"


def image_ids(data_dir: Path) -> Iterator[UUID]:
    """The images that have a file, or a note."""
    for path in folder_of(data_dir).glob("*.*"):
        with suppress(ValueError):
            yield UUID(path.name.partition(".")[0])


def remove(data_dir: Path, image_id: UUID | str) -> None:
    """Leave nothing of it, if there is anything. It blocks."""
    for path in folder_of(data_dir).glob(f"{image_id}.*"):
        path.unlink(missing_ok=True)


def read_note(path: Path) -> Note:
    """What was noted of a file; nothing, if that cannot be read. It blocks."""
    try:
        return Note(**json.loads(path.with_suffix(".json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return Note()


def write_note(path: Path, note: Note) -> None:
    """Note it, durably. It blocks."""
    target, fresh = path.with_suffix(".json"), path.with_suffix(".json.new")
    with fresh.open("w") as file:
        json.dump(asdict(note), file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
