"""Copies of images: what is one's own stays, whatever becomes of the original."""

from uuid import UUID, uuid4

from app import db
from app.contents.models import Content
from app.enums import ErrorCode, ImageKind, ImageStatus, ShareStatus
from app.images.models import Image, ImageDisk
from app.jobs.models import Job
from app.projects.models import Quota
from tests.disks.acting import again, create, image_of, image_refusal
from tests.ecs.looking import unchanged, used
from tests.factories import make_image, make_member
from tests.sources.test_bytes import contents_of, delete_image, released

UNSHARE = """mutation($id: ID!, $project: ID!) { unshareImages(input: {imageIds: [$id], projectIds: [$project]}) {
  results { outcome } } }"""

SHOWN = """query($id: ID!) { image(id: $id) { kind status minDiskGib minRamMib maxRamMib supportsUserData os { type platform bits }
  architecture firmware tags { key } sizeBytes disks { sizeGib isSystem contentBytes }
  ... on PrivateImage { source { kind diskId image { imageId name image { id } } ecs { name } } } } }"""


def of(image_id: object) -> dict[str, object]:
    return {"image": {"imageId": str(image_id)}}


async def test_copy_survives_the_withdrawal_of_the_share_and_the_deletion_of_the_original_even_while_it_is_made(
    project, store
):
    alice, bob = await project("alice"), await project("bob")
    machine = await alice.launch(userData="note original\nw0 100 bytes\n")
    await alice.console(machine["id"], until="READY")
    tags = [{"key": "secret"}]
    original = await alice.make_image(machine["id"], minDiskGib=2, minRamMib=32, maxRamMib=512, tags=tags)
    await Image.filter(id=original["uuid"]).update(os_bits=32)
    await alice.share(original["id"], bob)
    gone = await contents_of(original)
    before = await bob.one(SHOWN, id=original["id"])

    copy = await image_of(bob, of(original["id"]), name="mine", wait=False)
    await alice.one(UNSHARE, id=original["id"], project=bob.project_id)
    await delete_image(alice, original["id"])
    await alice.delete(machine["id"])
    await bob.done(copy["jobId"])
    await released(alice)
    await released(bob)
    shown = await bob.one(SHOWN, id=copy["id"])
    launched = await bob.launch(copy["id"], userData="r0 100\n")
    console = await bob.console(launched["id"], until="READY")
    own = await contents_of(copy)

    inherited = ("kind", "minDiskGib", "minRamMib", "maxRamMib", "supportsUserData", "os", "architecture", "firmware")
    assert {name: shown[name] for name in inherited} == {name: before[name] for name in inherited}
    assert (shown["minDiskGib"], shown["maxRamMib"], shown["os"]["bits"], shown["tags"]) == (2, 512, 32, [])
    assert shown["disks"] == [{"sizeGib": 1, "isSystem": True, "contentBytes": shown["sizeBytes"]}]
    remembered = {"imageId": original["id"], "name": original["name"], "image": None}
    assert shown["source"] == {"kind": "IMAGE", "diskId": None, "image": remembered, "ecs": None}
    assert copy["warnings"] == []
    assert "NOTE original" in console
    assert "bytesbytes" in console
    assert own != gone
    assert store.remains(*gone) == []
    assert not await Content.exists(id__in=gone)
    assert (await used(bob))["IMAGES"] == 1
    assert "IMAGE_JOBS" not in await used(bob)
    assert await used(alice) == {}


async def test_own_and_public_images_are_copied_and_the_copy_of_a_data_disk_image_makes_disks(project):
    alice = await project("alice")
    (disk,) = await create(alice, sizeGib=11)
    data = await image_of(alice, {"disk": {"diskId": disk["id"]}})

    copies = [
        await image_of(alice, of(image_id), name=f"copy-{n}")
        for n, image_id in enumerate((data["id"], await alice.hello()))
    ]
    (made,) = await create(alice, imageId=copies[0]["id"])
    shown = [await alice.one(SHOWN, id=copy["id"]) for copy in copies]

    assert [one["kind"] for one in shown] == ["DATA_DISK", "SYSTEM_DISK"]
    assert [one["source"]["image"]["name"] for one in shown] == ["data", "hello"]
    assert shown[0]["disks"][0]["isSystem"] is False
    assert (made["sizeGib"], made["image"]["name"]) == (11, "copy-0")
    assert await contents_of(copies[0]) != await contents_of(data)


async def test_copy_is_refused_for_each_rule(project):
    alice, bob = await project("alice"), await project("bob")
    theirs, pending, rejected, accepted = [await make_image(bob.project_id, name) for name in "abcd"]
    for image, status in (
        (pending, ShareStatus.PENDING),
        (rejected, ShareStatus.REJECTED),
        (accepted, ShareStatus.ACCEPTED),
    ):
        await make_member(image, alice.project_id, status)
    whole = await make_image(alice.project_id, "whole", kind=ImageKind.FULL_ECS)
    killed = await make_image(alice.project_id, "killed", status=ImageStatus.KILLED)
    cases = [
        (uuid4(), "NOT_FOUND", "IMG.0027"),
        (theirs.id, "NOT_FOUND", "IMG.0027"),
        (pending.id, "NOT_ACCEPTED", "IMG.0196"),
        (rejected.id, "NOT_ACCEPTED", "IMG.0196"),
        (killed.id, "NOT_ACTIVE", "IMG.0046"),
        (whole.id, "NOT_COPYABLE", "IMG.0128"),
    ]

    async with unchanged(alice), unchanged(bob):
        for image_id, code, otc in cases:
            assert await image_refusal(alice, of(image_id)) == (code, ["input", "source", "image", "imageId"], otc)
        small = await image_refusal(alice, of(accepted.id), minDiskGib=0)
        taken = await image_refusal(alice, of(accepted.id), name="whole", uniqueName=True)
        for resource, otc in (("IMAGES", "IMG.0015"), ("IMAGE_JOBS", "IMG.0060")):
            limit = Quota.filter(project_id=alice.project_id, resource=resource)
            await limit.update(limit=0)
            assert await image_refusal(alice, of(accepted.id)) == ("QUOTA_EXCEEDED", None, otc)
            await limit.update(limit=10)
    assert small == ("INVALID_INPUT", ["input", "minDiskGib"], "IMG.0055")
    assert taken == ("NAME_TAKEN", ["input", "name"], "IMG.0009")


async def test_copy_that_fails_or_is_abandoned_twice_leaves_the_original_and_nothing_else(project, store):
    alice = await project("alice")
    image = await make_image(alice.project_id, "without bytes")
    original = str((await ImageDisk.get(image_id=image.id)).content_id)

    copy = await image_of(alice, of(image.id), wait=False)
    job = await alice.wait(copy["jobId"])
    row = await Job.get(image_id=UUID(copy["uuid"]))
    fault = {"fault_code": ErrorCode.INTERNAL, "fault_message": "killed", "fault_at": db.now()}
    await again(row.id, **fault)
    assert (await alice.wait(copy["jobId"]))["status"] == "FAIL"
    shown = await alice.one(SHOWN, id=copy["id"])

    assert (job["status"], job["fault"]["code"]) == ("FAIL", "NOT_FOUND")
    assert (shown["status"], shown["disks"]) == ("KILLED", [])
    assert await used(alice) == {"IMAGES": 1}
    assert (await Content.get(id=original)).state == "SEALED"
    assert not await Content.exists(id=row.input["copy_id"])
    assert store.remains(str(row.input["copy_id"])) == []
