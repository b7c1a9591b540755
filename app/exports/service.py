"""What one can do with exports: ask for one, and fetch it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from app import policy
from app.contents.models import Content
from app.enums import ContentState, ErrorCode, ExportFormat, ImageAction, JobType, TokenScope
from app.errors import NotFound, Refused
from app.exports import reads
from app.exports.models import Export
from app.images import service as images
from app.images.models import Image, ImageDisk
from app.jobs import queue
from app.policy import Caller
from app.projects import idempotency

__all__ = ["export_image", "find_file", "reads"]


async def export_image(
    caller: Caller, image_id: UUID, format_: ExportFormat, *, idempotency_key: str | None = None
) -> str:
    """Make a file of an image, by a job; the job's id.

    Raises: Forbidden, NotFound. Busy: it is being exported. Refused: NOT_EXPORTABLE, NOT_ACTIVE; of the key: as
    app.projects.idempotency.
    """
    policy.require(caller, TokenScope.IMAGES)
    asked = ("exportImage", image_id, format_)
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return str(known["job_id"])
    await images.authorize(caller, ImageAction.EXPORT, image_id)

    async def work() -> dict[str, object]:
        return {"job_id": str(await _begin(caller, image_id, format_))}

    answer: Any = await idempotency.once(caller, idempotency_key, asked, work)
    return str(answer["job_id"])


async def _begin(caller: Caller, image_id: UUID, format_: ExportFormat) -> UUID:
    """The image is locked: of two exports one comes first, and it is not deleted meanwhile. Later its job keeps it from that."""
    await Image.filter(id=image_id).select_for_update().get_or_none()
    await images.authorize(caller, ImageAction.EXPORT, image_id)
    await images.check_not_exported(image_id)
    disk = await ImageDisk.get(image_id=image_id)
    if not await Content.exists(id=disk.content_id, state=ContentState.SEALED):
        raise Refused(ErrorCode.NOT_ACTIVE, "The image's bytes are not there.", otc="IMG.0046")
    export_id, job_id = uuid4(), uuid4()
    await Export.create(id=export_id, project_id=caller.project, job_id=job_id, image_id=image_id, format=format_)
    return await queue.enqueue(
        JobType.EXPORT_IMAGE,
        project_id=caller.project,
        image_id=image_id,
        input={"content_id": str(disk.content_id), "export_id": str(export_id), "format": format_.value},
        job_id=job_id,
    )


async def find_file(caller: Caller, export_id: UUID) -> Export:
    """An export whose file can be fetched.

    Raises: Forbidden, NotFound.
    """
    policy.require(caller, TokenScope.READ)
    row = await policy.visible_exports(caller).get_or_none(id=export_id)
    if row is None:
        raise NotFound("There is no such export.")
    return row
