"""Backups, one and many."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from app.backups import service as backups
from app.backups.reads import BackupRow
from app.enums import BackupStatus
from app.paging import Page, Slice
from schema.backups.types import Backup
from schema.context import caller
from schema.fields import showing
from schema.filters import DateTimeFilter, StringFilter, values_of
from schema.ids import plain
from schema.paging import After, Before, Connection, First, Last
from schema.selection import wanted


@strawberry.input(
    description="Which backups. Fields are combined with AND, the values of one list, at most 100, with OR. An empty list "
    "matches nothing."
)
class BackupFilter:
    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="One of these, opaque or plain.")
    status: list[BackupStatus] | None = strawberry.field(default=None, description="Where it is in its life.")
    name: StringFilter | None = strawberry.field(default=None, description="Its name.")
    ecs_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="Of one of these ECSs, be they there or not."
    )
    has_image: bool | None = strawberry.field(default=None, description="Whether an image was made from it.")
    created_at: DateTimeFilter | None = strawberry.field(default=None, description="When it was asked for.")

    def plain(self) -> backups.BackupFilter:
        """The filter as app has it."""
        return backups.BackupFilter(**values_of(self, ids="Backup", ecs_ids="EcsInstance"))


BackupId = Annotated[strawberry.ID, strawberry.argument(description="The backup's id, opaque or plain.")]
Where = Annotated[BackupFilter | None, strawberry.argument(description="Which backups. Null: all.")]


@strawberry.type
class BackupQueries:
    @showing(Backup | None, description="One backup of the viewer's project. Null when it is not there.")
    async def backup(self, info: Info, id: BackupId) -> BackupRow | None:
        backup_id = plain(id, "Backup")
        return (await backups.find_backups(caller(info), [backup_id], wanted(info))).get(backup_id)

    @showing(Connection[Backup], description="Backups of the viewer's project, newest first.")
    async def backups(
        self,
        info: Info,
        *,
        filter: Where = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Slice[BackupRow]:
        who, page = caller(info), Page(first, after, last, before)
        where = filter.plain() if filter else backups.BackupFilter()
        return await backups.list_backups(who, where, page=page, wanted=wanted(info))
