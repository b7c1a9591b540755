"""How EVS disks are read, and what they add to the nouns below. The ECS above adds itself."""

from __future__ import annotations

from app import faults, policy
from app.disks.models import EvsDisk
from app.enums import DiskStatus, DiskType
from app.faults import Fault
from app.images.reads import IMAGES
from app.jobs.reads import JOB_DISKS, JOBS
from app.reading import Noun, Remembered, Row, Through


class EvsDiskRow(Row):
    """A block device."""

    noun = "EvsDisk"
    project_id: str
    ecs_id: str | None
    job_id: str | None
    name: str
    size_gib: int
    type: DiskType
    status: DiskStatus
    is_system: bool
    boot_index: int | None

    @property
    def fault(self) -> Fault | None:
        """Why it could not be made, or what befell it."""
        return faults.fault_of(self)


EVS_DISKS = Noun(
    EvsDisk,
    EvsDiskRow,
    policy.visible_evs_disks,
    computed={"uuid": ("id",), "fault": faults.COLUMNS},
    relations={"image": Remembered(IMAGES, "image_id", "image_name", "image")},
    order=("-created_at", "-id"),
)

JOBS.relations["evs_disks"] = Through(JOB_DISKS, "job_id", EVS_DISKS, "disk_id")
