from uuid import uuid4

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from app.enums import (
    BackupStatus,
    Consistency,
    DiskFormat,
    ErrorCode,
    ExportFormat,
    UploadStatus,
)


class Migration(migrations.Migration):
    dependencies = [("app", "0001_initial")]

    initial = False

    operations = [
        ops.CreateModel(
            name="Backup",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="backups",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("ecs_id", fields.UUIDField()),
                ("ecs_name", fields.CharField(max_length=128)),
                ("name", fields.CharField(max_length=128)),
                (
                    "status",
                    fields.CharEnumField(
                        description="CREATING: CREATING\nAVAILABLE: AVAILABLE\nRESTORING: RESTORING\nDELETING: DELETING\nERROR: ERROR",
                        enum_type=BackupStatus,
                        max_length=16,
                    ),
                ),
                (
                    "fault_code",
                    fields.CharEnumField(
                        null=True,
                        description="NOT_FOUND: NOT_FOUND\nFORBIDDEN: FORBIDDEN\nINVALID_INPUT: INVALID_INPUT\nCONFLICT: CONFLICT\nINVALID_STATE: INVALID_STATE\nBUSY: BUSY\nPROTECTED: PROTECTED\nNAME_TAKEN: NAME_TAKEN\nQUOTA_EXCEEDED: QUOTA_EXCEEDED\nLIMIT_EXCEEDED: LIMIT_EXCEEDED\nUNSUPPORTED: UNSUPPORTED\nIDEMPOTENCY_MISMATCH: IDEMPOTENCY_MISMATCH\nNOT_ACTIVE: NOT_ACTIVE\nNOT_ACCEPTED: NOT_ACCEPTED\nNOT_SHAREABLE: NOT_SHAREABLE\nNOT_EXPORTABLE: NOT_EXPORTABLE\nNOT_COPYABLE: NOT_COPYABLE\nBACKUP_HAS_IMAGE: BACKUP_HAS_IMAGE\nWRONG_IMAGE_KIND: WRONG_IMAGE_KIND\nBACKUP_UNAVAILABLE: BACKUP_UNAVAILABLE\nFLAVOR_ABANDONED: FLAVOR_ABANDONED\nFLAVOR_SOLD_OUT: FLAVOR_SOLD_OUT\nNO_CAPACITY: NO_CAPACITY\nRAM_TOO_SMALL: RAM_TOO_SMALL\nRAM_TOO_LARGE: RAM_TOO_LARGE\nARCHITECTURE_MISMATCH: ARCHITECTURE_MISMATCH\nDISK_TOO_SMALL: DISK_TOO_SMALL\nDISK_TOO_LARGE: DISK_TOO_LARGE\nTOO_MANY_DISKS: TOO_MANY_DISKS\nUSER_DATA_UNSUPPORTED: USER_DATA_UNSUPPORTED\nKEY_UNAVAILABLE: KEY_UNAVAILABLE\nUPLOAD_INCOMPLETE: UPLOAD_INCOMPLETE\nCHECKSUM_MISMATCH: CHECKSUM_MISMATCH\nFORMAT_MISMATCH: FORMAT_MISMATCH\nUNSAFE_FILE: UNSAFE_FILE\nINSUFFICIENT_STORAGE: INSUFFICIENT_STORAGE\nENGINE_FAILED: ENGINE_FAILED\nTIMED_OUT: TIMED_OUT\nCANCELLED: CANCELLED\nINTERNAL: INTERNAL",
                        enum_type=ErrorCode,
                        max_length=32,
                    ),
                ),
                ("fault_message", fields.CharField(null=True, max_length=1024)),
                ("fault_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("job_id", fields.UUIDField(null=True)),
                (
                    "consistency",
                    fields.CharEnumField(
                        null=True,
                        description="FILESYSTEM: FILESYSTEM\nCRASH: CRASH\nSTOPPED: STOPPED",
                        enum_type=Consistency,
                        max_length=16,
                    ),
                ),
                ("changed_bytes", fields.BigIntField(null=True)),
                ("traits", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("updated_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
            ],
            options={
                "table": "backup",
                "app": "app",
                "indexes": [
                    Index(fields=["project_id", "created_at", "id"]),
                    Index(fields=["ecs_id", "created_at", "id"]),
                ],
                "pk_attr": "id",
                "table_description": "What all disks of an ECS held at one instant. It remembers the ECS, which it outlives.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="BackupDisk",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "backup",
                    fields.ForeignKeyField(
                        "app.Backup",
                        source_field="backup_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="disks",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                (
                    "content",
                    fields.ForeignKeyField(
                        "app.Content",
                        source_field="content_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="backup_disks",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("disk_id", fields.UUIDField()),
                ("boot_index", fields.IntField()),
                ("size_gib", fields.IntField()),
                ("content_bytes", fields.BigIntField(null=True)),
                ("is_system", fields.BooleanField()),
            ],
            options={
                "table": "backup_disk",
                "app": "app",
                "indexes": [Index(fields=["backup_id", "boot_index"])],
                "pk_attr": "id",
                "table_description": "One disk inside a backup. It holds its content.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Export",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="exports",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("job_id", fields.UUIDField(unique=True)),
                ("image_id", fields.UUIDField()),
                (
                    "format",
                    fields.CharEnumField(
                        description="QCOW2: QCOW2\nRAW: RAW\nVMDK: VMDK\nVHD: VHD\nVHDX: VHDX",
                        enum_type=ExportFormat,
                        max_length=8,
                    ),
                ),
                ("size_bytes", fields.BigIntField(default=0)),
                ("sha256", fields.CharField(null=True, max_length=64)),
                ("expires_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "export",
                "app": "app",
                "indexes": [Index(fields=["expires_at"]), Index(fields=["image_id"])],
                "pk_attr": "id",
                "table_description": "An image as a file, for a while. It belongs to the job that made it.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="JobDisk",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "job",
                    fields.ForeignKeyField(
                        "app.Job",
                        source_field="job_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="disk_links",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("disk_id", fields.UUIDField()),
            ],
            options={
                "table": "job_disk",
                "app": "app",
                "unique_together": (("job_id", "disk_id"),),
                "indexes": [Index(fields=["disk_id"])],
                "pk_attr": "id",
                "table_description": "An EVS disk that a job is about.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Upload",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="uploads",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("file_name", fields.CharField(null=True, max_length=255)),
                (
                    "status",
                    fields.CharEnumField(
                        description="RECEIVING: RECEIVING\nCOMPLETE: COMPLETE\nUSED: USED\nFAILED: FAILED",
                        enum_type=UploadStatus,
                        max_length=16,
                    ),
                ),
                ("size_bytes", fields.BigIntField()),
                ("offset_bytes", fields.BigIntField(default=0)),
                ("expected_sha256", fields.CharField(null=True, max_length=64)),
                ("sha256", fields.CharField(null=True, max_length=64)),
                (
                    "fault_code",
                    fields.CharEnumField(
                        null=True,
                        description="NOT_FOUND: NOT_FOUND\nFORBIDDEN: FORBIDDEN\nINVALID_INPUT: INVALID_INPUT\nCONFLICT: CONFLICT\nINVALID_STATE: INVALID_STATE\nBUSY: BUSY\nPROTECTED: PROTECTED\nNAME_TAKEN: NAME_TAKEN\nQUOTA_EXCEEDED: QUOTA_EXCEEDED\nLIMIT_EXCEEDED: LIMIT_EXCEEDED\nUNSUPPORTED: UNSUPPORTED\nIDEMPOTENCY_MISMATCH: IDEMPOTENCY_MISMATCH\nNOT_ACTIVE: NOT_ACTIVE\nNOT_ACCEPTED: NOT_ACCEPTED\nNOT_SHAREABLE: NOT_SHAREABLE\nNOT_EXPORTABLE: NOT_EXPORTABLE\nNOT_COPYABLE: NOT_COPYABLE\nBACKUP_HAS_IMAGE: BACKUP_HAS_IMAGE\nWRONG_IMAGE_KIND: WRONG_IMAGE_KIND\nBACKUP_UNAVAILABLE: BACKUP_UNAVAILABLE\nFLAVOR_ABANDONED: FLAVOR_ABANDONED\nFLAVOR_SOLD_OUT: FLAVOR_SOLD_OUT\nNO_CAPACITY: NO_CAPACITY\nRAM_TOO_SMALL: RAM_TOO_SMALL\nRAM_TOO_LARGE: RAM_TOO_LARGE\nARCHITECTURE_MISMATCH: ARCHITECTURE_MISMATCH\nDISK_TOO_SMALL: DISK_TOO_SMALL\nDISK_TOO_LARGE: DISK_TOO_LARGE\nTOO_MANY_DISKS: TOO_MANY_DISKS\nUSER_DATA_UNSUPPORTED: USER_DATA_UNSUPPORTED\nKEY_UNAVAILABLE: KEY_UNAVAILABLE\nUPLOAD_INCOMPLETE: UPLOAD_INCOMPLETE\nCHECKSUM_MISMATCH: CHECKSUM_MISMATCH\nFORMAT_MISMATCH: FORMAT_MISMATCH\nUNSAFE_FILE: UNSAFE_FILE\nINSUFFICIENT_STORAGE: INSUFFICIENT_STORAGE\nENGINE_FAILED: ENGINE_FAILED\nTIMED_OUT: TIMED_OUT\nCANCELLED: CANCELLED\nINTERNAL: INTERNAL",
                        enum_type=ErrorCode,
                        max_length=32,
                    ),
                ),
                ("fault_message", fields.CharField(null=True, max_length=1024)),
                ("fault_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("expires_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "upload",
                "app": "app",
                "indexes": [Index(fields=["project_id", "created_at", "id"]), Index(fields=["expires_at"])],
                "pk_attr": "id",
                "table_description": "A file on its way to the service. What has been received lies in the data folder, and `offset_bytes` of it count.",
            },
            bases=["Model"],
        ),
        ops.AddField(
            model_name="Content",
            name="damaged_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="Content",
            name="sha256",
            field=fields.CharField(null=True, max_length=64),
        ),
        ops.AddField(
            model_name="Content",
            name="verified_at",
            field=fields.DatetimeField(null=True, auto_now=False, auto_now_add=False),
        ),
        ops.AddField(
            model_name="EvsDisk",
            name="job_id",
            field=fields.UUIDField(null=True),
        ),
        ops.AddField(
            model_name="Image",
            name="disk_format",
            field=fields.CharEnumField(
                null=True,
                description="QCOW2: QCOW2\nRAW: RAW\nVMDK: VMDK\nVHD: VHD\nVHDX: VHDX\nVDI: VDI",
                enum_type=DiskFormat,
                max_length=8,
            ),
        ),
        ops.AddField(
            model_name="Image",
            name="sha256",
            field=fields.CharField(null=True, max_length=64),
        ),
        ops.AddField(
            model_name="Image",
            name="source_backup_id",
            field=fields.UUIDField(null=True),
        ),
        ops.AddField(
            model_name="Image",
            name="source_disk_id",
            field=fields.UUIDField(null=True),
        ),
        ops.AddField(
            model_name="Image",
            name="source_file_name",
            field=fields.CharField(null=True, max_length=255),
        ),
        ops.AddField(
            model_name="Image",
            name="source_format",
            field=fields.CharEnumField(
                null=True,
                description="QCOW2: QCOW2\nRAW: RAW\nVMDK: VMDK\nVHD: VHD\nVHDX: VHDX\nVDI: VDI",
                enum_type=DiskFormat,
                max_length=8,
            ),
        ),
        ops.AddIndex(
            model_name="Image",
            index=Index(fields=["source_backup_id"]),
        ),
        ops.AddField(
            model_name="ImageDisk",
            name="sha256",
            field=fields.CharField(null=True, max_length=64),
        ),
        ops.AddField(
            model_name="Job",
            name="backup_id",
            field=fields.UUIDField(null=True),
        ),
    ]
