from tortoise import fields, migrations
from tortoise.migrations import operations as ops

from app.tables import DescribeNoWords, make_missing_indexes

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
        DescribeNoWords(),
        ops.RunPython(ops.RunPython.noop, make_missing_indexes),
        ops.RemoveField(model_name="ImageDisk", name="sha256"),
        ops.AddField(
            model_name="Export",
            name="in_bucket",
            field=fields.BooleanField(default=False, db_default=False),
        ),
        ops.AddField(
            model_name="Image",
            name="charged_bytes",
            field=fields.BigIntField(default=0, db_default=0),
        ),
        ops.RunSQL(CHARGED, UNCHARGED),
        ops.RunSQL(LENT, ops.RunSQL.noop),
        ops.RunPython(make_missing_indexes, ops.RunPython.noop),
    ]
