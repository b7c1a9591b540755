"""Public images that an installation brings itself: they come in by the same ingest as everybody's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from app import db, events
from app.contents import service as contents
from app.ecs import host
from app.enums import EventType, ImageKind, ImageSourceKind, ImageStatus, JobType
from app.images.models import Image, ImageDisk, ImageTag
from app.jobs import queue
from app.projects import quotas


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicImage:
    """A disk file of ours, and what to tell of it."""

    name: str
    path: Path
    format: str
    size_gib: int
    columns: Mapping[str, Any]
    tags: Mapping[str, str]


async def find_public(project_id: UUID, name: str) -> UUID | None:
    """The public image of a project by name, if it is ACTIVE or about to be."""
    rows = Image.filter(project_id=project_id, is_public=True, name=name).exclude(status=ImageStatus.KILLED)
    image = await rows.order_by("-created_at").first()
    return image.id if image else None


async def install(project_id: UUID, image: PublicImage) -> UUID:
    """Make a public image of a file, by a job that takes the file away; its id."""
    image_id = uuid4()
    async with db.transaction():
        await quotas.take(project_id, images=1, image_jobs=1)
        await Image.create(
            id=image_id,
            project_id=project_id,
            is_public=True,
            published_at=db.now(),
            kind=ImageKind.SYSTEM_DISK,
            status=ImageStatus.QUEUED,
            source_kind=ImageSourceKind.INSTALLED,
            name=image.name,
            protected=True,
            min_disk_gib=image.size_gib,
            **image.columns,
        )
        await ImageTag.bulk_create([ImageTag(image_id=image_id, key=k, value=v) for k, v in image.tags.items()])
        (content_id,) = await contents.expect(host.current().engine)
        await ImageDisk.create(
            id=uuid4(), image_id=image_id, content_id=content_id, boot_index=0, size_gib=image.size_gib, is_system=True
        )
        chosen = {"path": str(image.path), "format": image.format, "content_id": str(content_id)}
        await queue.enqueue(JobType.IMPORT_IMAGE, project_id=project_id, image_id=image_id, input=chosen)
        await events.announce("Image", image_id, EventType.CREATED, [project_id])
    return image_id
