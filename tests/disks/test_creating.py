"""Making and deleting disks that belong to no machine."""

import asyncio
from uuid import uuid4

from app.contents.models import Content
from app.disks.models import EvsDisk
from app.enums import DiskStatus, ErrorCode, ImageKind, ImageStatus, ShareStatus, TokenScope
from app.images.models import ImageDisk
from app.jobs.models import Job
from app.projects.models import Quota
from tests.client import Client
from tests.disks.acting import CREATE, DELETE, IMAGE, again, create, disk, image_of
from tests.ecs.looking import Told, told, unchanged, used
from tests.factories import make_client, make_image, make_member

UPDATE = """mutation($id: ID!, $name: String!) { updateEvsDisk(input: {diskId: $id, name: $name}) {
  evsDisk { name } userErrors { code field otcCode } } }"""


async def refused(client: Client, **changes: object) -> Told:
    """Why disks are refused: in a dry run as in earnest."""
    chosen = {"name": "disk"} | changes
    wet, dry = [await client.one(CREATE, input=chosen | {"dryRun": is_dry}) for is_dry in (False, True)]
    assert wet == dry
    assert (wet["evsDisks"], wet["job"]) == ([], None)
    (error,) = wet["userErrors"]
    return told(error)


async def test_disks_are_made_together_once_for_each_key_and_deleted_one_by_one(project, store):
    alice, bob = await project("alice"), await project("bob")
    chosen = {"name": "data", "sizeGib": 11, "type": "SSD", "count": 3, "idempotencyKey": "k"}

    async with unchanged(alice):
        dry = await alice.one(CREATE, input=chosen | {"dryRun": True})
    twins = await asyncio.gather(*(alice.one(CREATE, input=chosen) for _ in range(3)))
    await alice.done(twins[0]["job"]["id"])
    late = await alice.one(CREATE, input=chosen)
    (single,) = await create(alice, name="alone")
    disks = late["evsDisks"]
    usage = await used(alice)

    assert dry == {"evsDisks": [], "job": None, "userErrors": []}
    assert {one["id"] for payload in (*twins, late) for one in payload["evsDisks"]} == {one["id"] for one in disks}
    assert [one["name"] for one in disks] == ["data-0000", "data-0001", "data-0002"]
    facts = {(one["sizeGib"], one["type"], one["status"], one["isSystem"], one["bootIndex"]) for one in disks}
    assert facts == {(11, "SSD", "AVAILABLE", False, None)}
    assert (twins[0]["job"]["type"], twins[0]["job"]["evsDisks"]) == ("CREATE_DISK", [{"id": o["id"]} for o in disks])
    assert (single["name"], single["type"], single["image"], single["ecsInstance"]) == ("alone", "SAS", None, None)
    assert (await refused(alice, **chosen | {"count": 2}))[:2] == (
        "IDEMPOTENCY_MISMATCH",
        ["input", "idempotencyKey"],
    )
    assert usage == {"DISKS": 4, "DISK_GIB": 43}
    assert store.remains(*(one["uuid"] for one in disks)) == sorted(f"{one['uuid']}.json" for one in disks)

    renamed = await alice.one(UPDATE, id=single["id"], name="x y")
    ids = [disks[0]["id"], str(uuid4()), disks[0]["id"], disks[1]["id"]]
    deleted = await alice.one(DELETE, ids=ids)
    foreign = await bob.one(DELETE, ids=[disks[2]["id"]])
    for result in deleted["results"]:
        if result["job"]:
            await alice.done(result["job"]["id"])

    assert renamed == {"evsDisk": {"name": "x y"}, "userErrors": []}
    assert [result["diskId"] for result in deleted["results"]] == [ids[0], ids[1], ids[3]]
    assert [told(error) for error in deleted["userErrors"]] == [("NOT_FOUND", ["input", "diskIds", "1"], "IMG.0120")]
    assert [told(error) for error in foreign["userErrors"]] == [("NOT_FOUND", ["input", "diskIds", "0"], "IMG.0120")]
    assert await disk(alice, disks[0]["id"]) is None
    assert (await disk(alice, disks[2]["id"]))["status"] == "AVAILABLE"
    assert await used(alice) == {"DISKS": 2, "DISK_GIB": 21}
    assert store.remains(disks[0]["uuid"], disks[1]["uuid"]) == []


async def test_disks_are_refused_for_each_rule(project, service):
    alice, bob = await project("alice"), await project("bob")
    reader = await make_client(
        service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.ECS, TokenScope.IMAGES]
    )
    data = {"kind": ImageKind.DATA_DISK, "min_disk_gib": 20}
    own, queued, theirs, offered = [
        await make_image(owner.project_id, name, **data | more)
        for owner, name, more in (
            (alice, "own", {}),
            (alice, "queued", {"status": ImageStatus.QUEUED}),
            (bob, "theirs", {}),
            (bob, "offered", {}),
        )
    ]
    gone = await make_image(alice.project_id, **data)
    await Content.filter(id=(await ImageDisk.get(image_id=gone.id)).content_id).update(state="RELEASED")
    await make_member(offered, alice.project_id, ShareStatus.PENDING)
    system = await make_image(alice.project_id)
    cases = [
        ({"sizeGib": 9}, "DISK_TOO_SMALL", "sizeGib", "Ecs.0007"),
        ({}, "DISK_TOO_SMALL", "sizeGib", "Ecs.0007"),
        ({"sizeGib": 32769}, "DISK_TOO_LARGE", "sizeGib", "Ecs.0007"),
        ({"sizeGib": 10, "count": 0}, "INVALID_INPUT", "count", "Ecs.0007"),
        ({"sizeGib": 10, "count": 101}, "INVALID_INPUT", "count", "Ecs.0007"),
        ({"sizeGib": 10, "name": ""}, "INVALID_INPUT", "name", "Ecs.0007"),
        ({"sizeGib": 10, "name": "x" * 256}, "INVALID_INPUT", "name", "Ecs.0007"),
        ({"sizeGib": 10, "name": "x" * 251, "count": 2}, "INVALID_INPUT", "name", "Ecs.0007"),
        ({"sizeGib": 10, "name": "a\nb"}, "INVALID_INPUT", "name", "Ecs.0007"),
        ({"sizeGib": 10, "idempotencyKey": ""}, "INVALID_INPUT", "idempotencyKey", None),
        ({"imageId": str(uuid4())}, "NOT_FOUND", "imageId", "Ecs.0031"),
        ({"imageId": str(theirs.id)}, "NOT_FOUND", "imageId", "Ecs.0031"),
        ({"imageId": str(offered.id)}, "NOT_ACCEPTED", "imageId", "Ecs.0031"),
        ({"imageId": str(queued.id)}, "NOT_ACTIVE", "imageId", "Ecs.0032"),
        ({"imageId": str(system.id)}, "WRONG_IMAGE_KIND", "imageId", "Ecs.0007"),
        ({"imageId": str(own.id), "sizeGib": 19}, "DISK_TOO_SMALL", "sizeGib", "Ecs.0007"),
        ({"imageId": str(own.id), "sizeGib": 32769}, "DISK_TOO_LARGE", "sizeGib", "Ecs.0007"),
    ]

    async with unchanged(alice):
        for changes, code, field, otc in cases:
            assert await refused(alice, **changes) == (code, ["input", field], otc), changes
        assert await refused(reader, sizeGib=10) == ("FORBIDDEN", None, "IMG.0026")
        released = await alice.one(CREATE, input={"name": "d", "imageId": str(gone.id)})
        assert [told(error) for error in released["userErrors"]] == [("NOT_ACTIVE", ["input", "imageId"], "Ecs.0032")]
        for resource in ("DISKS", "DISK_GIB"):
            limits = Quota.filter(project_id=alice.project_id, resource=resource)
            await limits.update(limit=0)
            assert await refused(alice, sizeGib=10) == ("QUOTA_EXCEEDED", None, "Ecs.0021")
            await limits.update(limit=1000)
    await reader.close()
    actions = [(await alice.one(IMAGE, id=str(image.id)))["viewerCan"] for image in (own, system, queued, offered)]
    assert [{"CREATE_DISK", "LAUNCH", "COPY"} & set(each) for each in actions] == [
        {"CREATE_DISK", "COPY"},
        {"LAUNCH", "COPY"},
        set(),
        set(),
    ]


async def test_of_many_at_once_so_many_are_made_as_the_quota_allows(project):
    alice = await project("alice")
    await Quota.filter(project_id=alice.project_id, resource="DISKS").update(limit=3)

    payloads = await asyncio.gather(
        *(alice.one(CREATE, input={"name": "d", "sizeGib": 10, "count": 1 + n % 2}) for n in range(6))
    )
    for payload in payloads:
        if payload["job"]:
            await alice.done(payload["job"]["id"])

    errors = [told(error) for payload in payloads for error in payload["userErrors"]]
    made = sum(len(payload["evsDisks"]) for payload in payloads)
    assert set(errors) == {("QUOTA_EXCEEDED", None, "Ecs.0021")}
    assert made == 3
    assert await used(alice) == {"DISKS": made, "DISK_GIB": made * 10}


async def test_disk_that_cannot_be_made_says_why_and_takes_no_quota(project, store):
    alice = await project("alice")
    image = await make_image(alice.project_id, "without bytes", kind=ImageKind.DATA_DISK)

    payload = await alice.one(CREATE, input={"name": "d", "imageId": str(image.id), "count": 2})
    job = await alice.wait(payload["job"]["id"])
    failed = [await disk(alice, one["id"]) for one in payload["evsDisks"]]
    usage = await used(alice)
    deleted = await alice.one(DELETE, ids=[one["id"] for one in failed])
    for result in deleted["results"]:
        await alice.done(result["job"]["id"])

    assert (job["status"], job["fault"]["code"]) == ("FAIL", "NOT_FOUND")
    assert [(one["status"], one["fault"]["code"]) for one in failed] == [("ERROR", "NOT_FOUND")] * 2
    assert usage == {}
    assert deleted["userErrors"] == []
    assert await used(alice) == {}
    assert store.remains(*(one["uuid"] for one in failed)) == []


async def test_disks_are_made_from_an_image_of_an_empty_disk_also_when_it_is_deleted_meanwhile(project, store):
    alice, bob = await project("alice"), await project("bob")
    (original,) = await create(alice, sizeGib=12)
    image = await image_of(alice, {"disk": {"diskId": original["id"]}})
    content = str((await ImageDisk.get(image_id=image["uuid"])).content_id)
    await alice.share(image["id"], bob)

    begun = await bob.one(CREATE, input={"name": "d", "imageId": image["id"], "count": 2})
    await alice.one(
        "mutation($id: ID!) { deleteImages(input: {imageIds: [$id]}) { userErrors { code } } }", id=image["id"]
    )
    await bob.done(begun["job"]["id"])
    for client in (alice, bob):
        jobs = await client.one("{ jobs(filter: {type: [DELETE_IMAGE]}) { nodes { id } } }")
        for job in jobs["nodes"]:
            await client.done(job["id"])

    assert [(one["sizeGib"], one["image"]) for one in begun["evsDisks"]] == [
        (12, {"imageId": image["id"], "name": "data"})
    ] * 2
    assert (await disk(bob, begun["evsDisks"][0]["id"]))["status"] == "AVAILABLE"
    assert store.remains(content) == []
    assert not await Content.exists(id=content)


async def test_job_that_was_killed_before_it_was_written_down_does_no_harm(project, store):
    alice = await project("alice")
    (made,) = await create(alice)
    row = EvsDisk.filter(id=made["uuid"])
    job = await Job.get(project_id=alice.project_id)
    fault = {"fault_code": ErrorCode.INTERNAL, "fault_message": "killed", "fault_at": job.created_at}

    await row.update(status=DiskStatus.CREATING, job_id=job.id)
    await again(job.id)
    await alice.done(str(job.id))
    repeated = await disk(alice, made["id"])
    await row.update(status=DiskStatus.CREATING, job_id=job.id)
    await again(job.id, **fault)
    assert (await alice.wait(str(job.id)))["status"] == "FAIL"
    abandoned = await disk(alice, made["id"])
    usage = await used(alice)

    assert repeated["status"] == "AVAILABLE"
    assert (abandoned["status"], abandoned["fault"]) == ("ERROR", {"code": "INTERNAL"})
    assert usage == {}
    assert store.remains(made["uuid"]) == []
