"""What one can do with exports: ask for one, fetch it, and do without it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from tortoise.expressions import Q

from app import db, policy
from app.contents.models import Content
from app.enums import ContentState, ErrorCode, ExportFormat, ImageAction, JobType, QuotaResource, TokenScope
from app.errors import LimitExceeded, NotFound, Refused
from app.exports import reads, removing, shelf
from app.exports.models import Export
from app.images import service as images
from app.images.models import Image, ImageDisk
from app.jobs import queue
from app.policy import Caller
from app.projects import idempotency
from app.projects.models import Quota

__all__ = ["delete_export", "export_image", "find_file", "reads"]

MAX_EXPORTS = 10
"""Of a project at a time, those being made among them: each is a whole file, and is gone after a while or when it is deleted."""


async def export_image(
    caller: Caller, image_id: UUID, format_: ExportFormat, *, idempotency_key: str | None = None
) -> str:
    """Make a file of an image, by a job; the job's id. One that is there already is answered, and kept as long as a new one.

    Raises: Forbidden, NotFound. Busy: it is being exported. LimitExceeded. Refused: NOT_EXPORTABLE, NOT_ACTIVE, DAMAGED; of the key:
    as app.projects.idempotency.
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
    # Before the image, as everywhere: of two requests of a project one comes first, so that both cannot be the last that fits.
    await Quota.filter(project_id=caller.project, resource=QuotaResource.IMAGES).select_for_update()
    await Image.filter(id=image_id).select_for_update().get_or_none()
    await images.authorize(caller, ImageAction.EXPORT, image_id)
    await images.check_not_exported(image_id)
    if (present := await _present(caller, image_id, format_)) is not None:
        return present
    await _check_number(caller)
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


async def _present(caller: Caller, image_id: UUID, format_: ExportFormat) -> UUID | None:
    """The job of an export that is there: an image's bytes never change, so another would be the same."""
    there = policy.visible_exports(caller).filter(image_id=image_id, format=format_)
    row = await there.order_by("-expires_at").first()
    if row is None or not await there.filter(id=row.id).update(expires_at=db.now() + shelf.current().kept):
        return None
    return row.job_id


async def _check_number(caller: Caller) -> None:
    alive = Export.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=db.now()), project_id=caller.project)
    if await alive.count() >= MAX_EXPORTS:
        message = (
            f"A project has at most {MAX_EXPORTS} exports; delete one (DELETE /exports/ID), or wait until one expires."
        )
        raise LimitExceeded(message)


async def find_file(caller: Caller, export_id: UUID) -> Export:
    """An export whose file can be fetched.

    Raises: Forbidden, NotFound.
    """
    policy.require(caller, TokenScope.READ)
    row = await policy.visible_exports(caller).get_or_none(id=export_id)
    if row is None:
        raise NotFound("There is no such export.")
    return row


async def delete_export(caller: Caller, export_id: UUID) -> None:
    """Remove an export and its file; who is fetching it gets it whole.

    Raises: Forbidden, NotFound.
    """
    policy.require(caller, TokenScope.IMAGES)
    await removing.remove(shelf.current().data_dir, await find_file(caller, export_id))
