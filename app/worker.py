"""What works behind the requests: the engine, the jobs, and what machines do by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from datetime import timedelta

import structlog

from app import db, faults, states
from app.backups import jobs as backups
from app.contents.models import Content
from app.disks import jobs as disks
from app.disks.models import EvsDisk
from app.ecs import disk_jobs as disks_of_ecs
from app.ecs import host
from app.ecs import jobs as ecs
from app.ecs.models import EcsInstance
from app.engines.base import Engine, Known, MachineEvent, MachineEventKind, MachineState, Report
from app.engines.qemu.engine import QemuEngine
from app.engines.qemu.settings import QemuSettings
from app.enums import EcsStatus, ErrorCode, JobType
from app.errors import EngineError
from app.exports import jobs as exports
from app.jobs.runner import Runner
from app.jobs.work import Handler
from app.runtime import Runtime
from app.settings import Settings
from app.sources import fetched, importing
from app.sources import jobs as sources
from app.upkeep.loop import Upkeep

log = structlog.get_logger(__name__)

HANDLERS: Mapping[JobType, Handler] = {
    JobType.CREATE_IMAGE: sources.CreateImage(),
    JobType.CREATE_FULL_ECS_IMAGE: sources.CreateFullEcsImage(),
    JobType.IMPORT_IMAGE: importing.ImportImage(),
    JobType.COPY_IMAGE: sources.CopyImage(),
    JobType.EXPORT_IMAGE: exports.ExportImage(),
    JobType.DELETE_IMAGE: sources.DeleteImage(),
    JobType.LAUNCH_ECS: ecs.LaunchEcs(),
    JobType.START_ECS: ecs.StartEcs(),
    JobType.STOP_ECS: ecs.StopEcs(),
    JobType.REBOOT_ECS: ecs.RebootEcs(),
    JobType.DELETE_ECS: ecs.DeleteEcs(),
    JobType.CREATE_BACKUP: backups.CreateBackup(),
    JobType.RESTORE_BACKUP: backups.RestoreBackup(),
    JobType.DELETE_BACKUP: backups.DeleteBackup(),
    JobType.CREATE_DISK: disks.CreateDisks(),
    JobType.ATTACH_DISK: disks_of_ecs.AttachDisk(),
    JobType.DETACH_DISK: disks_of_ecs.DetachDisk(),
    JobType.EXTEND_DISK: disks_of_ecs.ExtendDisk(),
    JobType.DELETE_DISK: disks.DeleteDisk(),
}
CONCURRENCY = 16
LIMITS = {JobType.CREATE_IMAGE: 2, JobType.IMPORT_IMAGE: 8, JobType.COPY_IMAGE: 2, JobType.EXPORT_IMAGE: 2}
"""Copies at a time: more of them only make the disk seek. Of imports most may wait for bytes from elsewhere."""
TOMBSTONE = timedelta(days=1)
"""How long the row of a deleted ECS is kept for whoever watched it."""


def make_engine(settings: Settings) -> QemuEngine:
    """The engine that the settings ask for."""
    return QemuEngine(
        QemuSettings(
            root=settings.data_dir / "engine",
            accelerator=settings.accelerator,
            max_starting=settings.max_starting_machines,
            reserve_memory_mib=settings.reserve_memory_mib,
            reserve_disk_bytes=settings.reserve_disk_mib << 20,
            expose_host=settings.machine_host,
            restrict_network=settings.restrict_network,
        )
    )


def introduce(engine: Engine) -> None:
    """Let requests know the engine."""
    host.use(
        host.Host(engine=engine.name, capabilities=engine.capabilities, consoles=engine.consoles, files=engine.files)
    )


@asynccontextmanager
async def owning(engine: Engine) -> AsyncIterator[None]:
    """While open, this process and no other has the engine.

    Raises: StartupError: another process has it, a tool is missing, or the folder cannot be used.
    """
    await engine.open()
    try:
        yield
    finally:
        await engine.close()


@asynccontextmanager
async def working(settings: Settings, engine: Engine) -> AsyncIterator[Runner]:
    """While open, this process, which owns the engine, runs jobs and watches machines."""
    events = engine.machines.watch()
    report = await engine.reconcile(await _known())
    await _settle(report)
    await fetched.sweep(settings.data_dir)
    runner = Runner(Runtime(settings, engine), HANDLERS, concurrency=CONCURRENCY, limits=LIMITS)
    watching = asyncio.create_task(_watch(engine, events))
    await runner.start(reclaim_all=True)
    try:
        async with _upkeep(settings, engine, runner):
            yield runner
    finally:
        await runner.stop()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _upkeep(settings: Settings, engine: Engine, runner: Runner) -> AbstractAsyncContextManager[None]:
    if not settings.upkeep_percent:
        return nullcontext()
    return Upkeep(settings, engine, is_busy=lambda: runner.is_running(LIMITS)).going_on()


async def _known() -> Known:
    """All that the engine may have; rows of a job that has not ended know theirs too."""
    gone = [EcsStatus.DELETED, EcsStatus.ERROR]
    machines = EcsInstance.exclude(status__in=gone)
    await EcsInstance.filter(status=EcsStatus.DELETED, updated_at__lt=db.now() - TOMBSTONE).delete()
    return Known(
        machines={row.id for row in await machines.only("id")},
        disks={row.id for row in await EvsDisk.all().only("id")},
        contents={row.id for row in await Content.all().only("id")},
    )


async def _settle(report: Report) -> None:
    """Statuses of machines that no job is about to change, as reconciling found them."""
    for name in report.removed:
        log.warning("rubbish_removed", what=name)
    idle = {"job_id": None}
    for machine_id, facts in report.running.items():
        endpoints = ecs.endpoints_of(facts)
        if not await EcsInstance.filter(id=machine_id, status=EcsStatus.ACTIVE).update(endpoints=endpoints):
            await states.ECS.move(machine_id, EcsStatus.ACTIVE, where=idle, endpoints=endpoints)
    why = (
        "The host was started anew"
        if report.host_rebooted
        else "The machine's process ended while the service was away"
    )
    for machine_id in report.off:
        fault = EngineError(ErrorCode.ENGINE_FAILED, f"{why}; start it again (startEcs).")
        await states.ECS.move(machine_id, EcsStatus.SHUTOFF, where=idle, endpoints=[], **faults.columns(fault))


async def _watch(engine: Engine, events: AsyncIterator[MachineEvent]) -> None:
    async for event in events:
        log.info("machine_event", ecs_id=str(event.machine_id), kind=event.kind, detail=event.detail)
        try:
            await _take_note(engine, event)
        except Exception:
            log.exception("machine_event_lost", ecs_id=str(event.machine_id))


async def _take_note(engine: Engine, event: MachineEvent) -> None:
    ends = event.kind in (MachineEventKind.GUEST_OFF, MachineEventKind.DIED)
    if ends and (await engine.machines.describe(event.machine_id)).state is MachineState.RUNNING:
        return  # it has been started again since
    match event.kind:
        case MachineEventKind.GUEST_OFF:
            await ecs.machine_is_off(event.machine_id, None)
        case MachineEventKind.DIED:
            await ecs.machine_is_off(event.machine_id, ecs.died(event.detail))
        case MachineEventKind.PAUSED_NO_SPACE:
            await ecs.machine_waits(event.machine_id, event.detail)
        case MachineEventKind.RESUMED:
            await ecs.machine_goes_on(event.machine_id)
