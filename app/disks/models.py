"""Table of EVS disks."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import DiskStatus, DiskType, ErrorCode
from app.tables import words


class EvsDisk(Model):
    """A block device. It holds the content that it is to be made from until it is made."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="disks", on_delete=fields.RESTRICT
    )
    project_id: UUID
    ecs: fields.ForeignKeyNullableRelation[Model] = fields.ForeignKeyField(
        "app.EcsInstance", related_name="disks", null=True, on_delete=fields.RESTRICT
    )
    ecs_id: UUID | None
    content: fields.ForeignKeyNullableRelation[Model] = fields.ForeignKeyField(
        "app.Content", related_name="disks", null=True, on_delete=fields.RESTRICT
    )
    content_id: UUID | None
    name = fields.CharField(max_length=255)
    size_gib = fields.IntField()
    type = words(DiskType, max_length=16)
    status = words(DiskStatus, max_length=16)
    fault_code = words(ErrorCode, max_length=32, null=True)
    fault_message = fields.CharField(max_length=1024, null=True)
    fault_at = fields.DatetimeField(null=True)
    job_id = fields.UUIDField(null=True)
    """The job that holds it; taken and given back by guarded updates only."""
    is_system = fields.BooleanField()
    boot_index = fields.IntField(null=True)
    image_id = fields.UUIDField(null=True)
    image_name = fields.CharField(max_length=128, null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "evs_disk"
        indexes = (("project_id", "created_at", "id"), ("ecs_id", "boot_index"))
