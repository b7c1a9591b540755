"""Every life cycle on one screen: which status may follow which, and the one way in which a status changes.

`move` is a compare-and-swap update, so of two that contradict each other one wins and the other is told; and it announces its row,
so no change can be forgotten. After a rollback, read the row again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from tortoise import Tortoise
from tortoise.models import Model

from app import db, events
from app.enums import (
    BackupStatus,
    ContentState,
    DiskStatus,
    EcsStatus,
    EventType,
    ImageStatus,
    JobStatus,
    ShareStatus,
    UploadStatus,
)
from app.errors import InvalidState

S = TypeVar("S", bound=StrEnum)


def table(name: str) -> type[Model]:
    """A model by its name: models belong to nouns above."""
    assert Tortoise.apps
    model: type[Model] = Tortoise.apps.get_model("app", name)
    return model


class Machine(Generic[S]):
    """The life cycle of a noun."""

    def __init__(
        self, model: str, table: Mapping[S, Collection[S]], *, column: str = "status", noun: str | None = None
    ) -> None:
        """`noun` is what events call it; None: its changes are told by the rows that it belongs to."""
        self.name, self.table, self.column, self.noun = model, table, column, noun

    @property
    def model(self) -> type[Model]:
        """Its table."""
        return table(self.name)

    def sources(self, to: S) -> list[S]:
        """The statuses from which one may be reached."""
        return [status for status, targets in self.table.items() if to in targets]

    async def move(
        self, id_: UUID | str, to: S, *, where: Mapping[str, object] | None = None, **columns: object
    ) -> bool:
        """Change a status and columns with it, if the row still allows it and `where` holds; whether it did."""
        states = {f"{self.column}__in": self.sources(to)}
        changes = {self.column: to, **columns}
        if "updated_at" in self.model._meta.fields_map:
            changes.setdefault("updated_at", db.now())
        async with db.transaction():
            if not await self.model.filter(id=id_, **states, **(where or {})).update(**changes):
                return False
            if self.noun:
                await tell(self.noun, id_)
        return True

    async def must_move(self, id_: UUID | str, to: S, **columns: object) -> None:
        """The same.

        Raises: InvalidState: its status does not allow it, or has just changed.
        """
        if not await self.move(id_, to, where=None, **columns):
            raise InvalidState(
                f"Its status does not allow it to become {to.value}; it may just have changed.", otc="Ecs.0100"
            )


async def tell(noun: str, id_: UUID | str, type_: EventType = EventType.UPDATED) -> None:
    """Announce a row to all projects that see it: its own, and those that accepted a share of it."""
    projects: list[Any] = list(await table(noun).filter(id=id_).values_list("project_id", flat=True))
    if noun == "Image":
        accepted = table("ImageMember").filter(image_id=id_, status=ShareStatus.ACCEPTED)
        projects += list(await accepted.values_list("project_id", flat=True))
    await events.announce(noun, id_, type_, projects)


IMAGE = Machine(
    "Image",
    {
        ImageStatus.QUEUED: {ImageStatus.SAVING, ImageStatus.IMPORTING, ImageStatus.KILLED},
        ImageStatus.SAVING: {ImageStatus.ACTIVE, ImageStatus.KILLED, ImageStatus.SAVING},
        ImageStatus.IMPORTING: {ImageStatus.ACTIVE, ImageStatus.KILLED, ImageStatus.IMPORTING},
        ImageStatus.ACTIVE: {},
        ImageStatus.KILLED: {},
    },
    noun="Image",
)

MEMBER = Machine(
    "ImageMember",
    {
        ShareStatus.PENDING: {ShareStatus.ACCEPTED, ShareStatus.REJECTED},
        ShareStatus.ACCEPTED: {ShareStatus.REJECTED},
        ShareStatus.REJECTED: {ShareStatus.ACCEPTED, ShareStatus.PENDING},
    },
)

ECS = Machine(
    "EcsInstance",
    {
        EcsStatus.BUILD: {EcsStatus.ACTIVE, EcsStatus.ERROR, EcsStatus.DELETED},
        EcsStatus.ACTIVE: {EcsStatus.SHUTOFF, EcsStatus.REBOOT, EcsStatus.HARD_REBOOT, EcsStatus.DELETED},
        EcsStatus.SHUTOFF: {EcsStatus.ACTIVE, EcsStatus.DELETED},
        EcsStatus.REBOOT: {EcsStatus.ACTIVE, EcsStatus.SHUTOFF, EcsStatus.REBOOT, EcsStatus.DELETED},
        EcsStatus.HARD_REBOOT: {EcsStatus.ACTIVE, EcsStatus.SHUTOFF, EcsStatus.HARD_REBOOT, EcsStatus.DELETED},
        EcsStatus.ERROR: {EcsStatus.DELETED},
        EcsStatus.DELETED: {},
    },
    noun="EcsInstance",
)

DISK = Machine(
    "EvsDisk",
    {
        DiskStatus.CREATING: {DiskStatus.IN_USE, DiskStatus.AVAILABLE, DiskStatus.ERROR, DiskStatus.DELETING},
        DiskStatus.IN_USE: {
            DiskStatus.AVAILABLE,
            DiskStatus.DETACHING,
            DiskStatus.EXTENDING,
            DiskStatus.UPLOADING,
            DiskStatus.RESTORING,
            DiskStatus.DELETING,
        },
        DiskStatus.AVAILABLE: {DiskStatus.ATTACHING, DiskStatus.EXTENDING, DiskStatus.UPLOADING, DiskStatus.DELETING},
        DiskStatus.ATTACHING: {DiskStatus.IN_USE, DiskStatus.AVAILABLE},
        DiskStatus.DETACHING: {DiskStatus.IN_USE, DiskStatus.AVAILABLE},
        DiskStatus.EXTENDING: {DiskStatus.IN_USE, DiskStatus.AVAILABLE},
        DiskStatus.UPLOADING: {DiskStatus.IN_USE, DiskStatus.AVAILABLE},
        DiskStatus.RESTORING: {DiskStatus.IN_USE},
        DiskStatus.ERROR: {DiskStatus.DELETING},
        DiskStatus.DELETING: {},
    },
)

BACKUP = Machine(
    "Backup",
    {
        BackupStatus.CREATING: {BackupStatus.AVAILABLE, BackupStatus.ERROR},
        BackupStatus.AVAILABLE: {BackupStatus.RESTORING, BackupStatus.DELETING},
        BackupStatus.RESTORING: {BackupStatus.AVAILABLE},
        BackupStatus.ERROR: {BackupStatus.DELETING},
        BackupStatus.DELETING: {},
    },
)

CONTENT = Machine(
    "Content",
    {
        ContentState.PENDING: {ContentState.SEALED, ContentState.RELEASED},
        ContentState.SEALED: {ContentState.RELEASED},
        ContentState.RELEASED: {},
    },
    column="state",
)

UPLOAD = Machine(
    "Upload",
    {
        UploadStatus.RECEIVING: {UploadStatus.COMPLETE, UploadStatus.FAILED},
        UploadStatus.COMPLETE: {UploadStatus.USED},
        UploadStatus.USED: {UploadStatus.COMPLETE, UploadStatus.FAILED},
        UploadStatus.FAILED: {},
    },
)

JOB = Machine(
    "Job",
    {
        JobStatus.INIT: {JobStatus.RUNNING, JobStatus.CANCELLED},
        JobStatus.RUNNING: {JobStatus.SUCCESS, JobStatus.FAIL, JobStatus.CANCELLED, JobStatus.INIT, JobStatus.RUNNING},
        JobStatus.SUCCESS: {},
        JobStatus.FAIL: {},
        JobStatus.CANCELLED: {},
    },
    noun="Job",
)
