"""Rows that tests begin with, where making them through the API would be beside the point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from app.contents.models import Content
from app.ecs.models import Flavor
from app.enums import (
    Architecture,
    ContentState,
    FlavorState,
    ImageKind,
    ImageSourceKind,
    ImageStatus,
    ShareStatus,
    TokenScope,
)
from app.images.models import Image, ImageDisk, ImageTag
from app.projects import service as projects
from app.projects.models import ApiToken
from app.sharing.models import ImageMember
from tests.client import Client

EVERYTHING = [scope for scope in TokenScope if scope is not TokenScope.OPERATOR]


async def make_client(
    url: str,
    name: str = "project",
    *,
    scopes: Sequence[TokenScope] = EVERYTHING,
    project_id: str | None = None,
    expires_at: datetime | None = None,
) -> Client:
    """A client of a new project (its name is made unique), or another token of one."""
    unique = f"{name}-{uuid4().hex[:8]}"
    owner = UUID(project_id) if project_id else await projects.create_project(unique)
    token = await projects.create_token(owner, name, scopes)
    if expires_at is not None:
        await ApiToken.filter(prefix=token.split("_")[1]).update(expires_at=expires_at)
    return Client(url, token, project_id=str(owner), name=unique)


async def make_image(
    project_id: str, name: str = "made", *, tags: dict[str, str] | None = None, **columns: Any
) -> Image:
    """An ACTIVE image without bytes, for tests that launch nothing."""
    values: dict[str, Any] = {
        "kind": ImageKind.SYSTEM_DISK,
        "status": ImageStatus.ACTIVE,
        "source_kind": ImageSourceKind.INSTALLED,
        "min_disk_gib": 1,
        "architecture": Architecture.X86_64,
    }
    image = await Image.create(id=uuid4(), project_id=UUID(project_id), name=name, **values | columns)
    content = await Content.create(id=uuid4(), engine="qemu", state=ContentState.SEALED)
    await ImageDisk.create(
        id=uuid4(), image_id=image.id, content_id=content.id, boot_index=0, size_gib=1, is_system=True
    )
    for key, value in (tags or {}).items():
        await ImageTag.create(image_id=image.id, key=key, value=value)
    return image


async def make_member(image: Image, project_id: str, status: ShareStatus = ShareStatus.ACCEPTED) -> ImageMember:
    """A share."""
    return await ImageMember.create(id=uuid4(), image_id=image.id, project_id=UUID(project_id), status=status)


async def make_flavor(**columns: Any) -> Flavor:
    """A flavor with a name of its own."""
    values: dict[str, Any] = {
        "vcpus": 1,
        "ram_mib": 64,
        "architecture": Architecture.X86_64,
        "state": FlavorState.NORMAL,
    }
    return await Flavor.create(id=uuid4(), name=f"f-{uuid4().hex[:8]}", **values | columns)
