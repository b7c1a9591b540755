"""Pages of images in every order and both directions, with ties, against a sorted Python list."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from app.enums import ImageStatus
from app.images.models import Image
from app.sharing.models import ImageMember
from tests.client import Client
from tests.factories import make_image, make_member

PAGE = """query($order: [ImageOrder!], $first: Int, $after: String, $last: Int, $before: String, $f: ImageFilter) {
  images(filter: $f, orderBy: $order, first: $first, after: $after, last: $last, before: $before) {
    totalCount nodes { uuid } edges { cursor node { uuid } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
NO_PUBLIC = {"visibility": ["PRIVATE", "SHARED"]}
COLUMNS = {
    "CREATED_AT": "created_at",
    "UPDATED_AT": "updated_at",
    "NAME": "name",
    "SIZE": "stored_bytes",
    "MIN_DISK": "min_disk_gib",
    "STATUS": "status",
    "SHARED_AT": "shared_at",
}
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def shelf(project) -> tuple[Client, list[dict[str, Any]]]:
    """A project with seven images of its own and two accepted ones, with ties in every column."""
    alice, bob = await project("alice"), await project("bob")
    rows = []
    for number in range(9):
        is_own = number < 7
        image = await make_image(
            (alice if is_own else bob).project_id,
            "abc"[number % 3],
            stored_bytes=number // 4,
            min_disk_gib=number % 2,
            status=ImageStatus.KILLED if number % 4 == 0 else ImageStatus.ACTIVE,
        )
        made, changed = NOON + timedelta(seconds=number // 3), NOON + timedelta(microseconds=number % 2)
        await Image.filter(id=image.id).update(created_at=made, updated_at=changed)
        shared = made
        if not is_own:
            await make_member(image, alice.project_id)
            shared = NOON + timedelta(seconds=1)
            await ImageMember.filter(image_id=image.id).update(created_at=shared)
        values = await Image.get(id=image.id).values()
        rows.append(values | {"id": str(image.id), "shared_at": shared})
    return alice, rows


def in_order(rows: Sequence[dict[str, Any]], order: Sequence[tuple[str, str]]) -> list[str]:
    """The ids as the service should list them; the id breaks ties in the direction of the last field."""
    result = sorted(rows, key=lambda row: row["id"], reverse=order[-1][1] == "DESC")
    for field, direction in reversed(order):
        result.sort(key=lambda row: row[COLUMNS[field]], reverse=direction == "DESC")
    return [row["id"] for row in result]


async def walk(client: Client, order: object, size: int, *, backward: bool) -> list[list[str]]:
    """All pages, in the order in which they were read; what a page says of itself is checked on the way."""
    pages: list[list[str]] = []
    cursor = None
    while True:
        given = {"last": size, "before": cursor} if backward else {"first": size, "after": cursor}
        page = await client.one(PAGE, order=order, f=NO_PUBLIC, **given)
        edges, info = page["edges"], page["pageInfo"]
        assert [edge["node"] for edge in edges] == page["nodes"]
        assert (info["startCursor"], info["endCursor"]) == (edges[0]["cursor"], edges[-1]["cursor"])
        assert info["hasNextPage" if backward else "hasPreviousPage"] == (cursor is not None)
        assert page["totalCount"] == 9
        pages.append([node["uuid"] for node in page["nodes"]])
        cursor = info["startCursor" if backward else "endCursor"]
        if not info["hasPreviousPage" if backward else "hasNextPage"]:
            return pages


ORDERS = [[(field, direction)] for field in COLUMNS for direction in ("ASC", "DESC")] + [
    [("STATUS", "DESC"), ("NAME", "ASC")],
    [("MIN_DISK", "ASC"), ("SHARED_AT", "DESC"), ("SIZE", "ASC")],
    [("NAME", "ASC"), ("STATUS", "ASC"), ("NAME", "DESC")],
]


async def test_every_order_in_both_directions(shelf):
    alice, rows = shelf

    for order in ORDERS:
        asked = [{"field": field, "direction": direction} for field, direction in order]
        first_of_each = [pair for place, pair in enumerate(order) if pair[0] not in {f for f, _ in order[:place]}]
        expected = in_order(rows, first_of_each)
        forward = await walk(alice, asked, 4, backward=False)
        backward = await walk(alice, asked, 4, backward=True)
        assert [id_ for page in forward for id_ in page] == expected, order
        assert [id_ for page in reversed(backward) for id_ in page] == expected, order
        assert list(map(len, forward)) == list(map(len, backward)) == [4, 4, 1]


async def test_without_an_order_the_newest_is_first(shelf):
    alice, rows = shelf

    newest_first = in_order(rows, [("CREATED_AT", "DESC")])

    for order in (None, []):
        assert [id_ for page in await walk(alice, order, 2, backward=False) for id_ in page] == newest_first


async def test_a_page_may_end_where_the_list_ends(shelf):
    alice, _ = shelf

    whole = await alice.one(PAGE, f=NO_PUBLIC, first=9)
    behind = await alice.one(PAGE, f=NO_PUBLIC, first=9, after=whole["pageInfo"]["endCursor"])

    assert whole["pageInfo"]["hasNextPage"] is False
    assert behind["nodes"] == []
    assert behind["pageInfo"] == {"hasNextPage": False, "hasPreviousPage": True, "startCursor": None, "endCursor": None}


async def test_a_cursor_outlives_its_row(shelf):
    alice, rows = shelf
    expected = in_order(rows, [("CREATED_AT", "DESC")])
    page = await alice.one(PAGE, f=NO_PUBLIC, first=3)

    await alice.one(
        "mutation($i: [ID!]!) { updateImage: deleteImages(input: {imageIds: $i}) { userErrors { code } } }",
        i=[expected[2]],
    )
    following = await alice.one(PAGE, f=NO_PUBLIC, first=3, after=page["pageInfo"]["endCursor"])

    assert [node["uuid"] for node in following["nodes"]] == expected[3:6]


PAGES: list[tuple[dict[str, int], list[str]]] = [
    ({"first": 0}, ["first"]),
    ({"first": -1}, ["first"]),
    ({"first": 101}, ["first"]),
    ({"first": 2**31 - 1}, ["first"]),
    ({"last": 0}, ["last"]),
    ({"last": -1}, ["last"]),
    ({"last": 101}, ["last"]),
    ({"first": 1, "last": 1}, ["last"]),
]


@pytest.mark.parametrize(("given", "field"), PAGES)
async def test_pages_have_1_to_100_rows_and_one_direction(project, given, field):
    alice = await project("alice")

    answer = await alice.answer(PAGE, **given)

    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_INPUT", field)


async def test_after_and_before_do_not_go_together(shelf):
    alice, _ = shelf
    cursor = (await alice.one(PAGE, f=NO_PUBLIC, first=1))["pageInfo"]["endCursor"]

    for given in ({"after": cursor, "before": cursor}, {"after": cursor, "last": 1}, {"before": cursor, "first": 1}):
        assert await alice.codes(PAGE, f=NO_PUBLIC, **given) == ["INVALID_INPUT"]


async def test_a_cursor_belongs_to_its_list_filter_and_order(shelf):
    alice, _ = shelf
    by_name = [{"field": "NAME", "direction": "ASC"}]
    cursor = (await alice.one(PAGE, f=NO_PUBLIC, order=by_name, first=1))["pageInfo"]["endCursor"]
    others = [
        {"f": NO_PUBLIC},
        {"f": NO_PUBLIC, "order": [{"field": "NAME", "direction": "DESC"}]},
        {"f": NO_PUBLIC, "order": [*by_name, {"field": "SIZE"}]},
        {"order": by_name},
        {"f": {"visibility": ["SHARED", "PRIVATE"]}, "order": by_name},
        {"f": NO_PUBLIC | {"name": {"contains": "a"}}, "order": by_name},
    ]

    for other in others:
        for place in ("after", "before"):
            assert await alice.codes(PAGE, **other, **{place: cursor}) == ["INVALID_CURSOR"], other
    query = "query($c: String) { ecsInstances(orderBy: [{field: NAME}], after: $c) { nodes { id } } }"
    assert await alice.codes(query, c=cursor) == ["INVALID_CURSOR"]
    assert (await alice.one(PAGE, f=NO_PUBLIC, order=by_name, first=2, after=cursor))["nodes"]


async def test_broken_and_forged_cursors_are_refused(shelf):
    alice, _ = shelf
    broken = ["", "x", "====", "nonsense", "\U0001f642", "W10=", "bnVsbA==", "e30=", "A" * 10_000, "WzEsMiwzXQ=="]
    values: list[object] = [
        None,
        [],
        {},
        2**64,
        -(2**64),
        1e300,
        "x" * 200,
        "a\0b",
        "9999-12-31T23:59:59-10:00",
        "0001-01-01T00:00:00+10:00",
    ]
    harmless = {"NAME": ([], {}, 2**64, -(2**64), 1e300, "9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+10:00")}

    with capture_logs() as logged:
        for cursor in broken:
            assert await alice.codes(PAGE, f=NO_PUBLIC, after=cursor) == ["INVALID_CURSOR"], cursor
            assert await alice.codes(PAGE, f=NO_PUBLIC, before=cursor) == ["INVALID_CURSOR"], cursor
        for field in COLUMNS:
            given = {"f": NO_PUBLIC, "order": [{"field": field}]}
            real = (await alice.one(PAGE, **given, first=1))["pageInfo"]["endCursor"]
            seal, value, id_ = json.loads(urlsafe_b64decode(real))
            forged = [(seal, wrong, id_) for wrong in values if wrong not in harmless.get(field, ())]
            forged += [(seal, value, wrong) for wrong in ("x", None, 7, "")]
            forged += [(seal, value), (seal,), (seal, value, id_, 1), ("0" * 12, value, id_), (None, value, id_)]
            for parts in forged:
                cursor = urlsafe_b64encode(json.dumps(parts).encode()).decode()
                assert await alice.codes(PAGE, **given, after=cursor) == ["INVALID_CURSOR"], (field, parts)
    assert [event for event in logged if event["log_level"] in ("error", "critical")] == []


async def test_a_page_of_another_projects_cursor_shows_nothing_of_its_rows(project):
    alice, eve = await project("alice"), await project("eve")
    await make_image(alice.project_id, "a-secret")
    own = await make_image(eve.project_id, "own")
    by_name = [{"field": "NAME"}]

    cursor = (await alice.one(PAGE, f=NO_PUBLIC, order=by_name, first=1))["pageInfo"]["endCursor"]
    page = await eve.one(PAGE, f=NO_PUBLIC, order=by_name, after=cursor)

    assert page["nodes"] == [{"uuid": str(own.id)}]


async def test_counting_alone_reads_no_rows(project):
    alice = await project("alice")
    for _ in range(3):
        await make_image(alice.project_id, f"i-{uuid4().hex}")

    assert await alice.one("{ images(filter: {visibility: [PRIVATE]}, first: 1) { totalCount } }") == {"totalCount": 3}
