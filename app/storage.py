"""What the service's storage takes, for its operator: bytes in the file system, each counted once, and whose they are."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from app.backups.models import BackupDisk
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance
from app.engines.base import Files, Piece
from app.enums import EcsStatus, ImageStatus
from app.exports import folder as exports
from app.exports.models import Export
from app.fetching import folder as fetching
from app.files import folder_of, free_bytes
from app.images.models import Image, ImageDisk
from app.projects import service as projects
from app.settings import Settings
from app.taken import taken
from app.uploads.models import Upload

GIB = 1 << 30


class Kind(StrEnum):
    """What bytes are there for. What several need counts as what comes first."""

    IMAGES = "images"
    BACKUPS = "backups"
    DISKS = "disks"
    MACHINES = "machines"
    UPLOADS = "uploads"
    EXPORTS = "exports"
    DATABASE = "database"
    RESERVE = "reserve"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectUse:
    """What a project has."""

    name: str
    virtual_bytes: int
    """Of its images, backups and disks, as machines see them."""
    own_bytes: int
    """What would be free if nothing of it were there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What there is in the data folder."""

    kinds: Mapping[Kind, int]
    """Bytes; their sum is what the folder takes."""
    projects: Sequence[ProjectUse]
    shared_bytes: int
    """What things of several projects need."""
    free_bytes: int
    reserve_bytes: int
    """Of those that are free: what nothing but machines takes."""

    @property
    def total_bytes(self) -> int:
        """What the folder takes."""
        return sum(self.kinds.values())


@dataclass(slots=True)
class _Rows:
    """Who is whose, as the database says."""

    images: dict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    """Content -> projects; and so on."""
    backups: dict[UUID, set[UUID]] = field(default_factory=lambda: defaultdict(set))
    disks: dict[UUID, UUID] = field(default_factory=dict)
    machines: dict[UUID, UUID] = field(default_factory=dict)
    uploads: dict[UUID, UUID] = field(default_factory=dict)
    fetched: dict[UUID, UUID] = field(default_factory=dict)
    """Image -> project."""
    exports: dict[UUID, UUID] = field(default_factory=dict)
    virtual: Counter[UUID] = field(default_factory=Counter)


async def look(settings: Settings, files: Files) -> Storage:
    """What the storage takes now, whether the service runs or not.

    Raises: EngineError: the engine's store cannot be looked at.
    """
    rows = await _read()
    pieces = list(_of_engine(await files.usage(), rows))
    pieces += await asyncio.to_thread(lambda: list(_of_folder(settings.data_dir, rows)))
    kinds, own = Counter[Kind](), Counter[UUID]()
    shared = 0
    for kind, size, owners in pieces:
        kinds[kind] += size
        if len(owners) == 1:
            own[next(iter(owners))] += size
        elif owners:
            shared += size
    uses = [
        ProjectUse(name=project.name, virtual_bytes=rows.virtual[project.id], own_bytes=own[project.id])
        for project in await projects.list_projects()
    ]
    return Storage(
        kinds={kind: kinds[kind] for kind in Kind},
        projects=uses,
        shared_bytes=shared,
        free_bytes=await asyncio.to_thread(free_bytes, settings.data_dir),
        reserve_bytes=settings.reserve_disk_mib << 20,
    )


async def _read() -> _Rows:
    rows = _Rows()
    sizes = {content.id: content.virtual_bytes for content in await Content.all()}
    in_images: list[Any] = list(await ImageDisk.all().values_list("content_id", "image__project_id"))
    in_backups: list[Any] = list(await BackupDisk.all().values_list("content_id", "backup__project_id"))
    for found, holders in ((rows.images, in_images), (rows.backups, in_backups)):
        for content_id, project_id in holders:
            found[content_id].add(project_id)
            rows.virtual[project_id] += sizes.get(content_id, 0)
    for disk in await EvsDisk.all():
        rows.disks[disk.id] = disk.project_id
        rows.virtual[disk.project_id] += disk.size_gib * GIB
    there = EcsInstance.exclude(status=EcsStatus.DELETED)
    rows.machines = {row.id: row.project_id for row in await there}
    rows.uploads = {row.id: row.project_id for row in await Upload.all()}
    rows.fetched = {row.id: row.project_id for row in await Image.filter(status=ImageStatus.IMPORTING)}
    rows.exports = {row.id: row.project_id for row in await Export.all()}
    return rows


Part = tuple[Kind, int, set[UUID]]
"""What it is for, bytes, and the projects that need it."""


def _of_engine(pieces: Iterable[Piece], rows: _Rows) -> Iterator[Part]:
    for piece in pieces:
        owners = {rows.machines[id_] for id_ in piece.machines if id_ in rows.machines}
        owners |= {rows.disks[id_] for id_ in piece.disks if id_ in rows.disks}
        for held in (rows.images, rows.backups):
            owners |= {project_id for id_ in piece.contents for project_id in held.get(id_, ())}
        needed_by = {
            Kind.IMAGES: piece.contents & rows.images.keys(),
            Kind.BACKUPS: piece.contents & rows.backups.keys(),
            Kind.DISKS: piece.disks,
            Kind.MACHINES: piece.machines,
        }
        yield next((kind for kind, ids in needed_by.items() if ids), Kind.OTHER), piece.allocated_bytes, owners


def _of_folder(data_dir: Path, rows: _Rows) -> Iterator[Part]:
    """All that is in the data folder and not the engine's."""
    uploads, fetched, exported = folder_of(data_dir), fetching.folder_of(data_dir), exports.folder_of(data_dir)
    for path, size in taken(data_dir):
        if path.is_relative_to(data_dir / "engine"):
            continue
        if path.parent == uploads:
            yield Kind.UPLOADS, size, _owner(path, rows.uploads)
        elif path.parent == fetched:
            yield Kind.UPLOADS, size, _owner(path, rows.fetched)
        elif path.parent == exported:
            yield Kind.EXPORTS, size, _owner(path, rows.exports)
        elif path.name.startswith("service.sqlite"):
            yield Kind.DATABASE, size, set()
        elif path == data_dir / "reserve":
            yield Kind.RESERVE, size, set()
        else:
            yield Kind.OTHER, size, set()


def _owner(path: Path, owners: Mapping[UUID, UUID]) -> set[UUID]:
    try:
        return {owners[UUID(path.stem)]}
    except (ValueError, KeyError):  # under way, or left behind
        return set()
