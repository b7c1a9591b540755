"""Tables of images."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import Architecture, DiskFormat, ErrorCode, Firmware, ImageKind, ImageSourceKind, ImageStatus, OsType
from app.tables import words


class Image(Model):
    """A template of a machine. What its viewer may see of it is decided by app.policy, never by a column alone."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="images", on_delete=fields.RESTRICT
    )
    project_id: UUID
    is_public = fields.BooleanField(default=False)
    kind = words(ImageKind, max_length=16)
    status = words(ImageStatus, max_length=16)
    name = fields.CharField(max_length=128)
    description = fields.CharField(max_length=1024, null=True)
    fault_code = words(ErrorCode, max_length=32, null=True)
    fault_message = fields.CharField(max_length=1024, null=True)
    fault_at = fields.DatetimeField(null=True)
    os_type = words(OsType, max_length=16, null=True)
    os_platform = fields.CharField(max_length=64, null=True)
    os_version = fields.CharField(max_length=64, null=True)
    os_bits = fields.IntField(null=True)
    architecture = words(Architecture, max_length=16, null=True)
    firmware = words(Firmware, max_length=16, null=True)
    min_disk_gib = fields.IntField(default=0)
    min_ram_mib = fields.IntField(default=0)
    max_ram_mib = fields.IntField(null=True)
    stored_bytes = fields.BigIntField(default=0)
    """Bytes in the store, 0 until known: never null, as lists are ordered by it."""
    disk_format = words(DiskFormat, max_length=8, null=True)
    """Of the file that it can be downloaded as; none for a full-ECS image."""
    sha256 = fields.CharField(max_length=64, null=True)
    """Of the same file, once it is known."""
    virtual_size_bytes = fields.BigIntField(null=True)
    charged_bytes = fields.BigIntField(default=0, db_default=0)
    """Counted against its project's IMAGE_BYTES."""
    protected = fields.BooleanField(default=False)
    supports_user_data = fields.BooleanField(default=True)
    source_kind = words(ImageSourceKind, max_length=16)
    source_image_id = fields.UUIDField(null=True)
    source_image_name = fields.CharField(max_length=128, null=True)
    source_disk_id = fields.UUIDField(null=True)
    source_backup_id = fields.UUIDField(null=True)
    source_file_name = fields.CharField(max_length=255, null=True)
    source_format = words(DiskFormat, max_length=8, null=True)
    source_ecs_id = fields.UUIDField(null=True)
    source_ecs_name = fields.CharField(max_length=128, null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)
    active_at = fields.DatetimeField(null=True)
    published_at = fields.DatetimeField(null=True)

    class Meta:
        table = "image"
        indexes = (
            ("created_at", "id"),
            ("project_id", "created_at", "id"),
            ("is_public", "created_at", "id"),
            ("project_id", "name"),
            ("source_ecs_id",),
            ("source_image_id",),
            ("source_backup_id",),
        )


class ImageTag(Model):
    """A key and a value on an image."""

    id = fields.BigIntField(primary_key=True)
    image: fields.ForeignKeyRelation[Image] = fields.ForeignKeyField(
        "app.Image", related_name="tags", on_delete=fields.CASCADE
    )
    image_id: UUID
    key = fields.CharField(max_length=36)
    value = fields.CharField(max_length=43)

    class Meta:
        table = "image_tag"
        unique_together = (("image_id", "key"),)
        indexes = (("key", "value"),)


class ImageDisk(Model):
    """One disk inside an image, it holds its content."""

    id = fields.UUIDField(primary_key=True)
    image: fields.ForeignKeyRelation[Image] = fields.ForeignKeyField(
        "app.Image", related_name="disks", on_delete=fields.CASCADE
    )
    image_id: UUID
    content: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Content", related_name="image_disks", on_delete=fields.RESTRICT
    )
    content_id: UUID
    boot_index = fields.IntField()
    size_gib = fields.IntField()
    content_bytes = fields.BigIntField(null=True)
    is_system = fields.BooleanField()

    class Meta:
        table = "image_disk"
        indexes = (("image_id", "boot_index"),)
