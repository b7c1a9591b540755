"""An ECS as it goes on, its console, and the log of ECSs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import Info

from app import watching
from app.ecs import consoles
from app.ecs.reads import EcsRow
from app.watching import Change
from schema.context import caller
from schema.ecs.queries import EcsId
from schema.ecs.types import ConsoleChunk, EcsInstance
from schema.enums import ChangeType
from schema.fields import After, streaming
from schema.ids import opaque, plain
from schema.scalars import BigInt
from schema.selection import wanted

FromOffset = Annotated[
    BigInt | None,
    strawberry.argument(description="The byte to begin with, 0 or more (endOffset of the last chunk seen). Null: now."),
]


def _id(root: strawberry.Parent[Change]) -> strawberry.ID | None:
    return opaque("EcsInstance", root.id) if root.id else None


def _row(root: strawberry.Parent[Change]) -> Any:
    return root.row


@strawberry.type(description="Something that happened to an ECS.")
class EcsEvent:
    cursor: str = strawberry.field(description="Give the last one as `after` to go on behind it.")
    type: ChangeType = strawberry.field(description="What happened.")
    ecs_id: strawberry.ID | None = strawberry.field(resolver=_id, description="Null only for RESYNC.")
    ecs_instance: EcsInstance | None = strawberry.field(
        resolver=_row, description="As it is now. Null once it is deleted."
    )
    at: datetime = strawberry.field(description="When it happened.")


@strawberry.type
class EcsSubscriptions:
    @streaming(
        EcsInstance, description="An ECS: at once, after each change, and for the last time with status DELETED."
    )
    async def ecs_updated(self, info: Info, id: EcsId) -> AsyncGenerator[EcsRow, None]:
        async for row in watching.watch_ecs(caller(info), plain(id, "EcsInstance"), wanted(info)):
            yield row

    @streaming(ConsoleChunk, description="Serial console output as it comes.")
    async def ecs_console(
        self, info: Info, id: EcsId, from_offset: FromOffset = None
    ) -> AsyncGenerator[consoles.ConsoleChunk, None]:
        async for chunk in watching.follow_console(caller(info), plain(id, "EcsInstance"), from_offset):
            yield chunk

    @streaming(EcsEvent, description="What happens to the ECSs of the viewer's project.")
    async def ecs_events(self, info: Info, after: After = None) -> AsyncGenerator[Change, None]:
        async for change in watching.ecs_events(caller(info), after, wanted(info)):
            yield change
