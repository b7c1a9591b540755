"""Table of exports."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import ExportFormat
from app.tables import words


class Export(Model):
    """An image as a file, for a while. It belongs to the job that made it."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="exports", on_delete=fields.RESTRICT
    )
    project_id: UUID
    job_id = fields.UUIDField(unique=True)
    image_id = fields.UUIDField()
    format = words(ExportFormat, max_length=8)
    size_bytes = fields.BigIntField(default=0)
    sha256 = fields.CharField(max_length=64, null=True)
    in_bucket = fields.BooleanField(default=False, db_default=False)
    """Whether its file lies in the object storage rather than in the data folder."""
    expires_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "export"
        indexes = (("expires_at",), ("image_id",))
