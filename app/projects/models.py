"""Tables of projects."""

from uuid import UUID

from tortoise import fields
from tortoise.models import Model

from app.enums import QuotaResource
from app.tables import words


class Project(Model):
    """A tenant."""

    id = fields.UUIDField(primary_key=True)
    name = fields.CharField(max_length=64, unique=True)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "project"


class ApiToken(Model):
    """A bearer token of a project: `img_<prefix>_<secret>`, of which only a hash of the secret is kept."""

    id = fields.UUIDField(primary_key=True)
    project: fields.ForeignKeyRelation[Project] = fields.ForeignKeyField(
        "app.Project", related_name="tokens", on_delete=fields.RESTRICT
    )
    project_id: UUID
    name = fields.CharField(max_length=64)
    prefix = fields.CharField(max_length=16, unique=True)
    secret_sha256 = fields.CharField(max_length=64)
    scopes: fields.Field[list[str]] = fields.JSONField()
    expires_at = fields.DatetimeField(null=True)
    revoked_at = fields.DatetimeField(null=True)
    last_used_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "api_token"
        indexes = (("project_id", "created_at", "id"),)


class Quota(Model):
    """How much of a resource a project has, and may have. Counted up and down by guarded updates only."""

    id = fields.BigIntField(primary_key=True)
    project: fields.ForeignKeyRelation[Project] = fields.ForeignKeyField(
        "app.Project", related_name="quotas", on_delete=fields.CASCADE
    )
    project_id: UUID
    resource = words(QuotaResource, max_length=24)
    used = fields.BigIntField(default=0)
    limit = fields.BigIntField(null=True)

    class Meta:
        table = "quota"
        unique_together = (("project_id", "resource"),)


class IdempotencyKey(Model):
    """The answer that a project's key was given, so that a retry gets it again."""

    id = fields.BigIntField(primary_key=True)
    project: fields.ForeignKeyRelation[Project] = fields.ForeignKeyField(
        "app.Project", related_name="idempotency_keys", on_delete=fields.CASCADE
    )
    project_id: UUID
    key = fields.CharField(max_length=255)
    request_sha256 = fields.CharField(max_length=64)
    answer: fields.Field[dict[str, object]] = fields.JSONField()
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "idempotency_key"
        unique_together = (("project_id", "key"),)
        indexes = (("created_at",),)
