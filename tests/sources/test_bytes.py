"""What images hold: bytes that real machines wrote. That they stay whatever is deleted is in tests/e2e/test_any_order.py."""

import asyncio
from uuid import UUID

from app.contents.models import Content
from app.images.models import ImageDisk
from app.jobs.models import Job
from tests.client import CREATE_IMAGE, DEADLINE_S, Client
from tests.ecs.looking import operate, used
from tests.sources.test_create_image import SHOWN

CANCEL = "mutation($id: ID!) { cancelJob(input: {jobId: $id}) { userErrors { code } } }"
DELETE = "mutation($id: ID!) { deleteImages(input: {imageIds: [$id]}) { userErrors { code message } } }"
PHASES = "subscription($id: ID!) { jobUpdated(id: $id) { phase status } }"


async def delete_image(client: Client, image_id: str) -> None:
    payload = await client.one(DELETE, id=image_id)
    assert payload["userErrors"] == []


async def released(client: Client) -> None:
    """Wait until all contents that the project had to let go of are gone."""
    jobs = await client.one("{ jobs(filter: {type: [DELETE_IMAGE]}) { nodes { id } } }")
    for job in jobs["nodes"]:
        await client.done(job["id"])


async def contents_of(image) -> list[str]:
    """The plain ids of an image's contents."""
    rows = await ImageDisk.filter(image_id=image["uuid"]).values_list("content_id", flat=True)
    return [str(content_id) for content_id in rows]


async def test_stopped_machine_with_data_disks_is_restored_whole(project):
    alice = await project("alice")
    machine = await alice.launch(dataDisks=[{"sizeGib": 10}], userData="w0 200 system\nw1 40 data\n")
    await alice.console(machine["id"], until="READY")
    running = await alice.make_image(machine["id"], full=True)
    await operate(alice, "stopEcs", machine["id"])
    source = {"name": "image", "source": {"fullEcs": {"ecsId": machine["id"]}}}
    dry = await alice.one(CREATE_IMAGE, input=source | {"dryRun": True})
    image = await alice.make_image(machine["id"], full=True)
    system_only = await alice.make_image(machine["id"])
    shown = await alice.one(SHOWN, id=image["id"])
    await alice.delete(machine["id"])

    larger = [{"imageDiskId": shown["disks"][1]["id"], "sizeGib": 12, "type": "SSD"}]
    copy = await alice.launch(image["id"], diskOverrides=larger, userData="r0 200\nr1 40\ns1\n")
    console = await alice.console(copy["id"], until="READY")
    disks = await alice.one("{ evsDisks { nodes { bootIndex sizeGib type image { imageId } } } }")
    consistency = [
        (await Content.get(id=(await contents_of(each))[0])).consistency for each in (running, image, system_only)
    ]

    facts = ("bootIndex", "sizeGib", "isSystem")
    assert [tuple(disk[fact] for fact in facts) for disk in shown["disks"]] == [(0, 1, True), (1, 10, False)]
    assert len((await alice.one(SHOWN, id=system_only["id"]))["disks"]) == 1
    assert "systemsystem" in console
    assert "datadata" in console
    assert f"{12 << 21:08X}" in console.upper()
    assert sorted((disk["bootIndex"], disk["sizeGib"], disk["type"]) for disk in disks["nodes"]) == [
        (0, 1, "SAS"),
        (1, 12, "SSD"),
    ]
    assert {disk["image"]["imageId"] for disk in disks["nodes"]} == {image["id"]}
    assert (dry["warnings"], dry["userErrors"]) == ([], [])
    assert consistency == ["CRASH", "STOPPED", "STOPPED"]


async def test_cancelled_image_is_killed_and_leaves_no_bytes(project, store):
    alice = await project("alice")
    machine = await alice.launch(userData="fill 0 1000 800 x\n")  # 1 MiB
    await alice.console(machine["id"], until="READY")
    image = await alice.make_image(machine["id"], wait=False)
    chosen = (await Job.get(image_id=UUID(image["uuid"]))).input

    asked = None
    async with asyncio.timeout(DEADLINE_S), alice.subscribe(PHASES, id=image["jobId"]) as values:
        async for value in values:
            if asked is None and value["jobUpdated"]["phase"] == "copying the disk":
                asked = await alice.one(CANCEL, id=image["jobId"])
    shown = await alice.one(SHOWN, id=image["id"])
    usage = await used(alice)
    await delete_image(alice, image["id"])

    assert asked == {"userErrors": []}
    assert value["jobUpdated"]["status"] == "CANCELLED"
    assert (shown["status"], shown["fault"], shown["disks"]) == ("KILLED", {"code": "CANCELLED"}, [])
    assert store.remains(chosen["sealed_id"], chosen["copy_id"]) == []
    assert await Content.filter(id__in=[chosen["sealed_id"], chosen["copy_id"]]).count() == 0
    assert (usage["IMAGES"], usage.get("IMAGE_JOBS", 0)) == (1, 0)
    assert "IMAGES" not in await used(alice)
    assert "boots=2" not in await alice.console(machine["id"], until="READY"), "the machine ran on"


async def test_image_that_is_deleted_while_it_is_launched_is_launched_whole(project, store):
    alice, bob = await project("alice"), await project("bob")
    machine = await alice.launch(userData="note kept\n")
    await alice.console(machine["id"], until="READY")
    image = await alice.make_image(machine["id"], full=True)
    await alice.share(image["id"], bob)
    content_ids = await contents_of(image)

    begun = await bob.launch(image["id"], wait=False, count=2)
    await delete_image(alice, image["id"])
    late = await bob.answer("query($id: ID!) { image(id: $id) { id } }", id=image["id"])
    await bob.done(begun["jobId"])
    await released(alice)
    await released(bob)

    assert late["data"] == {"image": None}
    for copy in begun["all"]:
        assert "NOTE kept" in await bob.console(copy["id"], until="READY")
    assert await Content.filter(id__in=content_ids).count() == 0
    assert store.remains(*content_ids) == []
