"""Counts of images by what they are, so that a catalogue page can offer its filters with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tortoise.expressions import Subquery

from app import db, policy
from app.enums import ImageFacetField, ImageVisibility
from app.errors import InvalidInput
from app.images import filters
from app.images.filters import ImageFilter
from app.policy import Caller

MAX_FACETS = 200
COLUMNS = {
    ImageFacetField.KIND: ("kind", "kind"),
    ImageFacetField.STATUS: ("status", "status"),
    ImageFacetField.OS_TYPE: ("os_type", "os_type"),
    ImageFacetField.PLATFORM: ("platform", "os_platform"),
    ImageFacetField.OS_VERSION: ("os_version", "os_version"),
    ImageFacetField.ARCHITECTURE: ("architecture", "architecture"),
}
"""The filter's own field on each, which does not count, and the column."""


@dataclass(frozen=True, slots=True)
class Facet:
    """A value that can be put into the matching filter, and how many images have it."""

    value: str
    count: int


async def facets(caller: Caller, where: ImageFilter, by: ImageFacetField, first: int) -> Sequence[Facet]:
    """Values under a filter without its own condition on this field, most frequent first; one statement (visibility: three).

    Raises: InvalidInput: first is not 1 to 200.
    """
    if not 1 <= first <= MAX_FACETS:
        raise InvalidInput(f"first is 1 to {MAX_FACETS}, not {first}.", field=("first",))
    if by is ImageFacetField.VISIBILITY:
        return (await _visibilities(caller, replace(where, visibility=None)))[:first]
    if by in COLUMNS:
        own, column = COLUMNS[by]
        query = await filters.query(caller, replace(where, **{own: None}))
        return [Facet(str(value), number) for value, number in await db.count_by(query, [column], limit=first)]
    images = Subquery((await filters.query(caller, replace(where, tags=None))).values("id"))
    tags = policy.visible_tags(caller).filter(image_id__in=images)
    columns = ["key"] if by is ImageFacetField.TAG_KEY else ["key", "value"]
    return [Facet("=".join(values), number) for *values, number in await db.count_by(tags, columns, limit=first)]


async def _visibilities(caller: Caller, where: ImageFilter) -> list[Facet]:
    query = await filters.query(caller, where)
    counts = [Facet(v.value, await query.filter(filters.is_visibility(caller, v)).count()) for v in ImageVisibility]
    return sorted((facet for facet in counts if facet.count), key=lambda facet: -facet.count)
