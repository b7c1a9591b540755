"""Selections of everything that a type shows, written by walking the schema: a field that is added later is selected too."""

from __future__ import annotations

from collections.abc import Mapping

from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
)

from schema import schema

CORE = schema._schema
WRAPPING = {"nodes", "pageInfo"}
"""Fields that show the same rows in another wrapping."""
LEFT_OUT = {"consoleLog"}
"""Read from the engine, and of one machine at a time only: no part of a list."""


def everything(type_name: str, depth: int, given: Mapping[str, str], *, first: int = 1) -> str:
    """A selection set, braces included: all fields and, for so many levels of objects below it, theirs.

    `given` are arguments that have to be given, as they are written. Pages below are of `first`.
    """
    type_ = CORE.type_map[type_name]
    shown = _fields(type_)
    parts = [_field(name, field, depth, given, first) for name, field in shown.items()]
    for kind in _kinds(type_):
        inside = everything(kind, depth, given, first=first) if is_abstract_type(CORE.type_map[kind]) else ""
        own = {name: field for name, field in _fields(CORE.type_map[kind]).items() if name not in shown}
        written = ((name, _field(name, field, depth, given, first)) for name, field in own.items())
        # fields of the same name may have different types in two of them
        inside = inside or " ".join(f"{kind}_{name}: {text}" for name, text in written if text)
        parts.append(
            f"... on {kind} {inside}" if inside.startswith("{") else f"... on {kind} {{ __typename {inside} }}"
        )
    return f"{{ __typename {' '.join(filter(None, parts))} }}"


def _kinds(type_: GraphQLNamedType) -> list[str]:
    """What an interface is implemented by: other interfaces, and types that implement none of these."""
    if not isinstance(type_, GraphQLInterfaceType):
        return []
    known = CORE.get_implementations(type_)
    covered = {each.name for interface in known.interfaces for each in CORE.get_possible_types(interface)}
    return [each.name for each in (*known.interfaces, *known.objects) if each.name not in covered]


def _fields(type_: GraphQLNamedType) -> Mapping[str, GraphQLField]:
    fields: Mapping[str, GraphQLField] = getattr(type_, "fields", {})
    return fields


def _field(name: str, field: GraphQLField, depth: int, given: Mapping[str, str], first: int) -> str:
    type_ = get_named_type(field.type)
    needed = [arg for arg, argument in field.args.items() if isinstance(argument.type, GraphQLNonNull)]
    arguments = [f"{arg}: {given[arg]}" for arg in needed if arg in given]
    if "after" in field.args:
        arguments.append(f"first: {first}")
    written = name + (f"({', '.join(arguments)})" if arguments else "")
    if is_leaf_type(type_):
        return written
    if name == "edges":  # what is in a node is selected beside it
        return "edges { cursor node { __typename } }"
    if name in LEFT_OUT or (depth == 0 and name not in WRAPPING):
        return ""
    return f"{written} {everything(type_.name, depth - (name not in WRAPPING), given, first=first)}"
