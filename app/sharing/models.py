"""Table of shares."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import ShareStatus
from app.tables import words


class ImageMember(Model):
    """A project that an image is shared with."""

    id = fields.UUIDField(primary_key=True)
    image: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Image", related_name="members", on_delete=fields.CASCADE
    )
    image_id: UUID
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="memberships", on_delete=fields.RESTRICT
    )
    project_id: UUID
    status = words(ShareStatus, max_length=16)
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "image_member"
        unique_together = (("image_id", "project_id"),)
        indexes = (("image_id", "created_at", "id"), ("project_id", "status", "image_id"))
