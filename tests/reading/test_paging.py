"""Walking a list by its cursors, in any order and in both directions, while rows come and go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.enums import ImageOrderField, ImageStatus, OrderDirection
from app.errors import InvalidCursor, InvalidInput
from app.images import service as images
from app.images.filters import ImageFilter
from app.images.models import Image
from app.paging import MAX_ROWS, Page
from app.policy import Caller
from app.reading import Wanted
from tests.reading.naive import in_order
from tests.reading.seed import Sheet, at, caller_of

NAMES = Wanted.naming("name")
ORDERS = [field for field in ImageOrderField if field is not ImageOrderField.SHARED_AT]
Order = list[tuple[ImageOrderField, OrderDirection]]

orders = st.lists(st.tuples(st.sampled_from(ORDERS), st.sampled_from(OrderDirection)), max_size=3)
columns = st.fixed_dictionaries(
    {
        "created_at": st.sampled_from([at(0), at(1), at(1.5)]),
        "name": st.sampled_from(["a", "b"]),
        "stored_bytes": st.sampled_from([0, 2**33]),
        "min_disk_gib": st.sampled_from([0, 1]),
        "status": st.sampled_from([ImageStatus.ACTIVE, ImageStatus.KILLED]),
    }
)
"""Few values, so that most rows tie."""
changes = st.lists(st.tuples(st.booleans(), st.integers(0, 1000), columns), max_size=3)
"""What happens between two pages: a row is inserted, or one of those that were there at first is deleted."""

quick = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def expected(rows: list[Image], order: Order) -> list[str]:
    """Ids, sorted in memory."""
    names = images.keyset(order, images.ORDER) or ("-created_at", "-id")
    for row in rows:
        row.updated_at = row.updated_at.astimezone(UTC)
    return [str(row.id) for row in in_order(rows, names)]


async def page_of(caller: Caller, order: Order, page: Page) -> tuple[list[str], str | None]:
    """The ids of a page, and where the next one begins, if there is one."""
    where = ImageFilter(owner_ids=[caller.project_id])
    found = await images.list_images(caller, where, order=order, page=page, wanted=NAMES)
    more = found.has_previous_page if page.backward else found.has_next_page
    cursor = found.start_cursor if page.backward else found.end_cursor
    return [row.id for row in found.nodes], cursor if more else None


def pages(size: int, *, backward: bool) -> Callable[[str | None], Page]:
    return lambda cursor: Page(last=size, before=cursor) if backward else Page(first=size, after=cursor)


async def made(rows: list[dict[str, object]]) -> tuple[Caller, Sheet, list[Image]]:
    """A project with these images."""
    sheet = Sheet()
    project = sheet.project("owner")
    for columns in rows:
        sheet.image(project, tags=0, disks=0, **columns)
    await sheet.write()
    return caller_of(project), sheet, await Image.filter(project_id=project)


@quick
@given(st.lists(columns, max_size=12), orders, st.integers(1, 5), st.booleans())
async def test_pages_follow_each_other_without_gap_or_repetition(
    shared_database: None, rows: list[dict[str, object]], order: Order, size: int, backward: bool
) -> None:
    caller, _, there = await made(rows)
    page = pages(size, backward=backward)

    seen: list[str] = []
    cursor: str | None = None
    while True:
        ids, cursor = await page_of(caller, order, page(cursor))
        seen = ids + seen if backward else seen + ids
        if cursor is None:
            break
        assert len(ids) == size

    assert seen == expected(there, order)


@quick
@given(
    st.lists(columns, min_size=3, max_size=10), orders, st.integers(1, 3), st.booleans(), st.lists(changes, max_size=6)
)
async def test_rows_that_stay_are_seen_once_while_others_come_and_go(
    shared_database: None,
    rows: list[dict[str, object]],
    order: Order,
    size: int,
    backward: bool,
    between: list[list[tuple[bool, int, dict[str, object]]]],
) -> None:
    caller, sheet, there = await made(rows)
    page, staying = pages(size, backward=backward), {str(row.id) for row in there}

    seen: list[str] = []
    cursor: str | None = None
    while True:
        ids, cursor = await page_of(caller, order, page(cursor))
        seen += ids
        if cursor is None:
            break
        for insert, which, columns in between.pop() if between else ():
            if insert:
                sheet.image(caller.project, tags=0, disks=0, **columns)
                await sheet.write()
            elif staying:
                gone = sorted(staying)[which % len(staying)]
                await Image.filter(id=UUID(gone)).delete()
                staying.discard(gone)

    assert len(seen) == len(set(seen))
    assert staying <= set(seen)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("direction", OrderDirection)
async def test_pages_follow_each_other_by_when_images_were_shared(
    shared_database: None, direction: OrderDirection, backward: bool
) -> None:
    sheet = Sheet()
    owner, recipient = caller_of(sheet.project("owner")), caller_of(sheet.project("recipient"))
    shared = {str(sheet.image(owner.project).id): second for second in (3, 1, 1, 2, 1.5)}
    for image, second in zip(sheet.rows[Image], shared.values(), strict=True):
        sheet.share(image, recipient.project, created_at=at(second))
    await sheet.write()
    order, page, seen = [(ImageOrderField.SHARED_AT, direction)], pages(2, backward=backward), list[str]()

    cursor: str | None = None
    while True:
        found = await images.list_images(
            recipient, ImageFilter(owner_ids=[owner.project_id]), order=order, page=page(cursor), wanted=NAMES
        )
        ids = [row.id for row in found.nodes]
        seen = ids + seen if backward else seen + ids
        cursor = found.start_cursor if backward else found.end_cursor
        if not (found.has_previous_page if backward else found.has_next_page):
            break

    assert seen == sorted(shared, key=lambda id_: (shared[id_], id_), reverse=direction is OrderDirection.DESC)


async def test_a_cursor_still_stands_when_its_row_is_gone(shared_database: None) -> None:
    caller, _, _ = await made([{"name": name, "created_at": at(0)} for name in "abcd"])
    by_name = [(ImageOrderField.NAME, OrderDirection.ASC)]
    first, cursor = await page_of(caller, by_name, Page(first=2))

    await Image.filter(id=UUID(first[-1])).delete()
    second, end = await page_of(caller, by_name, Page(first=2, after=cursor))

    assert len(second) == 2
    assert not set(first) & set(second)
    assert end is None


async def test_a_cursor_belongs_to_its_order_and_its_filter(shared_database: None) -> None:
    caller, _, _ = await made([{"created_at": at(0)}] * 3)
    by_name = [(ImageOrderField.NAME, OrderDirection.ASC)]
    _, cursor = await page_of(caller, by_name, Page(first=1))

    for order, where in (
        ([(ImageOrderField.NAME, OrderDirection.DESC)], ImageFilter(owner_ids=[caller.project_id])),
        ([], ImageFilter(owner_ids=[caller.project_id])),
        (by_name, ImageFilter(owner_ids=[caller.project_id], protected=False)),
    ):
        with pytest.raises(InvalidCursor):
            await images.list_images(caller, where, order=order, page=Page(first=1, after=cursor), wanted=NAMES)


@pytest.mark.parametrize(
    "cursor", ["", "x", "=", "WzFd", "bnVsbA==", "W10=", "eyJhIjogMX0=", "\udcff", "é", "A" * 9999]
)
async def test_what_is_no_cursor_is_refused_as_one(shared_database: None, cursor: str) -> None:
    caller, _, _ = await made([])

    for page in (Page(first=1, after=cursor), Page(last=1, before=cursor)):
        with pytest.raises(InvalidCursor):
            await page_of(caller, [], page)


@given(st.integers(-(2**31), 2**31 - 1))
def test_a_page_has_1_to_100_rows(rows: int) -> None:
    for name in ("first", "last"):
        if 1 <= rows <= MAX_ROWS:
            assert Page(**{name: rows}).size == rows
        else:
            with pytest.raises(InvalidInput) as caught:
                Page(**{name: rows})
            assert caught.value.field == (name,)


def test_a_page_has_25_rows_unless_told_otherwise() -> None:
    assert [Page().size, Page(after="x").size, Page(before="x").size, Page(all=True).size] == [25, 25, 25, None]


@pytest.mark.parametrize(
    "given",
    [{"first": 1, "last": 1}, {"first": 1, "before": "x"}, {"last": 1, "after": "x"}, {"after": "x", "before": "y"}],
)
def test_a_page_is_read_in_one_direction(given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        Page(**given)  # type: ignore[arg-type]

    assert caught.value.field == ("last",)
