"""How backups are read, and what they add to the nouns below."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app import faults, policy
from app.backups.models import Backup, BackupDisk
from app.contents.reads import DiskChecksum
from app.ecs.reads import ECS
from app.enums import BackupStatus, Consistency
from app.faults import Fault
from app.images.reads import IMAGES
from app.jobs.reads import JOBS
from app.reading import Child, Children, Noun, Paged, Parent, Remembered, Row


class BackupRow(Row):
    """What all disks of an ECS held at one instant."""

    noun = "Backup"
    project_id: str
    ecs_id: str
    ecs_name: str
    job_id: str | None
    name: str
    status: BackupStatus
    consistency: Consistency | None
    changed_bytes: int | None
    traits: dict[str, Any]

    @property
    def fault(self) -> Fault | None:
        """Why it could not be made."""
        return faults.fault_of(self)


class BackupDiskRow(Row):
    """One disk inside a backup; to readers the same as one inside an image."""

    noun = "ImageDisk"
    backup_id: str
    content_id: str
    boot_index: int
    size_gib: int
    is_system: bool


BACKUP_DISKS = Noun(
    BackupDisk,
    BackupDiskRow,
    policy.visible_backup_disks,
    relations={"checksum": DiskChecksum()},
    order=("boot_index", "id"),
)
BACKUPS = Noun(
    Backup,
    BackupRow,
    policy.visible_backups,
    computed={"uuid": ("id",), "fault": faults.COLUMNS},
    relations={
        "ecs": Remembered(ECS, "ecs_id", "ecs_name", "ecs_instance"),
        "disks": Children(BACKUP_DISKS, "backup_id"),
        "image": Child(replace(IMAGES, visible=policy.images_of_backups), "source_backup_id"),
    },
    order=("-created_at", "-id"),
)

ECS.relations["backups"] = Paged(BACKUPS, "ecs_id")
JOBS.relations["backup"] = Parent(BACKUPS, "backup_id")
