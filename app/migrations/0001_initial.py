from uuid import uuid4

from orjson import loads
from tortoise import fields, migrations
from tortoise.fields.base import OnDelete
from tortoise.fields.data import JSON_DUMPS
from tortoise.indexes import Index
from tortoise.migrations import operations as ops

from app.enums import (
    Architecture,
    Consistency,
    ContentState,
    DiskStatus,
    DiskType,
    EcsStatus,
    ErrorCode,
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
)


class Migration(migrations.Migration):
    initial = True

    operations = [
        ops.CreateModel(
            name="Content",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("engine", fields.CharField(max_length=16)),
                (
                    "state",
                    fields.CharEnumField(
                        description="PENDING: PENDING\nSEALED: SEALED\nRELEASED: RELEASED",
                        enum_type=ContentState,
                        max_length=16,
                    ),
                ),
                ("virtual_bytes", fields.BigIntField(default=0)),
                ("own_bytes", fields.BigIntField(default=0)),
                (
                    "consistency",
                    fields.CharEnumField(
                        null=True, description="CRASH: CRASH\nSTOPPED: STOPPED", enum_type=Consistency, max_length=16
                    ),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "content",
                "app": "app",
                "pk_attr": "id",
                "table_description": "What a disk held at one instant. Its holders are image disks, and EVS disks that are yet to be made from it.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Flavor",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("name", fields.CharField(unique=True, max_length=64)),
                ("vcpus", fields.IntField()),
                ("ram_mib", fields.IntField()),
                (
                    "architecture",
                    fields.CharEnumField(
                        description="X86_64: X86_64\nARM64: ARM64", enum_type=Architecture, max_length=16
                    ),
                ),
                (
                    "state",
                    fields.CharEnumField(
                        description="NORMAL: NORMAL\nABANDON: ABANDON\nSELLOUT: SELLOUT\nOBT: OBT\nOBT_SELLOUT: OBT_SELLOUT\nPROMOTION: PROMOTION",
                        enum_type=FlavorState,
                        max_length=16,
                    ),
                ),
                ("max_data_disks", fields.IntField(default=23)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "flavor",
                "app": "app",
                "indexes": [Index(fields=["ram_mib", "vcpus", "name", "id"])],
                "pk_attr": "id",
                "table_description": "A size that machines are sold in.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Project",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                ("name", fields.CharField(unique=True, max_length=64)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={"table": "project", "app": "app", "pk_attr": "id", "table_description": "A tenant."},
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ApiToken",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="tokens",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=64)),
                ("prefix", fields.CharField(unique=True, max_length=16)),
                ("secret_sha256", fields.CharField(max_length=64)),
                ("scopes", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("expires_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("revoked_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("last_used_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "api_token",
                "app": "app",
                "indexes": [Index(fields=["project_id", "created_at", "id"])],
                "pk_attr": "id",
                "table_description": "A bearer token of a project: `img_<prefix>_<secret>`, of which only a hash of the secret is kept.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EcsInstance",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="ecs_instances",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "flavor",
                    fields.ForeignKeyField(
                        "app.Flavor",
                        source_field="flavor_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="ecs_instances",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=128)),
                ("description", fields.CharField(null=True, max_length=85)),
                (
                    "status",
                    fields.CharEnumField(
                        description="BUILD: BUILD\nACTIVE: ACTIVE\nSHUTOFF: SHUTOFF\nREBOOT: REBOOT\nHARD_REBOOT: HARD_REBOOT\nERROR: ERROR\nDELETED: DELETED",
                        enum_type=EcsStatus,
                        max_length=16,
                    ),
                ),
                (
                    "fault_code",
                    fields.CharEnumField(
                        null=True,
                        description="NOT_FOUND: NOT_FOUND\nFORBIDDEN: FORBIDDEN\nINVALID_INPUT: INVALID_INPUT\nCONFLICT: CONFLICT\nINVALID_STATE: INVALID_STATE\nBUSY: BUSY\nPROTECTED: PROTECTED\nNAME_TAKEN: NAME_TAKEN\nQUOTA_EXCEEDED: QUOTA_EXCEEDED\nLIMIT_EXCEEDED: LIMIT_EXCEEDED\nUNSUPPORTED: UNSUPPORTED\nIDEMPOTENCY_MISMATCH: IDEMPOTENCY_MISMATCH\nNOT_ACTIVE: NOT_ACTIVE\nNOT_ACCEPTED: NOT_ACCEPTED\nNOT_SHAREABLE: NOT_SHAREABLE\nFLAVOR_ABANDONED: FLAVOR_ABANDONED\nFLAVOR_SOLD_OUT: FLAVOR_SOLD_OUT\nNO_CAPACITY: NO_CAPACITY\nRAM_TOO_SMALL: RAM_TOO_SMALL\nRAM_TOO_LARGE: RAM_TOO_LARGE\nARCHITECTURE_MISMATCH: ARCHITECTURE_MISMATCH\nDISK_TOO_SMALL: DISK_TOO_SMALL\nDISK_TOO_LARGE: DISK_TOO_LARGE\nTOO_MANY_DISKS: TOO_MANY_DISKS\nUSER_DATA_UNSUPPORTED: USER_DATA_UNSUPPORTED\nKEY_UNAVAILABLE: KEY_UNAVAILABLE\nINSUFFICIENT_STORAGE: INSUFFICIENT_STORAGE\nENGINE_FAILED: ENGINE_FAILED\nTIMED_OUT: TIMED_OUT\nCANCELLED: CANCELLED\nINTERNAL: INTERNAL",
                        enum_type=ErrorCode,
                        max_length=32,
                    ),
                ),
                ("fault_message", fields.CharField(null=True, max_length=1024)),
                ("fault_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("job_id", fields.UUIDField(null=True)),
                ("image_id", fields.UUIDField()),
                ("image_name", fields.CharField(max_length=128)),
                ("traits", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("hostname", fields.CharField(max_length=128)),
                (
                    "firmware",
                    fields.CharEnumField(description="BIOS: BIOS\nUEFI: UEFI", enum_type=Firmware, max_length=16),
                ),
                ("key_pair_name", fields.CharField(null=True, max_length=64)),
                ("public_key", fields.CharField(null=True, max_length=1024)),
                ("password_hash", fields.CharField(null=True, max_length=128)),
                ("user_data", fields.TextField(null=True, unique=False)),
                ("expose_ports", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("endpoints", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("updated_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ("launched_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "ecs_instance",
                "app": "app",
                "indexes": [
                    Index(fields=["project_id", "created_at", "id"]),
                    Index(fields=["image_id", "project_id", "created_at", "id"]),
                    Index(fields=["status"]),
                ],
                "pk_attr": "id",
                "table_description": "A machine. It remembers its image by id and name, since it outlives the image and the right to see it.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EcsTag",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "ecs",
                    fields.ForeignKeyField(
                        "app.EcsInstance",
                        source_field="ecs_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="tags",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("key", fields.CharField(max_length=36)),
                ("value", fields.CharField(max_length=43)),
            ],
            options={
                "table": "ecs_tag",
                "app": "app",
                "unique_together": (("ecs_id", "key"),),
                "indexes": [Index(fields=["key", "value"])],
                "pk_attr": "id",
                "table_description": "A key and a value on an ECS.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="EvsDisk",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="disks",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "ecs",
                    fields.ForeignKeyField(
                        "app.EcsInstance",
                        source_field="ecs_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name="disks",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "content",
                    fields.ForeignKeyField(
                        "app.Content",
                        source_field="content_id",
                        null=True,
                        db_constraint=True,
                        to_field="id",
                        related_name="disks",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=255)),
                ("size_gib", fields.IntField()),
                (
                    "type",
                    fields.CharEnumField(
                        description="SATA: SATA\nSAS: SAS\nGPSSD: GPSSD\nSSD: SSD\nESSD: ESSD\nGPSSD2: GPSSD2",
                        enum_type=DiskType,
                        max_length=16,
                    ),
                ),
                (
                    "status",
                    fields.CharEnumField(
                        description="CREATING: CREATING\nAVAILABLE: AVAILABLE\nIN_USE: IN_USE\nDELETING: DELETING\nERROR: ERROR",
                        enum_type=DiskStatus,
                        max_length=16,
                    ),
                ),
                (
                    "fault_code",
                    fields.CharEnumField(
                        null=True,
                        description="NOT_FOUND: NOT_FOUND\nFORBIDDEN: FORBIDDEN\nINVALID_INPUT: INVALID_INPUT\nCONFLICT: CONFLICT\nINVALID_STATE: INVALID_STATE\nBUSY: BUSY\nPROTECTED: PROTECTED\nNAME_TAKEN: NAME_TAKEN\nQUOTA_EXCEEDED: QUOTA_EXCEEDED\nLIMIT_EXCEEDED: LIMIT_EXCEEDED\nUNSUPPORTED: UNSUPPORTED\nIDEMPOTENCY_MISMATCH: IDEMPOTENCY_MISMATCH\nNOT_ACTIVE: NOT_ACTIVE\nNOT_ACCEPTED: NOT_ACCEPTED\nNOT_SHAREABLE: NOT_SHAREABLE\nFLAVOR_ABANDONED: FLAVOR_ABANDONED\nFLAVOR_SOLD_OUT: FLAVOR_SOLD_OUT\nNO_CAPACITY: NO_CAPACITY\nRAM_TOO_SMALL: RAM_TOO_SMALL\nRAM_TOO_LARGE: RAM_TOO_LARGE\nARCHITECTURE_MISMATCH: ARCHITECTURE_MISMATCH\nDISK_TOO_SMALL: DISK_TOO_SMALL\nDISK_TOO_LARGE: DISK_TOO_LARGE\nTOO_MANY_DISKS: TOO_MANY_DISKS\nUSER_DATA_UNSUPPORTED: USER_DATA_UNSUPPORTED\nKEY_UNAVAILABLE: KEY_UNAVAILABLE\nINSUFFICIENT_STORAGE: INSUFFICIENT_STORAGE\nENGINE_FAILED: ENGINE_FAILED\nTIMED_OUT: TIMED_OUT\nCANCELLED: CANCELLED\nINTERNAL: INTERNAL",
                        enum_type=ErrorCode,
                        max_length=32,
                    ),
                ),
                ("fault_message", fields.CharField(null=True, max_length=1024)),
                ("fault_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("is_system", fields.BooleanField()),
                ("boot_index", fields.IntField(null=True)),
                ("image_id", fields.UUIDField(null=True)),
                ("image_name", fields.CharField(null=True, max_length=128)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("updated_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
            ],
            options={
                "table": "evs_disk",
                "app": "app",
                "indexes": [Index(fields=["project_id", "created_at", "id"]), Index(fields=["ecs_id", "boot_index"])],
                "pk_attr": "id",
                "table_description": "A block device. It holds the content that it is to be made from until it is made.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="IdempotencyKey",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="idempotency_keys",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("key", fields.CharField(max_length=255)),
                ("request_sha256", fields.CharField(max_length=64)),
                ("answer", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "idempotency_key",
                "app": "app",
                "unique_together": (("project_id", "key"),),
                "indexes": [Index(fields=["created_at"])],
                "pk_attr": "id",
                "table_description": "The answer that a project's key was given, so that a retry gets it again.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Image",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="images",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("is_public", fields.BooleanField(default=False)),
                (
                    "kind",
                    fields.CharEnumField(
                        description="SYSTEM_DISK: SYSTEM_DISK\nFULL_ECS: FULL_ECS", enum_type=ImageKind, max_length=16
                    ),
                ),
                (
                    "status",
                    fields.CharEnumField(
                        description="QUEUED: QUEUED\nSAVING: SAVING\nIMPORTING: IMPORTING\nACTIVE: ACTIVE\nKILLED: KILLED",
                        enum_type=ImageStatus,
                        max_length=16,
                    ),
                ),
                ("name", fields.CharField(max_length=128)),
                ("description", fields.CharField(null=True, max_length=1024)),
                (
                    "fault_code",
                    fields.CharEnumField(
                        null=True,
                        description="NOT_FOUND: NOT_FOUND\nFORBIDDEN: FORBIDDEN\nINVALID_INPUT: INVALID_INPUT\nCONFLICT: CONFLICT\nINVALID_STATE: INVALID_STATE\nBUSY: BUSY\nPROTECTED: PROTECTED\nNAME_TAKEN: NAME_TAKEN\nQUOTA_EXCEEDED: QUOTA_EXCEEDED\nLIMIT_EXCEEDED: LIMIT_EXCEEDED\nUNSUPPORTED: UNSUPPORTED\nIDEMPOTENCY_MISMATCH: IDEMPOTENCY_MISMATCH\nNOT_ACTIVE: NOT_ACTIVE\nNOT_ACCEPTED: NOT_ACCEPTED\nNOT_SHAREABLE: NOT_SHAREABLE\nFLAVOR_ABANDONED: FLAVOR_ABANDONED\nFLAVOR_SOLD_OUT: FLAVOR_SOLD_OUT\nNO_CAPACITY: NO_CAPACITY\nRAM_TOO_SMALL: RAM_TOO_SMALL\nRAM_TOO_LARGE: RAM_TOO_LARGE\nARCHITECTURE_MISMATCH: ARCHITECTURE_MISMATCH\nDISK_TOO_SMALL: DISK_TOO_SMALL\nDISK_TOO_LARGE: DISK_TOO_LARGE\nTOO_MANY_DISKS: TOO_MANY_DISKS\nUSER_DATA_UNSUPPORTED: USER_DATA_UNSUPPORTED\nKEY_UNAVAILABLE: KEY_UNAVAILABLE\nINSUFFICIENT_STORAGE: INSUFFICIENT_STORAGE\nENGINE_FAILED: ENGINE_FAILED\nTIMED_OUT: TIMED_OUT\nCANCELLED: CANCELLED\nINTERNAL: INTERNAL",
                        enum_type=ErrorCode,
                        max_length=32,
                    ),
                ),
                ("fault_message", fields.CharField(null=True, max_length=1024)),
                ("fault_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                (
                    "os_type",
                    fields.CharEnumField(
                        null=True,
                        description="LINUX: LINUX\nWINDOWS: WINDOWS\nOTHER: OTHER",
                        enum_type=OsType,
                        max_length=16,
                    ),
                ),
                ("os_platform", fields.CharField(null=True, max_length=64)),
                ("os_version", fields.CharField(null=True, max_length=64)),
                ("os_bits", fields.IntField(null=True)),
                (
                    "architecture",
                    fields.CharEnumField(
                        null=True, description="X86_64: X86_64\nARM64: ARM64", enum_type=Architecture, max_length=16
                    ),
                ),
                (
                    "firmware",
                    fields.CharEnumField(
                        null=True, description="BIOS: BIOS\nUEFI: UEFI", enum_type=Firmware, max_length=16
                    ),
                ),
                ("min_disk_gib", fields.IntField(default=0)),
                ("min_ram_mib", fields.IntField(default=0)),
                ("max_ram_mib", fields.IntField(null=True)),
                ("stored_bytes", fields.BigIntField(default=0)),
                ("virtual_size_bytes", fields.BigIntField(null=True)),
                ("protected", fields.BooleanField(default=False)),
                ("supports_user_data", fields.BooleanField(default=True)),
                (
                    "source_kind",
                    fields.CharEnumField(
                        description="ECS: ECS\nFULL_ECS: FULL_ECS\nINSTALLED: INSTALLED",
                        enum_type=ImageSourceKind,
                        max_length=16,
                    ),
                ),
                ("source_image_id", fields.UUIDField(null=True)),
                ("source_image_name", fields.CharField(null=True, max_length=128)),
                ("source_ecs_id", fields.UUIDField(null=True)),
                ("source_ecs_name", fields.CharField(null=True, max_length=128)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("updated_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
                ("active_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("published_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "image",
                "app": "app",
                "indexes": [
                    Index(fields=["created_at", "id"]),
                    Index(fields=["project_id", "created_at", "id"]),
                    Index(fields=["is_public", "created_at", "id"]),
                    Index(fields=["project_id", "name"]),
                    Index(fields=["source_ecs_id"]),
                    Index(fields=["source_image_id"]),
                ],
                "pk_attr": "id",
                "table_description": "A template of a machine. What its viewer may see of it is decided by app.policy, never by a column alone.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ImageDisk",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "image",
                    fields.ForeignKeyField(
                        "app.Image",
                        source_field="image_id",
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
                        related_name="image_disks",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("boot_index", fields.IntField()),
                ("size_gib", fields.IntField()),
                ("content_bytes", fields.BigIntField(null=True)),
                ("is_system", fields.BooleanField()),
            ],
            options={
                "table": "image_disk",
                "app": "app",
                "indexes": [Index(fields=["image_id", "boot_index"])],
                "pk_attr": "id",
                "table_description": "One disk inside an image, it holds its content.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ImageMember",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "image",
                    fields.ForeignKeyField(
                        "app.Image",
                        source_field="image_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="members",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="memberships",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "status",
                    fields.CharEnumField(
                        description="PENDING: PENDING\nACCEPTED: ACCEPTED\nREJECTED: REJECTED",
                        enum_type=ShareStatus,
                        max_length=16,
                    ),
                ),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("updated_at", fields.DatetimeField(auto_now=True, auto_now_add=False)),
            ],
            options={
                "table": "image_member",
                "app": "app",
                "unique_together": (("image_id", "project_id"),),
                "indexes": [
                    Index(fields=["image_id", "created_at", "id"]),
                    Index(fields=["project_id", "status", "image_id"]),
                ],
                "pk_attr": "id",
                "table_description": "A project that an image is shared with.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="ImageTag",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "image",
                    fields.ForeignKeyField(
                        "app.Image",
                        source_field="image_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="tags",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("key", fields.CharField(max_length=36)),
                ("value", fields.CharField(max_length=43)),
            ],
            options={
                "table": "image_tag",
                "app": "app",
                "unique_together": (("image_id", "key"),),
                "indexes": [Index(fields=["key", "value"])],
                "pk_attr": "id",
                "table_description": "A key and a value on an image.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Job",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="jobs",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                (
                    "type",
                    fields.CharEnumField(
                        description="CREATE_IMAGE: CREATE_IMAGE\nCREATE_FULL_ECS_IMAGE: CREATE_FULL_ECS_IMAGE\nIMPORT_IMAGE: IMPORT_IMAGE\nDELETE_IMAGE: DELETE_IMAGE\nLAUNCH_ECS: LAUNCH_ECS\nSTART_ECS: START_ECS\nSTOP_ECS: STOP_ECS\nREBOOT_ECS: REBOOT_ECS\nDELETE_ECS: DELETE_ECS",
                        enum_type=JobType,
                        max_length=32,
                    ),
                ),
                (
                    "status",
                    fields.CharEnumField(
                        description="INIT: INIT\nRUNNING: RUNNING\nSUCCESS: SUCCESS\nFAIL: FAIL\nCANCELLED: CANCELLED",
                        enum_type=JobStatus,
                        max_length=16,
                    ),
                ),
                ("image_id", fields.UUIDField(null=True)),
                ("input", fields.JSONField(encoder=JSON_DUMPS, decoder=loads)),
                ("progress", fields.FloatField(default=0.0)),
                ("phase", fields.CharField(null=True, max_length=128)),
                ("bytes_done", fields.BigIntField(null=True)),
                ("bytes_total", fields.BigIntField(null=True)),
                (
                    "fault_code",
                    fields.CharEnumField(
                        null=True,
                        description="NOT_FOUND: NOT_FOUND\nFORBIDDEN: FORBIDDEN\nINVALID_INPUT: INVALID_INPUT\nCONFLICT: CONFLICT\nINVALID_STATE: INVALID_STATE\nBUSY: BUSY\nPROTECTED: PROTECTED\nNAME_TAKEN: NAME_TAKEN\nQUOTA_EXCEEDED: QUOTA_EXCEEDED\nLIMIT_EXCEEDED: LIMIT_EXCEEDED\nUNSUPPORTED: UNSUPPORTED\nIDEMPOTENCY_MISMATCH: IDEMPOTENCY_MISMATCH\nNOT_ACTIVE: NOT_ACTIVE\nNOT_ACCEPTED: NOT_ACCEPTED\nNOT_SHAREABLE: NOT_SHAREABLE\nFLAVOR_ABANDONED: FLAVOR_ABANDONED\nFLAVOR_SOLD_OUT: FLAVOR_SOLD_OUT\nNO_CAPACITY: NO_CAPACITY\nRAM_TOO_SMALL: RAM_TOO_SMALL\nRAM_TOO_LARGE: RAM_TOO_LARGE\nARCHITECTURE_MISMATCH: ARCHITECTURE_MISMATCH\nDISK_TOO_SMALL: DISK_TOO_SMALL\nDISK_TOO_LARGE: DISK_TOO_LARGE\nTOO_MANY_DISKS: TOO_MANY_DISKS\nUSER_DATA_UNSUPPORTED: USER_DATA_UNSUPPORTED\nKEY_UNAVAILABLE: KEY_UNAVAILABLE\nINSUFFICIENT_STORAGE: INSUFFICIENT_STORAGE\nENGINE_FAILED: ENGINE_FAILED\nTIMED_OUT: TIMED_OUT\nCANCELLED: CANCELLED\nINTERNAL: INTERNAL",
                        enum_type=ErrorCode,
                        max_length=32,
                    ),
                ),
                ("fault_message", fields.CharField(null=True, max_length=1024)),
                ("fault_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("attempt", fields.IntField(default=0)),
                ("run_at", fields.DatetimeField(auto_now=False, auto_now_add=False)),
                ("lease_until", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("cancel_requested", fields.BooleanField(default=False)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
                ("started_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
                ("finished_at", fields.DatetimeField(null=True, auto_now=False, auto_now_add=False)),
            ],
            options={
                "table": "job",
                "app": "app",
                "indexes": [
                    Index(fields=["status", "run_at"]),
                    Index(fields=["project_id", "created_at", "id"]),
                    Index(fields=["image_id", "created_at", "id"]),
                ],
                "pk_attr": "id",
                "table_description": "Work that outlasts a request. `attempt` guards claim and finish: whoever lost it can end nothing.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="JobEcs",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "job",
                    fields.ForeignKeyField(
                        "app.Job",
                        source_field="job_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="ecs_links",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                ("ecs_id", fields.UUIDField()),
            ],
            options={
                "table": "job_ecs",
                "app": "app",
                "unique_together": (("job_id", "ecs_id"),),
                "indexes": [Index(fields=["ecs_id"])],
                "pk_attr": "id",
                "table_description": "An ECS that a job is about.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="KeyPair",
            fields=[
                ("id", fields.UUIDField(primary_key=True, default=uuid4, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="key_pairs",
                        on_delete=OnDelete.RESTRICT,
                    ),
                ),
                ("name", fields.CharField(max_length=64)),
                ("fingerprint", fields.CharField(max_length=64)),
                ("public_key", fields.CharField(max_length=1024)),
                ("created_at", fields.DatetimeField(auto_now=False, auto_now_add=True)),
            ],
            options={
                "table": "key_pair",
                "app": "app",
                "unique_together": (("project_id", "name"),),
                "indexes": [Index(fields=["project_id", "created_at", "id"])],
                "pk_attr": "id",
                "table_description": "An SSH public key that machines can be launched with.",
            },
            bases=["Model"],
        ),
        ops.CreateModel(
            name="Quota",
            fields=[
                ("id", fields.BigIntField(generated=True, primary_key=True, unique=True, db_index=True)),
                (
                    "project",
                    fields.ForeignKeyField(
                        "app.Project",
                        source_field="project_id",
                        db_constraint=True,
                        to_field="id",
                        related_name="quotas",
                        on_delete=OnDelete.CASCADE,
                    ),
                ),
                (
                    "resource",
                    fields.CharEnumField(
                        description="IMAGES: IMAGES\nIMAGE_JOBS: IMAGE_JOBS\nECS_INSTANCES: ECS_INSTANCES\nVCPUS: VCPUS\nRAM_MIB: RAM_MIB\nDISKS: DISKS\nDISK_GIB: DISK_GIB\nKEY_PAIRS: KEY_PAIRS",
                        enum_type=QuotaResource,
                        max_length=24,
                    ),
                ),
                ("used", fields.BigIntField(default=0)),
                ("limit", fields.BigIntField(null=True)),
            ],
            options={
                "table": "quota",
                "app": "app",
                "unique_together": (("project_id", "resource"),),
                "pk_attr": "id",
                "table_description": "How much of a resource a project has, and may have. Counted up and down by guarded updates only.",
            },
            bases=["Model"],
        ),
    ]
