"""Tables of ECSs, flavors and key pairs."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import Architecture, EcsStatus, ErrorCode, Firmware, FlavorState
from app.tables import words


class Flavor(Model):
    """A size that machines are sold in."""

    id = fields.UUIDField(primary_key=True)
    name = fields.CharField(max_length=64, unique=True)
    vcpus = fields.IntField()
    ram_mib = fields.IntField()
    architecture = words(Architecture, max_length=16)
    state = words(FlavorState, max_length=16)
    max_data_disks = fields.IntField(default=23)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "flavor"
        indexes = (("ram_mib", "vcpus", "name", "id"),)


class KeyPair(Model):
    """An SSH public key that machines can be launched with."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="key_pairs", on_delete=fields.RESTRICT
    )
    project_id: UUID
    name = fields.CharField(max_length=64)
    fingerprint = fields.CharField(max_length=64)
    public_key = fields.CharField(max_length=1024)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "key_pair"
        unique_together = (("project_id", "name"),)
        indexes = (("project_id", "created_at", "id"),)


class EcsInstance(Model):
    """A machine. It remembers its image by id and name, since it outlives the image and the right to see it."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Model] = fields.ForeignKeyField(
        "app.Project", related_name="ecs_instances", on_delete=fields.RESTRICT
    )
    project_id: UUID
    flavor: fields.ForeignKeyRelation[Flavor] = fields.ForeignKeyField(
        "app.Flavor", related_name="ecs_instances", on_delete=fields.RESTRICT
    )
    flavor_id: UUID
    name = fields.CharField(max_length=128)
    description = fields.CharField(max_length=85, null=True)
    status = words(EcsStatus, max_length=16)
    fault_code = words(ErrorCode, max_length=32, null=True)
    fault_message = fields.CharField(max_length=1024, null=True)
    fault_at = fields.DatetimeField(null=True)
    job_id = fields.UUIDField(null=True)
    """The job that holds it, taken and given back by guarded updates only."""
    image_id = fields.UUIDField()
    image_name = fields.CharField(max_length=128)
    traits: fields.Field[dict[str, object]] = fields.JSONField()
    """What an image made from it inherits of the one it was launched from: operating system, architecture, memory limits."""
    hostname = fields.CharField(max_length=128)
    firmware = words(Firmware, max_length=16)
    key_pair_name = fields.CharField(max_length=64, null=True)
    public_key = fields.CharField(max_length=1024, null=True)
    password_hash = fields.CharField(max_length=128, null=True)
    """Only until the machine has been launched."""
    user_data = fields.TextField(null=True)
    expose_ports: fields.Field[list[int]] = fields.JSONField()
    endpoints: fields.Field[list[dict[str, object]]] = fields.JSONField()
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)
    launched_at = fields.DatetimeField(null=True)

    class Meta:
        table = "ecs_instance"
        indexes = (("project_id", "created_at", "id"), ("image_id", "project_id", "created_at", "id"), ("status",))


class EcsTag(Model):
    """A key and a value on an ECS."""

    id = fields.BigIntField(primary_key=True)
    ecs: fields.ForeignKeyRelation[EcsInstance] = fields.ForeignKeyField(
        "app.EcsInstance", related_name="tags", on_delete=fields.CASCADE
    )
    ecs_id: UUID
    key = fields.CharField(max_length=36)
    value = fields.CharField(max_length=43)

    class Meta:
        table = "ecs_tag"
        unique_together = (("ecs_id", "key"),)
        indexes = (("key", "value"),)
