"""Making images of machines: what is refused, what is remembered, and what is the same for every source."""

import asyncio
from uuid import uuid4

from app.engines.qemu.process import available_memory_bytes
from app.images.models import Image
from app.projects.models import Quota
from tests.client import CREATE_IMAGE, Client
from tests.ecs.looking import Told, told, unchanged, used
from tests.factories import make_flavor, make_image

SHOWN = """query($id: ID!) { image(id: $id) { name description kind status visibility minDiskGib minRamMib maxRamMib protected
  supportsUserData os { type platform version bits } architecture firmware tags { key value } fault { code } activeAt sizeBytes
  virtualSizeBytes disks { id bootIndex sizeGib isSystem contentBytes }
  ... on PrivateImage { source { kind image { imageId name image { id } } ecs { ecsId name ecsInstance { id } } } } } }"""
DELETE = "mutation($id: ID!) { deleteImages(input: {imageIds: [$id]}) { userErrors { code } } }"


def of(ecs_id: str, *, full: bool = False) -> dict[str, object]:
    return {"fullEcs" if full else "ecs": {"ecsId": ecs_id}}


async def refusal(client: Client, ecs_id: str, *, full: bool = False, **more: object) -> Told:
    """Why an image is refused: in a dry run as in earnest."""
    chosen = {"name": "image", "source": of(ecs_id, full=full)} | more
    wet = await client.one(CREATE_IMAGE, input=chosen)
    dry = await client.one(CREATE_IMAGE, input=chosen | {"dryRun": True})
    assert wet == dry
    assert (wet["image"], wet["job"]) == (None, None)
    (error,) = wet["userErrors"]
    return told(error)


async def test_image_is_refused_for_each_rule(project):
    alice, bob = await project("alice"), await project("bob")
    machine_id = (await alice.launch(systemDisk={"sizeGib": 2}))["id"]
    await make_image(alice.project_id, "taken")
    cases = [
        ({"name": ""}, "INVALID_INPUT", ["name"], "IMG.0013"),
        ({"name": "x" * 129}, "INVALID_INPUT", ["name"], "IMG.0002"),
        ({"name": " x"}, "INVALID_INPUT", ["name"], "IMG.0003"),
        ({"name": "a/b"}, "INVALID_INPUT", ["name"], "IMG.0003"),
        ({"name": "taken", "uniqueName": True}, "NAME_TAKEN", ["name"], "IMG.0009"),
        ({"description": "x" * 1025}, "INVALID_INPUT", ["description"], "IMG.0004"),
        ({"description": "a\nb"}, "INVALID_INPUT", ["description"], "IMG.0054"),
        ({"minDiskGib": 1}, "INVALID_INPUT", ["minDiskGib"], "IMG.0055"),
        ({"minDiskGib": 1025}, "INVALID_INPUT", ["minDiskGib"], "IMG.0055"),
        ({"minRamMib": -1}, "INVALID_INPUT", ["minRamMib"], "IMG.0055"),
        ({"minRamMib": 512, "maxRamMib": 511}, "INVALID_INPUT", ["maxRamMib"], "IMG.0055"),
        ({"tags": [{"key": f"k{index}"} for index in range(11)]}, "LIMIT_EXCEEDED", ["tags"], "IMG.0116"),
        ({"tags": [{"key": "a"}, {"key": " a"}]}, "INVALID_INPUT", ["tags", "1"], "Ecs.0908"),
        ({"tags": [{"key": "ä"}]}, "INVALID_INPUT", ["tags", "0"], "IMG.0115"),
        ({"idempotencyKey": ""}, "INVALID_INPUT", ["idempotencyKey"], None),
    ]

    async with unchanged(alice), unchanged(bob):
        for changes, code, field, otc in cases:
            assert await refusal(alice, machine_id, **changes) == (code, ["input", *field], otc), changes
        for full, name in ((False, "ecs"), (True, "fullEcs")):
            missing = ("NOT_FOUND", ["input", "source", name, "ecsId"], "IMG.0005")
            assert await refusal(bob, machine_id, full=full) == missing
            assert await refusal(alice, str(uuid4()), full=full) == missing
    for resource, otc in (("IMAGES", "IMG.0015"), ("IMAGE_JOBS", "IMG.0060")):
        limits = Quota.filter(project_id=alice.project_id, resource=resource)
        await limits.update(limit=0)
        async with unchanged(alice):
            assert await refusal(alice, machine_id) == ("QUOTA_EXCEEDED", None, otc)
        await limits.update(limit=10)
    await alice.delete(machine_id)
    async with unchanged(alice):
        assert (await refusal(alice, machine_id))[0] == "NOT_FOUND"


async def test_machine_that_failed_makes_no_image(project):
    alice = await project("alice")
    flavor = await make_flavor(ram_mib=available_memory_bytes() >> 19)
    failed = await alice.launch(wait=False, flavorId=flavor.name)
    assert (await alice.wait(failed["jobId"]))["status"] == "FAIL"

    async with unchanged(alice):
        refused = await refusal(alice, failed["id"], full=True)

    assert refused == ("INVALID_STATE", ["input", "source", "fullEcs", "ecsId"], "IMG.0126")


async def test_of_images_with_one_unique_name_or_of_one_machine_at_once_one_is_made(project):
    alice = await project("alice")
    machines = (await alice.launch(count=3))["all"]

    payloads = await asyncio.gather(
        *(
            alice.one(CREATE_IMAGE, input={"name": "only", "uniqueName": True, "source": of(one["id"], full=True)})
            for one in machines
        )
    )
    (job_id,) = [payload["job"]["id"] for payload in payloads if payload["job"]]
    await alice.done(job_id)

    of_one = await asyncio.gather(
        *(alice.one(CREATE_IMAGE, input={"name": "any", "source": of(machines[0]["id"])}) for _ in range(3))
    )
    (one_job_id,) = [payload["job"]["id"] for payload in of_one if payload["job"]]
    await alice.done(one_job_id)

    errors = [told(error) for payload in payloads for error in payload["userErrors"]]
    assert errors == [("NAME_TAKEN", ["input", "name"], "IMG.0009")] * 2
    busy = [told(error) for payload in of_one for error in payload["userErrors"]]
    assert busy == [("BUSY", ["input", "source", "ecs", "ecsId"], "IMG.0010")] * 2
    assert (await used(alice))["IMAGES"] == 2
    held = await alice.one("{ ecsInstances { nodes { currentJob { id } } } }")
    assert [machine["currentJob"] for machine in held["nodes"]] == [None] * 3


async def test_retries_make_one_image_and_it_inherits_what_is_known_of_its_parent(project):
    alice = await project("alice")
    machine_id = (await alice.launch(systemDisk={"sizeGib": 3}))["id"]
    chosen = {"name": "first", "source": of(machine_id), "idempotencyKey": "k", "minRamMib": 32, "maxRamMib": 512}

    async with unchanged(alice):
        dry = await alice.one(CREATE_IMAGE, input=chosen | {"dryRun": True})
    twins = await asyncio.gather(*(alice.one(CREATE_IMAGE, input=chosen) for _ in range(4)))
    await alice.done(twins[0]["job"]["id"])
    late = await alice.one(CREATE_IMAGE, input=chosen)
    other = await refusal(alice, machine_id, **chosen | {"name": "second"})
    first = twins[0]["image"]
    await Image.filter(id=first["uuid"]).update(supports_user_data=False, os_bits=32)
    copy = await alice.launch(first["id"], name="copy")
    child = await alice.make_image(copy["id"], full=True, protected=True)
    parent, shown = [await alice.one(SHOWN, id=image["id"]) for image in (first, child)]
    usage = await used(alice)
    await alice.delete(copy["id"])
    await alice.one(DELETE, id=first["id"])
    remembered = (await alice.one(SHOWN, id=child["id"]))["source"]

    assert (dry["image"], dry["warnings"], dry["userErrors"]) == (None, [{"code": "CRASH_CONSISTENT"}], [])
    assert {payload["image"]["id"] for payload in (*twins, late)} == {first["id"]}
    assert [payload["warnings"] for payload in (*twins, late)] == [dry["warnings"]] * 5
    assert other == ("IDEMPOTENCY_MISMATCH", ["input", "idempotencyKey"], None)
    assert (parent["kind"], parent["visibility"], parent["status"]) == ("SYSTEM_DISK", "PRIVATE", "ACTIVE")
    assert parent["os"] == {"type": "OTHER", "platform": "Hello", "version": "1", "bits": 32}
    assert parent["disks"][0]["contentBytes"] == parent["sizeBytes"] > 0
    assert parent["virtualSizeBytes"] == 3 << 30
    inherited = ("minDiskGib", "minRamMib", "maxRamMib", "os", "architecture", "firmware", "supportsUserData")
    assert [shown[fact] for fact in inherited] == [parent[fact] for fact in inherited]
    assert (shown["minDiskGib"], shown["maxRamMib"], shown["supportsUserData"]) == (3, 512, False)
    assert (shown["kind"], shown["protected"], parent["protected"]) == ("FULL_ECS", True, False)
    assert shown["source"] == {
        "kind": "FULL_ECS",
        "image": {"imageId": first["id"], "name": "first", "image": {"id": first["id"]}},
        "ecs": {"ecsId": copy["id"], "name": "copy", "ecsInstance": {"id": copy["id"]}},
    }
    assert remembered == {
        "kind": "FULL_ECS",
        "image": {"imageId": first["id"], "name": "first", "image": None},
        "ecs": {"ecsId": copy["id"], "name": "copy", "ecsInstance": None},
    }
    assert (usage["IMAGES"], usage.get("IMAGE_JOBS", 0)) == (2, 0)
