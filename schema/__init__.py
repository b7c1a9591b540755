"""The GraphQL schema: every noun's queries, mutations and subscriptions in one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import strawberry
from graphql import GraphQLInputObjectType, GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, Undefined
from strawberry.schema.config import StrawberryConfig

from schema import enums
from schema.backups.mutations import BackupMutations
from schema.backups.queries import BackupQueries
from schema.disks.mutations import DiskMutations
from schema.disks.queries import DiskQueries
from schema.documents import extensions
from schema.ecs.key_pairs import KeyPairMutations
from schema.ecs.launch import LaunchMutations
from schema.ecs.mutations import EcsMutations
from schema.ecs.queries import EcsQueries
from schema.ecs.subscriptions import EcsSubscriptions
from schema.errors import Schema
from schema.exports.mutations import ExportMutations
from schema.images.mutations import ImageMutations
from schema.images.queries import ImageQueries
from schema.images.subscriptions import ImageSubscriptions
from schema.images.types import PrivateImage, PublicImage, SharedImage
from schema.jobs.mutations import JobMutations
from schema.jobs.queries import JobQueries
from schema.jobs.subscriptions import JobSubscriptions
from schema.limits import Limits
from schema.nodes import NodeQueries
from schema.projects.queries import ProjectQueries
from schema.scalars import SCALAR_MAP
from schema.sharing.mutations import SharingMutations
from schema.sources.mutations import SourceMutations
from schema.uploads.mutations import UploadMutations
from schema.uploads.queries import UploadQueries

__all__ = ["SDL", "enums", "make_schema", "print_sdl", "schema"]

SDL: Final = Path(__file__).parent / "schema.graphql"
"""The schema as it is committed."""


@strawberry.type(description="What can be read.")
class Query(
    ProjectQueries, NodeQueries, ImageQueries, EcsQueries, DiskQueries, BackupQueries, JobQueries, UploadQueries
):
    pass


@strawberry.type(
    description="What can be done. Each answers with a payload whose userErrors say what was refused; it is null only after "
    "an internal error."
)
class Mutation(
    SourceMutations,
    ImageMutations,
    SharingMutations,
    LaunchMutations,
    EcsMutations,
    DiskMutations,
    BackupMutations,
    KeyPairMutations,
    JobMutations,
    UploadMutations,
    ExportMutations,
):
    pass


@strawberry.type(
    description="What can be watched. xUpdated(id) is a state: its first value comes at once, and after a reconnect one simply "
    "subscribes again. xEvents(after) is a log: give the last cursor after a reconnect. Its first event is RESYNC unless `after` "
    "can be continued, and RESYNC comes whenever events had to be dropped for a slow reader."
)
class Subscription(ImageSubscriptions, EcsSubscriptions, JobSubscriptions):
    pass


def make_schema(limits: Limits | None = None) -> Schema:
    """A schema with a store of parsed documents of its own."""
    made = Schema(
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=[PublicImage, PrivateImage, SharedImage],
        extensions=extensions(limits),
        config=StrawberryConfig(scalar_map=SCALAR_MAP),
    )
    _drop_null_defaults(made._schema)
    return made


def _drop_null_defaults(schema: GraphQLSchema) -> None:
    """Leave `= null` out: what a nullable type says already. Where null and absent differ, the field is a Maybe."""
    for type_ in schema.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            inputs = list(type_.fields.values())
        elif isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
            inputs = [argument for field in type_.fields.values() for argument in field.args.values()]
        else:
            continue
        for each in inputs:
            if each.default_value is None:
                each.default_value = Undefined


def print_sdl() -> str:
    """The schema in GraphQL's own language, as it is committed in schema/schema.graphql."""
    return schema.as_str() + "\n"


schema: Final = make_schema()
