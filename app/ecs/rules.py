"""Whether an image can be launched on a flavor, and with which disks: the named checks of domain rules 2.14, as small functions.

The same checks answer `launchability` before a launch and refuse the launch itself, so the two cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from app.disks import rules as disk_rules
from app.disks.rules import MAX_SYSTEM_DISK_GIB
from app.ecs.host import Host
from app.ecs.reads import FlavorRow
from app.engines.base import Capabilities
from app.enums import Architecture, DiskType, ErrorCode, Firmware, FlavorState, OsType, WarningCode
from app.errors import InvalidInput, Refused, ServiceError, Unsupported

MAX_DATA_DISKS = 59
MAX_RAM_32_BIT_MIB = 4096
LEAST_RAM_MIB = {OsType.WINDOWS: 1024, OsType.LINUX: 512, OsType.OTHER: 0}
SOLD_OUT = (FlavorState.SELLOUT, FlavorState.OBT_SELLOUT)

IMAGE_COLUMNS = (
    "kind", "min_disk_gib", "min_ram_mib", "max_ram_mib", "architecture", "firmware", "os_type", "os_bits", "supports_user_data"
)  # fmt: skip


class Needs(Protocol):
    """What a machine made from an image, or from a backup, must have and can use."""

    @property
    def min_disk_gib(self) -> int: ...
    @property
    def min_ram_mib(self) -> int: ...
    @property
    def max_ram_mib(self) -> int | None: ...
    @property
    def architecture(self) -> Architecture | None: ...
    @property
    def firmware(self) -> Firmware | None: ...
    @property
    def os_type(self) -> OsType | None: ...
    @property
    def os_bits(self) -> int | None: ...
    @property
    def supports_user_data(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Notice:
    """What goes through, but should be known."""

    code: WarningCode
    message: str
    field: tuple[str, ...] | None = None

    @classmethod
    def kept(cls, answer: Mapping[str, Any]) -> list[Notice]:
        """Those of an answer that is given again, where their fields are lists."""
        given = answer.get("warnings", ())  # answers of an earlier version have none
        return [cls(WarningCode(code), message, field and tuple(field)) for code, message, field in given]

    def keep(self) -> list[object]:
        """How an answer keeps it."""
        return [self.code, self.message, self.field]


@dataclass(frozen=True, slots=True)
class Launchability:
    """Why an image cannot be launched on a flavor, and what to know if it can."""

    reasons: Sequence[ServiceError]
    warnings: Sequence[Notice] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.reasons


def against_flavor(image: Needs, flavor: FlavorRow, host: Host) -> Iterator[ServiceError]:
    """Why this image does not go with this flavor on this engine, cheapest first."""
    if flavor.state is FlavorState.ABANDON:
        yield _flavor(ErrorCode.FLAVOR_ABANDONED, f"Flavor {flavor.name} is no longer sold.", "Ecs.0029")
    if flavor.state in SOLD_OUT:
        yield _flavor(ErrorCode.FLAVOR_SOLD_OUT, f"Flavor {flavor.name} is sold out.", "Ecs.0319")
    least = max(image.min_ram_mib, LEAST_RAM_MIB[image.os_type or OsType.OTHER])
    if flavor.ram_mib < least:
        message = f"The image needs {least} MiB of memory; flavor {flavor.name} has {flavor.ram_mib}."
        yield _flavor(ErrorCode.RAM_TOO_SMALL, message, "Ecs.0007")
    most = min(image.max_ram_mib or flavor.ram_mib, MAX_RAM_32_BIT_MIB if image.os_bits == 32 else flavor.ram_mib)
    if flavor.ram_mib > most:
        message = f"The image can use {most} MiB of memory; flavor {flavor.name} has {flavor.ram_mib}."
        yield _flavor(ErrorCode.RAM_TOO_LARGE, message, "Ecs.0007")
    if image.architecture and image.architecture is not flavor.architecture:
        message = f"The image is for {image.architecture.value}; flavor {flavor.name} is {flavor.architecture.value}."
        yield _flavor(ErrorCode.ARCHITECTURE_MISMATCH, message, "Ecs.0007")
    yield from _against_engine(image, flavor, host.capabilities)


def _flavor(code: ErrorCode, message: str, otc: str) -> Refused:
    return Refused(code, message, field=("flavor_id",), otc=otc)


def _against_engine(image: Needs, flavor: FlavorRow, engine: Capabilities) -> Iterator[ServiceError]:
    if flavor.architecture not in engine.architectures:
        message = f"This installation runs no {flavor.architecture.value} machines."
        yield Unsupported(message, field=("flavor_id",))
    if image.firmware and image.firmware not in engine.firmwares:
        yield Unsupported(f"This installation has no {image.firmware.value} firmware.", field=("image_id",))


def notices(flavor: FlavorRow) -> list[Notice]:
    """What to know of a flavor that works."""
    if flavor.state is FlavorState.PROMOTION:
        message = f"Flavor {flavor.name} is in promotion and may be withdrawn."
        return [Notice(WarningCode.FLAVOR_BEING_RETIRED, message, ("flavor_id",))]
    return []


@dataclass(frozen=True, slots=True)
class DataDisk:
    """A data disk to launch with: empty, or made from a data disk image."""

    name: str | None
    size_gib: int | None
    type: DiskType | None = None
    image_id: UUID | None = None


def system_disk_gib(image: Needs, *, content_gib: int, asked: int | None, where: tuple[str, ...]) -> int:
    """The size of a system disk: what is asked for there, else the least that the image needs.

    Raises: Refused: DISK_TOO_SMALL, DISK_TOO_LARGE (IMG.0111).
    """
    least = max(image.min_disk_gib, content_gib)
    size = asked or least
    if size < least:
        message = f"The image needs a system disk of {least} GiB; {size} were asked for."
        raise Refused(ErrorCode.DISK_TOO_SMALL, message, field=where, otc="Ecs.0007")
    if size > MAX_SYSTEM_DISK_GIB:
        message = f"A system disk has at most {MAX_SYSTEM_DISK_GIB} GiB."
        raise Refused(ErrorCode.DISK_TOO_LARGE, message, field=where, otc="IMG.0111")
    return size


def max_data_disks(flavor: FlavorRow, engine: Capabilities) -> int:
    """How many disks a machine may have beside its system disk."""
    return min(flavor.max_data_disks, engine.max_data_disks, MAX_DATA_DISKS)


def check_data_disks(disks: Sequence[DataDisk], *, restored: int, flavor: FlavorRow, engine: Capabilities) -> None:
    """Number and names, and sizes of empty ones; `restored` more come from a full-ECS image.

    Raises: Refused: TOO_MANY_DISKS (Ecs.0042), DISK_TOO_SMALL, DISK_TOO_LARGE. InvalidInput: a name.
    """
    most = max_data_disks(flavor, engine)
    if len(disks) + restored > most:
        message = f"At most {most} data disks go with flavor {flavor.name}; there would be {len(disks) + restored}."
        raise Refused(ErrorCode.TOO_MANY_DISKS, message, field=("input", "data_disks"), otc="Ecs.0042")
    for index, disk in enumerate(disks):
        where = ("input", "data_disks", str(index))
        if disk.name is not None:
            disk_rules.check_name(disk.name, *where, "name")
        if disk.image_id is None:
            disk_rules.check_data_disk_size(disk.size_gib or 0, *where, "size_gib")


ECS_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
MAX_BASE_NAME = 59
MAX_COUNT = 100
MAX_ECS_DESCRIPTION = 85
MAX_USER_DATA_BYTES = 32 * 1024
MAX_PORTS = 20


def checked_ecs_name(name: str, *, count: int = 1) -> str:
    """An ECS's name; of several it is the base that gets a number.

    Raises: InvalidInput: Ecs.0915, Ecs.0914.
    """
    longest = 128 if count == 1 else MAX_BASE_NAME
    if not ECS_NAME.fullmatch(name) or len(name) > longest:
        message = f"A name has 1 to {longest} letters, digits, dots, hyphens and underscores."
        raise InvalidInput(message, field=("input", "name"), otc="Ecs.0914" if len(name) > longest else "Ecs.0915")
    return name


def hostname(name: str) -> str:
    """A host name made of an ECS's name: no dots, hyphens or underscores in front, nothing from the first dot on (rule 2.6)."""
    label = name.lstrip("._-").split(".")[0].replace("_", "-").rstrip("-")
    return label[:63].rstrip("-") or "ecs"


SPECIAL = "!@$%^-_=+[{}]:,./?~#*"


def check_password(password: str) -> None:
    """8 to 26 characters of at least three kinds (domain rules 2.16).

    Raises: InvalidInput: Ecs.0011.
    """
    kinds = [str.isupper, str.islower, str.isdigit, SPECIAL.__contains__]
    allowed = all(c.isascii() and (c.isalnum() or c in SPECIAL) for c in password)
    mixed = sum(any(kind(c) for c in password) for kind in kinds) >= 3
    named = any(user in password.lower() for user in ("root", "toor"))
    if not (8 <= len(password) <= 26 and allowed and mixed) or named:
        message = f"A password has 8 to 26 characters, of three of: upper case, lower case, digits, {SPECIAL} and no user's name."
        raise InvalidInput(message, field=("input", "login", "password"), otc="Ecs.0011")


def check_ports(ports: Sequence[int]) -> None:
    """Guest ports to expose.

    Raises: InvalidInput: not 1 to 65535, twice the same, or more than twenty.
    """
    for index, port in enumerate(ports):
        if not 1 <= port <= 65535:
            raise InvalidInput(f"A port is 1 to 65535, not {port}.", field=("input", "expose_ports", str(index)))
    if len(set(ports)) != len(ports) or len(ports) > MAX_PORTS:
        raise InvalidInput(f"At most {MAX_PORTS} ports, each once.", field=("input", "expose_ports"))


def check_user_data(user_data: str | None, image: Needs) -> None:
    """Raises: InvalidInput: longer than 32 KiB. Refused: USER_DATA_UNSUPPORTED."""
    if user_data is None:
        return
    where = ("input", "user_data")
    if len(user_data.encode()) > MAX_USER_DATA_BYTES:
        raise InvalidInput(f"User data has at most {MAX_USER_DATA_BYTES} bytes.", field=where, otc="Ecs.0007")
    if not image.supports_user_data:
        message = "The image does not read user data."
        raise Refused(ErrorCode.USER_DATA_UNSUPPORTED, message, field=where, otc="Ecs.0007")


def firmware(image: Needs) -> Firmware:
    """How it boots; BIOS unless it says otherwise."""
    return image.firmware or Firmware.BIOS
