"""Launching: all checks (app.ecs.planning), then all rows and one job in one transaction. The job does the rest (app.ecs.jobs)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from passlib.hash import sha512_crypt

from app import events, policy
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.disks.rules import names
from app.disks.templates import check_still_there
from app.ecs import rules
from app.ecs.models import EcsInstance, EcsTag
from app.ecs.planning import LaunchRequest, Plan, plan_launch
from app.ecs.rules import Notice
from app.enums import ContentState, DiskStatus, EcsStatus, ErrorCode, EventType, ImageAction, JobType, TokenScope
from app.errors import NotFound, Refused
from app.images import service as images
from app.images.models import Image
from app.images.reads import ImageRow
from app.jobs import queue
from app.policy import Caller
from app.projects import idempotency, quotas

HASH_ROUNDS = 50_000
"""Of SHA-512 crypt: about 50 ms here and in the guest at each login."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What was begun; nothing in a dry run."""

    ecs_ids: Sequence[str]
    job_id: str | None
    warnings: Sequence[Notice]


async def launch_ecs(caller: Caller, request: LaunchRequest, *, idempotency_key: str | None, dry_run: bool) -> Launched:
    """Launch 1 to 100 machines from an image, all or, with min_count, at least so many.

    Raises: what the checks of domain rules 2.14 refuse with, in their order; QuotaExceeded; of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.ECS)
    asked = ("launchEcs", repr(request))
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return Launched([], None, Notice.kept(known)) if dry_run else _launched(known)
    plan, image = await plan_launch(caller, request)
    warnings = rules.notices(plan.flavor)
    if dry_run:
        await quotas.fits(caller.project, **plan.amounts)
        return Launched([], None, warnings)
    password_hash = await hash_password(request.password)

    async def work() -> dict[str, object]:
        await _still_launchable(caller, plan, image)
        ids, job_id = await _insert(caller, plan, password_hash)
        told = [notice.keep() for notice in warnings]
        return {"ecs_ids": [str(id_) for id_ in ids], "job_id": str(job_id), "warnings": told}

    return _launched(await idempotency.once(caller, idempotency_key, asked, work))


def _launched(answer: Mapping[str, Any]) -> Launched:
    return Launched(answer["ecs_ids"], answer["job_id"], Notice.kept(answer))


async def hash_password(password: str | None) -> str | None:
    """What a machine is given of a password, if there is one."""
    return await asyncio.to_thread(_hash, password) if password else None


def _hash(password: str) -> str:
    hasher: Any = sha512_crypt
    return str(hasher.using(rounds=HASH_ROUNDS).hash(password))


async def _insert(caller: Caller, plan: Plan, password_hash: str | None) -> tuple[list[UUID], UUID]:
    job_id = uuid4()
    ids = await insert_machines(caller, plan, password_hash=password_hash, job_id=job_id)
    least = plan.request.min_count or plan.request.count
    await queue.enqueue(
        JobType.LAUNCH_ECS,
        project_id=caller.project,
        image_id=plan.request.image_id,
        ecs_ids=ids,
        input={"min_count": least},
        job_id=job_id,
    )
    return ids, job_id


async def insert_machines(caller: Caller, plan: Plan, *, password_hash: str | None, job_id: UUID) -> list[UUID]:
    """In the transaction that enqueues the job: quotas, and rows of the machines and their disks, which hold their contents from now on.

    Raises: QuotaExceeded.
    """
    await quotas.take(caller.project, **plan.amounts)
    machines = list(_machines(caller, plan, job_id, password_hash))
    await EcsInstance.bulk_create(machines)
    await EvsDisk.bulk_create([disk for machine in machines for disk in _rows(caller, plan, machine)])
    await EcsTag.bulk_create([EcsTag(ecs_id=m.id, key=k, value=v) for m in machines for k, v in plan.tags.items()])
    ids = [machine.id for machine in machines]
    for id_ in ids:
        await events.announce("EcsInstance", id_, EventType.CREATED, [caller.project])
    return ids


async def _still_launchable(caller: Caller, plan: Plan, seen: ImageRow) -> None:
    """In the transaction: the image is locked, so that it can neither be deleted nor withdrawn meanwhile."""
    where = ("input", "image_id")
    image = await Image.filter(id=seen.id).select_for_update().get_or_none()
    if image is None:
        raise NotFound("There is no such image.", field=where, otc="Ecs.0031")
    share = (await policy.own_shares(caller, [seen])).get(seen.id)
    if not image.is_public and image.project_id != caller.project and share is None:
        raise NotFound("There is no such image.", field=where, otc="Ecs.0031")
    refusal = policy.image_refusal(caller, ImageAction.LAUNCH, images.Facts.of(image), share)
    if refusal is not None:
        raise refusal.at(*where)
    contents = [disk.content_id for disk in plan.disks if disk.content_id and not disk.template]
    if await Content.filter(id__in=contents, state=ContentState.SEALED).count() != len(contents):
        whole = plan.origin.is_whole
        code, otc = (ErrorCode.BACKUP_UNAVAILABLE, "Ecs.0048") if whole else (ErrorCode.NOT_ACTIVE, "Ecs.0032")
        raise Refused(code, "The image's bytes are not there.", field=where, otc=otc)
    await check_still_there(caller, [disk.template for disk in plan.disks if disk.template])


def _machines(caller: Caller, plan: Plan, job_id: UUID, password_hash: str | None) -> Iterator[EcsInstance]:
    request = plan.request
    for name in names(request.name, request.count):
        yield EcsInstance(
            id=uuid4(),
            project_id=caller.project,
            flavor_id=request.flavor_id,
            name=name,
            description=plan.description,
            status=EcsStatus.BUILD,
            job_id=job_id,
            image_id=plan.origin.image_id,
            image_name=plan.origin.image_name,
            traits=plan.traits,
            hostname=rules.hostname(name),
            firmware=rules.firmware(plan.origin.needs),
            key_pair_name=plan.key and plan.key.name,
            public_key=plan.key and plan.key.public_key,
            password_hash=password_hash,
            user_data=request.user_data,
            expose_ports=list(request.expose_ports),
            endpoints=[],
        )


def _rows(caller: Caller, plan: Plan, machine: EcsInstance) -> Iterator[EvsDisk]:
    for disk in plan.disks:
        image_id, image_name = plan.origin.image_id, plan.origin.image_name
        if disk.template:
            image_id, image_name = disk.template.image_id, disk.template.name
        of_image = disk.content_id is not None and (plan.origin.is_image or disk.template is not None)
        yield EvsDisk(
            id=uuid4(),
            project_id=caller.project,
            ecs_id=machine.id,
            content_id=disk.content_id,
            name=f"{machine.name}-{disk.label}"[:255],
            size_gib=disk.size_gib,
            type=disk.type,
            status=DiskStatus.CREATING,
            is_system=disk.is_system,
            boot_index=disk.boot_index,
            image_id=image_id if of_image else None,
            image_name=image_name if of_image else None,
        )
