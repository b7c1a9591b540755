"""A small schema behind the real view: what is tested here is the way in and out, not the service's own types."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from strawberry.schema.config import StrawberryConfig

from app.enums import TokenScope
from app.errors import InvalidCursor, NotFound, Unauthenticated
from app.policy import Caller
from schema.context import Context
from schema.documents import extensions
from schema.errors import Schema, UserError, refusable
from schema.limits import Limits
from schema.scalars import SCALAR_MAP, BigInt
from schema.view import Doorway, Page, View

Info = strawberry.Info[Context, None]
PAGE = Page(b"<!doctype html><title>playground</title>", "default-src 'self'")


@strawberry.type
class Item:
    name: str

    @strawberry.field
    def items(self, first: int | None = None, last: int | None = None) -> ItemConnection:
        return ItemConnection(nodes=[])

    @strawberry.field
    def parent(self) -> Item | None:
        return None


@strawberry.type
class ItemConnection:
    nodes: list[Item]


@strawberry.input
class Inner:
    texts: list[str]


@strawberry.input
class Outer:
    inner: Inner
    maybe: strawberry.Maybe[str]


@strawberry.type
class Query:
    """Never null, so that a field that fails leaves no data."""

    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"

    @strawberry.field
    def who(self, info: Info) -> str | None:
        return info.context.caller and info.context.caller.token_name

    @strawberry.field
    def echo(self, text: str | None = None, id: strawberry.ID | None = None, outer: Outer | None = None) -> str | None:
        return text or id

    @strawberry.field
    def big(self, x: BigInt) -> BigInt:
        return x

    @strawberry.field
    def too_big(self) -> int | None:
        return 2**40

    @strawberry.field
    def broken(self) -> str | None:
        raise ValueError("the password is hunter2")

    @strawberry.field
    def private(self) -> str | None:
        raise Unauthenticated("Send a token.")

    @strawberry.field
    def missing(self) -> str | None:
        raise NotFound("There is no such image.", field=("input", "image_ids", "2"), otc="IMG.0027")

    @strawberry.field
    def all_broken(self) -> list[Broken]:
        return [Broken() for _ in range(30)]

    @strawberry.field
    async def slow(self) -> str:
        await asyncio.Event().wait()
        return "never"

    @strawberry.field
    def items(self, first: int | None = None, last: int | None = None) -> ItemConnection:
        return ItemConnection(nodes=[])

    @strawberry.field
    def nodes(self, ids: list[strawberry.ID]) -> list[Item]:
        return []


@strawberry.type
class Broken:
    @strawberry.field
    def it(self) -> str | None:
        raise NotFound("gone")


@strawberry.type
class RenamePayload:
    name: str | None = None
    user_errors: list[UserError] = strawberry.field(default_factory=list)


async def rename(name: str) -> RenamePayload:
    """Stands for a service: a refusal for each kind of name."""
    if name == "taken":
        raise NotFound("No.", field=("input", "new_name"), otc="IMG.0001")
    if name == "stranger":
        raise Unauthenticated("Send a token.")
    if name == "cursor":
        raise InvalidCursor("Broken.")
    if name == "bug":
        raise ValueError("the password is hunter2")
    return RenamePayload(name=name)


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def rename(self, name: str) -> RenamePayload | None:
        return await refusable(RenamePayload, rename(name))

    @strawberry.mutation
    async def slow(self) -> str:
        await asyncio.Event().wait()
        return "never"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 2) -> AsyncIterator[int]:
        for number in range(1, to + 1):
            yield number

    @strawberry.subscription
    async def forever(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    @strawberry.subscription
    async def request(self, info: Info) -> AsyncIterator[str]:
        yield info.context.request_id

    @strawberry.subscription
    async def refused(self) -> AsyncIterator[int]:
        raise NotFound("There is no such image.")
        yield 1

    @strawberry.subscription
    async def breaks(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("the password is hunter2")


@dataclass
class Tokens:
    """Stands for app.auth: the tokens that are good, and until when."""

    good: dict[str, datetime | None] = field(default_factory=lambda: {"good": None})
    checked: int = 0

    async def authenticate(self, authorization: str | None) -> Caller | None:
        """The caller of a token, named like the token."""
        self.checked += 1
        if authorization is None:
            return None
        name = authorization.removeprefix("Bearer ")
        if name == "failing":
            raise OSError("no database")
        expires_at = self.good.get(name, datetime.min.replace(tzinfo=UTC))
        if expires_at is not None and expires_at <= datetime.now(UTC):
            raise Unauthenticated("This token is unknown, expired or revoked.")
        return Caller(
            project_id="p", scopes=frozenset(TokenScope), token_id="t", token_name=name, expires_at=expires_at
        )

    def expiring(self, name: str, *, after_s: float) -> str:
        """An Authorization header that is good for some seconds."""
        self.good[name] = datetime.now(UTC) + timedelta(seconds=after_s)
        return f"Bearer {name}"


def make_schema(limits: Limits | None = None) -> Schema:
    """The small schema with the real extensions."""
    config = StrawberryConfig(scalar_map=SCALAR_MAP)
    return Schema(Query, Mutation, Subscription, extensions=extensions(limits), config=config)


@pytest.fixture
def tokens() -> Tokens:
    """Tokens that the view under test knows."""
    return Tokens()


MakeApp = Callable[..., Starlette]


@pytest.fixture
def make_app(tokens: Tokens) -> MakeApp:
    """An application of nothing but the view."""

    def make(limits: Limits | None = None, doorway: Doorway | None = None) -> Starlette:
        view = View(make_schema(limits), authenticate=tokens.authenticate, page=PAGE, doorway=doorway)
        return Starlette(routes=[Route("/graphql", view), WebSocketRoute("/graphql", view)])

    return make


@pytest.fixture
def http(make_app: MakeApp) -> Iterator[TestClient]:
    """A client of the view with its defaults; it does not hide failures of the server."""
    with TestClient(make_app()) as client:
        client.headers["Accept"] = "application/graphql-response+json"
        yield client
