"""Planned reads: all that is wanted is known before the first statement, so each relation is read once for all its parents.

    Wanted           what a reader wants, as a tree of plain names
    Noun             a table as readers see it: its rows, columns and relations
    find, list_page  the ways in: rows by id, and a page of a list
    attach           gives rows their relations, with one statement for each relation and level

Rows come from Noun.visible(caller), those of a relation too: what a caller may not see is absent at every depth.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from tortoise.models import Model
from tortoise.queryset import QuerySet

from app import db
from app.errors import ServiceError
from app.paging import Keyset, Page, Slice

if TYPE_CHECKING:
    from app.policy import Caller


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thing to read and, below it, the things to read of it."""

    name: str = ""
    parts: tuple[Wanted, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    only: frozenset[str] | None = None
    """The variants of row that it is wanted of; None for all."""
    keys: tuple[Hashable, ...] = ()
    """Where Row.loaded keeps it, if it has arguments; else it is an attribute of the row."""

    @classmethod
    def naming(cls, *names: str) -> Wanted:
        return cls(parts=tuple(map(cls, names)))

    def of(self, *path: str) -> Wanted:
        """The part at the end of a path; one without parts where nothing of it is wanted."""
        return reduce(lambda wanted, name: next((p for p in wanted.parts if p.name == name), Wanted(name)), path, self)


class Row:
    """A row as its reader sees it: wanted columns and relations are attributes, properties work out the rest."""

    noun: ClassVar[str]
    id: str
    caller: Caller
    loaded: dict[Hashable, object]

    @property
    def uuid(self) -> str:
        """Its id, where GraphQL shows the plain one beside the opaque one."""
        return self.id

    @property
    def variant(self) -> str:
        """Which of its noun's kinds this is."""
        return self.noun


R = TypeVar("R", bound=Row)
ASIDE = {"total_count", "facets"}
"""Parts of a list that are worked out beside its rows: alone, they read none."""


class Relation(Protocol):
    """Something that is read for many rows at once."""

    @property
    def needs(self) -> Sequence[str]:
        """Columns of these rows."""

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        """One value for each row, in their order. A ServiceError becomes the value of this part, and all else is still read."""


@dataclass(frozen=True, eq=False)
class Noun(Generic[R]):
    """A table as its readers see it."""

    model: type[Model]
    row: type[R]
    visible: Callable[[Caller], QuerySet[Any]]
    always: Sequence[str] = ()
    """Columns that Row.variant reads."""
    computed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Properties of the row, with the columns that they read."""
    relations: dict[str, Relation] = field(default_factory=dict)
    order: Sequence[str] = ("created_at", "id")
    """Of lists whose reader asks for none."""

    def columns(self, wanted: Wanted, *more: str) -> tuple[str, ...]:
        """In the model's order, so that the same columns give the same statement."""
        names = {"id", *self.always, *more}
        for part in wanted.parts:
            if part.name in self.relations:
                names.update(self.relations[part.name].needs)
            else:
                names.update(self.computed.get(part.name, (part.name,)))
        own = tuple(name for name in self.model._meta.fields_db_projection if name in names)
        return own + tuple(name for name in db.ANNOTATED if name in names)


async def find(caller: Caller, noun: Noun[R], ids: Iterable[str], wanted: Wanted) -> dict[str, R]:
    """Those of the rows that the caller may see, by id."""
    rows = await _rows(caller, noun, noun.visible(caller), wanted, within=("id", list(dict.fromkeys(ids))))
    await attach(caller, noun, rows, wanted)
    return {row.id: row for row in rows}


async def list_page(
    caller: Caller,
    noun: Noun[R],
    query: QuerySet[Any],
    wanted: Wanted,
    page: Page,
    *,
    order: Sequence[str] = (),
    filtered_by: object = None,
) -> Slice[R]:
    """One page of a query that began with noun.visible.

    Raises: InvalidCursor.
    """
    return (
        await _slices(
            caller, noun, query, wanted=wanted, page=page, keyset=Keyset(noun.model, order or noun.order, filtered_by)
        )
    )[None]


async def attach(caller: Caller, noun: Noun[Any], rows: Sequence[Row], wanted: Wanted) -> None:
    """Give rows their wanted relations, and these theirs."""
    for part in wanted.parts:
        relation = noun.relations.get(part.name)
        some = rows if part.only is None else [row for row in rows if row.variant in part.only]
        if relation is None or not some:
            continue
        values: list[object]
        try:
            values = list(await relation.load(caller, some, part))
        except ServiceError as error:
            values = [error] * len(some)
        for row, value in zip(some, values, strict=True):
            if part.keys:
                vars(row).setdefault("loaded", {}).update(dict.fromkeys(part.keys, value))
            else:
                setattr(row, part.name, value)


@dataclass(frozen=True)
class Parent:
    """The row that a foreign key points at; None where there is none or the caller may not see it."""

    target: Noun[Any]
    key: str

    @property
    def needs(self) -> Sequence[str]:
        return (self.key,)

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        ids = [getattr(row, self.key) for row in rows]
        found = await find(caller, self.target, filter(None, ids), part)
        return map(found.get, ids)


@dataclass(frozen=True)
class Children:
    """All the rows whose foreign key points here."""

    target: Noun[Any]
    key: str
    order: Sequence[str] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    """Argument -> lookup of the ORM."""
    needs: Sequence[str] = ()

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        given = {name: part.args[name] for name in self.filters if part.args.get(name) is not None}
        query = self.target.visible(caller).filter(**{self.filters[name]: value for name, value in given.items()})
        keyset = Keyset(self.target.model, self.order or self.target.order, given)
        slices = await _slices(
            caller,
            self.target,
            query,
            wanted=part,
            page=self.page(part),
            keyset=keyset,
            within=(self.key, [row.id for row in rows]),
        )
        return (self.value(slices[row.id]) for row in rows)

    def page(self, part: Wanted) -> Page:
        return Page(all=True)

    def value(self, children: Slice[Any]) -> object:
        return children.nodes


class Paged(Children):
    """Children, page by page."""

    def page(self, part: Wanted) -> Page:
        return Page.of(part.args)

    def value(self, children: Slice[Any]) -> object:
        return children


class Child(Children):
    """The only one that the caller may see, or None."""

    def value(self, children: Slice[Any]) -> object:
        return next(iter(children.nodes), None)


@dataclass(frozen=True, slots=True)
class Memory:
    """Something remembered by id and name; `row` is it today, None once it is gone or no longer visible."""

    noun: str
    id: str
    name: str
    row: Any


@dataclass(frozen=True)
class Remembered:
    """A memory in two columns; None where there is none. `shown` is the name of the part that is the row of today."""

    target: Noun[Any]
    key: str
    name: str
    shown: str

    @property
    def needs(self) -> Sequence[str]:
        return (self.key, self.name)

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> list[Memory | None]:
        ids = [getattr(row, self.key) for row in rows]
        wanted = part.of(self.shown)
        found = await find(caller, self.target, filter(None, ids), wanted) if wanted in part.parts else {}
        noun = self.target.row.noun
        return [
            Memory(noun, id_, getattr(row, self.name), found.get(id_)) if id_ else None
            for row, id_ in zip(rows, ids, strict=True)
        ]


@dataclass(frozen=True)
class Through:
    """The rows on the other side of a table of links."""

    links: Noun[Any]
    key: str
    target: Noun[Any]
    other: str
    needs: Sequence[str] = ()

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        link = Children(self.links, self.key)
        linked: list[Any] = list(await link.load(caller, rows, Wanted.naming(self.other)))
        found = await find(caller, self.target, {getattr(x, self.other): 1 for group in linked for x in group}, part)
        return [[found[i] for x in group if (i := getattr(x, self.other)) in found] for group in linked]


async def _slices(
    caller: Caller,
    noun: Noun[R],
    query: QuerySet[Any],
    *,
    wanted: Wanted,
    page: Page,
    keyset: Keyset,
    within: db.Within | None = None,
) -> dict[str | None, Slice[R]]:
    """The page of each parent, or the only one under None."""
    key, parents = within or (None, (None,))
    names = {part.name for part in wanted.parts}
    totals = await db.count(query, within) if "total_count" in names else {}
    groups: dict[str | None, list[R]] = {parent: [] for parent in parents}
    if names - ASIDE or not names:
        beyond = query if page.cursor is None else query.filter(keyset.beyond(page.cursor, page.backward))
        for row in await _rows(
            caller,
            noun,
            beyond,
            wanted,
            *keyset.columns,
            *([key] if key else []),
            order=keyset.way(page.backward),
            within=within,
            limit=page.size and page.size + 1,
        ):
            groups[key and getattr(row, key)].append(row)
    slices = {parent: Slice.of(rows, page, keyset, totals.get(parent, 0)) for parent, rows in groups.items()}
    await attach(caller, noun, [row for one in slices.values() for row in one.nodes], wanted)
    return slices


async def _rows(
    caller: Caller,
    noun: Noun[R],
    query: QuerySet[Any],
    wanted: Wanted,
    *more: str,
    order: Sequence[str] = (),
    within: db.Within | None = None,
    limit: int | None = None,
) -> list[R]:
    columns = noun.columns(wanted, *more)
    shape = _shape(noun, columns)
    values = await db.fetch(query, columns, order=order, within=within, limit=limit)
    return [tuple.__new__(shape, (*row, caller)) for row in values]


@lru_cache(maxsize=1024)
def _shape(noun: Noun[Any], columns: tuple[str, ...]) -> Any:
    """A named tuple of columns that is the noun's row as well: what a driver gives is a row at once, at a sixth of an object's cost."""
    return type(noun.row.__name__, (noun.row, namedtuple("Columns", (*columns, "caller"))), {})  # noqa: PYI024 - columns are known at run time only
