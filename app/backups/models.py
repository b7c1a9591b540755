"""Tables of backups."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import BackupStatus, Consistency, ErrorCode
from app.tables import words


class Backup(Model):
    """What all disks of an ECS held at one instant. It remembers the ECS, which it outlives."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="backups", on_delete=fields.RESTRICT
    )
    project_id: UUID
    ecs_id = fields.UUIDField()
    ecs_name = fields.CharField(max_length=128)
    name = fields.CharField(max_length=128)
    status = words(BackupStatus, max_length=16)
    fault_code = words(ErrorCode, max_length=32, null=True)
    fault_message = fields.CharField(max_length=1024, null=True)
    fault_at = fields.DatetimeField(null=True)
    job_id = fields.UUIDField(null=True)
    """The job that holds it; taken and given back by guarded updates only."""
    consistency = words(Consistency, max_length=16, null=True)
    changed_bytes = fields.BigIntField(null=True)
    traits: fields.Field[dict[str, object]] = fields.JSONField()
    """What an image or ECS made from it inherits."""
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "backup"
        indexes = (("project_id", "created_at", "id"), ("ecs_id", "created_at", "id"))


class BackupDisk(Model):
    """One disk inside a backup. It holds its content."""

    id = fields.UUIDField(primary_key=True)
    backup: fields.ForeignKeyRelation[Backup] = fields.ForeignKeyField(
        "app.Backup", related_name="disks", on_delete=fields.CASCADE
    )
    backup_id: UUID
    content: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Content", related_name="backup_disks", on_delete=fields.RESTRICT
    )
    content_id: UUID
    disk_id = fields.UUIDField()
    """The EVS disk that it was."""
    boot_index = fields.IntField()
    size_gib = fields.IntField()
    content_bytes = fields.BigIntField(null=True)
    is_system = fields.BooleanField()

    class Meta:
        table = "backup_disk"
        indexes = (("backup_id", "boot_index"),)
