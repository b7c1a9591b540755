"""Documents on their way into execution: parsed, measured and validated once, then remembered, in one store per schema.

The limits come before validation, which is slower, and hold on every transport.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypedDict, cast

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    StringValueNode,
    Visitor,
    parse,
    specified_rules,
    visit,
)
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document
from strawberry.types.execution import ParseOptions

from schema.errors import RequestCode, refusal
from schema.limits import Limits, Pages, Ruler, count_nodes, default_sizes, too_costly, too_large


@dataclass(frozen=True, slots=True)
class Document:
    """A document that parsed, and what is known of it for all requests: its errors, or what its operations page."""

    node: DocumentNode
    errors: list[GraphQLError]
    operations: list[tuple[Pages, dict[str, object]]]


class ParserLimits(TypedDict):
    """The parser's options that bound its time, and the time of everything that comes after it."""

    max_lexical_tokens: int
    max_comments: int
    max_source_length: int


class Documents:
    """The documents of one schema. The latest are remembered, as many as `Limits.remembered_chars` allows."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.parse_options: ParserLimits = {
            "max_lexical_tokens": limits.tokens,
            "max_comments": limits.comments,
            "max_source_length": limits.source_chars,
        }
        self._remembered: OrderedDict[str, Document] = OrderedDict()
        self._chars = 0

    def read(self, text: str, schema: GraphQLSchema) -> Document:
        """The document of a text.

        Raises:
            GraphQLSyntaxError: the text is no document, or one of too many tokens, comments or characters.
        """
        if document := self._remembered.get(text):
            self._remembered.move_to_end(text)
            return document
        document = self._examine(text, schema)
        self._remembered[text] = document
        self._chars += len(text)
        while self._chars > self.limits.remembered_chars:
            self._chars -= len(self._remembered.popitem(last=False)[0])
        return document

    def _examine(self, text: str, schema: GraphQLSchema) -> Document:
        node = parse(text, **self.parse_options)
        operations = [each for each in node.definitions if isinstance(each, OperationDefinitionNode)]
        try:
            ruler = Ruler(node, schema, self.limits)
            sizes = [ruler.operation(each) for each in operations]
            errors = [error for size in sizes for error in too_large(size, self.limits)]
            errors = errors or _unstorable_literals(node, text) or _validate(node, schema)
        except RecursionError:  # a chain of hundreds of fragments, each spread in the one before
            return Document(node, [refusal(RequestCode.LIMIT_EXCEEDED, "The document is nested too deeply.")], [])
        pages = [(size.pages, default_sizes(each)) for size, each in zip(sizes, operations, strict=True)]
        return Document(node, errors, pages)


def _validate(node: DocumentNode, schema: GraphQLSchema) -> list[GraphQLError]:
    errors = validate_document(schema, node, specified_rules)
    for error in errors:
        error.extensions = {"code": RequestCode.GRAPHQL_VALIDATION_FAILED, **(error.extensions or {})}
    return errors


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL refuses NUL; SQLite stores it, and searches break on it. Half a surrogate pair cannot be encoded for either."""

_UNSTORABLE_MESSAGE = "A text holds a NUL character or half of a surrogate pair."


def _unstorable_literals(node: DocumentNode, text: str) -> list[GraphQLError]:
    if "\0" not in text and "\\u" not in text:  # neither as it is nor as an escape: nothing to walk for
        return []
    found: list[StringValueNode] = []

    class Find(Visitor):
        def enter_string_value(self, node: StringValueNode, *_: object) -> None:
            if _UNSTORABLE.search(node.value):
                found.append(node)

    visit(node, Find())
    extensions = {"code": RequestCode.BAD_USER_INPUT}
    return [GraphQLError(_UNSTORABLE_MESSAGE, each, extensions=extensions) for each in found]


def unstorable_variable(variables: Mapping[str, object]) -> GraphQLError | None:
    """Why the variables are refused, if a text anywhere in them, keys included, cannot be stored."""
    waiting: list[object] = [variables]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if _UNSTORABLE.search(value):
                return refusal(RequestCode.BAD_USER_INPUT, _UNSTORABLE_MESSAGE)
        elif isinstance(value, Mapping):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return None


class CheckedDocument(SchemaExtension):
    """Puts a remembered document in place of parsing and validating, and checks what depends on the request.

    It raises nothing: an exception in a hook would end a WebSocket's operation without an answer. A text that does not
    parse is left to Strawberry, which parses it again, within the same limits, and reports the error well.
    """

    def __init__(self, documents: Documents) -> None:
        super().__init__()
        self.documents = documents
        self.document: Document | None = None

    def on_parse(self) -> Iterator[None]:
        """Give Strawberry the parsed document, and the parser's limits."""
        context = self.execution_context
        context.parse_options = cast("ParseOptions", self.documents.parse_options)
        with suppress(GraphQLError):
            if context.query:
                self.document = self.documents.read(context.query, context.schema._schema)
                context.graphql_document = self.document.node
        yield

    def on_validate(self) -> Iterator[None]:
        """Give Strawberry the errors; it validates only while there is no list of them."""
        if self.document:
            self.execution_context.pre_execution_errors = self._errors(self.document)
        yield

    def _errors(self, document: Document) -> list[GraphQLError]:
        context, limits = self.execution_context, self.documents.limits
        if document.errors:
            return list(document.errors)
        if len(document.operations) > 1 and context._provided_operation_name is None:
            # Strawberry would run the first one.
            message = "The document has several operations: operationName must say which one is to run."
            return [refusal(RequestCode.OPERATION_RESOLUTION_FAILURE, message)]
        given: Mapping[str, object] = context.variables or {}
        nodes = [count_nodes(pages, {**defaults, **given}, limits) for pages, defaults in document.operations]
        error = unstorable_variable(given) or too_costly(max(nodes, default=0), limits)
        return [error] if error else []


class TimeLimit(SchemaExtension):
    """Stops a query or mutation that takes too long. A subscription may last: only its start is limited."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self.limit_s = limit_s

    async def on_execute(self) -> AsyncIterator[None]:
        """Cancel what runs when the time is up; a transaction that was open is rolled back."""
        try:
            async with asyncio.timeout(self.limit_s):
                yield
        except TimeoutError:
            message = f"The operation took longer than {self.limit_s:g} s and was stopped; mutations that were done stay done."
            raise refusal(RequestCode.TIMED_OUT, message) from None


def extensions(limits: Limits | None = None) -> list[Callable[[], SchemaExtension]]:
    """What to give `Schema(extensions=)`, for one schema: the store of documents is its own."""
    limits = limits or Limits()
    documents = Documents(limits)
    return [lambda: CheckedDocument(documents), lambda: TimeLimit(limits.time_s)]
