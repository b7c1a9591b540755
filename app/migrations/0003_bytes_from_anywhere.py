from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from app.enums import (
    Architecture,
    BackupStatus,
    Consistency,
    ContentState,
    DiskFormat,
    DiskStatus,
    DiskType,
    EcsStatus,
    ErrorCode,
    ExportFormat,
    Firmware,
    FlavorState,
    ImageKind,
    ImageSourceKind,
    ImageStatus,
    JobStatus,
    JobType,
    OsType,
    QuotaResource,
    ShareStatus,
    UploadStatus,
)
from app.tables import Described, make_missing_indexes

CHARGED = [
    """UPDATE image SET charged_bytes = virtual_size_bytes
    WHERE NOT is_public AND status = 'ACTIVE' AND virtual_size_bytes IS NOT NULL""",
    """INSERT INTO quota (project_id, resource, used, "limit")
    SELECT id, 'IMAGE_BYTES', COALESCE((SELECT SUM(charged_bytes) FROM image WHERE project_id = project.id), 0), 4398046511104
    FROM project""",
]
"""Images that were there before their bytes were counted count too, from now on."""
UNCHARGED = ["DELETE FROM quota WHERE resource = 'IMAGE_BYTES'"]

LENT = "UPDATE image SET disk_format = 'QCOW2' WHERE status = 'ACTIVE' AND kind IN ('SYSTEM_DISK', 'DATA_DISK')"
"""Images of one disk that were there before they could be downloaded."""


class Migration(migrations.Migration):
    dependencies = [("app", "0002_uploads_backups_exports")]

    initial = False

    operations = [
        ops.RunPython(make_missing_indexes, make_missing_indexes),
        Described(
            model_name="Backup",
            name="consistency",
            field=fields.CharEnumField(null=True, description="", enum_type=Consistency, max_length=16),
        ),
        Described(
            model_name="Backup",
            name="fault_code",
            field=fields.CharEnumField(null=True, description="", enum_type=ErrorCode, max_length=32),
        ),
        Described(
            model_name="Backup",
            name="status",
            field=fields.CharEnumField(description="", enum_type=BackupStatus, max_length=16),
        ),
        Described(
            model_name="Content",
            name="consistency",
            field=fields.CharEnumField(null=True, description="", enum_type=Consistency, max_length=16),
        ),
        Described(
            model_name="Content",
            name="state",
            field=fields.CharEnumField(description="", enum_type=ContentState, max_length=16),
        ),
        Described(
            model_name="EcsInstance",
            name="fault_code",
            field=fields.CharEnumField(null=True, description="", enum_type=ErrorCode, max_length=32),
        ),
        Described(
            model_name="EcsInstance",
            name="firmware",
            field=fields.CharEnumField(description="", enum_type=Firmware, max_length=16),
        ),
        Described(
            model_name="EcsInstance",
            name="status",
            field=fields.CharEnumField(description="", enum_type=EcsStatus, max_length=16),
        ),
        Described(
            model_name="EvsDisk",
            name="fault_code",
            field=fields.CharEnumField(null=True, description="", enum_type=ErrorCode, max_length=32),
        ),
        Described(
            model_name="EvsDisk",
            name="status",
            field=fields.CharEnumField(description="", enum_type=DiskStatus, max_length=16),
        ),
        Described(
            model_name="EvsDisk",
            name="type",
            field=fields.CharEnumField(description="", enum_type=DiskType, max_length=16),
        ),
        Described(
            model_name="Export",
            name="format",
            field=fields.CharEnumField(description="", enum_type=ExportFormat, max_length=8),
        ),
        ops.AddField(
            model_name="Export",
            name="in_bucket",
            field=fields.BooleanField(default=False, db_default=False),
        ),
        Described(
            model_name="Flavor",
            name="architecture",
            field=fields.CharEnumField(description="", enum_type=Architecture, max_length=16),
        ),
        Described(
            model_name="Flavor",
            name="state",
            field=fields.CharEnumField(description="", enum_type=FlavorState, max_length=16),
        ),
        Described(
            model_name="Image",
            name="architecture",
            field=fields.CharEnumField(null=True, description="", enum_type=Architecture, max_length=16),
        ),
        Described(
            model_name="Image",
            name="disk_format",
            field=fields.CharEnumField(null=True, description="", enum_type=DiskFormat, max_length=8),
        ),
        Described(
            model_name="Image",
            name="fault_code",
            field=fields.CharEnumField(null=True, description="", enum_type=ErrorCode, max_length=32),
        ),
        Described(
            model_name="Image",
            name="firmware",
            field=fields.CharEnumField(null=True, description="", enum_type=Firmware, max_length=16),
        ),
        Described(
            model_name="Image",
            name="kind",
            field=fields.CharEnumField(description="", enum_type=ImageKind, max_length=16),
        ),
        Described(
            model_name="Image",
            name="os_type",
            field=fields.CharEnumField(null=True, description="", enum_type=OsType, max_length=16),
        ),
        Described(
            model_name="Image",
            name="source_format",
            field=fields.CharEnumField(null=True, description="", enum_type=DiskFormat, max_length=8),
        ),
        Described(
            model_name="Image",
            name="source_kind",
            field=fields.CharEnumField(description="", enum_type=ImageSourceKind, max_length=16),
        ),
        Described(
            model_name="Image",
            name="status",
            field=fields.CharEnumField(description="", enum_type=ImageStatus, max_length=16),
        ),
        ops.AddField(
            model_name="Image",
            name="charged_bytes",
            field=fields.BigIntField(default=0, db_default=0),
        ),
        Described(
            model_name="ImageMember",
            name="status",
            field=fields.CharEnumField(description="", enum_type=ShareStatus, max_length=16),
        ),
        Described(
            model_name="Job",
            name="fault_code",
            field=fields.CharEnumField(null=True, description="", enum_type=ErrorCode, max_length=32),
        ),
        Described(
            model_name="Job",
            name="status",
            field=fields.CharEnumField(description="", enum_type=JobStatus, max_length=16),
        ),
        Described(
            model_name="Job",
            name="type",
            field=fields.CharEnumField(description="", enum_type=JobType, max_length=32),
        ),
        Described(
            model_name="Quota",
            name="resource",
            field=fields.CharEnumField(description="", enum_type=QuotaResource, max_length=24),
        ),
        Described(
            model_name="Upload",
            name="fault_code",
            field=fields.CharEnumField(null=True, description="", enum_type=ErrorCode, max_length=32),
        ),
        Described(
            model_name="Upload",
            name="status",
            field=fields.CharEnumField(description="", enum_type=UploadStatus, max_length=16),
        ),
        ops.RunSQL(CHARGED, UNCHARGED),
        ops.RunSQL(LENT, ops.RunSQL.noop),
    ]
