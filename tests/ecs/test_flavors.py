"""Flavors: listed, filtered, and asked what could be launched on them."""

from uuid import uuid4

from app.enums import FlavorState, OsType, ShareStatus
from tests.factories import make_flavor, make_image, make_member

LIST = "query($where: FlavorFilter) { flavors(filter: $where, first: 100) { nodes { name vcpus ramMib } } }"
ON_IMAGE = """query($names: [String!], $image: ID!) { flavors(filter: {names: $names}) { nodes { name
  launchability(imageId: $image) { ok reasons { code field otcCode } warnings { code } } } } }"""
ON_FLAVOR = """query($image: ID!, $flavor: ID!) { image(id: $image) {
  launchability(flavorId: $flavor) { ok reasons { code field otcCode } warnings { code } } } }"""


async def names(client, **where) -> list[str]:
    return [flavor["name"] for flavor in (await client.one(LIST, where=where))["nodes"]]


async def test_fresh_installation_has_flavors_smallest_first(project):
    alice = await project("alice")
    fresh = ["t1.nano", "t1.micro", "s2.small", "s2.medium", "s2.large", "s2.xlarge"]

    flavors = (await alice.one(LIST, where={"names": [*fresh, "none"]}))["nodes"]

    assert [flavor["name"] for flavor in flavors] == fresh
    assert [flavor["ramMib"] for flavor in flavors] == [64, 256, 1024, 2048, 4096, 8192]


async def test_flavors_are_filtered(project):
    alice = await project("alice")
    sold_out = await make_flavor(state=FlavorState.SELLOUT, vcpus=3, ram_mib=777)

    assert sold_out.name in await names(alice, state=["SELLOUT"], vcpus={"eq": 3}, ramMib={"gte": 777, "lt": 778})
    assert await names(alice, names=[sold_out.name], state=["NORMAL"]) == []
    assert await names(alice, names=[sold_out.name], vcpus={"gt": 3}) == []
    assert await names(alice, names=[sold_out.name], architecture=["ARM64"]) == []
    assert await names(alice, names=[]) == []


async def test_launchability_is_the_same_from_both_sides(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(bob.project_id, os_type=OsType.LINUX, min_ram_mib=600)
    await make_member(image, alice.project_id, ShareStatus.PENDING)
    given = {"image": str(image.id)}

    of_flavors = (await alice.one(ON_IMAGE, names=["t1.nano", "s2.small"], **given))["nodes"]
    of_image = [(await alice.one(ON_FLAVOR, flavor=each["name"], **given))["launchability"] for each in of_flavors]

    small, ample = [each["launchability"] for each in of_flavors]
    pending = {"code": "NOT_ACCEPTED", "field": ["imageId"], "otcCode": "Ecs.0031"}
    too_small = {"code": "RAM_TOO_SMALL", "field": ["flavorId"], "otcCode": "Ecs.0007"}
    assert of_image == [small, ample]
    assert small == {"ok": False, "reasons": [pending, too_small], "warnings": []}
    assert ample == {"ok": False, "reasons": [pending], "warnings": []}


async def test_launchability_of_what_is_not_there_is_a_reason(project):
    alice, bob = await project("alice"), await project("bob")
    foreign = str((await make_image(bob.project_id)).id)
    image = str((await make_image(alice.project_id)).id)

    for image_id in (foreign, str(uuid4()), "no id"):
        (flavor,) = (await alice.one(ON_IMAGE, names=["t1.nano"], image=image_id))["nodes"]
        (reason,) = flavor["launchability"]["reasons"]
        assert (reason["code"], reason["field"], flavor["launchability"]["ok"]) == ("NOT_FOUND", ["imageId"], False)
    for flavor_id in ("none", str(uuid4())):
        found = (await alice.one(ON_FLAVOR, image=image, flavor=flavor_id))["launchability"]
        (reason,) = found["reasons"]
        assert (reason["code"], reason["field"], found["ok"]) == ("NOT_FOUND", ["flavorId"], False)


async def test_flavors_that_an_image_could_be_launched_on(project):
    alice, bob = await project("alice"), await project("bob")
    sold = [(await make_flavor(**columns)).name for columns in (
        {"ram_mib": 2048}, {"ram_mib": 2049}, {"ram_mib": 1023}, {"ram_mib": 1500, "state": FlavorState.ABANDON},
        {"ram_mib": 1500, "state": FlavorState.PROMOTION},
    )]  # fmt: skip
    image = await make_image(alice.project_id, os_type=OsType.WINDOWS, max_ram_mib=2048)

    found = await names(alice, names=sold, launchableImageId=str(image.id))
    query = "query($where: FlavorFilter) { flavors(filter: $where) { nodes { id } } }"
    foreign = await bob.codes(query, where={"launchableImageId": str(image.id)})

    assert found == [sold[4], sold[0]]
    assert foreign == ["NOT_FOUND"]
