"""Images of backups: at once, one of each, and deleted before their backup or with it."""

import asyncio
from uuid import UUID, uuid4

from app.backups.models import Backup
from app.enums import BackupStatus, TokenScope
from tests.backups.looking import DELETE, back_up, refusal, shown
from tests.client import CREATE_IMAGE
from tests.ecs.looking import told, unchanged, used
from tests.factories import make_client
from tests.sources.test_create_image import SHOWN

DELETE_IMAGES = """mutation($ids: [ID!]!, $both: Boolean!, $dry: Boolean! = false) {
  deleteImages(input: {imageIds: $ids, deleteBackups: $both, dryRun: $dry}) { results { image { id } }
  userErrors { code otcCode field } } }"""
SOURCE = "query($id: ID!) { image(id: $id) { ... on PrivateImage { source { backupId } } } }"


def of(backup_id: str) -> dict[str, object]:
    return {"name": "image", "source": {"backup": {"backupId": backup_id}}}


async def test_image_of_a_backup_shares_its_bytes_and_goes_before_it_or_with_it(project, store):
    alice = await project("alice")
    machine = await alice.launch(name="origin", dataDisks=[{"sizeGib": 10}], userData="w0 200 system\nw1 40 data\n")
    await alice.console(machine["id"], until="READY")
    backup = await back_up(alice, machine["id"])
    contents = await store.contents_of(backup)
    await alice.delete(machine["id"])

    async with unchanged(alice):
        dry = await alice.one(CREATE_IMAGE, input=of(backup["id"]) | {"dryRun": True})
    twins = await asyncio.gather(
        *(alice.one(CREATE_IMAGE, input=of(backup["id"]) | {"idempotencyKey": "k"}) for _ in "ab")
    )
    racing = await asyncio.gather(*(alice.one(CREATE_IMAGE, input=of(backup["id"])) for _ in "ab"))
    await alice.done(twins[0]["job"]["id"])
    image = twins[0]["image"]
    made, source, kept = (
        await alice.one(SHOWN, id=image["id"]),
        await alice.one(SOURCE, id=image["id"]),
        await shown(alice, backup["id"]),
    )
    async with unchanged(alice):
        single = await alice.one(DELETE, ids=[backup["id"]])
        dry_delete = await alice.one(DELETE_IMAGES, ids=[image["id"]], both=True, dry=True)
    copy = await alice.launch(image["id"], userData="r0 200\nr1 40\n")
    console = await alice.console(copy["id"], until="READY")
    both = await alice.one(DELETE_IMAGES, ids=[image["id"]], both=True)
    for job in (await alice.one("{ jobs(filter: {type: [DELETE_BACKUP]}) { nodes { id } } }"))["nodes"]:
        await alice.done(job["id"])

    assert (dry["image"], dry["userErrors"], dry["warnings"]) == (None, [], [{"code": "CRASH_CONSISTENT"}])
    assert twins[0]["image"]["id"] == twins[1]["image"]["id"]
    assert [told(error) for payload in racing for error in payload["userErrors"]] == [
        ("BACKUP_HAS_IMAGE", ["input", "source", "backup", "backupId"], "IMG.0029")
    ] * 2
    assert (made["kind"], made["status"], made["minDiskGib"]) == ("FULL_ECS", "ACTIVE", 1)
    assert made["virtualSizeBytes"] == 11 << 30
    assert made["source"]["kind"] == "BACKUP"
    assert made["source"]["image"]["name"] == "hello"
    assert made["source"]["ecs"] == {"ecsId": machine["id"], "name": "origin", "ecsInstance": None}
    assert source == {"source": {"backupId": backup["id"]}}
    facts = ("bootIndex", "sizeGib", "isSystem", "contentBytes")
    assert [[disk[fact] for fact in facts] for disk in made["disks"]] == [
        [disk[fact] for fact in facts] for disk in kept["disks"]
    ]
    assert kept["image"] == {"id": image["id"], "name": "image"}
    assert [told(error) for error in single["userErrors"]] == [
        ("BACKUP_HAS_IMAGE", ["input", "backupIds", "0"], "IMG.0029")
    ]
    assert dry_delete["userErrors"] == []
    assert "systemsystem" in console
    assert "datadata" in console
    assert both["userErrors"] == []
    assert await shown(alice, backup["id"]) is None
    assert store.remains(*contents) == []
    assert {
        name: used_ for name, used_ in (await used(alice)).items() if name in ("BACKUPS", "IMAGES", "IMAGE_JOBS")
    } == {}


async def test_image_of_a_backup_is_refused_for_each_rule(project, service):
    alice, bob = await project("alice"), await project("bob")
    machine = await alice.launch()
    backup = await back_up(alice, machine["id"])
    where = ["input", "source", "backup", "backupId"]
    imager = await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.IMAGES])

    async with unchanged(alice), unchanged(bob):
        assert await refusal(bob, CREATE_IMAGE, **of(backup["id"])) == ("NOT_FOUND", where, "IMG.0127")
        assert await refusal(alice, CREATE_IMAGE, **of(str(uuid4()))) == ("NOT_FOUND", where, "IMG.0127")
        rows = Backup.filter(id=UUID(backup["uuid"]))
        await rows.update(status=BackupStatus.ERROR)
        assert await refusal(alice, CREATE_IMAGE, **of(backup["id"])) == ("BACKUP_UNAVAILABLE", where, "IMG.0132")
        await rows.update(status=BackupStatus.RESTORING, job_id=uuid4())
        assert await refusal(alice, CREATE_IMAGE, **of(backup["id"])) == ("BUSY", where, "Ecs.0073")
        await rows.update(status=BackupStatus.AVAILABLE, job_id=None)
    made = await imager.one(CREATE_IMAGE, input=of(backup["id"]))
    await alice.done(made["job"]["id"])
    async with unchanged(alice):
        forbidden = await imager.one(DELETE_IMAGES, ids=[made["image"]["id"]], both=True)
        await rows.update(status=BackupStatus.RESTORING, job_id=uuid4())
        busy = await alice.one(DELETE_IMAGES, ids=[made["image"]["id"]], both=True)
        await rows.update(status=BackupStatus.AVAILABLE, job_id=None)
    alone = await alice.one(DELETE_IMAGES, ids=[made["image"]["id"]], both=False)
    await imager.close()

    assert [told(error) for error in forbidden["userErrors"]] == [("FORBIDDEN", ["input", "deleteBackups"], "IMG.0026")]
    assert [told(error) for error in busy["userErrors"]] == [("BUSY", ["input", "imageIds", "0"], "IMG.0176")]
    assert alone["userErrors"] == []
    assert (await shown(alice, backup["id"]))["image"] is None


async def test_backup_is_deleted_or_gets_an_image_but_not_both(project):
    alice = await project("alice")
    machine = await alice.launch()
    backups = [await back_up(alice, machine["id"]) for _ in range(3)]

    results = await asyncio.gather(
        *(
            work
            for backup in backups
            for work in (alice.one(DELETE, ids=[backup["id"]]), alice.one(CREATE_IMAGE, input=of(backup["id"])))
        )
    )
    for deleted, made in zip(results[::2], results[1::2], strict=True):
        jobs = [made["job"]] + [result["job"] for result in deleted["results"]]
        for job in filter(None, jobs):
            await alice.done(job["id"])

    for backup, deleted, made in zip(backups, results[::2], results[1::2], strict=True):
        codes = [error["code"] for payload in (deleted, made) for error in payload["userErrors"]]
        left = await shown(alice, backup["id"])
        if made["image"]:
            assert codes == ["BACKUP_HAS_IMAGE"]
            assert left["image"]["id"] == made["image"]["id"]
        else:
            assert codes in (["BUSY"], ["NOT_FOUND"])
            assert left is None
