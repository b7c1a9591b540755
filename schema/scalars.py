"""Scalars beyond GraphQL's own. They are stricter than Strawberry's: what one of them accepts has one meaning only.

Each parser raises InvalidScalar and nothing else: any other exception would count as a failure of ours and be masked. It is no
GraphQLError, because graphql-core adds what was found, and where, to any other exception only.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NewType
from uuid import UUID

import strawberry
from strawberry.types.scalar import ScalarDefinition


class InvalidScalar(ValueError):
    """A text or number that is not a value of the scalar; its message reaches the client."""


BigInt = NewType("BigInt", int)
"""An int that may need 64 bits; GraphQL's Int ends at 32."""

_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1

# RFC 3339 section 5.6. `datetime.fromisoformat` alone also takes dates without a time, times without an offset, and week dates.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)

# RFC 4122 section 3. `UUID()` alone also takes braces, "urn:uuid:", and hyphens anywhere.
_RFC4122 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def parse_datetime(value: object) -> datetime:
    """An RFC 3339 text as a UTC datetime; digits beyond microseconds are dropped."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise InvalidScalar("an RFC 3339 text with an offset is needed, such as 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidScalar("no moment of the calendar, or not within the years 1 to 9999 in UTC") from None


def serialize_datetime(value: datetime) -> str:
    """RFC 3339 in UTC, ending in Z. A naive datetime is a mistake of ours: guessing its zone would hide it."""
    if value.tzinfo is None:
        raise TypeError("a datetime without a time zone cannot be shown")
    return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


def parse_bigint(value: object) -> BigInt:
    """A whole JSON number of 64 bits.

    A float is refused even when it is whole: the JSON parser makes floats of integers beyond 64 bits, and digits are lost.
    """
    if type(value) is not int or not _MIN_INT64 <= value <= _MAX_INT64:
        raise InvalidScalar("a whole number of at most 64 bits is needed, without quotes, point or exponent")
    return BigInt(value)


def serialize_bigint(value: int) -> int:
    """The number itself; out of range is a mistake of ours, since the JSON encoder would fail on the whole answer."""
    if type(value) is not int or not _MIN_INT64 <= value <= _MAX_INT64:
        raise TypeError("not an integer of 64 bits")
    return value


def parse_uuid(value: object) -> UUID:
    """A UUID in its usual form of 36 characters, upper or lower case."""
    if not isinstance(value, str) or not _RFC4122.fullmatch(value):
        raise InvalidScalar("32 hexadecimal digits are needed, in groups of 8-4-4-4-12")
    return UUID(value)


SCALAR_MAP: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="RFC 3339 with an offset; UTC on output.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=serialize_datetime,
        parse_value=parse_datetime,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A 64-bit integer, written as a JSON number.",
        serialize=serialize_bigint,
        parse_value=parse_bigint,
    ),
    UUID: strawberry.scalar(
        name="UUID",
        description="A UUID in its usual form, as the service's own ids have it inside.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc4122",
        serialize=str,
        parse_value=parse_uuid,
    ),
}
"""For `StrawberryConfig(scalar_map=SCALAR_MAP)`."""
