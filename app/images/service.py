"""What one can do with images that are there. Making them is for sources, sharing them for sharing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from tortoise.expressions import RawSQL

from app import db, events, policy, states
from app.contents import service as contents
from app.enums import (
    ErrorCode,
    EventType,
    ImageAction,
    ImageKind,
    ImageOrderField,
    ImageStatus,
    JobStatus,
    JobType,
    OrderDirection,
)
from app.errors import Busy, InvalidInput, LimitExceeded, NotFound, ServiceError
from app.filters import storable
from app.images import filters, rules
from app.images.facets import facets
from app.images.filters import ImageFilter
from app.images.models import Image, ImageDisk, ImageTag
from app.images.reads import IMAGES, RULE_COLUMNS, ImageRow, OperatingSystem
from app.jobs.models import Job
from app.paging import Page, Slice
from app.policy import Caller
from app.projects import quotas
from app.reading import Wanted, find, list_page

ORDER = {
    ImageOrderField.CREATED_AT: "created_at",
    ImageOrderField.UPDATED_AT: "updated_at",
    ImageOrderField.NAME: "name",
    ImageOrderField.SIZE: "stored_bytes",
    ImageOrderField.MIN_DISK: "min_disk_gib",
    ImageOrderField.STATUS: "status",
    ImageOrderField.SHARED_AT: "shared_at",
}
Order = Sequence[tuple[ImageOrderField, OrderDirection]]
FOR_RULES = Wanted.naming(*RULE_COLUMNS, "name")
MAX_KEYS = 100
"""Of tags that are taken off, as of items in a batch; an image has ten."""


async def list_images(
    caller: Caller, where: ImageFilter, *, order: Order = (), page: Page, wanted: Wanted
) -> Slice[ImageRow]:
    """A page of the images that the caller may list, and counts beside it.

    Raises: InvalidInput, InvalidCursor.
    """
    query = await filters.query(caller, where)
    if any(column is ImageOrderField.SHARED_AT for column, _ in order):
        query = query.annotate(shared_at=_shared_at(caller))
    slice_ = await list_page(caller, IMAGES, query, wanted, page, order=keyset(order, ORDER), filtered_by=where)
    for part in wanted.parts:
        if part.name == "facets":
            counts = await facets(caller, where, part.args["by"], part.args["first"])
            slice_.loaded.update(dict.fromkeys(part.keys, counts))
    return slice_


def keyset(order: Sequence[tuple[Any, OrderDirection]], columns: Mapping[Any, str]) -> tuple[str, ...]:
    """Columns to order by, each once; the id breaks ties in the direction of the last."""
    chosen: dict[str, str] = {}
    for field, direction in order:
        chosen.setdefault(columns[field], "-" if direction is OrderDirection.DESC else "")
    names = [sign + column for column, sign in chosen.items()]
    return (*names, ("-" if names[-1].startswith("-") else "") + "id") if names else ()


def _shared_at(caller: Caller) -> RawSQL:
    """When the caller was given its share; for other images when they were made."""
    mine = f"\"project_id\" = '{caller.project}'"  # a UUID of ours, not a text of a client's
    shares = f'SELECT "created_at" FROM "image_member" WHERE "image_id" = "image"."id" AND {mine}'  # noqa: S608
    return RawSQL(f'COALESCE(({shares}), "image"."created_at")')


async def find_images(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, ImageRow]:
    """Those of the images that the caller may see, by id."""
    return await find(caller, IMAGES, ids, wanted)


async def get_image(caller: Caller, image_id: UUID | str, wanted: Wanted = FOR_RULES) -> ImageRow:
    """One image.

    Raises: NotFound.
    """
    row = (await find_images(caller, [str(image_id)], wanted)).get(str(image_id))
    if row is None:
        raise NotFound("There is no such image.", otc="IMG.0027")
    return row


async def authorize(caller: Caller, action: ImageAction, image_id: UUID | str) -> ImageRow:
    """The image, if the caller may do this to it.

    Raises: NotFound, and what app.policy refuses with.
    """
    row = await get_image(caller, image_id)
    await policy.authorize_image(caller, action, row)
    return row


@dataclass(frozen=True, slots=True)
class ImageChanges:
    """What is to change: name, description, min_disk_gib, min_ram_mib, max_ram_mib, protected, os; what is absent stays."""

    values: Mapping[str, object]


async def update_image(caller: Caller, image_id: UUID, changes: ImageChanges) -> None:
    """Change an image.

    Raises: NotFound, Forbidden, InvalidState, InvalidInput.
    """
    await authorize(caller, ImageAction.UPDATE, image_id)
    values = dict(changes.values)
    if "name" in values:
        values["name"] = rules.checked_name(str(values["name"]))
    if "description" in values:
        values["description"] = rules.checked_description(str(values["description"] or ""))
    if isinstance(os := values.pop("os", None), OperatingSystem):
        values |= os_columns(os)
    async with db.transaction():
        image = await Image.filter(id=image_id).select_for_update().get_or_none()
        if image is None:
            raise NotFound("There is no such image.", otc="IMG.0027")
        await _check_limits(image, values)
        await Image.filter(id=image_id).update(**values, updated_at=db.now())
        await states.tell("Image", image_id)


async def _check_limits(image: Image, values: Mapping[str, Any]) -> None:
    given = {name: values.get(name) for name in ("min_disk_gib", "min_ram_mib", "max_ram_mib")}
    rules.check_limits(kind=image.kind, **given)
    after = {name: values.get(name, getattr(image, name)) for name in ("min_ram_mib", "max_ram_mib")}
    rules.check_limits(kind=image.kind, min_disk_gib=None, **after)
    if image.kind is ImageKind.DATA_DISK and "os_type" in values:
        raise InvalidInput("A data disk image has no operating system.", field=("input", "os"), otc="IMG.0024")
    least = await ImageDisk.filter(image_id=image.id).order_by("boot_index").first()
    if least and given["min_disk_gib"] is not None and given["min_disk_gib"] < least.size_gib:
        message = f"Its first disk has {least.size_gib} GiB; what is made from it needs no less."
        raise InvalidInput(message, field=("input", "min_disk_gib"), otc="IMG.0055")


def os_columns(os: OperatingSystem) -> dict[str, object]:
    """An operating system as columns.

    Raises: InvalidInput: a text is empty or longer than 64, or bits are not 32 or 64.
    """
    for name, text in (("platform", os.platform), ("version", os.version)):
        if text is not None and not (1 <= len(text) <= rules.MAX_OS_TEXT and text.isprintable()):
            message = f"This has 1 to {rules.MAX_OS_TEXT} printable characters."
            raise InvalidInput(message, field=("input", "os", name), otc="IMG.0056")
    if os.bits not in (None, 32, 64):
        raise InvalidInput(f"bits is 32 or 64, not {os.bits}.", field=("input", "os", "bits"), otc="IMG.0122")
    return {"os_type": os.type, "os_platform": os.platform, "os_version": os.version, "os_bits": os.bits}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules need to know of a row that was read by the ORM, in a transaction that locks it."""

    id: str
    project_id: str
    is_public: bool
    kind: ImageKind
    status: ImageStatus
    protected: bool
    fault_code: ErrorCode | None

    @classmethod
    def of(cls, image: Image) -> Facts:
        return cls(
            str(image.id),
            str(image.project_id),
            image.is_public,
            image.kind,
            image.status,
            image.protected,
            image.fault_code,
        )


async def _each(image_ids: Sequence[UUID], work: Any) -> list[ServiceError | None]:
    """Do something for each image; what is refused for one is done for the others."""
    results: list[ServiceError | None] = []
    for image_id in image_ids:
        try:
            await work(image_id)
            results.append(None)
        except ServiceError as error:
            results.append(error)
    return results


async def tag_images(caller: Caller, image_ids: Sequence[UUID], tags: rules.Tags) -> list[ServiceError | None]:
    """Put tags on images; a tag with the same key is replaced, which does not count against the ten.

    Raises: InvalidInput, LimitExceeded: of the tags themselves.
    """
    return await _each(image_ids, partial(_tag, caller, rules.checked_tags(tags)))


async def _tag(caller: Caller, tags: Mapping[str, str], image_id: UUID) -> None:
    await authorize(caller, ImageAction.TAG, image_id)
    async with db.transaction():
        await _lock(image_id)
        kept = await ImageTag.filter(image_id=image_id).exclude(key__in=list(tags)).count()
        if kept + len(tags) > rules.MAX_TAGS:
            raise LimitExceeded(f"An image has at most {rules.MAX_TAGS} tags.", field=("input", "tags"), otc="IMG.0116")
        await ImageTag.filter(image_id=image_id, key__in=list(tags)).delete()
        await ImageTag.bulk_create([ImageTag(image_id=image_id, key=k, value=v) for k, v in tags.items()])
        await _touch(image_id)


async def untag_images(caller: Caller, image_ids: Sequence[UUID], keys: Sequence[str]) -> list[ServiceError | None]:
    """Take tags off images; what is not there counts as taken off.

    Raises: LimitExceeded: more than 100 keys.
    """
    if len(keys) > MAX_KEYS:
        raise LimitExceeded(f"At most {MAX_KEYS} keys at a time, not {len(keys)}.", field=("input", "keys"))
    return await _each(image_ids, partial(_untag, caller, [key.strip() for key in keys]))


async def _untag(caller: Caller, keys: Sequence[str], image_id: UUID) -> None:
    await authorize(caller, ImageAction.TAG, image_id)
    async with db.transaction():
        await _lock(image_id)
        if await ImageTag.filter(image_id=image_id, key__in=storable(ImageTag, "key", keys)).delete():
            await _touch(image_id)


async def _lock(image_id: UUID) -> Image:
    image = await Image.filter(id=image_id).select_for_update().get_or_none()
    if image is None:
        raise NotFound("There is no such image.", otc="IMG.0027")
    return image


async def _touch(image_id: UUID) -> None:
    await Image.filter(id=image_id).update(updated_at=db.now())
    await states.tell("Image", image_id)


NOT_WHILE_EXPORTED = (ImageAction.EXPORT, ImageAction.DELETE)


async def being_exported(image_ids: Sequence[str | UUID]) -> set[str]:
    """Those of the images that are."""
    going_on = [JobStatus.INIT, JobStatus.RUNNING]
    jobs = Job.filter(image_id__in=list(image_ids), type=JobType.EXPORT_IMAGE, status__in=going_on)
    return {str(id_) for id_ in await jobs.values_list("image_id", flat=True)}


async def check_not_exported(image_id: UUID) -> None:
    """Whoever holds the image's lock knows that this stays so.

    Raises: Busy.
    """
    if await being_exported([image_id]):
        raise Busy("The image is being exported; wait for that job, or cancel it (cancelJob).", otc="IMG.0148")


async def delete_images(caller: Caller, image_ids: Sequence[UUID], *, dry_run: bool) -> list[ServiceError | None]:
    """Delete images; machines made from them keep their bytes, and shares of them end. With dry_run only say what would be refused."""
    return await _each(image_ids, partial(_delete, caller, dry_run))


async def _delete(caller: Caller, dry_run: bool, image_id: UUID) -> None:
    seen = await authorize(caller, ImageAction.DELETE, image_id)
    await check_not_exported(image_id)
    if dry_run:
        return
    async with db.transaction():
        # The quota comes first, as it does where an image is copied: two that lock the same rows cannot wait for each other.
        await quotas.give_back(seen.project_id, images=1)
        row = await _lock(image_id)
        await policy.authorize_image(caller, ImageAction.DELETE, Facts.of(row))
        await check_not_exported(image_id)
        await quotas.give_back(row.project_id, image_bytes=row.charged_bytes)
        members = await states.table("ImageMember").filter(image_id=image_id).values_list("project_id", flat=True)
        content_ids: list[Any] = list(await ImageDisk.filter(image_id=image_id).values_list("content_id", flat=True))
        await Image.filter(id=image_id).delete()
        await contents.let_go(content_ids, project_id=row.project_id, image_id=image_id)
        await events.announce("Image", image_id, EventType.DELETED, [row.project_id])
        for member in members:
            await events.announce("Image", image_id, EventType.REVOKED, [str(member)], about=str(member))
