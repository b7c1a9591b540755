"""The demo's projects and tokens, and the file by which others find them: `demo.json` in the data folder.

It holds secrets, so it is readable by its owner alone. It is there while the service answers at its address, and a next start takes
the tokens over; if it was lost, the old ones are revoked and there are new ones.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from uuid import UUID

from app import db
from app.demo.catalogue import SYSTEM, ensure_project, install_public_images
from app.enums import TokenScope
from app.projects import service as projects
from app.projects.models import ApiToken

FILE = "demo.json"
TOKEN_NAME = "demo"  # noqa: S105 - a name
OWNERS = {"alice": "alice", "bob": "bob", "operator": SYSTEM}
"""Whose token is of which project."""
EVERYTHING = tuple(scope for scope in TokenScope if scope is not TokenScope.OPERATOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Tokens by who has them, and projects by name. Its repr tells no token."""

    tokens: dict[str, str]
    projects: dict[str, str]

    def __repr__(self) -> str:
        """Without tokens."""
        return f"Access(projects={self.projects})"


async def provide(data_dir: Path, url: str) -> Access:
    """See that projects, tokens and public images are there, and tell so in the file. The service has to answer, and to run jobs."""
    access = await prepare(data_dir)
    await install_public_images(data_dir)
    write(data_dir, url, access)
    return access


async def prepare(data_dir: Path) -> Access:
    """See that projects and tokens are there; the file of an earlier run goes, as its address is no longer true."""
    path = data_dir / FILE
    known = _read(path)
    tokens: dict[str, str] = {}
    ids: dict[str, str] = {}
    for who, project in OWNERS.items():
        project_id = await ensure_project(project)
        scopes = tuple(TokenScope) if who == "operator" else EVERYTHING
        tokens[who] = await _token(project_id, known.get(who, ""), scopes)
        if who == project:
            ids[who] = str(project_id)
    path.unlink(missing_ok=True)
    return Access(tokens=tokens, projects=ids)


async def _token(project_id: UUID, known: str, scopes: tuple[TokenScope, ...]) -> str:
    """The token that is known, while it is good; else a new one, and the end of all others of this name."""
    good = ApiToken.filter(project_id=project_id, name=TOKEN_NAME, revoked_at__isnull=True, expires_at__isnull=True)
    prefix, _, secret = known.removeprefix("img_").partition("_")
    if await good.filter(prefix=prefix, secret_sha256=sha256(secret.encode()).hexdigest()).exists():
        return known
    await good.update(revoked_at=db.now())
    return await projects.create_token(project_id, TOKEN_NAME, scopes)


def write(data_dir: Path, url: str, access: Access) -> None:
    """Tell where the service answers, and by which tokens; the file is never readable by others, and never half written."""
    path = data_dir / FILE
    content = {"url": url, "tokens": access.tokens, "projects": access.projects}
    with NamedTemporaryFile("w", dir=data_dir, prefix=f".{FILE}.", delete=False) as file:  # its mode is 0600
        json.dump(content, file, indent=2)
        file.write("\n")
    Path(file.name).replace(path)


def _read(path: Path) -> dict[str, str]:
    """The tokens in the file; none if it is not there, or not ours."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        tokens = json.loads(path.read_bytes())["tokens"]
        return {who: token for who, token in tokens.items() if isinstance(token, str)}
    return {}
