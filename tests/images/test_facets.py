"""Counts beside a list."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from app.enums import Architecture, ImageFacetField, ImageKind, ImageStatus, OsType, ShareStatus
from tests.client import Client
from tests.factories import make_image, make_member

FACETS = """query($f: ImageFilter, $by: ImageFacetField!, $first: Int! = 50) {
  images(filter: $f) { facets(by: $by, first: $first) { value count } } }"""
NO_PUBLIC: dict[str, Any] = {"visibility": ["PRIVATE", "SHARED"]}


async def count(client: Client, by: str, first: int = 50, **where: object) -> list[tuple[str, int]]:
    page = await client.one(FACETS, f=NO_PUBLIC | where, by=by, first=first)
    return [(facet["value"], facet["count"]) for facet in page["facets"]]


def most_frequent(values: list[str | None]) -> list[tuple[str, int]]:
    counts = Counter(value for value in values if value is not None)
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


@pytest.fixture
async def shelf(project) -> tuple[Client, list[dict[str, Any]]]:
    alice, bob = await project("alice"), await project("bob")
    rows: list[dict[str, Any]] = []
    for number in range(6):
        columns = {
            "kind": ImageKind.FULL_ECS if number == 0 else ImageKind.SYSTEM_DISK,
            "status": ImageStatus.KILLED if number % 3 == 0 else ImageStatus.ACTIVE,
            "os_type": [None, OsType.LINUX, OsType.WINDOWS][number % 3],
            "os_platform": [None, "debian", "windows"][number % 3],
            "os_version": [None, "12", "2022"][number % 3],
            "architecture": Architecture.ARM64 if number == 1 else Architecture.X86_64,
        }
        tags = {"colour": ["red", "blue"][number % 2]} | ({"big": ""} if number < 2 else {})
        await make_image(alice.project_id, f"i{number}", tags=tags, **columns)
        rows.append(columns | {"tags": tags})
    lent = {"kind": ImageKind.FULL_ECS, "os_type": OsType.LINUX, "os_platform": "debian", "os_version": "12"}
    await make_member(await make_image(bob.project_id, "lent", tags={"colour": "red"}, **lent), alice.project_id)
    rows.append({"status": ImageStatus.ACTIVE, "architecture": Architecture.X86_64, "tags": {"colour": "red"}, **lent})
    await make_member(await make_image(bob.project_id, "no", tags={"x": "y"}), alice.project_id, ShareStatus.PENDING)
    return alice, rows


FIELDS = {
    "KIND": ("kind", {"kind": ["FULL_ECS"]}),
    "STATUS": ("status", {"status": ["KILLED"]}),
    "OS_TYPE": ("os_type", {"osType": ["LINUX"]}),
    "PLATFORM": ("os_platform", {"platform": ["debian"]}),
    "OS_VERSION": ("os_version", {"osVersion": {"eq": "12"}}),
    "ARCHITECTURE": ("architecture", {"architecture": ["ARM64"]}),
}


async def test_every_facet_counts_what_the_list_has(shelf):
    alice, rows = shelf
    expected = {by: most_frequent([row[column] for row in rows]) for by, (column, _) in FIELDS.items()}
    expected["VISIBILITY"] = [("PRIVATE", 6), ("SHARED", 1)]
    expected["TAG_KEY"] = most_frequent([key for row in rows for key in row["tags"]])
    expected["TAG"] = most_frequent([f"{key}={value}" for row in rows for key, value in row["tags"].items()])

    counted = {by.value: await count(alice, by.value) for by in ImageFacetField if by is not ImageFacetField.VISIBILITY}
    ids = [
        node["id"]
        for node in (await alice.one("query($f: ImageFilter) { images(filter: $f) { nodes { id } } }", f=NO_PUBLIC))[
            "nodes"
        ]
    ]
    counted["VISIBILITY"] = await count(alice, "VISIBILITY", ids=ids)

    assert counted == expected


async def test_a_facet_leaves_its_own_condition_out_and_keeps_the_others(shelf):
    alice, rows = shelf

    for by, (column, own) in FIELDS.items():
        assert await count(alice, by, **own) == most_frequent([row[column] for row in rows]), by
        other = {"status": ["ACTIVE"]} if by != "STATUS" else {"kind": ["SYSTEM_DISK"]}
        kept = [row for row in rows if all(row[key] in map(type(row[key]), values) for key, values in other.items())]
        assert await count(alice, by, **own, **other) == most_frequent([row[column] for row in kept]), by
    tagged = {"tags": {"all": [{"key": "big"}]}}
    assert await count(alice, "TAG", **tagged) == await count(alice, "TAG")
    assert await count(alice, "KIND", **tagged) == [("FULL_ECS", 1), ("SYSTEM_DISK", 1)]
    assert await count(alice, "VISIBILITY", visibility=["SHARED"], name={"startsWith": "i"}) == [("PRIVATE", 6)]


async def test_every_value_can_be_put_into_its_filter(shelf):
    alice, _ = shelf
    filters = {
        "KIND": lambda v: {"kind": [v]},
        "STATUS": lambda v: {"status": [v]},
        "OS_TYPE": lambda v: {"osType": [v]},
        "PLATFORM": lambda v: {"platform": [v]},
        "OS_VERSION": lambda v: {"osVersion": {"eq": v}},
        "ARCHITECTURE": lambda v: {"architecture": [v]},
        "TAG_KEY": lambda v: {"tags": {"all": [{"key": v}]}},
        "TAG": lambda v: {"tags": {"all": [{"key": v.split("=")[0], "values": [v.split("=")[1]]}]}},
    }

    for by, to_filter in filters.items():
        for value, number in await count(alice, by):
            page = await alice.one(
                "query($f: ImageFilter) { images(filter: $f) { totalCount } }", f=NO_PUBLIC | to_filter(value)
            )
            assert page["totalCount"] == number, (by, value)


async def test_a_facet_has_so_many_values(shelf):
    alice, _ = shelf

    assert await count(alice, "TAG", 1) == (await count(alice, "TAG"))[:1]
    for first in (0, -1, 201):
        answer = await alice.answer(FACETS, f=None, by="KIND", first=first)
        (error,) = answer["errors"]
        assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_INPUT", ["first"])


async def test_several_facets_of_one_list_do_not_mix(shelf):
    alice, _ = shelf
    query = """query($f: ImageFilter) { images(filter: $f) { totalCount
      kinds: facets(by: KIND) { value } one: facets(by: KIND, first: 1) { value } statuses: facets(by: STATUS) { value count } } }"""

    page = await alice.one(query, f=NO_PUBLIC)

    assert page["kinds"] == [{"value": "SYSTEM_DISK"}, {"value": "FULL_ECS"}]
    assert page["one"] == page["kinds"][:1]
    assert page["statuses"] == [{"value": "ACTIVE", "count": 5}, {"value": "KILLED", "count": 2}]
    assert page["totalCount"] == 7
