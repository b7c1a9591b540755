"""A selection becomes a plan: plain names and arguments, without aliases and fragments, however it was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import strawberry
from graphql import GraphQLID, GraphQLInterfaceType, GraphQLObjectType, Undefined, get_named_type
from strawberry import Info
from strawberry.schema.config import StrawberryConfig
from strawberry.types.field import StrawberryField

from app.disks.reads import EVS_DISKS
from app.ecs.reads import ECS, FLAVORS, KEY_PAIRS
from app.images.reads import IMAGES
from app.jobs.reads import JOBS
from app.projects.reads import PROJECTS
from app.reading import Noun, Wanted
from app.sharing.reads import MEMBERS
from schema import schema as real_schema
from schema.documents import extensions
from schema.fields import showing
from schema.ids import NOBODY, Node, opaque
from schema.images.queries import ImageConnection
from schema.images.types import PrivateImage, PublicImage, SharedImage
from schema.scalars import SCALAR_MAP
from schema.selection import PLAIN_ID, wanted

UUID_TEXT = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

plans: list[Wanted] = []


@strawberry.type
class Query:
    """Root fields of the real types that plan, remember the plan, and read nothing."""

    @showing(ImageConnection | None, description="A list.")
    async def images(self, info: Info) -> None:
        plans.append(wanted(info))

    @showing(Node | None, description="One of many kinds.")
    async def node(self, info: Info) -> None:
        plans.append(wanted(info, of="Image"))


def probe(*, remembering: bool = False) -> strawberry.Schema:
    return strawberry.Schema(
        query=Query,
        types=[PublicImage, PrivateImage, SharedImage],
        config=StrawberryConfig(scalar_map=SCALAR_MAP),
        extensions=extensions() if remembering else [],
    )


PROBE, REMEMBERING = probe(), probe(remembering=True)


async def planned(document: str, schema: strawberry.Schema = PROBE, **variables: object) -> Wanted:
    plans.clear()
    answer = await schema.execute(document, variables)
    assert answer.errors is None, answer.errors
    return plans[-1]


async def images(selection: str, **variables: object) -> str:
    """The plan of a selection below `images { nodes { … } }`, as text."""
    return told(await planned(f"{{ images {{ nodes {{ {selection} }} }} }}", **variables))


def told(plan: Wanted) -> str:
    """`name`, `name(arguments)`, `name@Variants`, `name{parts}`."""
    return " ".join(map(_told, plan.parts))


def _told(part: Wanted) -> str:
    given = ", ".join(f"{name}={_plain(value)}" for name, value in part.args.items() if value is not None)
    only = "" if part.only is None else "@" + "|".join(sorted(part.only))
    below = f"{{{told(part)}}}" if part.parts else ""
    return part.name + (f"({given})" if given else "") + only + below


def _plain(value: object) -> str:
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, list) else str(value)


# ---------------------------------------------------------------- names, aliases, wrappings


async def test_parts_have_python_names() -> None:
    assert await images("id createdAt os { type } viewerCan") == "id created_at os{type} viewer_can"


async def test_what_only_wraps_rows_is_left_out() -> None:
    plan = await planned(
        "{ images { totalCount pageInfo { endCursor } edges { cursor node { name } } nodes { kind } } }"
    )

    assert told(plan) == "total_count end_cursor cursor name kind"


async def test_aliases_of_one_field_are_one_part() -> None:
    assert await images("a: tags { key } b: tags { value } tags { k: key }") == "tags{key value}"


async def test_two_wrappings_are_one_part() -> None:
    plan = await planned("{ images { edges { node { tags { key } } } nodes { tags { value } } } }")

    assert told(plan) == "tags{key value}"


async def test_typename_reads_no_column_of_its_own() -> None:
    assert await images("__typename") == "__typename"


# ---------------------------------------------------------------- arguments


async def test_one_field_with_other_arguments_is_another_part() -> None:
    plan = await images(
        "... on PrivateImage { a: members(first: 1) { totalCount } b: members(first: 2) { nodes { id } } }"
    )

    assert plan == "members(first=1)@PrivateImage{total_count} members(first=2)@PrivateImage{id}"


async def test_the_same_arguments_are_one_part_with_a_key_for_each_place() -> None:
    plan = await planned(
        "{ images { nodes { a: ecsInstances(first: 1) { totalCount } b: ecsInstances(first: 1) { nodes { id } } } } }"
    )

    (part,) = plan.parts
    assert _told(part) == "ecs_instances(first=1){total_count id}"
    assert len(set(part.keys)) == 2


async def test_one_alias_in_two_places_may_have_other_arguments() -> None:
    plan = await planned(
        "{ images { edges { node { e: ecsInstances(first: 1) { totalCount } } } nodes { e: ecsInstances(first: 2) { totalCount } } } }"
    )

    assert told(plan) == "ecs_instances(first=1){total_count} ecs_instances(first=2){total_count}"
    assert not set(plan.parts[0].keys) & set(plan.parts[1].keys)


async def test_parts_without_arguments_are_attributes_and_have_no_keys() -> None:
    plan = await planned("{ images { nodes { tags { key } } } }")

    assert plan.parts[0].keys == ()


async def test_arguments_are_as_resolvers_would_get_them() -> None:
    plan = await planned(
        "{ images { nodes { ... on PrivateImage { members(status: [ACCEPTED, PENDING], last: 3) { totalCount } } } } }"
    )

    assert plan.parts[0].args["status"] == ["ACCEPTED", "PENDING"]
    assert plan.parts[0].args["last"] == 3


@pytest.mark.parametrize("written", [UUID_TEXT, UUID_TEXT.upper(), opaque("Flavor", UUID_TEXT)])
async def test_ids_in_arguments_are_plain(written: str) -> None:
    plan = await planned("query($f: ID!) { images { nodes { launchability(flavorId: $f) { ok } } } }", f=written)

    assert plan.parts[0].args == {"flavor_id": UUID_TEXT}


async def test_a_flavor_may_be_named() -> None:
    assert await images('launchability(flavorId: "s2.small") { ok }') == "launchability(flavor_id=s2.small){ok}"


@pytest.mark.parametrize("written", ["nonsense", "", opaque("Flavor", UUID_TEXT)])
def test_what_is_no_id_of_an_image_is_nobodys(written: str) -> None:
    assert PLAIN_ID["imageId"](written) == NOBODY


def fields_below_roots() -> Iterator[tuple[str, str, Any]]:
    schema = real_schema._schema
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    for type_ in schema.type_map.values():
        shows = isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)) and not type_.name.startswith("__")
        if shows and type_ not in roots:
            yield from ((type_.name, name, field) for name, field in type_.fields.items())


def test_below_roots_arguments_are_leaves_and_every_id_is_known() -> None:
    """Input objects would carry classes of schema into app, and an id whose noun is unknown could not be made plain."""
    for type_name, name, field in fields_below_roots():
        for argument, value in field.args.items():
            leaf = get_named_type(value.type)
            assert not hasattr(leaf, "fields"), f"{type_name}.{name}({argument})"
            assert leaf is not GraphQLID or argument in PLAIN_ID, f"{type_name}.{name}({argument})"


# ---------------------------------------------------------------- fragments


async def test_fragments_on_interfaces_narrow_nothing() -> None:
    assert await images("... on Node { id } ... on Image { name } ... { kind }") == "id name kind"


async def test_a_fragment_on_a_type_narrows_to_it() -> None:
    plan = await images("... on PrivateImage { memberLimit tags { key } } ... on SharedImage { membership { id } }")

    assert plan == "member_limit@PrivateImage tags@PrivateImage{key} membership@SharedImage{id}"


async def test_narrowed_twice_is_for_both() -> None:
    plan = await images("... on PrivateImage { tags { key } } ... on PublicImage { tags { value } }")

    assert plan == "tags@PrivateImage|PublicImage{key value}"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_wanted_of_all_and_of_some_is_wanted_of_all(order: tuple[int, int]) -> None:
    selections = ("tags { key }", "... on PrivateImage { tags { key } }")

    assert await images(" ".join(selections[i] for i in order)) == "tags{key}"


async def test_a_fragment_inside_another_stays_narrow() -> None:
    assert await images("... on PrivateImage { ... on Image { ... on Node { id } } }") == "id@PrivateImage"


async def test_fragments_that_exclude_each_other_want_rows_without_fields() -> None:
    assert await images("... on PrivateImage { ... on Image { ... on SharedImage { membership { id } } } }") == "nodes"


async def test_named_fragments_count_where_they_are_spread() -> None:
    plan = await planned(
        "{ images { ...C nodes { ...P } } } fragment C on ImageConnection { totalCount nodes { ...P } } "
        "fragment P on PrivateImage { memberLimit members(first: 1) { nodes { ...M } } } fragment M on ImageMember { status }"
    )

    assert told(plan) == "total_count member_limit@PrivateImage members(first=1)@PrivateImage{status}"


async def test_node_is_planned_for_one_noun() -> None:
    plan = await planned("{ node { id ... on PublicImage { name } ... on EcsInstance { name status } } }")

    assert told(plan) == "id name@PublicImage"


async def test_fragments_in_fragments_are_walked_once() -> None:
    """Spread twice at each of 60 levels, they would be walked 2^60 times."""
    chain = " ".join(f"fragment F{i} on Image {{ ...F{i + 1} ... {{ ...F{i + 1} }} }}" for i in range(60))

    plan = await planned(f"{{ images {{ nodes {{ ...F0 }} }} }} {chain} fragment F60 on Image {{ name }}")

    assert told(plan) == "name"


# ---------------------------------------------------------------- directives, variables, remembered plans


@pytest.mark.parametrize(
    ("yes", "no", "expected"),
    [
        (True, False, "name tags{key} kind"),
        (False, True, "id"),
        (True, True, "kind"),
        (False, False, "id name tags{key}"),
    ],
)
async def test_what_is_skipped_is_not_wanted(yes: bool, no: bool, expected: str) -> None:
    document = """query($yes: Boolean!, $no: Boolean!) { images { nodes {
        id @skip(if: $yes) name @skip(if: $no) tags { key @include(if: true) value @skip(if: true) } ... @include(if: $yes) { kind } } } }
    """.replace("tags {", "tags @skip(if: $no) {")

    assert told(await planned(document, yes=yes, no=no)) == expected


async def test_a_remembered_plan_holds_for_its_variables_only() -> None:
    document = "query($n: Int, $of: Boolean!) { images { nodes { ecsInstances(first: $n) { totalCount @include(if: $of) } } } }"

    first = await planned(document, REMEMBERING, n=1, of=True)
    second = await planned(document, REMEMBERING, n=2, of=True)
    third = await planned(document, REMEMBERING, n=1, of=False)
    again = await planned(document, REMEMBERING, n=1, of=True)

    assert told(first) == "ecs_instances(first=1){total_count}"
    assert told(second) == "ecs_instances(first=2){total_count}"
    assert told(third) == "ecs_instances(first=1)"
    assert again is first


async def test_a_plan_does_not_depend_on_variables_that_it_does_not_read() -> None:
    document = (
        "query($n: Int, $other: Int) { images { nodes { ecsInstances(first: $n) { totalCount } } } node { id ...F } } "
    )
    document += "fragment F on Image { ecsInstances(first: $other) { totalCount } }"

    await planned(document, REMEMBERING, n=1, other=1)
    first = plans[0]
    await planned(document, REMEMBERING, n=1, other=2)

    assert plans[0] is first


async def test_a_variable_that_is_left_out_is_no_argument() -> None:
    schema = real_schema._schema
    image = schema.type_map["Image"]
    assert isinstance(image, GraphQLInterfaceType)

    assert all(argument.default_value is Undefined for argument in image.fields["ecsInstances"].args.values())


# ---------------------------------------------------------------- what is shown can be read


NOUNS: dict[str, Noun[Any]] = {
    "PublicImage": IMAGES,
    "PrivateImage": IMAGES,
    "SharedImage": IMAGES,
    "ImageMember": MEMBERS,
    "EcsInstance": ECS,
    "Flavor": FLAVORS,
    "KeyPair": KEY_PAIRS,
    "EvsDisk": EVS_DISKS,
    "Job": JOBS,
    "Project": PROJECTS,
}


@pytest.mark.parametrize("type_name", NOUNS)
def test_every_field_of_a_noun_is_a_column_a_property_or_a_relation(type_name: str) -> None:
    noun, type_ = NOUNS[type_name], real_schema._schema.type_map[type_name]
    assert isinstance(type_, GraphQLObjectType)
    columns = set(noun.model._meta.fields_db_projection) | set(noun.computed)
    shown: dict[str, StrawberryField] = {
        name: f.extensions["strawberry-definition"] for name, f in type_.fields.items()
    }

    unread = [name for name, field in shown.items() if field.python_name not in columns | set(noun.relations)]
    unplanned = [
        name for name, field in type_.fields.items() if field.args and shown[name].python_name not in noun.relations
    ]

    assert unread == []
    assert unplanned == [], "a field with arguments has to be a relation"
