"""Who is calling: a bearer token becomes a Caller."""

from __future__ import annotations

import hmac
import re
from datetime import timedelta
from hashlib import sha256

from tortoise.expressions import Q

from app import db
from app.enums import TokenScope
from app.errors import Unauthenticated
from app.policy import Caller
from app.projects.models import ApiToken

TOKEN = re.compile(r"img_([0-9a-f]{8})_([A-Za-z0-9_-]{16,64})", re.ASCII)
NOTED = timedelta(minutes=1)
"""How exact a token's last use is: a write for each request would cost more than the request."""


async def authenticate(authorization: str | None) -> Caller | None:
    """The caller behind an Authorization header; None without one.

    Raises: Unauthenticated: it is no bearer token, or one that is unknown, expired or revoked: which of them is not said.
    """
    if authorization is None:
        return None
    scheme, _, value = authorization.strip().partition(" ")
    match = TOKEN.fullmatch(value.strip())
    token = await ApiToken.get_or_none(prefix=match[1]) if match and scheme.lower() == "bearer" else None
    secret = sha256(match[2].encode()).hexdigest() if match else ""
    if token is None or not hmac.compare_digest(token.secret_sha256, secret) or not _is_good(token):
        raise Unauthenticated("This token is unknown, expired or revoked.")
    seen = db.now()
    unnoted = Q(last_used_at__isnull=True) | Q(last_used_at__lt=seen - NOTED)
    if token.last_used_at is None or token.last_used_at < seen - NOTED:
        await ApiToken.filter(unnoted, id=token.id).update(last_used_at=seen)
    return Caller(
        project_id=str(token.project_id),
        scopes=frozenset(map(TokenScope, token.scopes)),
        token_id=str(token.id),
        token_name=token.name,
        expires_at=token.expires_at,
    )


def _is_good(token: ApiToken) -> bool:
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > db.now())
