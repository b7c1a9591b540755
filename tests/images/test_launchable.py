"""launchableOnFlavorId and launchability are two answers to one question; here they are held together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.db import now
from app.ecs.models import Flavor
from app.enums import Architecture, ErrorCode, Firmware, FlavorState, ImageStatus, OsType, ShareStatus
from tests.factories import make_flavor, make_image, make_member

IMAGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "unknown": {"architecture": None, "firmware": None, "os_type": None},
    "linux": {"os_type": OsType.LINUX},
    "windows": {"os_type": OsType.WINDOWS},
    "other": {"os_type": OsType.OTHER, "os_bits": 64},
    "linux-32": {"os_type": OsType.LINUX, "os_bits": 32},
    "needs-512": {"min_ram_mib": 512},
    "needs-513": {"min_ram_mib": 513},
    "most-512": {"max_ram_mib": 512},
    "most-511": {"max_ram_mib": 511},
    "most-8192-32": {"max_ram_mib": 8192, "os_bits": 32},
    "arm": {"architecture": Architecture.ARM64},
    "bios": {"firmware": Firmware.BIOS},
    "uefi": {"firmware": Firmware.UEFI},
    "queued": {"status": ImageStatus.QUEUED},
    "saving": {"status": ImageStatus.SAVING},
    "killed": {"status": ImageStatus.KILLED},
    "damaged": {"fault_code": ErrorCode.DAMAGED, "fault_message": "", "fault_at": now()},
}
FLAVORS: dict[str, dict[str, Any]] = {
    "nano": {"ram_mib": 64},
    "511": {"ram_mib": 511},
    "512": {"ram_mib": 512},
    "1023": {"ram_mib": 1023},
    "1024": {"ram_mib": 1024},
    "4096": {"ram_mib": 4096},
    "4097": {"ram_mib": 4097},
    "arm": {"ram_mib": 1024, "architecture": Architecture.ARM64},
    "abandoned": {"ram_mib": 1024, "state": FlavorState.ABANDON},
    "sold-out": {"ram_mib": 1024, "state": FlavorState.SELLOUT},
    "obt": {"ram_mib": 1024, "state": FlavorState.OBT},
    "obt-sold-out": {"ram_mib": 1024, "state": FlavorState.OBT_SELLOUT},
    "promoted": {"ram_mib": 1024, "state": FlavorState.PROMOTION},
}


@pytest.fixture
async def flavors() -> AsyncIterator[dict[str, Flavor]]:
    made = {word: await make_flavor(**columns) for word, columns in FLAVORS.items()}
    yield made
    await Flavor.filter(id__in=[flavor.id for flavor in made.values()]).delete()


async def test_a_list_filtered_by_a_flavor_has_just_what_could_be_launched_on_it(project, flavors):
    alice, bob = await project("alice"), await project("bob")
    for name, columns in IMAGES.items():
        await make_image(alice.project_id, name, **columns)
    for status in ShareStatus:
        await make_member(await make_image(bob.project_id, status.value.lower()), alice.project_id, status)
    query = """query($f: ImageFilter, $states: ImageFilter, $flavor: ID!) {
      fitting: images(filter: $f, first: 100) { nodes { name } }
      listed: images(filter: {visibility: [PRIVATE, SHARED]}, first: 100) { nodes { ...said } }
      shared: images(filter: $states, first: 100) { nodes { ...said } } }
    fragment said on Image { name launchability(flavorId: $flavor) { ok reasons { code } } }"""
    every: dict[str, set[str]] = {}

    for word, flavor in flavors.items():
        where = {"visibility": ["PRIVATE", "SHARED"], "launchableOnFlavorId": str(flavor.id)}
        states = {"shareStatus": ["PENDING", "REJECTED"]}
        answer = await alice.ask(query, f=where, states=states, flavor=flavor.name)
        said = {node["name"]: node["launchability"] for node in answer["listed"]["nodes"]}
        assert all(each["ok"] == (not each["reasons"]) for each in said.values())
        every[word] = {name for name, each in said.items() if each["ok"]}
        assert {node["name"] for node in answer["fitting"]["nodes"]} == every[word], word
        assert {node["name"]: node["launchability"]["reasons"][0]["code"] for node in answer["shared"]["nodes"]} == {
            "pending": "NOT_ACCEPTED",
            "rejected": "NOT_ACCEPTED",
        }
        by_name = await alice.one(
            "query($f: ImageFilter) { images(filter: $f, first: 100) { nodes { name } } }",
            f=where | {"launchableOnFlavorId": flavor.name},
        )
        assert {node["name"] for node in by_name["nodes"]} == every[word]

    assert every["arm"] == every["abandoned"] == every["sold-out"] == every["obt-sold-out"] == set()
    assert every["promoted"] == every["obt"] == every["1024"]
    anywhere = {"plain", "unknown", "other", "bios", "accepted"}
    assert every["nano"] - {"uefi"} == anywhere | {"most-512", "most-511", "most-8192-32"}
    assert every["512"] - {"uefi"} == anywhere | {"most-512", "most-8192-32", "needs-512", "linux", "linux-32"}
    assert every["1024"] - {"uefi"} == anywhere | {
        "most-8192-32",
        "needs-512",
        "needs-513",
        "linux",
        "linux-32",
        "windows",
    }
    assert every["4096"] == every["1024"]
    assert every["4097"] == every["4096"] - {"linux-32", "most-8192-32"}


async def test_a_list_of_flavors_filtered_by_an_image_is_the_same_table_turned(project, flavors):
    alice = await project("alice")
    query = """query($f: FlavorFilter, $id: ID!) {
      fitting: flavors(filter: $f, first: 100) { nodes { name } }
      all: flavors(first: 100) { nodes { name launchability(imageId: $id) { ok reasons { code field } } } } }"""
    wanted = ("plain", "linux-32", "arm", "needs-513", "killed")

    for name in wanted:
        image = await make_image(alice.project_id, name, **IMAGES[name])
        answer = await alice.ask(query, f={"launchableImageId": str(image.id)}, id=str(image.id))
        fitting = {node["name"] for node in answer["all"]["nodes"] if node["launchability"]["ok"]}
        assert {node["name"] for node in answer["fitting"]["nodes"]} == fitting
        codes = {n["name"]: [r["code"] for r in n["launchability"]["reasons"]] for n in answer["all"]["nodes"]}
        if name == "killed":
            assert {first for first, *_ in codes.values()} == {"NOT_ACTIVE"}
        if name == "arm":
            assert codes[flavors["1024"].name] == ["ARCHITECTURE_MISMATCH"]
        if name == "plain":
            assert codes[flavors["abandoned"].name] == ["FLAVOR_ABANDONED"]
            assert codes[flavors["sold-out"].name] == ["FLAVOR_SOLD_OUT"]


async def test_all_reasons_are_told_at_once(project, flavors):
    alice = await project("alice")
    columns = {"os_type": OsType.WINDOWS, "architecture": Architecture.ARM64, "status": ImageStatus.SAVING}
    image = await make_image(alice.project_id, "wrong", **columns)
    query = """query($id: ID!, $flavor: ID!) { image(id: $id) {
      launchability(flavorId: $flavor) { ok reasons { code field otcCode } warnings { code } } } }"""

    said = (await alice.one(query, id=str(image.id), flavor=flavors["nano"].name))["launchability"]

    assert said["ok"] is False
    assert [(r["code"], r["field"]) for r in said["reasons"]] == [
        ("NOT_ACTIVE", ["imageId"]),
        ("RAM_TOO_SMALL", ["flavorId"]),
        ("ARCHITECTURE_MISMATCH", ["flavorId"]),
    ]
