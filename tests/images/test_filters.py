"""Which images a list has: each condition against what a few lines of Python would choose."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from app.enums import Architecture, ImageKind, ImageStatus, OsType, ShareStatus
from app.images.models import Image
from app.sharing.models import ImageMember
from tests.client import Client
from tests.factories import make_image, make_member

LIST = "query($f: ImageFilter) { images(filter: $f, first: 100) { totalCount nodes { uuid name } } }"
NAMES = [
    "100%",
    "100",
    "a_b",
    "axb",
    "it's",
    'quo"te',
    "back\\slash",
    "\U0001f642 smile",
    "UPPER",
    "upper",
    "%_",
    "Grün ЯБЛОКО",
    "",
]


async def names(client: Client, **where: object) -> list[str]:
    """Names of the listed images, public ones left out unless they are asked for."""
    where.setdefault("visibility", ["PRIVATE", "SHARED"])
    page = await client.one(LIST, f=where)
    assert page["totalCount"] == len(page["nodes"])
    return sorted(node["name"] for node in page["nodes"])


TEXTS: list[tuple[dict[str, object], Callable[[str], bool]]] = [
    ({"eq": "a_b"}, lambda n: n == "a_b"),
    ({"eq": "UPPER"}, lambda n: n == "UPPER"),
    ({"eq": ""}, lambda n: n == ""),
    ({"eq": "a" * 5000}, lambda n: False),
    ({"in": ["100%", "axb", "nothing", "a" * 5000]}, lambda n: n in ("100%", "axb")),
    ({"in": []}, lambda n: False),
    ({"contains": "%"}, lambda n: "%" in n),
    ({"contains": "_"}, lambda n: "_" in n),
    ({"contains": "\\"}, lambda n: "\\" in n),
    ({"contains": "'"}, lambda n: "'" in n),
    ({"contains": '"'}, lambda n: '"' in n),
    ({"contains": "\U0001f642"}, lambda n: "\U0001f642" in n),
    ({"contains": "PpE"}, lambda n: "ppe" in n.lower()),
    ({"contains": "RÜN яБло"}, lambda n: n.startswith("Grün")),
    ({"startsWith": "gRÜn"}, lambda n: n.startswith("Grün")),
    ({"contains": ""}, lambda n: True),
    ({"contains": "a" * 5000}, lambda n: False),
    ({"startsWith": "100%"}, lambda n: n == "100%"),
    ({"startsWith": "A_"}, lambda n: n == "a_b"),
    ({"startsWith": "%"}, lambda n: n == "%_"),
    ({"startsWith": "up"}, lambda n: n.lower().startswith("up")),
    ({"startsWith": "\U0001f642"}, lambda n: n.startswith("\U0001f642")),
    ({"startsWith": "1", "contains": "%"}, lambda n: n == "100%"),
    ({"eq": "axb", "in": ["a_b"]}, lambda n: False),
    ({}, lambda n: True),
]


async def test_conditions_on_a_text(project):
    alice = await project("alice")
    for name in NAMES:
        await make_image(alice.project_id, name, os_version=name)

    for where, holds in TEXTS:
        expected = sorted(filter(holds, NAMES))
        assert await names(alice, name=where) == expected, where
        assert await names(alice, osVersion=where) == expected, where


async def test_search_wants_each_word_in_name_description_or_tags(project):
    alice = await project("alice")
    await make_image(alice.project_id, "web", description="A server in 100% Python", tags={"team": "red"})
    await make_image(alice.project_id, "mail", description="A Server", tags={"team": "blue", "red": ""})
    await make_image(alice.project_id, "db")
    cases = {
        "server": ["mail", "web"],
        "SERVER": ["mail", "web"],
        "server web": ["web"],
        "red server": ["mail", "web"],
        "blue": ["mail"],
        "team": ["mail", "web"],
        "100%": ["web"],
        "1_0": [],
        "  ": ["db", "mail", "web"],
        "": ["db", "mail", "web"],
        "nothing": [],
        "x" * 5000: [],
    }

    found = {words: await names(alice, search=words) for words in cases}

    assert found == cases


def tagged(tags: dict[str, str], where: dict[str, Any]) -> bool:
    """What a tag filter means."""

    def has(match: dict[str, Any]) -> bool:
        return match["key"] in tags and (not match.get("values") or tags[match["key"]] in match["values"])

    return (
        (not where.get("all") or all(map(has, where["all"])))
        and (not where.get("any") or any(map(has, where["any"])))
        and (not where.get("notAll") or not all(map(has, where["notAll"])))
        and (not where.get("notAny") or not any(map(has, where["notAny"])))
        and (where.get("untagged") is None or where["untagged"] == (not tags))
    )


async def test_conditions_on_tags(project):
    alice = await project("alice")
    sets = {
        "none": {},
        "red": {"colour": "red"},
        "blue": {"colour": "blue"},
        "big": {"size": "big"},
        "red-big": {"colour": "red", "size": "big"},
        "blue-small": {"colour": "blue", "size": "small", "empty": ""},
    }
    for name, tags in sets.items():
        await make_image(alice.project_id, name, tags=tags)
    colour, size = {"key": "colour"}, {"key": "size"}
    red, either = {"key": "colour", "values": ["red"]}, {"key": "colour", "values": ["red", "blue", "x" * 5000]}
    cases: list[dict[str, Any]] = [
        {kind: matches}
        for kind in ("all", "any", "notAll", "notAny")
        for matches in (
            [colour],
            [red],
            [either],
            [colour, size],
            [red, size],
            [{"key": "x" * 5000}],
            [{"key": "colour", "values": []}],
            [],
        )
    ]
    cases += [
        {"untagged": True},
        {"untagged": False},
        {"untagged": True, "any": [colour]},
        {"all": [size], "notAny": [red]},
        {"all": [{"key": "empty", "values": [""]}]},
        {"all": [{"key": "Colour"}]},
    ]

    for where in cases:
        assert await names(alice, tags=where) == sorted(n for n, tags in sets.items() if tagged(tags, where)), where


async def test_conditions_on_numbers_and_times(project):
    alice = await project("alice")
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    rows = {}
    for number in range(4):
        image = await make_image(
            alice.project_id, f"i{number}", min_disk_gib=number, min_ram_mib=number * 512, stored_bytes=number * 2**33
        )
        at = noon + timedelta(microseconds=number)
        await Image.filter(id=image.id).update(created_at=at, updated_at=at + timedelta(days=1))
        rows[image.name] = await Image.get(id=image.id)
    compare = {
        "eq": lambda a, b: a == b,
        "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "lte": lambda a, b: a <= b,
    }
    fields = {
        "minDiskGib": ("min_disk_gib", 2),
        "minRamMib": ("min_ram_mib", 1024),
        "sizeBytes": ("stored_bytes", 2**34),
        "createdAt": ("created_at", noon + timedelta(microseconds=2)),
        "updatedAt": ("updated_at", noon + timedelta(days=1, microseconds=2)),
    }

    for field, (column, bound) in fields.items():
        for lookup, holds in compare.items():
            if lookup == "eq" and isinstance(bound, datetime):
                continue
            given = bound.isoformat() if isinstance(bound, datetime) else bound
            values = {name: getattr(row, column) for name, row in rows.items()}
            expected = [n for n, v in values.items() if holds(v, bound) and not (field == "sizeBytes" and v == 0)]
            assert await names(alice, **{field: {lookup: given}}) == expected, (field, lookup)
    assert await names(alice, minDiskGib={"gt": 0, "lt": 3}) == ["i1", "i2"]
    assert await names(alice, createdAt={"gte": "2026-01-01T13:00:00.000003+01:00"}) == ["i3"], "offsets count"
    assert await names(alice, sizeBytes={"lt": 2**63 - 1}) == ["i1", "i2", "i3"], "unknown sizes match nothing"


async def test_conditions_on_what_an_image_is(project):
    alice, bob = await project("alice"), await project("bob")
    machine, parent = uuid4(), uuid4()
    await make_image(
        alice.project_id, "full", kind=ImageKind.FULL_ECS, protected=True, source_ecs_id=machine, source_ecs_name="x"
    )
    await make_image(alice.project_id, "killed", status=ImageStatus.KILLED, architecture=None)
    await make_image(
        alice.project_id,
        "linux",
        os_type=OsType.LINUX,
        os_platform="Debian",
        os_version="12",
        source_image_id=parent,
        source_image_name="x",
    )
    await make_image(
        alice.project_id, "arm", architecture=Architecture.ARM64, os_type=OsType.OTHER, os_platform="debian"
    )
    out = await make_image(alice.project_id, "out")
    await make_member(out, bob.project_id, ShareStatus.REJECTED)
    lent = await make_image(bob.project_id, "lent", source_ecs_id=machine, source_ecs_name="x", source_image_id=parent)
    await make_member(lent, alice.project_id)
    for status in (ShareStatus.PENDING, ShareStatus.REJECTED):
        await make_member(await make_image(bob.project_id, status.value.lower()), alice.project_id, status)
    own = ["arm", "full", "killed", "linux", "out"]
    cases: list[tuple[dict[str, object], list[str]]] = [
        ({}, sorted([*own, "lent"])),
        ({"visibility": ["PRIVATE"]}, own),
        ({"visibility": ["SHARED"]}, ["lent"]),
        ({"visibility": []}, []),
        ({"kind": ["FULL_ECS"]}, ["full"]),
        ({"kind": ["FULL_ECS", "SYSTEM_DISK"]}, sorted([*own, "lent"])),
        ({"status": ["KILLED"]}, ["killed"]),
        ({"status": ["QUEUED", "SAVING"]}, []),
        ({"osType": ["LINUX"]}, ["linux"]),
        ({"osType": ["LINUX", "OTHER"]}, ["arm", "linux"]),
        ({"platform": ["Debian"]}, ["linux"]),
        ({"platform": ["Debian", "x" * 5000]}, ["linux"]),
        ({"osVersion": {"startsWith": "1"}}, ["linux"]),
        ({"architecture": ["ARM64"]}, ["arm"]),
        ({"protected": True}, ["full"]),
        ({"protected": False, "kind": ["FULL_ECS"]}, []),
        ({"ownerIds": [alice.project_id]}, own),
        ({"ownerIds": [bob.project_id]}, ["lent"]),
        ({"ownerIds": [str(uuid4()), "nonsense"]}, []),
        ({"sharedWithProjectIds": [bob.project_id]}, ["out"]),
        ({"sharedWithProjectIds": [alice.project_id]}, []),
        ({"sharedOut": True}, ["out"]),
        ({"sharedOut": False}, ["arm", "full", "killed", "linux"]),
        ({"shareStatus": ["ACCEPTED"]}, ["lent"]),
        ({"shareStatus": ["PENDING"]}, ["pending"]),
        ({"shareStatus": ["PENDING", "REJECTED", "ACCEPTED"]}, ["lent", "pending", "rejected"]),
        ({"shareStatus": []}, []),
        ({"shareStatus": ["PENDING"], "sharedOut": False}, []),
        ({"sourceEcsIds": [str(machine)]}, ["full"]),
        ({"sourceImageIds": [str(parent)]}, ["linux"]),
        ({"sourceImageIds": [str(parent)], "sourceEcsIds": [str(machine)]}, []),
        ({"ids": [str(out.id), str(lent.id), "nonsense"]}, ["lent", "out"]),
        ({"ids": []}, []),
        ({"ids": None, "kind": None, "name": None, "search": None, "tags": None}, sorted([*own, "lent"])),
        ({"name": {"contains": "l"}, "osType": ["LINUX"]}, ["linux"]),
    ]

    for where, expected in cases:
        assert await names(alice, **where) == expected, where


async def test_a_public_image_is_everybodys(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id, f"public-{uuid4().hex}", is_public=True, tags={"a": "b"})
    await make_member(image, bob.project_id, ShareStatus.REJECTED)
    query = "query($id: ID!) { image(id: $id) { __typename visibility viewerCan tags { key } owner { name } } }"

    for client in (alice, bob, await project("carol")):
        assert await names(client, visibility=["PUBLIC"], ids=[str(image.id)]) == [image.name]
        assert await names(client, visibility=["PRIVATE", "SHARED"], ids=[str(image.id)]) == []
        shown = await client.one(query, id=str(image.id))
        assert (shown["__typename"], shown["visibility"], shown["tags"]) == ("PublicImage", "PUBLIC", [{"key": "a"}])
        assert shown["owner"]["name"] == alice.name

    await ImageMember.filter(image_id=image.id).delete()
    await image.delete()


async def test_a_failed_image_tells_its_owner_why_and_others_nothing(project):
    alice, bob, operator = await project("alice"), await project("bob"), await project("operator")
    fault = {"fault_code": "TIMED_OUT", "fault_message": "too slow", "fault_at": datetime.now(UTC)}
    image = await make_image(alice.project_id, "killed", status=ImageStatus.KILLED, **fault)
    query = "query($id: ID!) { image(id: $id) { status fault { code otcCode message at } } }"

    own = await alice.one(query, id=str(image.id))
    stranger = await bob.one(query, id=str(image.id))
    await make_member(image, operator.project_id)
    recipient = await operator.one(query, id=str(image.id))

    assert (own["fault"]["code"], own["fault"]["message"]) == ("TIMED_OUT", "too slow")
    assert stranger is None
    assert recipient == {"status": "KILLED", "fault": None}


TOO_MUCH: list[tuple[dict[str, object], list[str]]] = [
    ({"ids": [str(uuid4())] * 101}, ["filter"]),
    ({"name": {"in": ["x"] * 101}}, ["filter"]),
    ({"platform": ["x"] * 101}, ["filter"]),
    ({"ownerIds": [str(UUID(int=n)) for n in range(101)]}, ["filter"]),
    ({"sharedWithProjectIds": ["x"] * 101}, ["filter"]),
    ({"sourceEcsIds": ["x"] * 101}, ["filter"]),
    ({"search": "word " * 11}, ["filter", "search"]),
    ({"tags": {"all": [{"key": "x"}] * 11}}, ["filter", "tags"]),
    ({"tags": {"notAny": [{"key": "x", "values": ["y"] * 11}]}}, ["filter", "tags"]),
]


@pytest.mark.parametrize(("where", "field"), TOO_MUCH)
async def test_too_long_a_filter_is_refused(project, where, field):
    alice = await project("alice")

    with capture_logs() as logged:
        answer = await alice.answer(LIST, f=where)

    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("INVALID_INPUT", field)
    assert [event for event in logged if event["log_level"] in ("error", "critical")] == []


async def test_the_longest_filters_are_taken(project):
    alice = await project("alice")
    await make_image(alice.project_id, "one", tags={f"k{n}": "v" for n in range(10)})

    assert await names(alice, name={"in": ["one", *(f"n{n}" for n in range(99))]}) == ["one"]
    assert await names(alice, search=" ".join(["one"] * 10)) == ["one"]
    every = [{"key": f"k{n}", "values": [*"abcdefghi", "v"]} for n in range(10)]
    assert await names(alice, tags={"all": every, "any": every}) == ["one"]
