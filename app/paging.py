"""Stretches of ordered lists: keyset cursors that belong to one order and one filter, never offsets."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from hashlib import blake2s
from operator import attrgetter, or_
from typing import Any, Generic, TypeVar

import orjson
from tortoise.expressions import Q
from tortoise.fields import Field
from tortoise.models import Model

from app import db
from app.errors import InvalidCursor, InvalidInput

DEFAULT_ROWS, MAX_ROWS = 25, 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which stretch of a list: the first or the last 1 to 100 rows, 25 without either, or all of it.

    Raises: InvalidInput.
    """

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    all: bool = False

    def __post_init__(self) -> None:
        for name, rows in (("first", self.first), ("last", self.last)):
            if rows is not None and not 1 <= rows <= MAX_ROWS:
                raise InvalidInput(f"{name} is 1 to {MAX_ROWS}, not {rows}.", field=(name,))
        if self.backward and (self.first is not None or self.after is not None):
            raise InvalidInput("Give first and after, or last and before, not both.", field=("last",))

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> Page:
        return cls(args.get("first"), args.get("after"), args.get("last"), args.get("before"))

    @property
    def backward(self) -> bool:
        return self.last is not None or self.before is not None

    @property
    def cursor(self) -> str | None:
        return self.before if self.backward else self.after

    @property
    def size(self) -> int | None:
        return (
            None
            if self.all
            else next((number for number in (self.first, self.last) if number is not None), DEFAULT_ROWS)
        )


class Keyset:
    """An order of columns that are never null, the last one unique, and the cursors that belong to it and to one filter."""

    def __init__(self, model: type[Model], order: Sequence[str], filtered_by: object = None) -> None:
        self.model, self.order = model, tuple(order)
        self.columns = [name.removeprefix("-") for name in order]
        self.values = attrgetter("id", *self.columns)  # a single name would not give a tuple
        self.seal = blake2s(repr((model.__name__, self.order, filtered_by)).encode(), digest_size=6).hexdigest()

    def cursor(self, row: object) -> str:
        return urlsafe_b64encode(orjson.dumps((self.seal, *self.values(row)[1:]), default=str)).decode()

    def beyond(self, cursor: str, backward: bool) -> Q:
        """The rows past a cursor.

        Raises: InvalidCursor.
        """
        try:
            seal, *texts = orjson.loads(urlsafe_b64decode(cursor))
            kinds = [db.ANNOTATED.get(name) or self.model._meta.fields_map[name] for name in self.columns]
            values = [_value(kind, text) for kind, text in zip(kinds, texts, strict=True)]
        except Exception as error:  # whatever a made-up cursor can break
            raise InvalidCursor("This is not a cursor of this list.") from error
        if seal != self.seal:
            raise InvalidCursor("This cursor belongs to another list, order or filter; start without it.")
        steps: list[Q] = []
        same = Q()
        value: Any
        for name, column, value in zip(self.order, self.columns, values, strict=True):
            step = "lt" if name.startswith("-") != backward else "gt"
            steps.append(same & Q(**{f"{column}__{step}": value}))
            same &= Q(**{column: value})
        return reduce(or_, steps)

    def way(self, backward: bool) -> list[str]:
        """The order to read in."""
        return (
            [name.removeprefix("-") if name.startswith("-") else f"-{name}" for name in self.order]
            if backward
            else list(self.order)
        )


def _value(kind: Field[Any], text: object) -> Any:
    """One value of a cursor.

    Raises: an exception of any kind: its column could not hold it.
    """
    value = kind.to_python_value(text)
    kind.to_db_value(value, Model)
    if value is None or "\0" in str(value):
        raise ValueError
    if "ge" in kind.constraints and not kind.constraints["ge"] <= value <= kind.constraints["le"]:
        raise ValueError
    return value


@dataclass(slots=True)
class Edge(Generic[T]):
    node: T
    keyset: Keyset

    @property
    def cursor(self) -> str:
        return self.keyset.cursor(self.node)


@dataclass(slots=True)
class Slice(Generic[T]):
    """A stretch of a list; all that a connection shows of it is an attribute."""

    nodes: list[T]
    keyset: Keyset
    has_next_page: bool
    has_previous_page: bool
    total_count: int
    loaded: dict[Hashable, object] = field(default_factory=dict)
    """What its reader worked out for fields with arguments, by the keys of their parts."""

    @classmethod
    def of(cls, rows: list[T], page: Page, keyset: Keyset, total_count: int) -> Slice[T]:
        """From rows in the order of reading, one more than the page's size if there are more."""
        nodes = rows[: page.size]
        more = len(nodes) < len(rows)
        if page.backward:
            return cls(nodes[::-1], keyset, page.before is not None, more, total_count)
        return cls(nodes, keyset, more, page.after is not None, total_count)

    @property
    def edges(self) -> list[Edge[T]]:
        return [Edge(node, self.keyset) for node in self.nodes]

    @property
    def page_info(self) -> Slice[T]:
        return self

    @property
    def start_cursor(self) -> str | None:
        return self.keyset.cursor(self.nodes[0]) if self.nodes else None

    @property
    def end_cursor(self) -> str | None:
        return self.keyset.cursor(self.nodes[-1]) if self.nodes else None
