"""Projects, and the viewer: the project that asks, by the token that it asks with."""

from __future__ import annotations

from uuid import UUID

import strawberry

from app.enums import QuotaResource, TokenScope
from schema.ids import Node, id_of
from schema.scalars import BigInt


@strawberry.type(description="A tenant: it owns images, ECSs and tokens.")
class Project(Node):
    uuid: UUID = strawberry.field(description="The plain id.")
    name: str = strawberry.field(description="1 to 64 characters; unique.")


@strawberry.type(description="How much of a resource the viewer's project has, and may have.")
class Quota:
    resource: QuotaResource = strawberry.field(description="What is counted.")
    used: BigInt = strawberry.field(description="How much there is, in the unit that the resource's name says.")
    limit: BigInt | None = strawberry.field(description="How much there may be. Null: unlimited.")


@strawberry.type(description="Who is asking.")
class Viewer:
    id: strawberry.ID = strawberry.field(
        resolver=id_of, description="Opaque and unique over all types; one for each project."
    )
    project: Project = strawberry.field(description="The project that the token belongs to.")
    token_name: str | None = strawberry.field(
        description="The token's name. Null for a caller with an OIDC or Keystone token."
    )
    scopes: list[TokenScope] = strawberry.field(description="What the token may be used for.")
    is_operator: bool = strawberry.field(description="Whether it runs this installation: scope OPERATOR.")
    quotas: list[Quota] = strawberry.field(description="One for each resource that is counted.")
    pending_share_count: int = strawberry.field(description="Images shared with the project that wait for its answer.")
