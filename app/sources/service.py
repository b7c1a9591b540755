"""Making private images: one entry for all sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app import events, policy
from app.ecs.rules import Notice
from app.enums import ErrorCode, EventType, ImageKind, ImageStatus, TokenScope
from app.errors import InvalidInput, Refused, ServiceError
from app.images import charging, rules
from app.images.models import Image, ImageTag
from app.jobs import queue
from app.policy import Caller
from app.projects import idempotency, quotas
from app.sources.backup import OfBackup
from app.sources.base import (
    BackupSource,
    DiskSource,
    Draft,
    EcsSource,
    FullEcsSource,
    ImageCopySource,
    Source,
    SourceRequest,
    UploadSource,
    UrlSource,
)
from app.sources.copy import OfImage
from app.sources.disk import OfDisk
from app.sources.ecs import OfEcs
from app.sources.full_ecs import OfFullEcs
from app.sources.upload import OfUpload
from app.sources.url import OfUrl

SOURCES: Mapping[type[Any], tuple[str, str, type[Any]]] = {
    EcsSource: ("ecs", "ecs_id", OfEcs),
    DiskSource: ("disk", "disk_id", OfDisk),
    FullEcsSource: ("full_ecs", "ecs_id", OfFullEcs),
    BackupSource: ("backup", "backup_id", OfBackup),
    ImageCopySource: ("image", "image_id", OfImage),
    UploadSource: ("upload", "upload_id", OfUpload),
    UrlSource: ("url", "url", OfUrl),
}
"""What a request for each source looks like: its name in the request and that of its id, and what makes images of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateImage:
    """The image that is wanted."""

    name: str
    source: SourceRequest
    description: str | None = None
    tags: Sequence[tuple[str, str]] = ()
    unique_name: bool = False
    min_disk_gib: int | None = None
    min_ram_mib: int | None = None
    max_ram_mib: int | None = None
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """What was begun; nothing in a dry run."""

    image_id: str | None
    job_id: str | None
    warnings: Sequence[Notice]


async def create_image(caller: Caller, request: CreateImage, *, idempotency_key: str | None, dry_run: bool) -> Created:
    """Make a private image, by a job.

    Raises: Forbidden, NotFound, InvalidInput, LimitExceeded, QuotaExceeded, Busy, InvalidState, Unsupported; Refused: NAME_TAKEN,
    DISK_TOO_LARGE; of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.IMAGES)
    asked = ("createImage", repr(request))
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return Created(None, None, Notice.kept(known)) if dry_run else _created(known)
    source: Source = SOURCES[type(request.source)][-1](request.source)
    try:
        with _about(request):
            plan = await source.check(caller)
    except ServiceError:
        # Perhaps it is refused for what its own twin has just begun.
        if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None and not dry_run:
            return _created(known)
        raise
    columns = _columns(request, source.kind, plan)
    tags = rules.checked_tags(request.tags)
    if dry_run:
        await _check_name(caller, request)
        await quotas.fits(caller.project, images=1, image_bytes=plan.virtual_bytes, image_jobs=1)
        return Created(None, None, plan.warnings)

    async def work() -> dict[str, object]:
        image_id, job_id = await _insert(caller, request, source, {**plan.columns, **columns}, tags)
        told = [notice.keep() for notice in plan.warnings]
        return {"image_id": str(image_id), "job_id": str(job_id), "warnings": told}

    return _created(await idempotency.once(caller, idempotency_key, asked, work))


def _created(answer: Mapping[str, Any]) -> Created:
    return Created(answer["image_id"], answer["job_id"], Notice.kept(answer))


@contextmanager
def _about(request: CreateImage) -> Iterator[None]:
    """What is refused here is refused for its source."""
    try:
        yield
    except ServiceError as error:
        name, id_, _ = SOURCES[type(request.source)]
        raise error.at("input", "source", name, *(error.field or (id_,))) from None


def _columns(request: CreateImage, kind: ImageKind, plan: Draft) -> dict[str, Any]:
    """What the request says, where it does, else what the source has.

    Raises: InvalidInput.
    """
    least = request.min_ram_mib if request.min_ram_mib is not None else plan.min_ram_mib
    most = request.max_ram_mib if request.max_ram_mib is not None else plan.max_ram_mib
    rules.check_limits(kind=kind, min_disk_gib=request.min_disk_gib, min_ram_mib=least, max_ram_mib=most)
    disk = request.min_disk_gib if request.min_disk_gib is not None else plan.min_disk_gib
    if disk < plan.min_disk_gib:
        message = f"The disk has {plan.min_disk_gib} GiB; what is made from it needs no less."
        raise InvalidInput(message, field=("input", "min_disk_gib"), otc="IMG.0055")
    return {
        "name": rules.checked_name(request.name),
        "description": rules.checked_description(request.description or ""),
        "min_disk_gib": disk,
        "min_ram_mib": least,
        "max_ram_mib": most,
        "protected": request.protected,
    }


async def _check_name(caller: Caller, request: CreateImage) -> None:
    if request.unique_name and await Image.exists(project_id=caller.project, name=request.name):
        message = f"Your project has an image {request.name!r} already."
        raise Refused(ErrorCode.NAME_TAKEN, message, field=("input", "name"), otc="IMG.0009")


async def _insert(
    caller: Caller, request: CreateImage, source: Source, columns: Mapping[str, Any], tags: Mapping[str, str]
) -> tuple[UUID, UUID]:
    # Taking the quota locks its row: requests of one project come one after the other, so that a unique name is one.
    await quotas.take(caller.project, images=1, image_jobs=1)
    await _check_name(caller, request)
    image_id, job_id = uuid4(), uuid4()
    await Image.create(
        id=image_id,
        project_id=caller.project,
        kind=source.kind,
        status=ImageStatus.QUEUED,
        source_kind=source.source_kind,
        **columns,
    )
    await ImageTag.bulk_create([ImageTag(image_id=image_id, key=key, value=value) for key, value in tags.items()])
    with _about(request):
        chosen = await source.begin(caller, image_id, job_id)
    await charging.charge_for_disks(image_id)
    await queue.enqueue(
        source.job_type,
        project_id=caller.project,
        image_id=image_id,
        backup_id=next(iter(_named(chosen, "backup_id")), None),
        ecs_ids=_named(chosen, "ecs_id"),
        disk_ids=_named(chosen, "disk_id"),
        input=chosen,
        job_id=job_id,
    )
    await events.announce("Image", image_id, EventType.CREATED, [caller.project])
    return image_id, job_id


def _named(chosen: Mapping[str, object], name: str) -> list[UUID]:
    """The thing that a job is about, if its input names one."""
    return [UUID(str(chosen[name]))] if chosen.get(name) else []
