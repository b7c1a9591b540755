"""EVS disks, one and many."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from app.disks import service as disks
from app.disks.reads import EvsDiskRow
from app.enums import DiskStatus, DiskType
from app.paging import Page, Slice
from schema.context import caller
from schema.disks.types import EvsDisk
from schema.fields import showing
from schema.filters import StringFilter, values_of
from schema.ids import plain
from schema.paging import After, Before, Connection, First, Last
from schema.selection import wanted


@strawberry.input(
    description="Which EVS disks. Fields are combined with AND, the values of one list, at most 100, with OR. An empty list "
    "matches nothing."
)
class EvsDiskFilter:
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="One of these, opaque or plain.")
    status: list[DiskStatus] | None = strawberry.field(default=None, description="Where it is in its life.")
    type: list[DiskType] | None = strawberry.field(default=None, description="Performance class.")
    name: StringFilter | None = strawberry.field(default=None, description="Its name.")
    is_system: bool | None = strawberry.field(default=None, description="Whether its ECS boots from it.")
    ecs_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Of one of these ECSs.")
    image_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Made from one of these images.")

    def plain(self) -> disks.EvsDiskFilter:
        """The filter as app has it."""
        return disks.EvsDiskFilter(**values_of(self, ids="EvsDisk", ecs_ids="EcsInstance", image_ids="Image"))


DiskId = Annotated[strawberry.ID, strawberry.argument(description="The disk's id, opaque or plain.")]
Where = Annotated[EvsDiskFilter | None, strawberry.argument(description="Which disks. Null: all.")]


@strawberry.type
class DiskQueries:
    @showing(EvsDisk | None, description="One EVS disk of the viewer's project. Null when it is not there.")
    async def evs_disk(self, info: Info, id: DiskId) -> EvsDiskRow | None:
        disk_id = plain(id, "EvsDisk")
        return (await disks.find_evs_disks(caller(info), [disk_id], wanted(info))).get(disk_id)

    @showing(Connection[EvsDisk], description="EVS disks of the viewer's project, newest first.")
    async def evs_disks(
        self,
        info: Info,
        *,
        filter: Where = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Slice[EvsDiskRow]:
        who, page = caller(info), Page(first, after, last, before)
        where = filter.plain() if filter else disks.EvsDiskFilter()
        return await disks.list_evs_disks(who, where, page=page, wanted=wanted(info))
