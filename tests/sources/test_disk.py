"""Images of one EVS disk: data disk images, and system disk images of a disk that somebody installed a system on."""

import asyncio
from uuid import uuid4

from app.contents.models import Content
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance
from app.enums import ContentState, DiskStatus, ImageStatus, TokenScope
from app.images.models import Image, ImageDisk
from app.jobs.models import Job
from app.projects.models import Quota
from tests.client import CREATE_IMAGE
from tests.disks.acting import DELETE, again, create, disk, image_of, image_refusal
from tests.ecs.looking import ecs, told, unchanged, used
from tests.factories import make_client

SHOWN = """query($id: ID!) { image(id: $id) { kind status minDiskGib minRamMib os { type platform version bits } architecture firmware
  virtualSizeBytes disks { bootIndex sizeGib isSystem } ... on PrivateImage {
  source { kind diskId image { name } ecs { ecsId name } } jobs { nodes { type evsDisks { id } ecsInstances { id } } } } } }"""


def of(disk_id: str, **more: object) -> dict[str, object]:
    return {"disk": {"diskId": disk_id} | more}


async def test_system_disk_image_of_a_disk_boots_and_a_data_disk_image_of_another_is_held_only_while_it_is_sealed(
    project,
):
    alice = await project("alice")
    machine = await alice.launch(
        name="vm", systemDisk={"sizeGib": 2}, dataDisks=[{"sizeGib": 10}], userData="note kept\nw1 40 data\n"
    )
    await alice.console(machine["id"], until="READY")
    system, data = (await ecs(alice, machine["id"]))["disks"]
    os = {"type": "OTHER", "platform": "Mine", "version": "2"}

    booting = await image_of(alice, of(system["id"], kind="SYSTEM_DISK", os=os), name="boots", minDiskGib=3)
    begun = await alice.one(CREATE_IMAGE, input={"name": "data", "source": of(data["id"])})
    await alice.done(begun["job"]["id"])
    images = [await alice.one(SHOWN, id=image["id"]) for image in (booting, begun["image"])]
    after, usage = await ecs(alice, machine["id"]), await used(alice)
    copy = await alice.launch(
        booting["id"], dataDisks=[{"imageId": begun["image"]["id"], "sizeGib": 11}], userData="r1 40\ns1\n"
    )
    console = await alice.console(copy["id"], until="READY")

    boots, holds = images
    assert booting["warnings"] == [warning["code"] for warning in begun["warnings"]] == ["CRASH_CONSISTENT"]
    assert (boots["kind"], boots["minDiskGib"], boots["architecture"], boots["firmware"]) == (
        "SYSTEM_DISK",
        3,
        "X86_64",
        "BIOS",
    )
    assert boots["os"] == os | {"bits": None}
    assert boots["disks"] == [{"bootIndex": 0, "sizeGib": 2, "isSystem": True}]
    assert (holds["kind"], holds["minDiskGib"], holds["os"], holds["architecture"]) == ("DATA_DISK", 10, None, None)
    assert holds["disks"] == [{"bootIndex": 0, "sizeGib": 10, "isSystem": False}]
    assert holds["virtualSizeBytes"] == 10 << 30
    maker = {"ecsId": machine["id"], "name": "vm"}
    assert boots["source"] == {"kind": "DISK", "diskId": system["id"], "image": {"name": "hello"}, "ecs": maker}
    assert holds["source"] == {"kind": "DISK", "diskId": data["id"], "image": None, "ecs": maker}
    assert holds["jobs"]["nodes"] == [
        {"type": "CREATE_IMAGE", "evsDisks": [{"id": data["id"]}], "ecsInstances": [{"id": machine["id"]}]}
    ]
    assert [one["status"] for one in after["disks"]] == ["IN_USE", "IN_USE"]
    assert after["currentJob"] is None
    assert (usage["IMAGES"], usage.get("IMAGE_JOBS", 0)) == (2, 0)
    assert "NOTE kept" in console
    assert "datadata" in console
    assert f"{11 << 21:08X}" in console


async def test_image_of_a_disk_is_refused_for_each_rule(project, service):
    alice, bob = await project("alice"), await project("bob")
    writer = await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.STORAGE])
    (free,), (odd,), (huge,), (held,) = [await create(alice) for _ in range(4)]
    machine = await alice.launch()
    await EvsDisk.filter(id=odd["uuid"]).update(status=DiskStatus.ERROR)
    await EvsDisk.filter(id=huge["uuid"]).update(size_gib=2049)
    await EvsDisk.filter(id=held["uuid"]).update(job_id=uuid4())
    system = (await ecs(alice, machine["id"]))["disks"][0]
    other = {"kind": "SYSTEM_DISK", "os": {"type": "OTHER"}}
    cases = [
        (of(str(uuid4())), "NOT_FOUND", ["diskId"], "IMG.0120"),
        (of(odd["id"]), "INVALID_STATE", ["diskId"], "IMG.0006"),
        (of(held["id"]), "BUSY", ["diskId"], "IMG.0010"),
        (of(huge["id"]), "DISK_TOO_LARGE", ["diskId"], "IMG.0111"),
        (of(free["id"], kind="FULL_ECS"), "INVALID_INPUT", ["kind"], "IMG.0024"),
        (of(free["id"], kind="SYSTEM_DISK"), "INVALID_INPUT", ["os"], "IMG.0195"),
        (of(free["id"], os={"type": "LINUX"}), "INVALID_INPUT", ["os"], "IMG.0024"),
        (of(free["id"], kind="SYSTEM_DISK", os={"type": "LINUX", "bits": 16}), "INVALID_INPUT", ["os", "bits"], "IMG.0122"),
        (of(free["id"], kind="SYSTEM_DISK", os={"type": "LINUX", "platform": ""}), "INVALID_INPUT", ["os", "platform"], "IMG.0056"),
    ]  # fmt: skip

    async with unchanged(alice), unchanged(bob):
        for source, code, field, otc in cases:
            assert await image_refusal(alice, source) == (code, ["input", "source", "disk", *field], otc), source
        missing = ("NOT_FOUND", ["input", "source", "disk", "diskId"], "IMG.0120")
        assert await image_refusal(bob, of(free["id"])) == missing
        assert (await image_refusal(writer, of(free["id"])))[0] == "FORBIDDEN"
        small = await image_refusal(alice, of(free["id"]), minDiskGib=9)
        large = await image_refusal(alice, of(free["id"], **other), minDiskGib=1025)
        assert small == large == ("INVALID_INPUT", ["input", "minDiskGib"], "IMG.0055")
        await EcsInstance.filter(id=machine["uuid"]).update(job_id=uuid4())
        busy = await image_refusal(alice, of(system["id"], **other))
        await EcsInstance.filter(id=machine["uuid"]).update(job_id=None)
        assert busy == ("BUSY", ["input", "source", "disk", "diskId"], "IMG.0010")
    await writer.close()
    await EvsDisk.filter(id=huge["uuid"]).update(size_gib=10)


async def test_of_images_of_one_disk_at_once_one_is_made(project):
    alice = await project("alice")
    (free,) = await create(alice)

    begun = await asyncio.gather(
        *(alice.one(CREATE_IMAGE, input={"name": "i", "source": of(free["id"])}) for _ in range(3))
    )
    made = [payload["job"]["id"] for payload in begun if payload["job"]]
    for job_id in made:
        await alice.done(job_id)

    busy = [told(error) for payload in begun for error in payload["userErrors"]]
    assert busy == [("BUSY", ["input", "source", "disk", "diskId"], "IMG.0010")] * (3 - len(made))
    assert (await used(alice))["IMAGES"] == len(made) > 0
    assert (await disk(alice, free["id"]))["status"] == "AVAILABLE"


async def test_image_is_made_to_its_end_when_its_service_was_killed_after_the_sealing_and_its_disk_is_gone(
    project, store
):
    alice = await project("alice")
    (free,) = await create(alice)
    image = await image_of(alice, of(free["id"]))
    job = await Job.get(image_id=image["uuid"])
    disk_of_image = await ImageDisk.get(image_id=image["uuid"])
    sealed_id, copy_id = disk_of_image.content_id, uuid4()
    await Content.create(id=copy_id, engine="qemu", state=ContentState.PENDING)
    await ImageDisk.filter(id=disk_of_image.id).update(content_id=copy_id)
    await Image.filter(id=image["uuid"]).update(status=ImageStatus.SAVING)
    await Quota.filter(project_id=alice.project_id, resource="IMAGE_JOBS").update(used=1)
    await Job.filter(id=job.id).update(input=job.input | {"sealed_id": str(sealed_id), "copy_id": str(copy_id)})
    deleted = await alice.one(DELETE, ids=[free["id"]])
    await alice.done(deleted["results"][0]["job"]["id"])

    await again(job.id)
    await alice.done(str(job.id))

    assert (await alice.one(SHOWN, id=image["id"]))["status"] == "ACTIVE"
    assert (await Content.get(id=copy_id)).state == "SEALED"
    assert not await Content.exists(id=sealed_id)
    assert store.remains(str(sealed_id), str(copy_id)) == [f"{copy_id}.json"]
    assert await used(alice) == {"IMAGES": 1, "IMAGE_BYTES": 10 << 30}
