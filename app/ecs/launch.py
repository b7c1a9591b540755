"""Launching: all checks, then all rows and one job in one transaction. The job does the rest (app.ecs.jobs)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from passlib.hash import sha512_crypt

from app import events, filters, policy
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.ecs import flavors, host, rules
from app.ecs.models import EcsInstance, EcsTag, KeyPair
from app.ecs.reads import FlavorRow
from app.ecs.rules import DataDisk, Notice
from app.enums import (
    ContentState,
    DiskStatus,
    DiskType,
    EcsStatus,
    ErrorCode,
    EventType,
    ImageAction,
    JobType,
    TokenScope,
)
from app.errors import InvalidInput, NotFound, Refused, ServiceError
from app.images import rules as image_rules
from app.images import service as images
from app.images.models import Image, ImageDisk
from app.images.reads import ImageRow
from app.jobs import queue
from app.policy import Caller
from app.projects import idempotency, quotas
from app.reading import Wanted

TRAITS = ("os_type", "os_platform", "os_version", "os_bits", "architecture", "firmware", "min_ram_mib", "max_ram_mib")
HASH_ROUNDS = 50_000
"""Of SHA-512 crypt: about 50 ms here and in the guest at each login."""


@dataclass(frozen=True, slots=True)
class DiskOverride:
    """Another size, only larger, or type for one disk that a full-ECS image restores."""

    image_disk_id: UUID
    size_gib: int | None = None
    type: DiskType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """What is to be launched."""

    name: str
    image_id: UUID
    flavor_id: UUID
    description: str | None = None
    count: int = 1
    min_count: int | None = None
    system_disk_gib: int | None = None
    system_disk_type: DiskType | None = None
    data_disks: Sequence[DataDisk] = ()
    disk_overrides: Sequence[DiskOverride] = ()
    key_pair_name: str | None = None
    password: str | None = field(default=None, repr=False)
    user_data: str | None = None
    expose_ports: Sequence[int] = (22,)
    tags: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Launched:
    """What was begun; nothing in a dry run."""

    ecs_ids: Sequence[str]
    job_id: str | None
    warnings: Sequence[Notice]


@dataclass(frozen=True, slots=True, kw_only=True)
class _DiskPlan:
    """A disk that each machine is to have."""

    boot_index: int
    size_gib: int
    type: DiskType
    content_id: UUID | None
    label: str
    is_system: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """A request that passed all checks."""

    request: LaunchRequest
    image: ImageRow
    flavor: FlavorRow
    disks: Sequence[_DiskPlan]
    key: KeyPair | None
    tags: Mapping[str, str]
    description: str | None
    traits: Mapping[str, object]

    @property
    def amounts(self) -> dict[str, int]:
        """What it takes of the project's quotas."""
        number = self.request.count
        return {
            "ecs_instances": number,
            "vcpus": number * self.flavor.vcpus,
            "ram_mib": number * self.flavor.ram_mib,
            "disks": number * len(self.disks),
            "disk_gib": number * sum(disk.size_gib for disk in self.disks),
        }


async def launch_ecs(caller: Caller, request: LaunchRequest, *, idempotency_key: str | None, dry_run: bool) -> Launched:
    """Launch 1 to 100 machines from an image, all or, with min_count, at least so many.

    Raises: what the checks of domain rules 2.14 refuse with, in their order; QuotaExceeded; of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.ECS)
    asked = ("launchEcs", repr(request))
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return Launched([], None, []) if dry_run else _launched(known, [])
    plan = await _plan(caller, request)
    warnings = rules.notices(plan.flavor)
    if dry_run:
        await quotas.fits(caller.project, **plan.amounts)
        return Launched([], None, warnings)
    password_hash = await asyncio.to_thread(_hash, request.password) if request.password else None

    async def work() -> dict[str, object]:
        ids, job_id = await _insert(caller, plan, password_hash)
        return {"ecs_ids": [str(id_) for id_ in ids], "job_id": str(job_id)}

    return _launched(await idempotency.once(caller, idempotency_key, asked, work), warnings)


def _launched(answer: Mapping[str, Any], warnings: Sequence[Notice]) -> Launched:
    return Launched(answer["ecs_ids"], answer["job_id"], warnings)


def _hash(password: str) -> str:
    hasher: Any = sha512_crypt
    return str(hasher.using(rounds=HASH_ROUNDS).hash(password))


async def _plan(caller: Caller, request: LaunchRequest) -> _Plan:
    image = await _image(caller, request)
    flavor = (await flavors.find_flavors(caller, [str(request.flavor_id)], flavors.FOR_RULES)).get(
        str(request.flavor_id)
    )
    if flavor is None:
        raise NotFound("There is no such flavor.", field=("input", "flavor_id"), otc="Ecs.0029")
    for reason in rules.against_flavor(image, flavor, host.current()):
        raise reason.at("input", *(reason.field or ()))
    image_disks = await ImageDisk.filter(image_id=image.id).order_by("boot_index", "id")
    disks = list(_disks(request, image, image_disks))
    restored = len(image_disks) - 1
    engine = host.current().capabilities
    rules.check_data_disks(request.data_disks, restored=restored, flavor=flavor, engine=engine)
    _check_words(request, image)
    return _Plan(
        request=request,
        image=image,
        flavor=flavor,
        disks=disks,
        key=await _key(caller, request.key_pair_name),
        tags=image_rules.checked_tags(request.tags),
        description=image_rules.checked_description(request.description or "", longest=rules.MAX_ECS_DESCRIPTION),
        traits={name: getattr(image, name) for name in TRAITS},
    )


async def _image(caller: Caller, request: LaunchRequest) -> ImageRow:
    wanted = Wanted.naming(*(part.name for part in flavors.IMAGE_FOR_RULES.parts), *TRAITS)
    try:
        image = await images.get_image(caller, request.image_id, wanted)
        await policy.authorize_image(caller, ImageAction.LAUNCH, image)
    except NotFound as error:
        error.otc = "Ecs.0031"
        raise error.at("input", "image_id") from None
    except ServiceError as error:
        raise error.at("input", "image_id") from None
    return image


def _check_words(request: LaunchRequest, image: ImageRow) -> None:
    """The checks of what is in the request alone."""
    least = request.min_count if request.min_count is not None else request.count
    for name, value, most in (("count", request.count, rules.MAX_COUNT), ("min_count", least, request.count)):
        if not 1 <= value <= most:
            raise InvalidInput(f"This is 1 to {most}, not {value}.", field=("input", name), otc="Ecs.0007")
    rules.checked_ecs_name(request.name, count=request.count)
    rules.check_ports(request.expose_ports)
    rules.check_user_data(request.user_data, image)
    if request.password is not None:
        rules.check_password(request.password)
    if (request.password or request.key_pair_name) and not image.supports_user_data:
        message = "The image takes no key pair or password; leave login out."
        raise Refused(ErrorCode.USER_DATA_UNSUPPORTED, message, field=("input", "login"), otc="Ecs.0007")


def _disks(request: LaunchRequest, image: ImageRow, kept: Sequence[ImageDisk]) -> Iterator[_DiskPlan]:
    """The image's disks, larger where that is asked for, then the empty ones."""
    overrides = _overrides(request, kept)
    for disk in kept:
        override = overrides.get(disk.id, DiskOverride(disk.id))
        kind = override.type or rules.DEFAULT_TYPE
        size = override.size_gib or disk.size_gib
        if disk.is_system:
            asked = request.system_disk_gib if request.system_disk_gib is not None else override.size_gib
            size = rules.system_disk_gib(image, content_gib=disk.size_gib, asked=asked)
            kind = request.system_disk_type or kind
        label = "system" if disk.is_system else f"data-{disk.boot_index}"
        yield _DiskPlan(
            boot_index=disk.boot_index,
            size_gib=size,
            type=kind,
            content_id=disk.content_id,
            label=label,
            is_system=disk.is_system,
        )
    for index, data in enumerate(request.data_disks):
        boot_index = len(kept) + index
        yield _DiskPlan(
            boot_index=boot_index,
            size_gib=data.size_gib,
            type=data.type or rules.DEFAULT_TYPE,
            content_id=None,
            label=data.name or f"data-{boot_index}",
        )


def _overrides(request: LaunchRequest, kept: Sequence[ImageDisk]) -> dict[UUID, DiskOverride]:
    """The overrides, each of another disk of the image and only larger."""
    disks, found = {disk.id: disk for disk in kept}, dict[UUID, DiskOverride]()
    for index, override in enumerate(request.disk_overrides):
        where = ("input", "disk_overrides", str(index))
        disk = disks.get(override.image_disk_id)
        if disk is None:
            message = "There is no such disk in this image."
            raise NotFound(message, field=(*where, "image_disk_id"), otc="Ecs.0046")
        if disk.id in found:
            raise InvalidInput("This disk is there twice.", field=(*where, "image_disk_id"), otc="Ecs.0007")
        size = disk.size_gib if override.size_gib is None else override.size_gib
        if size < disk.size_gib:
            message = f"This disk has {disk.size_gib} GiB, and can only be made larger."
            raise Refused(ErrorCode.DISK_TOO_SMALL, message, field=(*where, "size_gib"), otc="Ecs.0046")
        if size > rules.MAX_DATA_DISK_GIB:
            message = f"A disk has at most {rules.MAX_DATA_DISK_GIB} GiB."
            raise Refused(ErrorCode.DISK_TOO_LARGE, message, field=(*where, "size_gib"), otc="Ecs.0046")
        found[disk.id] = override
    return found


async def _key(caller: Caller, name: str | None) -> KeyPair | None:
    if name is None:
        return None
    key = await policy.visible_key_pairs(caller).filter(filters.one_of("name", [name], KeyPair)).get_or_none()
    if key is None:
        message = "There is no such key pair in your project."
        raise Refused(ErrorCode.KEY_UNAVAILABLE, message, field=("input", "login", "key_pair_name"), otc="Ecs.0314")
    return key


async def _insert(caller: Caller, plan: _Plan, password_hash: str | None) -> tuple[list[UUID], UUID]:
    """Everything in one transaction; the image is locked, so that it can neither be deleted nor withdrawn meanwhile."""
    await _still_launchable(caller, plan)
    await quotas.take(caller.project, **plan.amounts)
    job_id = uuid4()
    machines = list(_machines(caller, plan, job_id, password_hash))
    await EcsInstance.bulk_create(machines)
    await EvsDisk.bulk_create([disk for machine in machines for disk in _rows(caller, plan, machine)])
    await EcsTag.bulk_create([EcsTag(ecs_id=m.id, key=k, value=v) for m in machines for k, v in plan.tags.items()])
    ids = [machine.id for machine in machines]
    least = plan.request.min_count or plan.request.count
    await queue.enqueue(
        JobType.LAUNCH_ECS,
        project_id=caller.project,
        image_id=plan.request.image_id,
        ecs_ids=ids,
        input={"min_count": least},
        job_id=job_id,
    )
    for id_ in ids:
        await events.announce("EcsInstance", id_, EventType.CREATED, [caller.project])
    return ids, job_id


async def _still_launchable(caller: Caller, plan: _Plan) -> None:
    where = ("input", "image_id")
    image = await Image.filter(id=plan.image.id).select_for_update().get_or_none()
    if image is None:
        raise NotFound("There is no such image.", field=where, otc="Ecs.0031")
    share = (await policy.own_shares(caller, [plan.image])).get(plan.image.id)
    if not image.is_public and image.project_id != caller.project and share is None:
        raise NotFound("There is no such image.", field=where, otc="Ecs.0031")
    refusal = policy.image_refusal(caller, ImageAction.LAUNCH, images.Facts.of(image), share)
    if refusal is not None:
        raise refusal.at(*where)
    contents = [disk.content_id for disk in plan.disks if disk.content_id]
    if await Content.filter(id__in=contents, state=ContentState.SEALED).count() != len(contents):
        raise Refused(ErrorCode.NOT_ACTIVE, "The image's bytes are not there.", field=where, otc="Ecs.0032")


def _machines(caller: Caller, plan: _Plan, job_id: UUID, password_hash: str | None) -> Iterator[EcsInstance]:
    request = plan.request
    for name in rules.names(request.name, request.count):
        yield EcsInstance(
            id=uuid4(),
            project_id=caller.project,
            flavor_id=request.flavor_id,
            name=name,
            description=plan.description,
            status=EcsStatus.BUILD,
            job_id=job_id,
            image_id=request.image_id,
            image_name=plan.image.name,
            traits=dict(plan.traits),
            hostname=rules.hostname(name),
            firmware=rules.firmware(plan.image),
            key_pair_name=plan.key and plan.key.name,
            public_key=plan.key and plan.key.public_key,
            password_hash=password_hash,
            user_data=request.user_data,
            expose_ports=list(request.expose_ports),
            endpoints=[],
        )


def _rows(caller: Caller, plan: _Plan, machine: EcsInstance) -> Iterator[EvsDisk]:
    for disk in plan.disks:
        of_image = disk.content_id is not None
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
            image_id=plan.request.image_id if of_image else None,
            image_name=plan.image.name if of_image else None,
        )
