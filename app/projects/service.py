"""What one can do with projects and their tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from secrets import token_hex, token_urlsafe
from uuid import UUID, uuid4

from app import db, filters, policy
from app.enums import TokenScope
from app.errors import Conflict, InvalidInput, NotFound
from app.policy import Caller
from app.projects.models import ApiToken, Project, Quota
from app.projects.quotas import DEFAULTS
from app.projects.reads import PROJECTS, VIEWER, ProjectRow, ViewerRow
from app.reading import Wanted, find

MAX_NAME = 64


async def viewer(caller: Caller, wanted: Wanted) -> ViewerRow:
    """The caller itself."""
    return (await find(caller, VIEWER, [caller.project_id], wanted))[caller.project_id]


async def find_projects(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, ProjectRow]:
    """Projects by id."""
    return await find(caller, PROJECTS, ids, wanted)


async def project_by(caller: Caller, *, id: str | None, name: str | None, wanted: Wanted) -> ProjectRow | None:
    """The project with exactly this id or name.

    Raises: Forbidden: the token has not scope SHARING.
    """
    policy.require(caller, TokenScope.SHARING)
    if name is not None:
        id = next(
            map(str, await Project.filter(filters.one_of("name", [name], Project)).values_list("id", flat=True)), None
        )
    return (await find_projects(caller, [id], wanted)).get(id) if id else None


async def create_project(name: str, *, project_id: UUID | None = None) -> UUID:
    """A new project with the default quotas.

    Raises: InvalidInput: the name is empty or longer than 64. Conflict: the name is taken.
    """
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidInput(f"A project's name has 1 to {MAX_NAME} printable characters, and no space at its ends.")
    async with db.transaction():
        if await Project.exists(name=name):
            raise Conflict(f"There is a project {name!r} already.")
        project = await Project.create(id=project_id or uuid4(), name=name)
        await Quota.bulk_create([Quota(project_id=project.id, resource=r, limit=n) for r, n in DEFAULTS.items()])
    return project.id


async def project_named(name: str) -> UUID:
    """Raises: NotFound."""
    project = await Project.get_or_none(name=name)
    if project is None:
        raise NotFound(f"There is no project {name!r}.")
    return project.id


async def list_projects() -> list[Project]:
    """All projects by name; for the command line."""
    return await Project.all().order_by("name")


async def create_token(
    project_id: UUID, name: str, scopes: Sequence[TokenScope], *, expires_at: datetime | None = None
) -> str:
    """A new token of a project; the answer is shown once, only a hash of its secret is kept.

    Raises: InvalidInput: name or scopes are empty, or it would have expired already.
    """
    if not 1 <= len(name) <= MAX_NAME or not scopes:
        raise InvalidInput(f"A token has a name of 1 to {MAX_NAME} characters and at least one scope.")
    if expires_at is not None and expires_at <= db.now():
        raise InvalidInput("A token cannot expire in the past.")
    prefix, secret = token_hex(4), token_urlsafe(24)
    await ApiToken.create(
        id=uuid4(),
        project_id=project_id,
        name=name,
        prefix=prefix,
        secret_sha256=sha256(secret.encode()).hexdigest(),
        scopes=sorted(scope.value for scope in set(scopes)),
        expires_at=expires_at,
    )
    return f"img_{prefix}_{secret}"


async def list_tokens(project_id: UUID | None = None) -> list[ApiToken]:
    """The tokens of a project, or all, newest first; for the command line."""
    tokens = ApiToken.all() if project_id is None else ApiToken.filter(project_id=project_id)
    return await tokens.order_by("-created_at", "-id").prefetch_related("project")


async def revoke_token(prefix: str) -> None:
    """From now on it opens nothing.

    Raises: NotFound: no token has this prefix, or it is revoked already.
    """
    if not await ApiToken.filter(prefix=prefix, revoked_at__isnull=True).update(revoked_at=db.now()):
        raise NotFound(f"There is no token {prefix!r} that could be revoked.")
