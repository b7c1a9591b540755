"""One image, and the catalogue: filtered, ordered, counted by what images are."""

from __future__ import annotations

from typing import Annotated, Any

import strawberry
from strawberry import Info

from app.enums import (
    Architecture,
    ImageFacetField,
    ImageKind,
    ImageOrderField,
    ImageStatus,
    ImageVisibility,
    OrderDirection,
    OsType,
    ShareStatus,
)
from app.images import filters
from app.images import service as images
from app.images.reads import ImageRow
from app.paging import Page, Slice
from app.policy import Caller
from schema.context import caller
from schema.ecs.queries import flavor_ids
from schema.fields import showing
from schema.filters import BigIntFilter, DateTimeFilter, IntFilter, StringFilter, TagFilter, values_of
from schema.ids import plain
from schema.images.types import Image
from schema.paging import After, Before, Connection, First, Last
from schema.selection import loaded, wanted


@strawberry.input(
    description="Which images. Fields are combined with AND, the values of one list, at most 100, with OR. An empty list "
    "matches nothing. What only an owner sees is a condition on own images only."
)
class ImageFilter:
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="One of these, opaque or plain.")
    visibility: list[ImageVisibility] | None = strawberry.field(default=None, description="As the viewer sees it.")
    kind: list[ImageKind] | None = strawberry.field(default=None, description="What it holds.")
    status: list[ImageStatus] | None = strawberry.field(default=None, description="Where it is in its life.")
    name: StringFilter | None = strawberry.field(default=None, description="Its name.")
    search: str | None = strawberry.field(
        default=None,
        description="Words, at most 10, each in its name, description or tags; case does not count. Pending shares' tags "
        "are left out.",
    )
    os_type: list[OsType] | None = strawberry.field(default=None, description="os.type")
    platform: list[str] | None = strawberry.field(default=None, description="os.platform, exactly.")
    os_version: StringFilter | None = strawberry.field(default=None, description="os.version")
    architecture: list[Architecture] | None = strawberry.field(default=None, description="Of its processor.")
    tags: TagFilter | None = strawberry.field(
        default=None, description="Its tags; those of pending shares are left out."
    )
    protected: bool | None = strawberry.field(default=None, description="Whether it is protected from being deleted.")
    min_disk_gib: IntFilter | None = strawberry.field(default=None, description="Least system disk in GiB.")
    min_ram_mib: IntFilter | None = strawberry.field(default=None, description="Least memory in MiB.")
    size_bytes: BigIntFilter | None = strawberry.field(
        default=None, description="Bytes in the store; an unknown size matches nothing."
    )
    created_at: DateTimeFilter | None = strawberry.field(default=None, description="When it was asked for.")
    updated_at: DateTimeFilter | None = strawberry.field(default=None, description="When it was last changed.")
    owner_ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Of one of these projects.")
    shared_with_project_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Own images that are shared with one of these projects, in any state."
    )
    shared_out: bool | None = strawberry.field(
        default=None, description="Own images with (true) or without (false) members."
    )
    share_status: list[ShareStatus] | None = strawberry.field(
        default=None,
        description="Setting it leaves only images shared with the viewer, in these states. Null: of those shared with it, "
        "the accepted ones.",
    )
    source_image_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Own images that were made from machines of one of these images."
    )
    source_ecs_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Own images that were made from one of these ECSs."
    )
    launchable_on_flavor_id: strawberry.ID | None = strawberry.field(
        default=None, description="What the viewer could launch on this flavor (id or name) now."
    )

    async def plain(self, who: Caller) -> filters.ImageFilter:
        """The filter as app has it."""
        values = values_of(self, ids="Image", owner_ids="Project", source_ecs_ids="EcsInstance", **_OTHER_IDS)
        if self.launchable_on_flavor_id is not None:
            values["launchable_on_flavor_id"] = (await flavor_ids(who, [self.launchable_on_flavor_id]))[0]
        return filters.ImageFilter(**values)


_OTHER_IDS = {"shared_with_project_ids": "Project", "source_image_ids": "Image"}


@strawberry.input(description="What to order images by.")
class ImageOrder:
    field: ImageOrderField = strawberry.field(description="What they are compared by.")
    direction: OrderDirection = strawberry.field(default=OrderDirection.ASC, description="Which end comes first.")


@strawberry.type(description="A value, and how many images have it.")
class ImageFacet:
    value: str = strawberry.field(
        description="Can be put into the matching filter field as it is; a TAG is `key=value`."
    )
    count: int = strawberry.field(description="Images that have it, 1 or more.")


FacetBy = Annotated[ImageFacetField, strawberry.argument(description="What to count by.")]
FacetFirst = Annotated[int, strawberry.argument(description="The most frequent so many, 1 to 200.")]


def _facets(root: strawberry.Parent[Slice[ImageRow]], info: Info, by: FacetBy, first: FacetFirst = 50) -> Any:
    return loaded(root, info)


@strawberry.type(description="A page of images, and counts over all pages.")
class ImageConnection(Connection[Image]):
    facets: list[ImageFacet] = strawberry.field(
        resolver=_facets,
        description="Values and counts under the same filter, without the filter's own condition on this field, so that a "
        "multi-select keeps its other values. Most frequent first.",
    )


ImageId = Annotated[strawberry.ID, strawberry.argument(description="The image's id, opaque or plain.")]
Where = Annotated[
    ImageFilter | None, strawberry.argument(description="Which images. Null: all that the viewer may list.")
]
OrderBy = Annotated[
    list[ImageOrder] | None, strawberry.argument(description="By default CREATED_AT DESC. The id breaks ties.")
]


@strawberry.type
class ImageQueries:
    @showing(Image | None, description="One image. Null when it is not there or not visible.")
    async def image(self, info: Info, id: ImageId) -> ImageRow | None:
        image_id = plain(id, "Image")
        return (await images.find_images(caller(info), [image_id], wanted(info))).get(image_id)

    @showing(ImageConnection, description="Images that are public, own, or shared with the viewer and accepted.")
    async def images(
        self,
        info: Info,
        *,
        filter: Where = None,
        order_by: OrderBy = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Slice[ImageRow]:
        who, page = caller(info), Page(first, after, last, before)
        where = await filter.plain(who) if filter else filters.ImageFilter()
        order = [(each.field, each.direction) for each in order_by or ()]
        return await images.list_images(who, where, order=order, page=page, wanted=wanted(info))
