"""What payloads of mutations have in common: rows in place of types, warnings, and results of batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import NAMESPACE_OID, UUID, uuid5

import strawberry

from app.enums import ErrorCode, HashAlgorithm, WarningCode
from app.errors import LimitExceeded, ServiceError
from app.policy import Caller
from app.reading import Row, Wanted
from schema.errors import UserError, graphql_field, user_errors
from schema.ids import parse

T = TypeVar("T")
R = TypeVar("R", bound=Row)
MAX_ITEMS = 100
"""Ids in one argument of a mutation."""


class Notice(Protocol):
    """What app says of something that went through, but should be known."""

    @property
    def field(self) -> Sequence[str] | None: ...


def _path(root: strawberry.Parent[Notice]) -> list[str] | None:
    return None if root.field is None else graphql_field(root.field)


@strawberry.type(name="Warning", description="What went through, but should be known.")
class Caution:
    code: WarningCode = strawberry.field(description="For programs; more codes may be added.")
    message: str = strawberry.field(description="For people; its wording may change.")
    field: list[str] | None = strawberry.field(
        resolver=_path, description='Path to the argument: ["input", "flavorId"].'
    )


@strawberry.type(description="Why something failed, after the request had been accepted.")
class Fault:
    code: ErrorCode = strawberry.field(description="For programs; more codes may be added.")
    otc: str | None = strawberry.field(name="otcCode", description="Open Telekom Cloud's code where it has one.")
    message: str = strawberry.field(description="For people; its wording may change.")
    at: datetime = strawberry.field(description="When it failed.")


@strawberry.type(description="What tells one content from another.")
class Checksum:
    algorithm: HashAlgorithm = strawberry.field(description="How it is worked out.")
    value: str = strawberry.field(description="In hexadecimal digits, lower case.")


class Reasons(Protocol):
    """What app says about launching an image on a flavor."""

    @property
    def reasons(self) -> Sequence[ServiceError]: ...


def _reasons(root: strawberry.Parent[Reasons]) -> list[UserError]:
    return user_errors(*root.reasons)


@strawberry.type(
    description="Whether an image could be launched on a flavor by the viewer now. Quotas are not looked at."
)
class Launchability:
    ok: bool = strawberry.field(description="Whether there are no reasons against it.")
    reasons: list[UserError] = strawberry.field(
        resolver=_reasons, description="Why not; `field` names the field of LaunchEcsInput that would mend it."
    )
    warnings: list[Caution] = strawberry.field(description="What should be known before.")


@strawberry.type(description="A key and a value.")
class Tag:
    key: str = strawberry.field(description="1 to 36 letters, digits, hyphens and underscores.")
    value: str = strawberry.field(description="0 to 43 letters, digits, hyphens and underscores.")


@strawberry.input(description="A key and a value.")
class TagInput:
    key: str = strawberry.field(
        description="1 to 36 letters, digits, hyphens and underscores; once in a request. Spaces around it are dropped."
    )
    value: str = strawberry.field(
        default="", description="0 to 43 letters, digits, hyphens and underscores. Spaces around it are dropped."
    )


def tags_of(given: Iterable[TagInput] | None) -> list[tuple[str, str]]:
    """Tags as services want them."""
    return [(tag.key, tag.value) for tag in given or ()]


@contextmanager
def about(argument: str) -> Iterator[None]:
    """A refusal that names no argument is about this one."""
    try:
        yield
    except ServiceError as error:
        raise error if error.field else error.at("input", argument) from error.__cause__


def errors_field() -> Any:
    """The last field of every payload."""
    return strawberry.field(
        default_factory=list,
        description="Why something was refused; empty exactly when all that was asked for is (in a dry run: would be) done.",
    )


def shown(payload: Callable[..., T], **values: object) -> T:
    """A payload whose fields are rows, which stand in for the types that show them."""
    return payload(**values)


@dataclass(frozen=True, slots=True)
class Batch:
    """The ids of one argument, each once, in the order in which they were first written."""

    argument: str
    texts: Sequence[str]
    ids: Sequence[UUID]
    places: Sequence[int]

    @classmethod
    def of(cls, noun: str, **argument: Sequence[str]) -> Batch:
        """From `image_ids=[…]`. Texts that are no ids of the noun become UUIDs that nothing has, one for each.

        Raises: LimitExceeded: more than 100.
        """
        ((name, written),) = argument.items()
        if len(written) > MAX_ITEMS:
            message = f"At most {MAX_ITEMS} ids at a time, not {len(written)}."
            raise LimitExceeded(message, field=("input", name))
        first: dict[UUID, int] = {}
        for place, text in enumerate(written):
            ref = parse(text)
            known = ref is not None and ref.noun in ("", noun)
            first.setdefault(UUID(ref.id) if ref and known else uuid5(NAMESPACE_OID, text), place)
        return cls(name, [written[place] for place in first.values()], list(first), list(first.values()))

    def error(self, index: int, error: ServiceError | None) -> UserError | None:
        """A refusal of one of the ids, with the place where it was written."""
        if error is None:
            return None
        path = graphql_field(("input", self.argument, str(self.places[index])))
        return replace(user_errors(error)[0], field=path)

    def done(self, errors: Sequence[ServiceError | None]) -> list[str]:
        """Those of the ids that were not refused."""
        return [str(id_) for id_, error in zip(self.ids, errors, strict=True) if error is None]


Find = Callable[[Caller, Iterable[str], Wanted], Awaitable[Mapping[str, R]]]


async def reread(find: Find[R], caller: Caller, ids: Sequence[str], wanted: Wanted) -> Mapping[str, R]:
    """Rows after a change, in one round; none where nothing of them is wanted."""
    return await find(caller, ids, wanted) if ids and wanted.parts else {}


async def reread_one(find: Find[R], caller: Caller, id_: str | None, wanted: Wanted) -> R | None:
    """The same for one row, if there is an id."""
    return None if id_ is None else (await reread(find, caller, [id_], wanted)).get(id_)
