"""ECSs, flavors and key pairs, one and many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import strawberry
from strawberry import Info

from app.ecs import flavors, key_pairs
from app.ecs import service as ecs
from app.ecs.reads import EcsRow, FlavorRow, KeyPairRow
from app.enums import Architecture, EcsOrderField, EcsStatus, FlavorState, OrderDirection
from app.paging import Page, Slice
from app.policy import Caller
from app.reading import Wanted
from schema.context import caller
from schema.ecs.types import EcsInstance, Flavor, KeyPair
from schema.fields import showing
from schema.filters import DateTimeFilter, IntFilter, StringFilter, TagFilter, values_of
from schema.ids import parse, plain
from schema.paging import After, Before, Connection, First, Last
from schema.selection import wanted


async def flavor_ids(who: Caller, given: Sequence[str]) -> list[str]:
    """The flavors that ID arguments name, by id or name, as plain UUIDs; one that nothing has where there is none.

    Raises: InvalidInput: more than 100 names.
    """
    names = [each for each in given if parse(each) is None]
    where, page = flavors.FlavorFilter(names=names), Page(all=True)
    found = (await flavors.list_flavors(who, where, page=page, wanted=Wanted.naming("name"))).nodes if names else []
    ids = {row.name: row.id for row in found}
    return [ids.get(each) or plain(each, "Flavor") for each in given]


@strawberry.input(
    description="Which ECSs. Fields are combined with AND, the values of one list, at most 100, with OR. An empty list "
    "matches nothing."
)
class EcsFilter:
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="One of these, opaque or plain.")
    status: list[EcsStatus] | None = strawberry.field(default=None, description="Where it is in its life.")
    name: StringFilter | None = strawberry.field(default=None, description="Its name.")
    search: str | None = strawberry.field(
        default=None, description="Words, at most 10, each in its name, description or tags; case does not count."
    )
    flavor_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Of one of these flavors, by id or name."
    )
    image_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Launched from one of these images."
    )
    tags: TagFilter | None = strawberry.field(default=None, description="Its tags.")
    created_at: DateTimeFilter | None = strawberry.field(default=None, description="When it was asked for.")

    async def plain(self, who: Caller) -> ecs.EcsFilter:
        """The filter as app has it."""
        values = values_of(self, ids="EcsInstance", image_ids="Image")
        if self.flavor_ids is not None:
            values["flavor_ids"] = await flavor_ids(who, self.flavor_ids)
        return ecs.EcsFilter(**values)


@strawberry.input(description="What to order ECSs by.")
class EcsOrder:
    field: EcsOrderField = strawberry.field(description="What they are compared by.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="Which end comes first.")


@strawberry.input(
    description="Which flavors. Fields are combined with AND, the values of one list, at most 100, with OR. An empty list "
    "matches nothing."
)
class FlavorFilter:
    names: list[str] | None = strawberry.field(default=None, description="One of these names, exactly.")
    architecture: list[Architecture] | None = strawberry.field(default=None, description="Of its processors.")
    state: list[FlavorState] | None = strawberry.field(default=None, description="Whether it is sold.")
    vcpus: IntFilter | None = strawberry.field(default=None, description="Virtual processors.")
    ram_mib: IntFilter | None = strawberry.field(default=None, description="Memory in MiB.")
    launchable_image_id: strawberry.ID | None = strawberry.field(
        default=None, description="Those that the viewer could launch this image on now."
    )

    def plain(self) -> flavors.FlavorFilter:
        """The filter as app has it."""
        values = values_of(self)
        if self.launchable_image_id is not None:
            values["launchable_image_id"] = plain(self.launchable_image_id, "Image")
        return flavors.FlavorFilter(**values)


EcsId = Annotated[strawberry.ID, strawberry.argument(description="The ECS's id, opaque or plain.")]
WhichEcs = Annotated[EcsFilter | None, strawberry.argument(description="Which ECSs. Null: all.")]
WhichFlavors = Annotated[FlavorFilter | None, strawberry.argument(description="Which flavors. Null: all.")]
OrderBy = Annotated[
    list[EcsOrder] | None, strawberry.argument(description="By default CREATED_AT DESC. The id breaks ties.")
]


@strawberry.type
class EcsQueries:
    @showing(EcsInstance | None, description="One ECS of the viewer's project. Null when it is not there.")
    async def ecs_instance(self, info: Info, id: EcsId) -> EcsRow | None:
        ecs_id = plain(id, "EcsInstance")
        return (await ecs.find_ecs(caller(info), [ecs_id], wanted(info))).get(ecs_id)

    @showing(Connection[EcsInstance], description="ECSs of the viewer's project.")
    async def ecs_instances(
        self,
        info: Info,
        *,
        filter: WhichEcs = None,
        order_by: OrderBy = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Slice[EcsRow]:
        who, page = caller(info), Page(first, after, last, before)
        where = await filter.plain(who) if filter else ecs.EcsFilter()
        order = [(each.field, each.direction) for each in order_by or ()]
        return await ecs.list_ecs(who, where, order=order, page=page, wanted=wanted(info))

    @showing(Connection[Flavor], description="Flavors, smallest first.")
    async def flavors(
        self,
        info: Info,
        *,
        filter: WhichFlavors = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Slice[FlavorRow]:
        who, page = caller(info), Page(first, after, last, before)
        where = filter.plain() if filter else flavors.FlavorFilter()
        return await flavors.list_flavors(who, where, page=page, wanted=wanted(info))

    @showing(Connection[KeyPair], description="Key pairs of the viewer's project, newest first.")
    async def key_pairs(
        self, info: Info, *, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Slice[KeyPairRow]:
        page = Page(first, after, last, before)
        return await key_pairs.list_key_pairs(caller(info), page=page, wanted=wanted(info))
