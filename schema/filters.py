"""Conditions that many lists share, as inputs, and how they become those of app.filters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from app import filters
from schema.ids import plain
from schema.scalars import BigInt

_EQ = "Exactly this."
_GT, _GTE = "More than this.", "This or more."
_LT, _LTE = "Less than this.", "This or less."


@strawberry.input(description="A condition on a text. % and _ stand for themselves. Several fields: all must hold.")
class StringFilter:
    eq: str | None = strawberry.field(default=None, description="Exactly this; case counts.")
    in_: list[str] | None = strawberry.field(
        default=None, name="in", description="Exactly one of these, at most 100; case counts."
    )
    contains: str | None = strawberry.field(default=None, description="This is in it; case does not count.")
    starts_with: str | None = strawberry.field(default=None, description="It begins with this; case does not count.")

    def plain(self) -> filters.StringFilter:
        """The condition as app has it."""
        return filters.StringFilter(**vars(self))


@strawberry.input(description="A condition on a number. Several fields: all must hold.")
class IntFilter:
    eq: int | None = strawberry.field(default=None, description=_EQ)
    gt: int | None = strawberry.field(default=None, description=_GT)
    gte: int | None = strawberry.field(default=None, description=_GTE)
    lt: int | None = strawberry.field(default=None, description=_LT)
    lte: int | None = strawberry.field(default=None, description=_LTE)

    def plain(self) -> filters.RangeFilter[int]:
        """The condition as app has it."""
        return filters.RangeFilter(**vars(self))


@strawberry.input(description="A condition on a number of up to 64 bits. Several fields: all must hold.")
class BigIntFilter:
    eq: BigInt | None = strawberry.field(default=None, description=_EQ)
    gt: BigInt | None = strawberry.field(default=None, description=_GT)
    gte: BigInt | None = strawberry.field(default=None, description=_GTE)
    lt: BigInt | None = strawberry.field(default=None, description=_LT)
    lte: BigInt | None = strawberry.field(default=None, description=_LTE)

    def plain(self) -> filters.RangeFilter[int]:
        """The condition as app has it."""
        return filters.RangeFilter(**vars(self))


@strawberry.input(description="A condition on a time. Several fields: all must hold.")
class DateTimeFilter:
    gt: datetime | None = strawberry.field(default=None, description="After this.")
    gte: datetime | None = strawberry.field(default=None, description="At this time or after it.")
    lt: datetime | None = strawberry.field(default=None, description="Before this.")
    lte: datetime | None = strawberry.field(default=None, description="At this time or before it.")

    def plain(self) -> filters.RangeFilter[datetime]:
        """The condition as app has it."""
        return filters.RangeFilter(**vars(self))


@strawberry.input(description="A tag with this key and one of these values.")
class TagMatch:
    key: str = strawberry.field(description="The tag's key, exactly.")
    values: list[str] | None = strawberry.field(
        default=None, description="At most 10, exactly. None, or an empty list: any value."
    )


@strawberry.input(description="Conditions on tags, each on at most 10 keys. Several fields: all must hold.")
class TagFilter:
    all: list[TagMatch] | None = strawberry.field(default=None, description="It has all of these.")
    any: list[TagMatch] | None = strawberry.field(default=None, description="It has at least one of these.")
    not_all: list[TagMatch] | None = strawberry.field(default=None, description="It lacks at least one of these.")
    not_any: list[TagMatch] | None = strawberry.field(default=None, description="It has none of these.")
    untagged: bool | None = strawberry.field(default=None, description="true: it has no tags. false: it has some.")

    def plain(self) -> filters.TagFilter:
        """The condition as app has it."""
        sets = {
            name: given and [filters.TagMatch(match.key, match.values) for match in given]
            for name, given in vars(self).items()
            if name != "untagged"
        }
        return filters.TagFilter(**sets, untagged=self.untagged)


CONDITIONS = (StringFilter, IntFilter, BigIntFilter, DateTimeFilter, TagFilter)


def values_of(given: object, **ids: str) -> dict[str, Any]:
    """A filter's fields as app wants them: conditions as its own, and the plain UUIDs of lists of ids, each of a noun."""
    values = dict(vars(given))
    for name, value in values.items():
        if isinstance(value, CONDITIONS):
            values[name] = value.plain()
        elif name in ids and value is not None:
            values[name] = [plain(each, ids[name]) for each in value]
    return values
