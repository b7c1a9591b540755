"""What one operation may ask for: the size of its document, and the nodes of its answer.

Measuring walks each fragment once, however often it is spread. Walking it at every spread, as common limiters do, takes time that
doubles with each fragment: seconds for a document of a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
)
from strawberry.utils.str_converters import to_camel_case

from schema.errors import RequestCode, refusal


@dataclass(frozen=True, slots=True)
class Limits:
    """What one operation may ask for. Fragments count at each spread."""

    depth: int = 12  # levels of fields; a Relay page needs about 8. Introspection is exempt: GraphiQL's needs 13
    aliases: int = 30
    root_fields: int = 20
    directives: int = 50
    fields: int = 1000
    nodes: int = 10_000  # items of pages and of `nodes(ids:)`, those of nested pages multiplied
    page_default: int = 25
    page_max: int = 100  # longer pages are refused by the field, and so count as this many
    tokens: int = 2000
    comments: int = 200
    source_chars: int = 64 * 1024
    time_s: float = 30.0
    remembered_chars: int = 500_000  # of source text. A remembered document takes up to 300 bytes per character


Pages: TypeAlias = "tuple[Page | Pages, ...]"
"""What is paged in a selection. A fragment's pages are one tuple, shared by all its spreads: flat, they would double with each."""


@dataclass(frozen=True, slots=True)
class Page:
    """A field that answers with many nodes: how many, as numbers or names of variables, and the pages inside each node."""

    sizes: tuple[int | str, ...]
    inside: Pages


@dataclass(frozen=True, slots=True)
class Size:
    """How large a selection is, with everything below it."""

    depth: int = 0
    aliases: int = 0
    root_fields: int = 0
    directives: int = 0
    fields: int = 0
    pages: Pages = ()

    def __add__(self, other: Size) -> Size:
        return Size(
            max(self.depth, other.depth),
            self.aliases + other.aliases,
            self.root_fields + other.root_fields,
            self.directives + other.directives,
            self.fields + other.fields,
            (*self.pages, *other.pages),
        )


class Ruler:
    """Measures the operations of one document."""

    def __init__(self, document: DocumentNode, schema: GraphQLSchema, limits: Limits) -> None:
        self.schema, self.limits = schema, limits
        self.fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self.measured: dict[str, Size] = {}

    def operation(self, node: OperationDefinitionNode) -> Size:
        """The size of an operation, its fragments included; what does not exist is left to validation."""
        size = self._selections(node.selection_set, self.schema.get_root_type(node.operation))
        variables = sum(len(variable.directives or ()) for variable in node.variable_definitions or ())
        return size + Size(directives=variables + len(node.directives or ()))

    def _selections(self, node: SelectionSetNode | None, parent: GraphQLNamedType | None) -> Size:
        return sum((self._selection(each, parent) for each in node.selections), Size()) if node else Size()

    def _selection(self, node: SelectionNode, parent: GraphQLNamedType | None) -> Size:
        directives = Size(directives=len(node.directives or ()))
        if isinstance(node, FragmentSpreadNode):
            return directives + self._fragment(node.name.value)
        if isinstance(node, InlineFragmentNode):
            on = node.type_condition
            inner = self.schema.get_type(on.name.value) if on else parent
            return directives + self._selections(node.selection_set, inner)
        return directives + self._field(cast("FieldNode", node), parent)

    def _fragment(self, name: str) -> Size:
        if name not in self.measured:
            self.measured[name] = Size()  # while it is walked: a cycle ends here, and validation refuses it
            if fragment := self.fragments.get(name):
                on = self.schema.get_type(fragment.type_condition.name.value)
                size = self._selections(fragment.selection_set, on) + Size(directives=len(fragment.directives or ()))
                self.measured[name] = replace(size, pages=(size.pages,) if size.pages else ())
        return self.measured[name]

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Size:
        name = node.name.value
        fields = parent.fields if isinstance(parent, (GraphQLObjectType, GraphQLInterfaceType)) else {}
        definition = fields.get(name)
        below = self._selections(node.selection_set, get_named_type(definition.type) if definition else None)
        sizes = self._page_sizes(node, definition) if definition else ()
        return Size(
            depth=1 if name.startswith("__") else 1 + below.depth,
            aliases=below.aliases + (node.alias is not None),
            root_fields=1,
            directives=below.directives,
            fields=1 + below.fields,
            pages=(Page(sizes, below.pages),) if sizes else below.pages,
        )

    def _page_sizes(self, node: FieldNode, definition: GraphQLField) -> tuple[int | str, ...]:
        """How many nodes a field may answer with; nothing for a field that is neither paged nor asked by ids."""
        given = (each.value for each in node.arguments or () if each.name.value in {"first", "last", "ids"})
        sizes = [each.name.value if isinstance(each, VariableNode) else constant_size(each) for each in given]
        known = tuple(size for size in sizes if size is not None)
        is_paged = "first" in definition.args or "last" in definition.args
        return known or ((self.limits.page_default,) if is_paged else ())


def constant_size(value: ValueNode | None) -> int | None:
    """The number in a literal, or the length of a list; None for anything else."""
    if isinstance(value, IntValueNode):
        return int(value.value[:4])  # longer ones are beyond any page, and converting a long one takes its time
    return len(value.values) if isinstance(value, ListValueNode) else None


def count_nodes(pages: Pages, values: Mapping[str, object], limits: Limits) -> int:
    """How many nodes the pages have at most, with these variables."""
    counted: dict[int, int] = {}

    def size_of(size: int | str) -> int:
        value = values.get(size) if isinstance(size, str) else size
        if isinstance(value, list):
            return len(value)
        if isinstance(value, (int, float)):
            return int(min(max(value, 0), limits.page_max))
        return limits.page_default

    def count(group: Pages) -> int:
        if id(group) not in counted:
            counted[id(group)] = sum(
                max(map(size_of, each.sizes)) * (1 + count(each.inside)) if isinstance(each, Page) else count(each)
                for each in group
            )
        return counted[id(group)]

    return count(pages)


def default_sizes(operation: OperationDefinitionNode) -> dict[str, object]:
    """The default values of variables that can say how long a page is."""
    variables = operation.variable_definitions or ()
    sizes = ((each.variable.name.value, constant_size(each.default_value)) for each in variables)
    return {name: size for name, size in sizes if size is not None}


def too_large(size: Size, limits: Limits) -> Iterator[GraphQLError]:
    """Each limit that an operation of this size exceeds, whatever its variables."""
    for name in ("depth", "aliases", "root_fields", "directives", "fields"):
        found, limit = getattr(size, name), getattr(limits, name)
        if found > limit:
            words = f"{limit} levels of fields" if name == "depth" else f"{limit} {name.replace('_', ' ')}"
            message = f"The operation has more than {words}."
            yield refusal(RequestCode.LIMIT_EXCEEDED, message, limit=to_camel_case(name), maximum=limit)


def too_costly(nodes: int, limits: Limits) -> GraphQLError | None:
    """Why an operation that asks for this many nodes is refused, if it is."""
    if nodes <= limits.nodes:
        return None
    asked = min(nodes, 10**9)  # nesting makes numbers that JSON cannot hold
    return refusal(
        RequestCode.COST_LIMIT_EXCEEDED,
        f"The operation asks for up to {asked} nodes, more than {limits.nodes}: ask for shorter pages.",
        limit="nodes",
        maximum=limits.nodes,
    )
