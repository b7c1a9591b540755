"""Root fields whose resolvers return rows, and what their arguments have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, cast

import strawberry
from strawberry.types.field import StrawberryField

Decorator = Callable[[Callable[..., object]], StrawberryField]
T = TypeVar("T")

Input = Annotated[T, strawberry.argument(description="What to do, and to what.")]
"""The one argument of every mutation."""

After = Annotated[
    str | None,
    strawberry.argument(
        description="The last cursor that was seen: the stream goes on behind it. Without it, and when that is too long ago, "
        "the first event is RESYNC."
    ),
]
"""Of a log."""


def showing(graphql_type: object, description: str) -> Decorator:
    """A root field: its resolver returns rows, and the GraphQL type says how they are shown."""
    make = cast("Callable[..., Any]", strawberry.field)
    return cast("Decorator", make(graphql_type=graphql_type, description=description))


def streaming(graphql_type: object, description: str) -> Decorator:
    """The same for a subscription: its resolver yields rows."""
    make = cast("Callable[..., Any]", strawberry.subscription)
    return cast("Decorator", make(graphql_type=graphql_type, description=description))


def changing(description: str) -> Decorator:
    """A mutation: its resolver returns a payload."""
    make = cast("Callable[..., Any]", strawberry.mutation)
    return cast("Decorator", make(description=description))
