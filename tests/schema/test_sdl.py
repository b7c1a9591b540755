"""The schema as clients read it: committed, described throughout, and with the same conventions everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNonNull,
    GraphQLObjectType,
    build_schema,
    is_specified_scalar_type,
)

from schema import SDL, print_sdl
from schema import schema as strawberry_schema
from schema.nodes import FIND

SCHEMA = build_schema(print_sdl())
OWN = {
    name: type_
    for name, type_ in SCHEMA.type_map.items()
    if not name.startswith("__") and not is_specified_scalar_type(type_)
}
MUTATIONS = SCHEMA.mutation_type.fields if SCHEMA.mutation_type else {}


def test_committed_sdl_is_the_schema() -> None:
    assert SDL.read_text() == print_sdl(), "The schema has changed: run `python -m app schema`."


def described() -> Iterator[tuple[str, Any]]:
    """Everything that can have a description, under the name that a reader would look for."""
    for name, type_ in OWN.items():
        yield name, type_
        if isinstance(type_, GraphQLEnumType):
            yield from ((f"{name}.{word}", value) for word, value in type_.values.items())
        elif isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
            for field_name, field in type_.fields.items():
                yield f"{name}.{field_name}", field
                args = getattr(field, "args", {})
                yield from ((f"{name}.{field_name}({argument})", value) for argument, value in args.items())


def test_everything_has_a_description() -> None:
    silent = [name for name, value in described() if not (value.description or "").strip()]

    assert silent == []


def test_an_optional_input_has_no_default_of_null() -> None:
    assert "= null" not in print_sdl()


def test_ids_of_nouns_are_on_nodes_only() -> None:
    with_id = {name for name, type_ in OWN.items() if isinstance(type_, GraphQLObjectType) and "id" in type_.fields}
    nodes = {type_.name for type_ in SCHEMA.get_possible_types(SCHEMA.type_map["Node"])}  # type: ignore[arg-type]

    assert with_id - nodes == {"ImageDisk", "Viewer"}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_takes_one_input_and_answers_with_a_nullable_payload(name: str) -> None:
    field = MUTATIONS[name]
    payload, title = field.type, name[0].upper() + name[1:]

    assert {argument: str(value.type) for argument, value in field.args.items()} == {"input": f"{title}Input!"}
    assert isinstance(payload, GraphQLObjectType)
    assert payload.name == f"{title}Payload"
    assert str(payload.fields["userErrors"].type) == "[UserError!]!"


def test_a_payload_can_be_made_of_errors_alone() -> None:
    own = {"userErrors", "results", "warnings", "ecsInstances", "evsDisks"}
    fields = [
        (name, field_name, field.type)
        for name, type_ in OWN.items()
        if isinstance(type_, GraphQLObjectType) and name.endswith("Payload")
        for field_name, field in type_.fields.items()
    ]

    assert [
        (name, field) for name, field, type_ in fields if isinstance(type_, GraphQLNonNull) and field not in own
    ] == []


@pytest.mark.parametrize("name", [name for name in OWN if name.endswith("Connection")])
def test_a_connection_is_relays_with_nodes_and_a_count(name: str) -> None:
    noun, type_ = name.removesuffix("Connection"), OWN[name]
    assert isinstance(type_, GraphQLObjectType)
    shown = {field_name: str(field.type) for field_name, field in type_.fields.items() if field_name != "facets"}

    assert shown == {
        "edges": f"[{noun}Edge!]!",
        "nodes": f"[{noun}!]!",
        "pageInfo": "PageInfo!",
        "totalCount": "Int!",
    }


def test_every_list_of_a_connection_takes_relays_arguments() -> None:
    for type_ in OWN.values():
        if isinstance(type_, (GraphQLObjectType, GraphQLInterfaceType)):
            for name, field in type_.fields.items():
                if str(field.type).endswith("Connection!"):
                    assert {"first", "after", "last", "before"} <= set(field.args), f"{type_.name}.{name}"


def test_nodes_are_told_apart_by_the_noun_of_their_id() -> None:
    """A type that `node` cannot find would have an id that is good for nothing."""
    nouns = {
        "Image" if type_.name.endswith("Image") else type_.name
        for type_ in SCHEMA.get_possible_types(SCHEMA.type_map["Node"])  # type: ignore[arg-type]
    }

    assert nouns == set(FIND)


async def test_introspection_tells_the_same_as_the_sdl() -> None:
    answer = await strawberry_schema.execute("{ __schema { types { name } } }")

    assert answer.data
    assert set(OWN) <= {type_["name"] for type_ in answer.data["__schema"]["types"]}
