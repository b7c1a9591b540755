"""Table of uploads."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import ErrorCode, UploadStatus
from app.tables import words


class Upload(Model):
    """A file on its way to the service. What has been received lies in the data folder, and `offset_bytes` of it count."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="uploads", on_delete=fields.RESTRICT
    )
    project_id: UUID
    file_name = fields.CharField(max_length=255, null=True)
    status = words(UploadStatus, max_length=16)
    size_bytes = fields.BigIntField()
    offset_bytes = fields.BigIntField(default=0)
    expected_sha256 = fields.CharField(max_length=64, null=True)
    sha256 = fields.CharField(max_length=64, null=True)
    fault_code = words(ErrorCode, max_length=32, null=True)
    fault_message = fields.CharField(max_length=1024, null=True)
    fault_at = fields.DatetimeField(null=True)
    expires_at = fields.DatetimeField()
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "upload"
        indexes = (("project_id", "created_at", "id"), ("expires_at",))
