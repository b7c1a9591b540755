"""Where an image came from: what its owner may know of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.ecs.reads import ECS
from app.enums import DiskFormat, ImageSourceKind
from app.images.reads import IMAGES
from app.policy import Caller
from app.reading import Memory, Remembered, Wanted


@dataclass(frozen=True, slots=True)
class ImageSource:
    """How an image was made, and of what."""

    kind: ImageSourceKind
    image: Memory | None
    ecs: Memory | None
    disk_id: str | None
    backup_id: str | None
    file_name: str | None
    format: DiskFormat | None


IMAGE = Remembered(IMAGES, "source_image_id", "source_image_name", "image")
MACHINE = Remembered(ECS, "source_ecs_id", "source_ecs_name", "ecs_instance")


class SourceOf:
    """image.source."""

    needs = (
        "source_kind", "source_disk_id", "source_backup_id", "source_file_name", "source_format", *IMAGE.needs, *MACHINE.needs
    )  # fmt: skip

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        images = await IMAGE.load(caller, rows, part.of("image"))
        machines = await MACHINE.load(caller, rows, part.of("ecs"))
        of_rows = zip(rows, images, machines, strict=True)
        return [
            ImageSource(
                row.source_kind,
                image,
                ecs,
                row.source_disk_id,
                row.source_backup_id,
                row.source_file_name,
                row.source_format,
            )
            for row, image, ecs in of_rows
        ]


IMAGES.relations["source"] = SourceOf()
