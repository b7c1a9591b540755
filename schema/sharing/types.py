"""Shares of images."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry

from app.enums import ShareStatus
from schema.ids import Node
from schema.projects.types import Project

if TYPE_CHECKING:
    from schema.images.types import Image


@strawberry.type(description="A project that an image is shared with.")
class ImageMember(Node):
    image: Annotated[Image, strawberry.lazy("schema.images.types")] = strawberry.field(
        description="The image that is shared."
    )
    project: Project = strawberry.field(description="The project that it is shared with.")
    status: ShareStatus = strawberry.field(description="What the project has made of it.")
    created_at: datetime = strawberry.field(description="When it was offered, for the last time.")
    updated_at: datetime = strawberry.field(description="When its status last changed.")
