"""What a launch would be: all checks of a request, in the order of domain rules 2.14, and the disks that each machine is to have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from app import filters, policy
from app.disks import rules as disk_rules
from app.disks.templates import Template, find_template
from app.ecs import flavors, host, rules
from app.ecs.models import KeyPair
from app.ecs.reads import FlavorRow
from app.ecs.rules import DataDisk, Needs
from app.enums import DiskType, ErrorCode, ImageAction, ImageKind
from app.errors import InvalidInput, NotFound, Refused, ServiceError
from app.images import rules as image_rules
from app.images import service as images
from app.images.models import ImageDisk
from app.images.reads import ImageRow
from app.policy import Caller
from app.reading import Wanted

TRAITS = (
    "os_type", "os_platform", "os_version", "os_bits", "architecture", "firmware", "min_ram_mib", "max_ram_mib", "supports_user_data"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DiskOverride:
    """Another size, only larger, or type for one disk that a full-ECS image or a backup restores."""

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


class KeptDisk(Protocol):
    """A disk inside an image or a backup."""

    @property
    def id(self) -> UUID: ...
    @property
    def content_id(self) -> UUID: ...
    @property
    def boot_index(self) -> int: ...
    @property
    def size_gib(self) -> int: ...
    @property
    def is_system(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What machines are made of: an image, or a backup."""

    needs: Needs
    disks: Sequence[KeptDisk]
    image_id: UUID
    """The image that they remember; of a backup the one that its ECS was launched from."""
    image_name: str
    is_image: bool
    is_whole: bool
    """Whether it is of all disks of an ECS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPlan:
    """A disk that each machine is to have."""

    boot_index: int
    size_gib: int
    type: DiskType
    content_id: UUID | None
    label: str
    is_system: bool = False
    template: Template | None = None
    """The data disk image that it is made from, if it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A request that passed all checks."""

    request: LaunchRequest
    origin: Origin
    flavor: FlavorRow
    disks: Sequence[DiskPlan]
    key: KeyPair | None
    tags: Mapping[str, str]
    description: str | None

    @property
    def traits(self) -> dict[str, object]:
        """What images made from the machines inherit."""
        return {name: getattr(self.origin.needs, name) for name in TRAITS}

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


async def plan_launch(caller: Caller, request: LaunchRequest) -> tuple[Plan, ImageRow]:
    """What a launch from an image would be, and the image.

    Raises: what the checks of domain rules 2.14 refuse with, in their order.
    """
    image = await _image(caller, request)
    disks = await ImageDisk.filter(image_id=image.id).order_by("boot_index", "id")
    origin = Origin(
        needs=image,
        disks=disks,
        image_id=request.image_id,
        image_name=image.name,
        is_image=True,
        is_whole=image.kind is ImageKind.FULL_ECS,
    )
    return await plan_machines(caller, request, origin), image


async def plan_machines(caller: Caller, request: LaunchRequest, origin: Origin) -> Plan:
    """What machines made of this would be, by the checks that do not ask where it is from.

    Raises: as plan_launch, from the flavor on.
    """
    image = origin.needs
    flavor = (await flavors.find_flavors(caller, [str(request.flavor_id)], flavors.FOR_RULES)).get(
        str(request.flavor_id)
    )
    if flavor is None:
        raise NotFound("There is no such flavor.", field=("input", "flavor_id"), otc="Ecs.0029")
    for reason in rules.against_flavor(image, flavor, host.current()):
        raise reason.at("input", *(reason.field or ()))
    disks = list(_disks(request, origin))
    restored = len(disks) - 1
    engine = host.current().capabilities
    rules.check_data_disks(request.data_disks, restored=restored, flavor=flavor, engine=engine)
    templates = await _templates(caller, request, origin)
    first = max(disk.boot_index for disk in disks) + 1
    disks += [
        _data_disk(data, first + index, templates.get(index), index) for index, data in enumerate(request.data_disks)
    ]
    _check_words(request, image)
    return Plan(
        request=request,
        origin=origin,
        flavor=flavor,
        disks=disks,
        key=await _key(caller, request.key_pair_name),
        tags=image_rules.checked_tags(request.tags),
        description=image_rules.checked_description(request.description or "", longest=rules.MAX_ECS_DESCRIPTION),
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


def _check_words(request: LaunchRequest, image: Needs) -> None:
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


def _disks(request: LaunchRequest, origin: Origin) -> Iterator[DiskPlan]:
    """The disks that there are, larger where that is asked for."""
    overrides = _overrides(request, origin.disks)
    for disk in origin.disks:
        place, override = overrides.get(disk.id, (0, DiskOverride(disk.id)))
        kind = override.type or disk_rules.DEFAULT_TYPE
        size = override.size_gib or disk.size_gib
        if disk.is_system:
            where: tuple[str, ...] = ("input", "system_disk", "size_gib")
            asked = request.system_disk_gib
            if asked is None and override.size_gib is not None:
                where, asked = ("input", "disk_overrides", str(place), "size_gib"), override.size_gib
            size = rules.system_disk_gib(origin.needs, content_gib=disk.size_gib, asked=asked, where=where)
            kind = request.system_disk_type or kind
        label = "system" if disk.is_system else f"data-{disk.boot_index}"
        yield DiskPlan(
            boot_index=disk.boot_index,
            size_gib=size,
            type=kind,
            content_id=disk.content_id,
            label=label,
            is_system=disk.is_system,
        )


async def _templates(caller: Caller, request: LaunchRequest, origin: Origin) -> dict[int, Template]:
    """The data disk images that data disks are made from, by their places; each for one disk, and none beside a full-ECS image."""
    found: dict[int, Template] = {}
    for index, data in enumerate(request.data_disks):
        if data.image_id is None:
            continue
        where = ("input", "data_disks", str(index), "image_id")
        if origin.is_whole:
            message = "A full-ECS image brings its data disks itself; further ones can only be empty."
            raise InvalidInput(message, field=where, otc="Ecs.0007")
        if data.image_id in {template.image_id for template in found.values()}:
            raise InvalidInput("A data disk image is for one disk of an ECS.", field=where, otc="Ecs.0007")
        found[index] = await find_template(caller, data.image_id, *where)
    return found


def _data_disk(data: DataDisk, boot_index: int, template: Template | None, place: int) -> DiskPlan:
    where = ("input", "data_disks", str(place), "size_gib")
    return DiskPlan(
        boot_index=boot_index,
        size_gib=template.size_gib(data.size_gib, *where) if template else data.size_gib or 0,
        type=data.type or disk_rules.DEFAULT_TYPE,
        content_id=template.content_id if template else None,
        label=data.name or f"data-{boot_index}",
        template=template,
    )


def _overrides(request: LaunchRequest, kept: Sequence[KeptDisk]) -> dict[UUID, tuple[int, DiskOverride]]:
    """The overrides with their places, each of another disk that there is and only larger."""
    disks, found = {disk.id: disk for disk in kept}, dict[UUID, tuple[int, DiskOverride]]()
    for index, override in enumerate(request.disk_overrides):
        where = ("input", "disk_overrides", str(index))
        disk = disks.get(override.image_disk_id)
        if disk is None:
            message = "There is no such disk in it."
            raise NotFound(message, field=(*where, "image_disk_id"), otc="Ecs.0046")
        if disk.id in found:
            raise InvalidInput("This disk is there twice.", field=(*where, "image_disk_id"), otc="Ecs.0007")
        size = disk.size_gib if override.size_gib is None else override.size_gib
        if size < disk.size_gib:
            message = f"This disk has {disk.size_gib} GiB, and can only be made larger."
            raise Refused(ErrorCode.DISK_TOO_SMALL, message, field=(*where, "size_gib"), otc="Ecs.0046")
        if size > disk_rules.MAX_DATA_DISK_GIB:
            message = f"A disk has at most {disk_rules.MAX_DATA_DISK_GIB} GiB."
            raise Refused(ErrorCode.DISK_TOO_LARGE, message, field=(*where, "size_gib"), otc="Ecs.0046")
        found[disk.id] = (index, override)
    return found


async def _key(caller: Caller, name: str | None) -> KeyPair | None:
    if name is None:
        return None
    key = await policy.visible_key_pairs(caller).filter(filters.one_of("name", [name], KeyPair)).get_or_none()
    if key is None:
        message = "There is no such key pair in your project."
        raise Refused(ErrorCode.KEY_UNAVAILABLE, message, field=("input", "login", "key_pair_name"), otc="Ecs.0314")
    return key
