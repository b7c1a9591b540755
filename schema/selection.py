"""The one place where a GraphQL selection becomes a Wanted tree, and where a field with arguments finds what was read for it.

A part is a field with its arguments, under its Python name, and all that is selected below it anywhere: aliases and fragments are
gone. A part with arguments has the ids of its AST nodes as keys, so that two aliases, or one alias in two places, never meet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, cast

from graphql import (
    DirectiveNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLID,
    GraphQLIncludeDirective,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    Undefined,
    ValueNode,
    VariableNode,
    get_named_type,
    is_abstract_type,
)
from graphql.execution.values import VariableValues, get_argument_values, get_directive_values
from strawberry import Info
from strawberry.types.arguments import convert_arguments

from app.paging import Slice
from app.reading import Row, Wanted
from schema.ids import flavor_text, plain

THROUGH = {"through": True}
"""Metadata of a field that shows the same rows in another wrapping (edges, node, nodes, pageInfo): what it selects is its parent's."""

PLAIN_ID: dict[str, Callable[[str], str]] = {
    "imageId": partial(plain, noun="Image"),
    "flavorId": flavor_text,
}
"""ID arguments below root fields, and what is in them."""

MAX_PLANS, MAX_VARIANTS = 512, 8

Types = frozenset[str]
Plan = tuple[Wanted, dict[str, object], object]
"""With the variables that it depends on and their values, and what has to live on, as its id is in a key."""
_plans: OrderedDict[tuple[object, ...], list[Plan]] = OrderedDict()


def wanted(info: Info, of: str | None = None) -> Wanted:
    """What the current field's selection asks for; of names the type where the field's own could be many (node)."""
    raw = info._raw_info
    key = (id(raw.schema), of, *map(id, raw.field_nodes))
    variants = _plans.setdefault(key, [])
    for plan, needs, _ in variants:
        if all(info.variable_values.get(name, Undefined) == value for name, value in needs.items()):
            return plan
    planner = _Planner(info)
    type_ = raw.schema.type_map[of] if of else get_named_type(raw.return_type)
    plan = Wanted("", planner.parts(raw.field_nodes, type_))
    variants[:] = [(plan, planner.needs, (raw.schema, raw.field_nodes)), *variants[: MAX_VARIANTS - 1]]
    if len(_plans) > MAX_PLANS:
        _plans.popitem(last=False)
    return plan


def loaded(row: Row | Slice[Any], info: Info) -> Any:
    """What was read for this very field of the query: the body of every field with arguments below a root field."""
    return row.loaded[id(info._raw_info.field_nodes[0])]


class _Use(NamedTuple):
    """A field where it is selected, and the types that it is selected of; None for all."""

    node: FieldNode
    field: GraphQLField
    types: Types | None


class _Planner:
    def __init__(self, info: Info) -> None:
        self.info, self.schema, self.fragments = info, info._raw_info.schema, info._raw_info.fragments
        self.variables = VariableValues({}, info.variable_values)
        self.needs: dict[str, object] = {}

    def parts(self, nodes: Iterable[FieldNode], type_: GraphQLNamedType) -> tuple[Wanted, ...]:
        """Of nodes, which are one field, all that is selected below it."""
        found: dict[tuple[str, str], tuple[dict[str, object], list[_Use]]] = {}
        seen: set[tuple[int, Types]] = set()
        types = self.concrete(type_)
        for use in chain.from_iterable(self.uses(node.selection_set, types, None, seen) for node in nodes):
            shown = use.field.extensions.get("strawberry-definition")
            name = shown.python_name if shown else use.node.name.value
            args = self.arguments(use) if shown else {}
            found.setdefault((name, repr(args)), (args, []))[1].append(use)
        return tuple(self.part(name, args, uses) for (name, _), (args, uses) in found.items())

    def part(self, name: str, args: dict[str, object], uses: list[_Use]) -> Wanted:
        nodes = {id(use.node): use.node for use in uses}
        types = [use.types for use in uses if use.types is not None]
        only = frozenset[str]().union(*types) if len(types) == len(uses) else None
        field = uses[0].field
        keys = tuple(nodes) if field.args else ()
        return Wanted(name, self.parts(nodes.values(), get_named_type(field.type)), args, only, keys)

    def uses(
        self, selections: SelectionSetNode | None, types: Types, only: Types | None, seen: set[tuple[int, Types]]
    ) -> Iterator[_Use]:
        """The specification's CollectFields, for all concrete types at once; only is types once a fragment has narrowed them."""
        for node in selections.selections if selections else ():
            if not self.included(node):
                continue
            if isinstance(node, FieldNode):
                parent = cast("GraphQLObjectType", self.schema.type_map[min(types)])
                field = self.schema.get_field(parent, node.name.value)
                assert field  # the document is valid
                if "through" in getattr(field.extensions.get("strawberry-definition"), "metadata", ()):
                    shown = self.concrete(get_named_type(field.type))
                    yield from self.uses(node.selection_set, shown, None, seen)
                    if next(self.uses(node.selection_set, shown, None, set()), None) is None:
                        yield _Use(node, field, only)  # rows without fields are rows, too
                else:
                    yield _Use(node, field, only)
                continue
            inline = cast("InlineFragmentNode", node)
            fragment = self.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else inline
            condition = fragment.type_condition
            inner = types & self.concrete(self.schema.type_map[condition.name.value]) if condition else types
            if inner and (id(fragment), inner) not in seen:  # spreads of spreads would take exponential time
                seen.add((id(fragment), inner))
                yield from self.uses(fragment.selection_set, inner, only if inner == types else inner, seen)

    def concrete(self, type_: GraphQLNamedType) -> Types:
        return frozenset(
            t.name for t in (self.schema.get_possible_types(type_) if is_abstract_type(type_) else (type_,))
        )

    def arguments(self, use: _Use) -> dict[str, object]:
        """As the field's resolver would get them, but with plain ids."""
        if not use.field.args:
            return {}
        self.depend_on(use.node)
        values = get_argument_values(use.field, use.node, self.variables)
        for name, argument in use.field.args.items():
            if get_named_type(argument.type) is GraphQLID and isinstance(values.get(name), str):
                values[name] = PLAIN_ID[name](values[name])
        schema = self.info.schema
        shown = use.field.extensions["strawberry-definition"]
        return convert_arguments(values, shown.arguments, schema.schema_converter.scalar_registry, schema.config)

    def included(self, node: SelectionNode) -> bool:
        for directive in node.directives or ():
            self.depend_on(directive)
        skip = get_directive_values(GraphQLSkipDirective, node, self.variables) or {"if": False}
        include = get_directive_values(GraphQLIncludeDirective, node, self.variables) or {"if": True}
        return include["if"] and not skip["if"]

    def depend_on(self, node: FieldNode | DirectiveNode) -> None:
        for argument in node.arguments or ():
            for name in _variables(argument.value):
                self.needs[name] = self.info.variable_values.get(name, Undefined)


def _variables(value: ValueNode) -> Iterator[str]:
    if isinstance(value, VariableNode):
        yield value.name.value
    for child in (*getattr(value, "values", ()), *(f.value for f in getattr(value, "fields", ()))):
        yield from _variables(child)
