"""Conditions that many lists share: on text, on ranges, on tags. Plain values in, conditions of the ORM out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any, Generic, TypeVar

from tortoise.expressions import Q, RawSQL, Subquery
from tortoise.models import Model

from app.errors import InvalidInput

V = TypeVar("V", int, datetime)
MAX_VALUES = 100
"""Values in one list of a filter."""
MAX_TAG_KEYS = 10
"""Keys, and values of a key, in one set of a tag filter (IMS, querying images by tag)."""
MAX_WORDS = 10
EVERYWHERE = Q()


@dataclass(frozen=True, slots=True, kw_only=True)
class StringFilter:
    """`eq` and `in_` are exact, the others ignore case; % and _ stand for themselves."""

    eq: str | None = None
    in_: Sequence[str] | None = None
    contains: str | None = None
    starts_with: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeFilter(Generic[V]):
    """Bounds of a number or a time."""

    eq: V | None = None
    gt: V | None = None
    gte: V | None = None
    lt: V | None = None
    lte: V | None = None


@dataclass(frozen=True, slots=True)
class TagMatch:
    """A key with one of these values; without values with any."""

    key: str
    values: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagFilter:
    """All of some tags, any of some, not all, not any; or no tags whatever."""

    all: Sequence[TagMatch] | None = None
    any: Sequence[TagMatch] | None = None
    not_all: Sequence[TagMatch] | None = None
    not_any: Sequence[TagMatch] | None = None
    untagged: bool | None = None


def text(model: type[Model], column: str, where: StringFilter | None) -> Q:
    """All that is given must hold."""
    if where is None:
        return Q()
    condition = one_of(column, where.in_, model) & one_of(column, None if where.eq is None else [where.eq], model)
    for lookup, value in (("__icontains", where.contains), ("__istartswith", where.starts_with)):
        if value is not None:
            condition &= Q(**{column + lookup: value})
    return condition


def within(column: str, where: RangeFilter[V] | None) -> Q:
    """All bounds must hold."""
    if where is None:
        return Q()
    bounds: dict[str, Any] = {"": where.eq, "__gt": where.gt, "__gte": where.gte, "__lt": where.lt, "__lte": where.lte}
    return Q(**{column + lookup: value for lookup, value in bounds.items() if value is not None})


def one_of(column: str, values: Sequence[object] | None, texts_of: type[Model] | None = None) -> Q:
    """One of the values, if there is a list; an empty one matches nothing. `texts_of` is whose column it is, where clients write texts.

    Raises: InvalidInput: too many.
    """
    if values is None:
        return Q()
    if len(values) > MAX_VALUES:
        raise InvalidInput(
            f"A filter takes at most {MAX_VALUES} values; this one has {len(values)}.", field=("filter",)
        )
    condition: dict[str, Any] = {f"{column}__in": storable(texts_of, column, values) if texts_of else list(values)}
    return Q(**condition)


def storable(model: type[Model], column: str, texts: Sequence[Any]) -> list[Any]:
    """Those of the texts that the column could hold: the ORM refuses to look for a longer one, which is simply not there."""
    longest = model._meta.fields_map[column].max_length  # type: ignore[attr-defined]
    return [text for text in texts if len(text) <= longest]


def words(search: str | None, columns: Sequence[str], tags: type[Model], key: str, shown: Q = EVERYWHERE) -> Q:
    """Each word must be in one of the columns, or in a tag of a row whose tags are shown.

    Raises: InvalidInput: more than ten words.
    """
    found = (search or "").split()
    if len(found) > MAX_WORDS:
        raise InvalidInput(f"Search for at most {MAX_WORDS} words.", field=("filter", "search"))
    return reduce(and_, (_word(word, columns, tags, key, shown) for word in found), Q())


def _word(word: str, columns: Sequence[str], tags: type[Model], key: str, shown: Q) -> Q:
    tagged = tags.filter(Q(key__icontains=word) | Q(value__icontains=word), **_of_row(tags, key))
    return reduce(
        or_, (Q(**{f"{column}__icontains": word}) for column in columns), Q(id__in=Subquery(tagged.values(key))) & shown
    )


def tagged(where: TagFilter | None, tags: type[Model], key: str, shown: Q = EVERYWHERE) -> Q:
    """Rows whose tags are so; `tags` is the table of tags, `key` its foreign key. Where they are not shown a row counts as untagged.

    Raises: InvalidInput: more than ten keys, or values of a key.
    """
    if where is None:
        return Q()
    sets = (where.all, where.any, where.not_all, where.not_any)
    if any(len(s or ()) > MAX_TAG_KEYS or any(len(m.values or ()) > MAX_TAG_KEYS for m in s or ()) for s in sets):
        message = f"A tag filter takes at most {MAX_TAG_KEYS} keys in a set, and values of a key."
        raise InvalidInput(message, field=("filter", "tags"))

    def each(matches: Sequence[TagMatch]) -> list[Q]:
        return [_match(match, tags, key) & shown for match in matches]

    condition = Q()
    if where.all:
        condition &= reduce(and_, each(where.all))
    if where.any:
        condition &= reduce(or_, each(where.any))
    if where.not_all:
        condition &= ~reduce(and_, each(where.not_all))
    if where.not_any:
        condition &= ~reduce(or_, each(where.not_any))
    if where.untagged is not None:
        some = Q(id__in=Subquery(tags.filter(**_of_row(tags, key)).values(key))) & shown
        condition &= ~some if where.untagged else some
    return condition


def _match(match: TagMatch, tags: type[Model], key: str) -> Q:
    query = tags.filter(key__in=storable(tags, "key", [match.key]), **_of_row(tags, key))
    if match.values:
        query = query.filter(value__in=storable(tags, "value", match.values))
    return Q(id__in=Subquery(query.values(key)))


def _of_row(tags: type[Model], key: str) -> dict[str, object]:
    """That a tag belongs to the row at hand: correlated, so that the list of all tags is never made."""
    parent = tags._meta.fields_map[key.removesuffix("_id")].related_model._meta.db_table  # type: ignore[attr-defined]
    return {key: RawSQL(f'"{parent}"."id"')}
