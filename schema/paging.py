"""Connections, read from an app.paging.Slice."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar

import strawberry
from strawberry import Info

from app.reading import Row
from schema.selection import THROUGH, loaded

T = TypeVar("T")

First = Annotated[
    int | None, strawberry.argument(description="The first so many, 1 to 100; 25 without first and last.")
]
After = Annotated[
    str | None, strawberry.argument(description="Those after this cursor (pageInfo.endCursor of the page before).")
]
Last = Annotated[int | None, strawberry.argument(description="The last so many, 1 to 100.")]
Before = Annotated[
    str | None, strawberry.argument(description="Those before this cursor (pageInfo.startCursor of the page after).")
]


@strawberry.type(description="Where a page begins and ends, and whether there are more.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Whether there are rows after it. Paging backwards: whether before was given."
    )
    has_previous_page: bool = strawberry.field(
        description="Whether there are rows before it. Paging forwards: whether after was given."
    )
    start_cursor: str | None = strawberry.field(description="Of the first row. Null on an empty page.")
    end_cursor: str | None = strawberry.field(description="Of the last row. Null on an empty page.")


@strawberry.type(description="A row and where it stands in its list.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(description="Belongs to this list, its filter and its order alone.")
    node: T = strawberry.field(metadata=THROUGH, description="The row.")


@strawberry.type(description="A page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(metadata=THROUGH, description="The rows, each with its cursor.")
    nodes: list[T] = strawberry.field(
        metadata=THROUGH, description="The rows alone, for those who need no cursor of each."
    )
    page_info: PageInfo = strawberry.field(metadata=THROUGH, description="Where the page begins and ends.")
    total_count: int = strawberry.field(description="Rows on all pages; counted only when asked for.")


def paged(
    root: strawberry.Parent[Row],
    info: Info,
    *,
    first: First = None,
    after: After = None,
    last: Last = None,
    before: Before = None,
) -> Any:
    """The resolver of a connection below a root field."""
    return loaded(root, info)
