"""What jobs do to machines. All is worked out from rows, so that every step can be done again after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog

from app import db, faults, states
from app.contents import service as contents
from app.disks.models import EvsDisk
from app.ecs import holding
from app.ecs.models import EcsInstance, Flavor
from app.engines.base import MachineFacts, MachineSpec, MachineState
from app.enums import DiskStatus, EcsStatus, ErrorCode
from app.errors import EngineError, ServiceError
from app.jobs.work import Work
from app.projects import quotas
from app.runtime import Runtime

log = structlog.get_logger(__name__)

GIB = 2**30


def endpoints_of(facts: MachineFacts) -> list[dict[str, object]]:
    """Endpoints as an ECS's column keeps them."""
    return [{"guest_port": e.guest_port, "host": e.host, "port": e.port} for e in facts.endpoints]


async def settle(runtime: Runtime, ecs_id: UUID, job_id: UUID | None = None) -> None:
    """Make a machine's status what the engine says, and end a job's hold on it."""
    facts = await runtime.engine.machines.describe(ecs_id)
    async with db.transaction():
        if facts.state is MachineState.RUNNING:
            await states.ECS.move(ecs_id, EcsStatus.ACTIVE, endpoints=endpoints_of(facts))
        else:
            await states.ECS.move(ecs_id, EcsStatus.SHUTOFF, endpoints=[])
        if job_id:
            await holding.let_go(ecs_id, job_id)


class LaunchEcs:
    """Make the disks, start the machines; all, or at least min_count of them."""

    cancellable = True

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Start what has not been started, then let all become ACTIVE at once."""
        await runtime.require_room()
        rows = await EcsInstance.filter(id__in=list(work.ecs_ids), status=EcsStatus.BUILD).order_by("name", "id")
        done = 0

        async def launch(row: EcsInstance) -> MachineFacts | ServiceError:
            nonlocal done
            try:
                facts = await self._launch(runtime, row)
            except ServiceError as error:
                return error
            done += 1
            await work.progress(done / (len(rows) + 1), phase=f"{done} of {len(rows)} machines started")
            return facts

        tasks = [asyncio.create_task(launch(row)) for row in rows]
        try:
            await work.progress(0.0, phase="starting")
            results = await asyncio.gather(*tasks)
        finally:
            await _stop(tasks)
        failures = [result for result in results if isinstance(result, ServiceError)]
        if len(rows) - len(failures) < int(str(work.input["min_count"])):
            raise failures[0]
        await self._finish(runtime, work, rows, results)

    async def _launch(self, runtime: Runtime, row: EcsInstance) -> MachineFacts:
        disks = await EvsDisk.filter(ecs_id=row.id).order_by("boot_index", "id")
        for disk in disks:
            size_bytes = disk.size_gib * GIB
            await runtime.engine.contents.create_disk(disk.id, size_bytes=size_bytes, content_id=disk.content_id)
        flavor = await Flavor.get(id=row.flavor_id)
        spec = MachineSpec(
            hostname=row.hostname,
            vcpus=flavor.vcpus,
            ram_mib=flavor.ram_mib,
            disk_ids=[disk.id for disk in disks],
            firmware=row.firmware,
            expose_ports=row.expose_ports,
            user_data=row.user_data,
            public_keys=[row.public_key] if row.public_key else [],
            password_hash=row.password_hash,
        )
        return await runtime.engine.machines.launch(row.id, spec)

    async def _finish(
        self,
        runtime: Runtime,
        work: Work,
        rows: Sequence[EcsInstance],
        results: Sequence[MachineFacts | ServiceError],
    ) -> None:
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, ServiceError):
                await _remove(runtime, row.id)
        async with db.transaction():
            for row, result in zip(rows, results, strict=True):
                if isinstance(result, ServiceError):
                    await _fail(row, work.id, result)
                else:
                    await _activate(row, result)
            await work.finish()
        for row in rows:  # one that has switched itself off meanwhile was still BUILD when that was seen
            await _settle_if_off(runtime, row.id)

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """Nothing is left of any of them but a row that says why."""
        for row in await EcsInstance.filter(id__in=list(work.ecs_ids), status=EcsStatus.BUILD):
            await _remove(runtime, row.id)
            async with db.transaction():
                await _fail(row, work.id, error)


async def _stop(tasks: Sequence[asyncio.Task[MachineFacts | ServiceError]]) -> None:
    """Wait until none of them does anything any more, so that undoing does not run beside doing."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _remove(runtime: Runtime, ecs_id: UUID) -> None:
    await runtime.engine.machines.delete(ecs_id)
    for disk in await EvsDisk.filter(ecs_id=ecs_id):
        await runtime.engine.contents.delete_disk(disk.id)


async def _fail(row: EcsInstance, job_id: UUID, error: ServiceError) -> None:
    """In a transaction: an ECS that could not be launched holds nothing but the reason."""
    moved = await states.ECS.move(
        row.id, EcsStatus.ERROR, job_id=None, password_hash=None, user_data=None, endpoints=[], **faults.columns(error)
    )
    if moved:
        await _give_back(row, await EvsDisk.filter(ecs_id=row.id))


async def _give_back(row: EcsInstance, disks: Sequence[EvsDisk]) -> None:
    """In a transaction: the rows of disks go, and what they and the machine took of quotas and contents."""
    flavor = await Flavor.get(id=row.flavor_id)
    await EvsDisk.filter(id__in=[disk.id for disk in disks]).delete()
    await contents.let_go([d.content_id for d in disks if d.content_id], project_id=row.project_id)
    await quotas.give_back(
        row.project_id,
        ecs_instances=1,
        vcpus=flavor.vcpus,
        ram_mib=flavor.ram_mib,
        disks=len(disks),
        disk_gib=sum(disk.size_gib for disk in disks),
    )


async def _activate(row: EcsInstance, facts: MachineFacts) -> None:
    """In a transaction: the machine runs, its disks are made and need their contents no longer."""
    await states.ECS.move(
        row.id,
        EcsStatus.ACTIVE,
        job_id=None,
        password_hash=None,
        launched_at=db.now(),
        endpoints=endpoints_of(facts),
        **faults.CLEARED,
    )
    disks = await EvsDisk.filter(ecs_id=row.id)
    for disk in disks:
        await states.DISK.move(disk.id, DiskStatus.IN_USE, content_id=None)
    await contents.let_go([disk.content_id for disk in disks if disk.content_id], project_id=row.project_id)


async def _settle_if_off(runtime: Runtime, ecs_id: UUID) -> None:
    facts = await runtime.engine.machines.describe(ecs_id)
    if facts.state is not MachineState.RUNNING:
        await states.ECS.move(ecs_id, EcsStatus.SHUTOFF, where={"job_id": None}, endpoints=[])


class _OneMachine:
    """A job that holds one machine: whatever becomes of it, the status ends as the engine says and the hold ends."""

    cancellable = False

    async def abandon(self, runtime: Runtime, work: Work, error: ServiceError) -> None:
        """See what it does, and say what went wrong."""
        for ecs_id in work.ecs_ids:
            await EcsInstance.filter(id=ecs_id, job_id=work.id).update(**faults.columns(error))
            await settle(runtime, ecs_id, work.id)


class StartEcs(_OneMachine):
    """Start a machine that is off."""

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Start it, with what a fault said forgotten."""
        (ecs_id,) = work.ecs_ids
        facts = await runtime.engine.machines.start(ecs_id)
        async with db.transaction():
            await states.ECS.move(ecs_id, EcsStatus.ACTIVE, endpoints=endpoints_of(facts), **faults.CLEARED)
            await holding.let_go(ecs_id, work.id)
            await work.finish()
        await _settle_if_off(runtime, ecs_id)


class StopEcs(_OneMachine):
    """Stop a machine."""

    async def run(self, runtime: Runtime, work: Work) -> None:
        """Press the button, wait, cut the power."""
        (ecs_id,) = work.ecs_ids
        force = bool(work.input["force"])
        await work.progress(0.1, phase="cutting the power" if force else "waiting for the guest to switch itself off")
        deadline_s = runtime.settings.stop_timeout_s
        how = await runtime.engine.machines.stop(ecs_id, deadline_s=deadline_s, force=force)
        log.info("machine_stopped", ecs_id=str(ecs_id), how=how)
        async with db.transaction():
            await states.ECS.move(ecs_id, EcsStatus.SHUTOFF, endpoints=[])
            await holding.let_go(ecs_id, work.id)
            await work.finish()


class RebootEcs(_OneMachine):
    """Have a machine boot again."""

    async def run(self, runtime: Runtime, work: Work) -> None:
        """By stop and start, or by reset."""
        (ecs_id,) = work.ecs_ids
        deadline_s, force = runtime.settings.stop_timeout_s, bool(work.input["force"])
        facts = await runtime.engine.machines.reboot(ecs_id, force=force, deadline_s=deadline_s)
        async with db.transaction():
            await states.ECS.move(ecs_id, EcsStatus.ACTIVE, endpoints=endpoints_of(facts), **faults.CLEARED)
            await holding.let_go(ecs_id, work.id)
            await work.finish()
        await _settle_if_off(runtime, ecs_id)


class DeleteEcs(_OneMachine):
    """Delete a machine and its disks."""

    async def run(self, runtime: Runtime, work: Work) -> None:
        """First the machine, then its disks, then the rows."""
        (ecs_id,) = work.ecs_ids
        row = await EcsInstance.get(id=ecs_id)
        disks = await EvsDisk.filter(ecs_id=ecs_id)
        gone = [disk for disk in disks if disk.is_system or work.input["delete_data_disks"]]
        kept = [disk for disk in disks if disk not in gone]
        for disk in gone:
            await states.DISK.move(disk.id, DiskStatus.DELETING)
        await runtime.engine.machines.delete(ecs_id)
        for disk in gone:
            await runtime.engine.contents.delete_disk(disk.id)
        async with db.transaction():
            columns: dict[str, Any] = {"job_id": None, "user_data": None, "password_hash": None, "endpoints": []}
            failed = row.status is EcsStatus.ERROR
            if await states.ECS.move(ecs_id, EcsStatus.DELETED, where={"job_id": work.id}, **columns) and not failed:
                await _give_back(row, gone)
                for disk in kept:
                    await states.DISK.move(disk.id, DiskStatus.AVAILABLE, ecs_id=None, boot_index=None)
            await work.finish()


async def machine_is_off(ecs_id: UUID, why: EngineError | None) -> None:
    """A machine went off by itself: because its guest wanted to, or for a reason that is a fault."""
    columns: dict[str, Any] = faults.columns(why) if why else {}
    await states.ECS.move(ecs_id, EcsStatus.SHUTOFF, endpoints=[], **columns)


def died(detail: str) -> EngineError:
    """The fault of a machine whose process ended without a word."""
    message = f"The machine's process ended unexpectedly{f' ({detail})' if detail else ''}; start it again (startEcs)."
    return EngineError(ErrorCode.ENGINE_FAILED, message)


async def machine_waits(ecs_id: UUID, detail: str) -> None:
    """A machine is paused because the host is out of space."""
    message = f"The host is out of disk space; the machine goes on by itself when there is some{f' ({detail})' if detail else ''}."
    fault = faults.columns(EngineError(ErrorCode.INSUFFICIENT_STORAGE, message))
    if await EcsInstance.filter(id=ecs_id, status=EcsStatus.ACTIVE).update(**fault):
        await states.tell("EcsInstance", ecs_id)


async def machine_goes_on(ecs_id: UUID) -> None:
    """It has gone on after such a pause."""
    if await EcsInstance.filter(id=ecs_id, fault_code=ErrorCode.INSUFFICIENT_STORAGE).update(**faults.CLEARED):
        await states.tell("EcsInstance", ecs_id)
