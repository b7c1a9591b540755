"""Opaque ids: the noun and the plain UUID. Where an ID is an argument, either form will do."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, NamedTuple
from uuid import UUID

import strawberry

from app.errors import NotFound
from app.reading import Row


class Ref(NamedTuple):
    """What an id points at; noun is empty where only the UUID was given."""

    noun: str
    id: str


def parse(value: str) -> Ref | None:
    """What an id says, or None if it is not one: to its reader that is the same as something that is not there."""
    try:
        if "-" in value:
            return Ref("", str(UUID(value)))
        noun, _, id_ = b64decode(value, validate=True).decode("ascii").partition(":")
        return Ref(noun, str(UUID(id_)))
    except ValueError:
        return None


NOBODY = "00000000-0000-0000-0000-000000000000"
"""The UUID that nothing has: what a malformed id becomes where it is one of many."""


def plain(value: str, noun: str) -> str:
    """The UUID in an ID argument that is to be of a noun; NOBODY for what is no such id."""
    ref = parse(value)
    return ref.id if ref and ref.noun in ("", noun) else NOBODY


def uuid_of(value: str, noun: str) -> UUID:
    """The same, as services want it."""
    return UUID(plain(value, noun))


def flavor_text(value: str) -> str:
    """The UUID in an ID argument that is to be of a flavor, else the text itself: it may be the flavor's name."""
    ref = parse(value)
    return ref.id if ref and ref.noun in ("", "Flavor") else value


def opaque(noun: str, id_: str) -> strawberry.ID:
    """The global id of something."""
    return strawberry.ID(b64encode(f"{noun}:{id_}".encode()).decode())


def id_of(root: strawberry.Parent[Row]) -> strawberry.ID:
    """The resolver of every `id`."""
    return opaque(root.noun, root.id)


def missing(what: str) -> NotFound:
    """The one answer for what is not there, not visible, or not even an id."""
    return NotFound(f"There is no such {what}.")


@strawberry.interface(description="Something with an id that is unique over all types.")
class Node:
    id: strawberry.ID = strawberry.field(
        resolver=id_of, description="Opaque and unique over all types; good as a cache key."
    )

    @classmethod
    def resolve_type(cls, row: Row, info: Any, type_: Any) -> str:
        """The kind of thing that the row is to its viewer."""
        return row.variant

    @classmethod
    def is_type_of(cls, row: object, info: Any) -> bool:
        """Rows are not instances of the types that show them; resolve_type alone decides."""
        return True
