"""How jobs are read. Nouns above add what a job is about."""

from __future__ import annotations

from app import faults, policy
from app.enums import ErrorCode, JobStatus, JobType
from app.faults import Fault
from app.jobs.models import Job, JobDisk, JobEcs
from app.jobs.queue import CANCELLABLE
from app.reading import Noun, Row


class JobRow(Row):
    """Work that outlasts a request."""

    noun = "Job"
    type: JobType
    status: JobStatus
    image_id: str | None
    cancel_requested: bool
    fault_code: ErrorCode | None

    @property
    def fault(self) -> Fault | None:
        """Why it failed."""
        return faults.fault_of(self)

    @property
    def cancellable(self) -> bool:
        """Whether cancelJob would be heard now."""
        return (
            self.status in (JobStatus.INIT, JobStatus.RUNNING)
            and self.type in CANCELLABLE
            and not (self.cancel_requested or self.fault_code)
        )


class JobEcsRow(Row):
    """That a job is about an ECS."""

    noun = "JobEcs"
    job_id: str
    ecs_id: str


class JobDiskRow(Row):
    """That a job is about an EVS disk."""

    noun = "JobDisk"
    job_id: str
    disk_id: str


JOBS = Noun(
    Job,
    JobRow,
    policy.visible_jobs,
    computed={
        "uuid": ("id",),
        "fault": faults.COLUMNS,
        "cancellable": ("type", "status", "cancel_requested", "fault_code"),
    },
    order=("-created_at", "-id"),
)
JOB_ECS = Noun(JobEcs, JobEcsRow, policy.visible_job_ecs, order=("id",))
JOB_DISKS = Noun(JobDisk, JobDiskRow, policy.visible_job_disks, order=("id",))
