"""What every operation knows: who is calling, and which request this is."""

from __future__ import annotations

from dataclasses import dataclass

from strawberry import Info

from app import policy
from app.enums import TokenScope
from app.errors import Unauthenticated
from app.policy import Caller


@dataclass(slots=True)
class Context:
    """One per operation, on a WebSocket too."""

    caller: Caller | None
    request_id: str
    base_url: str = ""
    """How the caller reaches the service: other addresses of it begin so."""


def caller(info: Info[Context, None], scope: TokenScope = TokenScope.READ) -> Caller:
    """Who is calling, with a scope that its token must have.

    Raises: Unauthenticated: no token was given. Forbidden: the token has not the scope.
    """
    who = info.context.caller
    if who is None:
        raise Unauthenticated("Send a token: Authorization: Bearer img_…")
    policy.require(who, scope)
    return who
