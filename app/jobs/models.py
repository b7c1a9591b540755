"""Tables of jobs."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import ErrorCode, JobStatus, JobType
from app.tables import words


class Job(Model):
    """Work that outlasts a request. `attempt` guards claim and finish: whoever lost it can end nothing."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="jobs", on_delete=fields.RESTRICT
    )
    project_id: UUID
    type = words(JobType, max_length=32)
    status = words(JobStatus, max_length=16)
    image_id = fields.UUIDField(null=True)
    backup_id = fields.UUIDField(null=True)
    input: fields.Field[dict[str, object]] = fields.JSONField()
    """Ids and choices that its handler needs; what may be secret (an address) is blanked when it ends."""
    progress = fields.FloatField(default=0.0)
    phase = fields.CharField(max_length=128, null=True)
    bytes_done = fields.BigIntField(null=True)
    bytes_total = fields.BigIntField(null=True)
    fault_code = words(ErrorCode, max_length=32, null=True)
    fault_message = fields.CharField(max_length=1024, null=True)
    fault_at = fields.DatetimeField(null=True)
    attempt = fields.IntField(default=0)
    run_at = fields.DatetimeField()
    """Not before this time."""
    lease_until = fields.DatetimeField(null=True)
    cancel_requested = fields.BooleanField(default=False)
    created_at = fields.DatetimeField(auto_now_add=True)
    started_at = fields.DatetimeField(null=True)
    finished_at = fields.DatetimeField(null=True)

    class Meta:
        table = "job"
        indexes = (("status", "run_at"), ("project_id", "created_at", "id"), ("image_id", "created_at", "id"))


class JobEcs(Model):
    """An ECS that a job is about."""

    id = fields.BigIntField(primary_key=True)
    job: fields.ForeignKeyRelation[Job] = fields.ForeignKeyField(
        "app.Job", related_name="ecs_links", on_delete=fields.CASCADE
    )
    job_id: UUID
    ecs_id = fields.UUIDField()

    class Meta:
        table = "job_ecs"
        unique_together = (("job_id", "ecs_id"),)
        indexes = (("ecs_id",),)


class JobDisk(Model):
    """An EVS disk that a job is about."""

    id = fields.BigIntField(primary_key=True)
    job: fields.ForeignKeyRelation[Job] = fields.ForeignKeyField(
        "app.Job", related_name="disk_links", on_delete=fields.CASCADE
    )
    job_id: UUID
    disk_id = fields.UUIDField()

    class Meta:
        table = "job_disk"
        unique_together = (("job_id", "disk_id"),)
        indexes = (("disk_id",),)
