"""What EVS disks may be: names and sizes (domain rules 2.6 and 2.17)."""

from __future__ import annotations

from app.enums import DiskType, ErrorCode
from app.errors import InvalidInput, Refused

MAX_SYSTEM_DISK_GIB = 1024
MIN_DATA_DISK_GIB, MAX_DATA_DISK_GIB = 10, 32768
MAX_NAME, MAX_BASE_NAME = 255, 250
MAX_COUNT = 100
DEFAULT_TYPE = DiskType.SAS


def check_name(name: str, *where: str, count: int = 1) -> None:
    """A disk's name; of several it is the base that gets a number.

    Raises: InvalidInput.
    """
    longest = MAX_NAME if count == 1 else MAX_BASE_NAME
    if not (1 <= len(name) <= longest and name.isprintable()):
        message = f"A disk's name has 1 to {longest} printable characters."
        raise InvalidInput(message, field=where, otc="Ecs.0007")


def check_data_disk_size(size_gib: int, *where: str) -> None:
    """The size of a data disk.

    Raises: Refused: DISK_TOO_SMALL, DISK_TOO_LARGE.
    """
    if size_gib < MIN_DATA_DISK_GIB:
        message = f"A data disk has at least {MIN_DATA_DISK_GIB} GiB."
        raise Refused(ErrorCode.DISK_TOO_SMALL, message, field=where, otc="Ecs.0007")
    if size_gib > MAX_DATA_DISK_GIB:
        message = f"A data disk has at most {MAX_DATA_DISK_GIB} GiB."
        raise Refused(ErrorCode.DISK_TOO_LARGE, message, field=where, otc="Ecs.0007")


def names(base: str, count: int) -> list[str]:
    """One name for each: the base alone, or numbered from 0000."""
    return [base] if count == 1 else [f"{base}-{index:04d}" for index in range(count)]
