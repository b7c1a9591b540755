"""Jobs about backups that are cut short at any step of theirs: run again, or given up, they leave what they would have left."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.backups.jobs import CreateBackup, DeleteBackup, RestoreBackup
from app.backups.models import Backup, BackupDisk
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance, Flavor
from app.engines.qemu.engine import QemuEngine
from app.enums import (
    Architecture,
    BackupStatus,
    ContentState,
    DiskStatus,
    DiskType,
    EcsStatus,
    ErrorCode,
    Firmware,
    FlavorState,
    JobStatus,
    JobType,
)
from app.errors import EngineError
from app.jobs import queue
from app.jobs.models import Job
from app.jobs.work import Handler, Work
from app.projects import service as projects
from app.runtime import Runtime
from app.settings import Settings
from tests.engines.lab import MIB, QemuLab

pytestmark = pytest.mark.usefixtures("database")
OLD, NEW = b"old" * 100, b"new" * 100


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """A part of the engine in a process that is killed before or after its nth call."""

    def __init__(self, part: object, life: list[int]) -> None:
        self._part, self._life = part, life

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def call(*args: object, **more: object) -> object:
            self._tick()
            answer = await getattr(self._part, name)(*args, **more)
            self._tick()
            return answer

        return call

    def _tick(self) -> None:
        self._life[0] -= 1
        if self._life[0] < 0:
            raise Killed


@dataclass
class Engines:
    """As much of an engine as jobs about backups use."""

    contents: Any
    machines: Any


@dataclass
class Bench:
    """A machine that is off, with one disk that held OLD when its backup was made, and holds NEW."""

    lab: QemuLab
    project_id: UUID
    machine_id: UUID
    disk_id: UUID
    backup_id: UUID
    old: UUID

    def runtime(self, life: int) -> Runtime:
        """Everything that a job has, in a process that lives for so many steps."""
        left = [life]
        engine: Any = Engines(Mortal(self.lab.engine.contents, left), Mortal(self.lab.engine.machines, left))
        settings = Settings(data_dir=self.lab.folder, accelerator="tcg")
        return Runtime(settings, engine)

    async def now(self) -> bytes:
        """What its disk holds."""
        content_id = self.lab.content()
        await self.lab.engine.contents.seal({self.disk_id: content_id}, machine_id=self.machine_id)
        data = self.held_by(content_id)
        await self.lab.engine.contents.release(content_id)
        self.lab.contents.discard(content_id)
        return data

    def held_by(self, content_id: UUID) -> bytes:
        """What a content holds where disks differ: its second MiB, which is all that is read of it."""
        assert isinstance(self.lab.engine, QemuEngine)
        layer, raw = self.lab.root / "layers" / f"{self.lab.engine.layer_of(content_id)}.qcow2", self.lab.folder / "raw"
        part = ("bs=1M", "skip=1", "count=2", f"if={layer}", f"of={raw}")
        subprocess.run(["qemu-img", "dd", "-f", "qcow2", "-O", "raw", *part], check=True, capture_output=True)
        return raw.read_bytes()[: len(OLD)]


async def claimed(bench: Bench, type_: JobType, **input: Any) -> Work:
    """A job that a worker has."""
    disk_ids = [bench.disk_id] if type_ is JobType.RESTORE_BACKUP else []
    about: dict[str, Any] = {"backup_id": bench.backup_id, "disk_ids": disk_ids, "ecs_ids": [bench.machine_id]}
    job_id = await queue.enqueue(type_, project_id=bench.project_id, input=input, **about)
    claim = await queue.claim(await Job.get(id=job_id), lease_s=60, max_attempts=9)
    assert claim
    return Work(claim, cancellable=False)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    lab = QemuLab(tmp_path)
    await lab.open()
    yield await prepare(lab)
    lab.contents.clear()
    lab.disks.clear()
    await lab.clear()


async def content_with(lab: QemuLab, data: bytes) -> UUID:
    content_id = await lab.ingest(data.rjust(MIB + len(data), b"\0").ljust(4 * MIB, b"\0"))
    await Content.create(id=content_id, engine="qemu", state=ContentState.SEALED)
    return content_id


async def prepare(lab: QemuLab) -> Bench:
    project_id = await projects.create_project(uuid4().hex)
    old, new = await content_with(lab, OLD), await content_with(lab, NEW)
    disk_id, machine_id, backup_id = await lab.disk(new, size_bytes=1 << 30), lab.machine(), uuid4()
    await lab.engine.machines.launch(machine_id, lab.spec(disk_id))
    await lab.engine.machines.stop(machine_id, deadline_s=0, force=True)
    flavor = await Flavor.create(
        id=uuid4(), name="f", vcpus=1, ram_mib=32, architecture=Architecture.X86_64, state=FlavorState.NORMAL
    )
    await EcsInstance.create(
        id=machine_id,
        project_id=project_id,
        flavor_id=flavor.id,
        name="vm",
        status=EcsStatus.SHUTOFF,
        image_id=uuid4(),
        image_name="hello",
        traits={},
        hostname="vm",
        firmware=Firmware.BIOS,
        expose_ports=[],
        endpoints=[],
    )
    await EvsDisk.create(
        id=disk_id,
        project_id=project_id,
        ecs_id=machine_id,
        name="disk",
        size_gib=1,
        type=DiskType.SAS,
        status=DiskStatus.IN_USE,
        is_system=True,
        boot_index=0,
    )
    columns = {"ecs_id": machine_id, "ecs_name": "vm", "name": "b", "traits": {}}
    await Backup.create(id=backup_id, project_id=project_id, status=BackupStatus.AVAILABLE, **columns)
    await BackupDisk.create(
        id=uuid4(), backup_id=backup_id, content_id=old, disk_id=disk_id, boot_index=0, size_gib=1, is_system=True
    )
    return Bench(lab, project_id, machine_id, disk_id, backup_id, old)


async def killed_after(handler: Handler, bench: Bench, work: Work, steps: int) -> bool:
    """Whether a process that lives for so many steps is killed at this job."""
    try:
        await handler.run(bench.runtime(steps), work)
    except Killed:
        return True
    return False


async def restoring(bench: Bench) -> Work:
    """A job that is to restore the backup, with all that is held for it."""
    before = bench.lab.content()
    await Content.create(id=before, engine="qemu", state=ContentState.PENDING)
    work = await claimed(bench, JobType.RESTORE_BACKUP, before={str(bench.disk_id): str(before)})
    await EcsInstance.filter(id=bench.machine_id).update(job_id=work.id)
    await EvsDisk.filter(id=bench.disk_id).update(status=DiskStatus.RESTORING, job_id=work.id)
    await Backup.filter(id=bench.backup_id).update(status=BackupStatus.RESTORING, job_id=work.id)
    return work


async def is_let_go(bench: Bench) -> bool:
    """Whether nothing is held any more."""
    rows = (
        await EcsInstance.get(id=bench.machine_id),
        await EvsDisk.get(id=bench.disk_id),
        await Backup.get(id=bench.backup_id),
    )
    assert [row.status for row in rows] == [EcsStatus.SHUTOFF, DiskStatus.IN_USE, BackupStatus.AVAILABLE]
    return all(row.job_id is None for row in rows)


async def test_restoring_that_is_killed_at_any_step_is_done_again_or_leaves_what_was(bench: Bench) -> None:
    error = EngineError(ErrorCode.ENGINE_FAILED, "killed too often")
    ways, ended, steps = ("again", "given up"), {"again": False, "given up": False}, 0

    while not all(ended.values()):
        for way in ways:
            work = await restoring(bench)
            held = await bench.now()
            ended[way] = not await killed_after(RestoreBackup(), bench, work, steps)
            await bench.lab.reopen()
            if not ended[way] and way == "again":
                await RestoreBackup().run(bench.runtime(99), work)
            elif not ended[way]:
                await RestoreBackup().abandon(bench.runtime(99), work, error)
                await RestoreBackup().abandon(bench.runtime(99), work, error)
            expected = held if way == "given up" and not ended[way] else OLD
            assert await bench.now() == expected, (way, steps)
            assert await is_let_go(bench), (way, steps)
            (before,) = work.input["before"].values()  # type: ignore[attr-defined]
            assert (await Content.get(id=before)).state is ContentState.RELEASED
            await write_new(bench)
        steps += 1
    assert steps > 6


async def write_new(bench: Bench) -> None:
    """Have the disk hold NEW again."""
    contents = bench.lab.engine.contents
    await contents.delete_disk(bench.disk_id)
    new = await bench.lab.ingest(NEW.rjust(MIB + len(NEW), b"\0").ljust(4 * MIB, b"\0"))
    await contents.create_disk(bench.disk_id, size_bytes=1 << 30, content_id=new)


async def test_backup_that_is_killed_at_any_step_is_made_again_or_not_at_all(bench: Bench) -> None:
    error = EngineError(ErrorCode.ENGINE_FAILED, "killed too often")

    for steps in (0, 1, 2):
        for way in ("again", "given up"):
            backup_id, content_id = uuid4(), bench.lab.content()
            await Content.create(id=content_id, engine="qemu", state=ContentState.PENDING)
            values = {"ecs_id": bench.machine_id, "ecs_name": "vm", "name": "b", "traits": {}}
            await Backup.create(id=backup_id, project_id=bench.project_id, status=BackupStatus.CREATING, **values)
            await BackupDisk.create(
                id=uuid4(),
                backup_id=backup_id,
                content_id=content_id,
                disk_id=bench.disk_id,
                boot_index=0,
                size_gib=1,
                is_system=True,
            )
            made = Bench(bench.lab, bench.project_id, bench.machine_id, bench.disk_id, backup_id, bench.old)
            work = await claimed(made, JobType.CREATE_BACKUP, seals={str(bench.disk_id): str(content_id)})
            await EcsInstance.filter(id=bench.machine_id).update(job_id=work.id)

            ended = not await killed_after(CreateBackup(), made, work, steps)
            await bench.lab.reopen()
            if not ended and way == "again":
                await CreateBackup().run(made.runtime(99), work)
            elif not ended:
                await CreateBackup().abandon(made.runtime(99), work, error)
                await CreateBackup().abandon(made.runtime(99), work, error)

            backup = await Backup.get(id=backup_id)
            failed = not ended and way == "given up"
            assert ended is (steps == 2)
            assert backup.status is (BackupStatus.ERROR if failed else BackupStatus.AVAILABLE), (way, steps)
            assert (await EcsInstance.get(id=bench.machine_id)).job_id is None
            assert await Content.exists(id=content_id, state=ContentState.SEALED) is not failed
            assert await BackupDisk.filter(backup_id=backup_id).count() == (0 if failed else 1)
            assert await bench.now() == NEW
            if not failed:
                assert bench.held_by(content_id) == NEW


async def test_deletion_that_is_killed_at_any_step_leaves_nothing_when_it_is_done_again(bench: Bench) -> None:
    await Backup.filter(id=bench.backup_id).update(status=BackupStatus.DELETING)
    work = await claimed(bench, JobType.DELETE_BACKUP, content_ids=[str(bench.old)])
    await Backup.filter(id=bench.backup_id).update(job_id=work.id)

    for steps in (0, 1):
        assert await killed_after(DeleteBackup(), bench, work, steps)
        assert await Content.exists(id=bench.old, state=ContentState.RELEASED)
        await bench.lab.reopen()
    await DeleteBackup().run(bench.runtime(99), work)
    await DeleteBackup().abandon(bench.runtime(99), work, EngineError(ErrorCode.ENGINE_FAILED, "late"))

    bench.lab.contents.discard(bench.old)
    assert not await Backup.exists(id=bench.backup_id)
    assert not await Content.exists(id=bench.old)
    assert bench.lab.leavings() == []
    assert await bench.now() == NEW
    assert (await Job.get(id=work.id)).status is JobStatus.RUNNING
