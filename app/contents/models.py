"""Table of contents."""

from tortoise import fields
from tortoise.models import Model

from app.enums import Consistency, ContentState
from app.tables import words


class Content(Model):
    """What a disk held at one instant. Its holders are image disks, and EVS disks that are yet to be made from it."""

    id = fields.UUIDField(primary_key=True)
    engine = fields.CharField(max_length=16)
    state = words(ContentState, max_length=16)
    virtual_bytes = fields.BigIntField(default=0)
    own_bytes = fields.BigIntField(default=0)
    sha256 = fields.CharField(max_length=64, null=True)
    """Of all bytes as a guest sees them, once it has been worked out."""
    verified_at = fields.DatetimeField(null=True)
    damaged_at = fields.DatetimeField(null=True)
    """When it was found that its bytes are not what they were."""
    consistency = words(Consistency, max_length=16, null=True)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "content"
