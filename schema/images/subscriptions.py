"""The log of images."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import strawberry
from strawberry import Info

from app import watching
from app.enums import EventType
from app.watching import Change
from schema.context import caller
from schema.fields import After, streaming
from schema.ids import opaque
from schema.images.types import Image
from schema.projects.types import Project
from schema.selection import wanted
from schema.sharing.types import ImageMember


def _id(root: strawberry.Parent[Change]) -> strawberry.ID | None:
    return opaque("Image", root.id) if root.id else None


def _row(root: strawberry.Parent[Change]) -> Any:
    return root.row


@strawberry.type(description="Something that happened to an image, or to a share of it.")
class ImageEvent:
    cursor: str = strawberry.field(description="Give the last one as `after` to go on behind it.")
    type: EventType = strawberry.field(description="What happened.")
    image_id: strawberry.ID | None = strawberry.field(resolver=_id, description="Null only for RESYNC.")
    image: Image | None = strawberry.field(
        resolver=_row,
        description="As it is now. Null once the viewer may not see it. A recipient gets REVOKED, never DELETED.",
    )
    member: ImageMember | None = strawberry.field(
        description="The share as it is now, for SHARED, ACCEPTED and REJECTED; it is gone after REVOKED."
    )
    member_project: Project | None = strawberry.field(
        description="The project that the share is (or was) with; for SHARED, ACCEPTED, REJECTED and REVOKED."
    )
    at: datetime = strawberry.field(description="When it happened.")


@strawberry.type
class ImageSubscriptions:
    @streaming(ImageEvent, description="What happens to the viewer's own images and to those shared with it.")
    async def image_events(self, info: Info, after: After = None) -> AsyncGenerator[Change, None]:
        async for change in watching.image_events(caller(info), after, wanted(info)):
            yield change
