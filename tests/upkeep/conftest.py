"""An engine and a database of their own, with rows for what lies in the store; upkeep does what there is to do, and no more."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import db
from app.backups.models import Backup, BackupDisk
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.ecs import flavors
from app.ecs.models import EcsInstance, Flavor
from app.engines.qemu.engine import QemuEngine
from app.enums import (
    BackupStatus,
    ContentState,
    DiskFormat,
    DiskStatus,
    DiskType,
    EcsStatus,
    Firmware,
    ImageKind,
    ImageSourceKind,
    ImageStatus,
)
from app.images.models import Image, ImageDisk
from app.projects import service as projects
from app.settings import Settings
from app.upkeep.loop import Upkeep
from tests.engines.lab import QemuLab


class World:
    """Images, backups and machines as jobs leave them, each by its name."""

    def __init__(self, lab: QemuLab, project_id: UUID, tool: Path) -> None:
        self.lab, self.project_id, self.tool = lab, project_id, tool

    @property
    def engine(self) -> QemuEngine:
        assert isinstance(self.lab.engine, QemuEngine)
        return self.lab.engine

    def upkeep(self, *, is_busy: Callable[[], bool] = lambda: False, **settings: Any) -> Upkeep:
        """As after a start of the service."""
        chosen = Settings(data_dir=self.lab.folder, **{"upkeep_percent": 100} | settings)
        return Upkeep(chosen, self.engine, is_busy=is_busy)

    async def keep_up(self, **settings: Any) -> None:
        """Do all there is to do after a start of the service."""
        upkeep = self.upkeep(**settings)
        async with asyncio.timeout(30):
            while await upkeep.do_next():
                pass

    async def age(self) -> None:
        """Have the last look at everything been a year ago."""
        await Content.filter(verified_at__isnull=False).update(verified_at=db.now().replace(year=2025))

    async def content(self, id_: UUID) -> Content:
        """A content's row; made when the engine's has none."""
        found = await Content.get_or_none(id=id_)
        return found or await Content.create(id=id_, engine="qemu", state=ContentState.SEALED)

    async def image(self, name: str, *content_ids: UUID, **columns: Any) -> Image:
        """An image of these contents; of one that stands alone it can be downloaded as it lies there."""
        whole = len(content_ids) == 1 and await self.engine.contents.depth(content_ids[0]) == 1
        values: dict[str, Any] = {
            "kind": ImageKind.SYSTEM_DISK if whole else ImageKind.FULL_ECS,
            "disk_format": DiskFormat.QCOW2 if whole else None,
            "status": ImageStatus.ACTIVE,
            "source_kind": ImageSourceKind.ECS,
        }
        image = await Image.create(id=uuid4(), project_id=self.project_id, name=name, **values | columns)
        for index, id_ in enumerate(content_ids):
            disk = {"content_id": (await self.content(id_)).id, "boot_index": index, "size_gib": 1}
            await ImageDisk.create(id=uuid4(), image_id=image.id, is_system=index == 0, **disk)
        return image

    async def backup(self, name: str, content_id: UUID) -> Backup:
        """A backup of one disk."""
        about = {"project_id": self.project_id, "ecs_id": uuid4(), "ecs_name": "vm", "traits": {}}
        backup = await Backup.create(id=uuid4(), name=name, status=BackupStatus.AVAILABLE, **about)
        disk = {"content_id": (await self.content(content_id)).id, "disk_id": uuid4(), "boot_index": 0, "size_gib": 1}
        await BackupDisk.create(id=uuid4(), backup_id=backup.id, is_system=True, **disk)
        return backup

    async def ecs(self, name: str, disk_id: UUID) -> EcsInstance:
        """A machine that is off, with a disk of the engine's."""
        flavor = await Flavor.get(name="t1.nano")
        ecs = await EcsInstance.create(
            id=uuid4(),
            project_id=self.project_id,
            flavor_id=flavor.id,
            name=name,
            status=EcsStatus.SHUTOFF,
            image_id=uuid4(),
            image_name="",
            traits={},
            hostname=name,
            firmware=Firmware.BIOS,
            expose_ports=[],
            endpoints=[],
        )
        await EvsDisk.create(
            id=disk_id,
            project_id=self.project_id,
            ecs_id=ecs.id,
            name=f"{name}-system",
            size_gib=1,
            type=DiskType.SSD,
            status=DiskStatus.IN_USE,
            is_system=True,
            boot_index=0,
        )
        return ecs

    async def sealed(self, disk_id: UUID) -> UUID:
        """What a disk that no machine runs on holds now."""
        content_id = self.lab.content()
        await self.engine.contents.seal({disk_id: content_id}, machine_id=None)
        return content_id

    def layer(self, content_id: UUID) -> Path:
        """The file of a content's own layer."""
        return self.lab.root / "layers" / f"{self.engine.layer_of(content_id)}.qcow2"

    async def faults(self) -> dict[str, str]:
        """What has a fault, by name."""
        found: dict[str, str] = {}
        for model in (Image, Backup, EcsInstance, EvsDisk):
            rows: list[Any] = list(await model.filter(fault_code__isnull=False).values_list("name", "fault_code"))
            found |= {name: code.value for name, code in rows}
        return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
async def world(database: str | None, tmp_path: Path) -> AsyncIterator[World]:
    tool = tmp_path / "qemu-img"
    tool.symlink_to(shutil.which("qemu-img") or "")
    lab = QemuLab(tmp_path, qemu_img=str(tool))
    await lab.open()
    await flavors.install_flavors()
    yield World(lab, await projects.create_project("alice"), tool)
    if not tool.exists():
        tool.symlink_to(shutil.which("qemu-img") or "")
    await lab.clear()
