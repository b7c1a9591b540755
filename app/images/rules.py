"""What names, descriptions, tags and limits of images may be (domain rules 2.6 to 2.8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from unicodedata import normalize

from app.enums import ImageKind
from app.errors import InvalidInput, LimitExceeded

NAME = re.compile(r"[A-Za-z0-9._-](?:[A-Za-z0-9._ -]{0,126}[A-Za-z0-9._-])?", re.ASCII)
TAG_KEY = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
TAG_VALUE = re.compile(r"[A-Za-z0-9_-]{0,43}", re.ASCII)
MAX_DESCRIPTION = 1024
MAX_TAGS = 10
MAX_DISK_GIB = 1024
MAX_DATA_DISK_GIB = 2048
MAX_RAM_MIB = 4_194_304
MAX_OS_TEXT = 64
Tags = Sequence[tuple[str, str]]


def checked_name(name: str) -> str:
    """An image's name.

    Raises: InvalidInput: IMG.0013 missing, IMG.0002 too long, IMG.0003 another form.
    """
    if not NAME.fullmatch(name):
        otc = "IMG.0013" if not name else "IMG.0002" if len(name) > 128 else "IMG.0003"
        message = (
            "A name has 1 to 128 letters, digits, spaces, dots, hyphens and underscores, and no space at its ends."
        )
        raise InvalidInput(message, field=("input", "name"), otc=otc)
    return name


def checked_description(description: str | None, *, longest: int = MAX_DESCRIPTION) -> str | None:
    """A description, in Unicode's composed form; an empty one is none.

    Raises: InvalidInput: IMG.0004 too long, IMG.0054 with line breaks or angle brackets.
    """
    if not description:
        return None
    description = normalize("NFC", description)
    if len(description) > longest:
        message = f"A description has at most {longest} characters, not {len(description)}."
        raise InvalidInput(message, field=("input", "description"), otc="IMG.0004")
    if any(c in "<>" or not (c.isprintable()) for c in description):
        message = "A description has no line breaks, control characters or angle brackets."
        raise InvalidInput(message, field=("input", "description"), otc="IMG.0054")
    return description


def checked_tags(tags: Tags, *, field: str = "tags") -> dict[str, str]:
    """Tags of one request, with spaces around keys and values taken off.

    Raises: InvalidInput: IMG.0115 form, Ecs.0908 the same key twice. LimitExceeded: more than ten.
    """
    found: dict[str, str] = {}
    stripped = [(key.strip(), value.strip()) for key, value in tags]
    for index, (key, value) in enumerate(stripped):
        where = ("input", field, str(index))
        if not TAG_KEY.fullmatch(key) or not TAG_VALUE.fullmatch(value):
            message = "A tag has a key of 1 to 36 and a value of 0 to 43 letters, digits, hyphens and underscores."
            raise InvalidInput(message, field=where, otc="IMG.0115")
        if key in found:
            raise InvalidInput(f"The key {key!r} is there twice.", field=where, otc="Ecs.0908")
        found[key] = value
    if len(found) > MAX_TAGS:
        raise LimitExceeded(f"At most {MAX_TAGS} tags.", field=("input", field), otc="IMG.0116")
    return found


def max_disk_gib(kind: ImageKind) -> int:
    """The largest disk that an image of one disk is made of; a larger one can only be part of a full-ECS image (IMG.0111)."""
    return MAX_DATA_DISK_GIB if kind is ImageKind.DATA_DISK else MAX_DISK_GIB


def check_limits(
    *, kind: ImageKind, min_disk_gib: int | None, min_ram_mib: int | None, max_ram_mib: int | None
) -> None:
    """Bounds of what a machine must and may have.

    Raises: InvalidInput: IMG.0055.
    """
    ranges = {
        "min_disk_gib": (min_disk_gib, 1, max_disk_gib(kind)),
        "min_ram_mib": (min_ram_mib, 0, MAX_RAM_MIB),
        "max_ram_mib": (max_ram_mib, 1, MAX_RAM_MIB),
    }
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise InvalidInput(f"This is {low} to {high}, not {value}.", field=("input", name), otc="IMG.0055")
    if max_ram_mib is not None and (min_ram_mib or 0) > max_ram_mib:
        message = f"The least memory, {min_ram_mib} MiB, is above the most, {max_ram_mib} MiB."
        raise InvalidInput(message, field=("input", "max_ram_mib"), otc="IMG.0055")
