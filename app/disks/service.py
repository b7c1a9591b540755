"""What one can do with EVS disks: read them. Machines make and delete theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tortoise.expressions import Q

from app import filters, policy
from app.disks.models import EvsDisk
from app.disks.reads import EVS_DISKS, EvsDiskRow
from app.enums import DiskStatus, DiskType
from app.filters import StringFilter
from app.paging import Page, Slice
from app.policy import Caller
from app.reading import Wanted, find, list_page


@dataclass(frozen=True, slots=True, kw_only=True)
class EvsDiskFilter:
    """Fields are combined with AND, the values of one list with OR."""

    ids: Sequence[str] | None = None
    status: Sequence[DiskStatus] | None = None
    type: Sequence[DiskType] | None = None
    name: StringFilter | None = None
    is_system: bool | None = None
    ecs_ids: Sequence[str] | None = None
    image_ids: Sequence[str] | None = None


async def list_evs_disks(caller: Caller, where: EvsDiskFilter, *, page: Page, wanted: Wanted) -> Slice[EvsDiskRow]:
    """A page of the caller's disks, newest first.

    Raises: InvalidInput, InvalidCursor.
    """
    lists = {
        "id": where.ids,
        "status": where.status,
        "type": where.type,
        "ecs_id": where.ecs_ids,
        "image_id": where.image_ids,
    }
    condition = filters.text(EvsDisk, "name", where.name)
    for column, values in lists.items():
        condition &= filters.one_of(column, values)
    if where.is_system is not None:
        condition &= Q(is_system=where.is_system)
    query = policy.visible_evs_disks(caller).filter(condition)
    return await list_page(caller, EVS_DISKS, query, wanted, page, filtered_by=where)


async def find_evs_disks(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, EvsDiskRow]:
    """Those of the disks that are the caller's, by id."""
    return await find(caller, EVS_DISKS, ids, wanted)
