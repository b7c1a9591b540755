"""Flavors, and what fits on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from tortoise.expressions import Q

from app import filters, policy
from app.ecs import host, rules
from app.ecs.models import Flavor
from app.ecs.reads import FLAVORS, FlavorRow
from app.ecs.rules import Launchability
from app.enums import Architecture, ErrorCode, FlavorState, ImageAction, ImageStatus, OsType, ShareStatus
from app.errors import NotFound
from app.filters import RangeFilter
from app.images import service as images
from app.images.filters import CONDITIONS, ImageFilter
from app.images.reads import IMAGES, RULE_COLUMNS, ImageRow
from app.paging import Page, Slice
from app.policy import Caller
from app.reading import Wanted, find, list_page

NAMESPACE = UUID("5f1c1ac5-0a3b-4d0e-9d67-0f2d5f7f3a11")
DEFAULTS = {
    "t1.nano": (1, 64),
    "t1.micro": (1, 256),
    "s2.small": (1, 1024),
    "s2.medium": (2, 2048),
    "s2.large": (2, 4096),
    "s2.xlarge": (4, 8192),
}
"""vCPUs and MiB of memory of the flavors of a fresh installation."""
FOR_RULES = Wanted.naming("name", "ram_mib", "vcpus", "architecture", "state", "max_data_disks")
IMAGE_FOR_RULES = Wanted.naming(*RULE_COLUMNS, *rules.IMAGE_COLUMNS, "name")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlavorFilter:
    """Fields are combined with AND, the values of one list with OR."""

    names: Sequence[str] | None = None
    architecture: Sequence[Architecture] | None = None
    state: Sequence[FlavorState] | None = None
    vcpus: RangeFilter[int] | None = None
    ram_mib: RangeFilter[int] | None = None
    launchable_image_id: str | None = None


async def install_flavors() -> None:
    """See that a fresh installation has flavors; those that are there stay as they are."""
    if await Flavor.exists():
        return
    rows = [
        Flavor(
            id=uuid5(NAMESPACE, name),
            name=name,
            vcpus=vcpus,
            ram_mib=ram_mib,
            architecture=Architecture.X86_64,
            state=FlavorState.NORMAL,
        )
        for name, (vcpus, ram_mib) in DEFAULTS.items()
    ]
    await Flavor.bulk_create(rows, ignore_conflicts=True)


async def list_flavors(caller: Caller, where: FlavorFilter, *, page: Page, wanted: Wanted) -> Slice[FlavorRow]:
    """A page of the flavors, smallest first.

    Raises: InvalidInput, InvalidCursor. NotFound: no such image to be launched.
    """
    condition = filters.one_of("name", where.names, Flavor) & filters.one_of("architecture", where.architecture)
    condition &= filters.one_of("state", where.state)
    condition &= filters.within("vcpus", where.vcpus) & filters.within("ram_mib", where.ram_mib)
    if where.launchable_image_id is not None:
        condition &= Q(id__in=await _fitting(caller, where.launchable_image_id))
    query = policy.visible_flavors(caller).filter(condition)
    return await list_page(caller, FLAVORS, query, wanted, page, filtered_by=where)


async def _fitting(caller: Caller, image_id: str) -> list[str]:
    """The flavors that the caller can launch an image on: they are few, so the rules themselves are asked."""
    image = await images.get_image(caller, image_id, IMAGE_FOR_RULES)
    share = (await policy.own_shares(caller, [image])).get(image.id)
    ids = [str(id_) for id_ in await Flavor.all().values_list("id", flat=True)]
    flavors = (await find(caller, FLAVORS, ids, FOR_RULES)).values()
    return [flavor.id for flavor in flavors if launchability(caller, image, flavor, share).ok]


async def find_flavors(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, FlavorRow]:
    """Flavors by id."""
    return await find(caller, FLAVORS, ids, wanted)


async def flavor_id(named: str) -> UUID:
    """The id of the flavor with this id or name; one that nothing has, if there is none."""
    try:
        return UUID(named)
    except ValueError:
        found = await Flavor.filter(filters.one_of("name", [named], Flavor)).values_list("id", flat=True)
        return UUID(str(found[0])) if found else UUID(int=0)


def launchability(caller: Caller, image: ImageRow, flavor: FlavorRow, share: ShareStatus | None) -> Launchability:
    """Why the caller cannot launch an image on a flavor, all reasons, and what to know if it can."""
    refusal = policy.image_refusal(caller, ImageAction.LAUNCH, image, share)
    own = [refusal.at("image_id")] if refusal else []
    return Launchability([*own, *rules.against_flavor(image, flavor, host.current())], rules.notices(flavor))


async def _flavor_by(caller: Caller, named: str) -> FlavorRow | None:
    """A flavor by its id or name."""
    id_ = str(await flavor_id(named))
    return (await find_flavors(caller, [id_], FOR_RULES)).get(id_)


class OnFlavor:
    """image.launchability(flavorId): one flavor, then pure rules for each image."""

    needs = (*RULE_COLUMNS, *rules.IMAGE_COLUMNS)

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        flavor = await _flavor_by(caller, part.args["flavor_id"])
        if flavor is None:  # a reason, since an error would take the whole list
            unknown = NotFound("There is no such flavor.", field=("flavor_id",), otc="Ecs.0029")
            return [Launchability([unknown]) for _ in rows]
        shares = await policy.own_shares(caller, rows)
        return [launchability(caller, row, flavor, shares.get(row.id)) for row in rows]


class OfImage:
    """flavor.launchability(imageId): one image, then pure rules for each flavor."""

    needs = ("name", "ram_mib", "vcpus", "architecture", "state", "max_data_disks")

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        try:
            image = await images.get_image(caller, part.args["image_id"], IMAGE_FOR_RULES)
        except NotFound as error:
            return [Launchability([error.at("image_id")]) for _ in rows]
        share = (await policy.own_shares(caller, [image])).get(image.id)
        return [launchability(caller, image, row, share) for row in rows]


async def launchable_on(caller: Caller, where: ImageFilter) -> Q:
    """The filter launchableOnFlavorId: the rules of app.ecs.rules as conditions; a test holds the two together."""
    if where.launchable_on_flavor_id is None:
        return Q()
    flavor = await _flavor_by(caller, where.launchable_on_flavor_id)
    engine = host.current().capabilities
    if (
        flavor is None
        or flavor.state in (FlavorState.ABANDON, *rules.SOLD_OUT)
        or flavor.architecture not in engine.architectures
    ):
        return Q(id__in=[])
    ram = flavor.ram_mib
    condition = Q(status=ImageStatus.ACTIVE, kind__in=list(policy.USES[ImageAction.LAUNCH][0]), min_ram_mib__lte=ram)
    condition &= Q(fault_code__isnull=True) | ~Q(fault_code=ErrorCode.DAMAGED)
    condition &= Q(max_ram_mib__isnull=True) | Q(max_ram_mib__gte=ram)
    condition &= Q(architecture__isnull=True) | Q(architecture=flavor.architecture)
    condition &= Q(firmware__isnull=True) | Q(firmware__in=list(engine.firmwares))
    condition &= Q(os_type__isnull=True) | Q(os_type__in=[os for os in OsType if rules.LEAST_RAM_MIB[os] <= ram])
    if ram > rules.MAX_RAM_32_BIT_MIB:
        condition &= Q(os_bits__isnull=True) | Q(os_bits=64)
    return condition & policy.may_launch(caller)


CONDITIONS.append(launchable_on)
IMAGES.relations["launchability"] = OnFlavor()
FLAVORS.relations["launchability"] = OfImage()
