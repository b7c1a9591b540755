"""Where a project's files may be imported from: places in buckets that the operator allows, and nothing beside them.

A place is `bucket/prefix/`. With {project} as one of its names it is a place of each project's own; without, it is open to all
projects. The two are never in the same bucket, and the bucket of the exports has no open place: so no wording of a setting lets a
project reach what another has put or exported there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.errors import InvalidInput, StartupError

SCHEME = "s3://"
PROJECT = "{project}"
MAX_KEY_BYTES = 1024
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""S3's rule for names of buckets; OBS has the same."""
NAMES = re.compile(r"[^/\\%?#\x00-\x1f\x7f]+(/[^/\\%?#\x00-\x1f\x7f]+)*")
"""Keys that no server and no proxy on the way reads as another: nothing that could be decoded, cut off or resolved."""


@dataclass(frozen=True, slots=True)
class Address:
    """An object."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Place:
    """What keys of a bucket begin with that may be imported."""

    bucket: str
    prefix: str

    @property
    def is_open(self) -> bool:
        """Whether it is there for all projects."""
        return PROJECT not in self.prefix

    def of(self, project_id: UUID) -> Address:
        """What it is for a project; its key is a prefix that ends with a slash, or nothing."""
        return Address(self.bucket, self.prefix.replace(PROJECT, str(project_id)))


def locate(url: str) -> Address:
    """The object that an s3:// URL names; everything behind the bucket is the key, letter for letter.

    Raises: InvalidInput: it names none.
    """
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    plain = NAMES.fullmatch(key) and not {".", ".."} & set(key.split("/"))
    if not (url.startswith(SCHEME) and BUCKET.fullmatch(bucket) and plain and len(key.encode()) <= MAX_KEY_BYTES):
        message = f"This is {SCHEME}BUCKET/KEY; a key has at most {MAX_KEY_BYTES} bytes, and none of % ? # \\ nor empty names, . or .."
        raise InvalidInput(message)
    return Address(bucket, key)


def is_within(places: Sequence[Place], project_id: UUID, address: Address) -> bool:
    """Whether a project may import an object."""
    roots = (place.of(project_id) for place in places)
    return any(address.bucket == root.bucket and address.key.startswith(root.key) for root in roots)


def read_places(texts: Sequence[str], *, bucket: str, exports: str) -> tuple[Place, ...]:
    """The places that the settings name. `bucket` and `exports`: where exports lie, and what their keys begin with.

    Raises: StartupError: one of them is no place, or would let projects reach what is not theirs.
    """
    places = tuple(_place(text) for text in texts)
    for place in places:
        beside_others = any(other.bucket == place.bucket and not other.is_open for other in places)
        if place.is_open and (beside_others or place.bucket == bucket):
            raise StartupError(f"{place.bucket}/{place.prefix} would be open to all projects; put {PROJECT} into it.")
        if place.bucket == bucket and place.prefix.startswith(exports):
            raise StartupError(f"{place.bucket}/{place.prefix} is where exports lie; choose another place for imports.")
    return places


def _place(text: str) -> Place:
    bucket, slash, prefix = text.partition("/")
    names = prefix.removesuffix("/").split("/") if prefix else []
    mixed = any(PROJECT in name and name != PROJECT for name in names)
    whole = not prefix or (prefix.endswith("/") and NAMES.fullmatch(prefix[:-1]) and not {".", ".."} & set(names))
    if not (BUCKET.fullmatch(bucket) and slash and whole) or mixed:
        raise StartupError(
            f"{text!r} is no place for imports; give BUCKET/ or BUCKET/PREFIX/, with {PROJECT} as a name."
        )
    return Place(bucket, prefix)
