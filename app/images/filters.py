"""Which images a list is to have. Nouns above add the conditions that only they can work out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from app import filters, policy
from app.enums import Architecture, ImageKind, ImageStatus, ImageVisibility, OsType, ShareStatus
from app.filters import RangeFilter, StringFilter, TagFilter
from app.images.models import Image, ImageTag
from app.policy import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilter:
    """Fields are combined with AND, the values of one list with OR."""

    ids: Sequence[str] | None = None
    visibility: Sequence[ImageVisibility] | None = None
    kind: Sequence[ImageKind] | None = None
    status: Sequence[ImageStatus] | None = None
    name: StringFilter | None = None
    search: str | None = None
    os_type: Sequence[OsType] | None = None
    platform: Sequence[str] | None = None
    os_version: StringFilter | None = None
    architecture: Sequence[Architecture] | None = None
    tags: TagFilter | None = None
    protected: bool | None = None
    min_disk_gib: RangeFilter[int] | None = None
    min_ram_mib: RangeFilter[int] | None = None
    size_bytes: RangeFilter[int] | None = None
    created_at: RangeFilter[datetime] | None = None
    updated_at: RangeFilter[datetime] | None = None
    owner_ids: Sequence[str] | None = None
    shared_with_project_ids: Sequence[str] | None = None
    shared_out: bool | None = None
    share_status: Sequence[ShareStatus] | None = None
    source_image_ids: Sequence[str] | None = None
    source_ecs_ids: Sequence[str] | None = None
    launchable_on_flavor_id: str | None = None


Condition = Callable[[Caller, ImageFilter], Awaitable[Q]]
CONDITIONS: list[Condition] = []
"""Of nouns above: on shares, on flavors."""


async def query(caller: Caller, where: ImageFilter) -> QuerySet[Image]:
    """The images that the caller may list, and that are so.

    Raises: InvalidInput: a list, a search or a set of tags is too long.
    """
    begin = policy.listed_images if where.share_status is None else policy.visible_images
    condition = _columns(caller, where) & _visibility(caller, where.visibility) & _lineage(caller, where)
    for add in CONDITIONS:
        condition &= await add(caller, where)
    return begin(caller).filter(condition)


def _columns(caller: Caller, where: ImageFilter) -> Q:
    lists = {
        "id": where.ids,
        "kind": where.kind,
        "status": where.status,
        "os_type": where.os_type,
        "architecture": where.architecture,
        "project_id": where.owner_ids,
    }
    condition = filters.text(Image, "name", where.name) & filters.text(Image, "os_version", where.os_version)
    condition &= filters.one_of("os_platform", where.platform, Image)
    for column, values in lists.items():
        condition &= filters.one_of(column, values)
    for column, bounds in (("min_disk_gib", where.min_disk_gib), ("min_ram_mib", where.min_ram_mib)):
        condition &= filters.within(column, bounds)
    if where.size_bytes is not None:  # 0 stands for unknown
        condition &= filters.within("stored_bytes", where.size_bytes) & Q(stored_bytes__gt=0)
    condition &= filters.within("created_at", where.created_at) & filters.within("updated_at", where.updated_at)
    if where.protected is not None:
        condition &= Q(protected=where.protected)
    # of all that is listed, only a share that is not accepted has tags which its viewer must not see
    shown = Q() if where.share_status is None or caller.is_operator else policy.may_launch(caller)
    condition &= filters.words(where.search, ("name", "description"), ImageTag, "image_id", shown)
    return condition & filters.tagged(where.tags, ImageTag, "image_id", shown)


def is_visibility(caller: Caller, visibility: ImageVisibility) -> Q:
    """Images that are so to the caller."""
    if visibility is ImageVisibility.PUBLIC:
        return Q(is_public=True)
    own = Q() if caller.is_operator else Q(project_id=caller.project_id)
    if visibility is ImageVisibility.PRIVATE:
        return Q(is_public=False) & own
    return Q(id__in=[]) if caller.is_operator else Q(is_public=False) & ~own


def _visibility(caller: Caller, values: Sequence[ImageVisibility] | None) -> Q:
    if values is None:
        return Q()
    condition = Q(id__in=[])
    for value in values:
        condition |= is_visibility(caller, value)
    return condition


def _lineage(caller: Caller, where: ImageFilter) -> Q:
    """Where an image came from is known to its owner alone."""
    if where.source_image_ids is None and where.source_ecs_ids is None:
        return Q()
    condition = filters.one_of("source_image_id", where.source_image_ids)
    condition &= filters.one_of("source_ecs_id", where.source_ecs_ids)
    return condition & is_visibility(caller, ImageVisibility.PRIVATE)
