"""Restoring backups: the bytes of their instant come back, whatever was written, attached or deleted since."""

import asyncio
import random
from uuid import UUID, uuid4

from app.backups.models import Backup
from app.contents.models import Content
from app.db import now
from app.disks.models import EvsDisk
from app.enums import BackupStatus, TokenScope
from app.jobs.models import Job
from tests.backups.looking import RESTORE, back_up, delete_backups, refusal, shown
from tests.client import Client
from tests.ecs.looking import ecs, operate, told, unchanged, until, used
from tests.factories import make_client

EVS = """mutation($create: CreateEvsDisksInput!) { createEvsDisks(input: $create) { evsDisks { id } job { id }
  userErrors { code message } } }"""
ATTACH = """mutation($disk: ID!, $ecs: ID!) { attachEvsDisk(input: {diskId: $disk, ecsId: $ecs}) { job { id }
  userErrors { code message } } }"""
DETACH = "mutation($disk: ID!) { detachEvsDisk(input: {diskId: $disk}) { job { id } userErrors { code message } } }"
EXTEND = """mutation($disk: ID!, $size: Int!) { extendEvsDisk(input: {diskId: $disk, sizeGib: $size}) { job { id }
  userErrors { code message } } }"""


def new(**more: object) -> dict[str, object]:
    return {"newEcs": {"name": "copy", "flavorId": "t1.nano", "exposePorts": []} | more}


async def change(client: Client, mutation: str, **variables: object) -> None:
    payload = await client.one(mutation, **variables)
    assert payload["userErrors"] == [], payload
    await client.done(payload["job"]["id"])


async def add_disk(client: Client, ecs_id: str) -> str:
    """A data disk for a machine."""
    payload = await client.one(EVS, create={"name": "data", "sizeGib": 10})
    assert payload["userErrors"] == [], payload
    await client.done(payload["job"]["id"])
    disk_id: str = payload["evsDisks"][0]["id"]
    await change(client, ATTACH, disk=disk_id, ecs=ecs_id)
    return disk_id


async def restore(client: Client, backup_id: str, target: dict[str, object]) -> dict:
    """A machine that was restored."""
    payload = await client.one(RESTORE, input={"backupId": backup_id, "target": target})
    assert payload["userErrors"] == [], payload
    assert payload["job"]["backup"] == {"id": backup_id}
    await client.done(payload["job"]["id"])
    return payload["ecsInstance"]


async def test_own_machine_gets_the_bytes_of_the_instant_back_and_keeps_its_disks(project, store):
    alice = await project("alice")
    machine = await alice.launch(userData="r1 40\ns1\nw1 40 data\n")
    await alice.console(machine["id"], until="READY")
    await operate(alice, "stopEcs", machine["id"], force=True)
    kept = await add_disk(alice, machine["id"])
    backup = await back_up(alice, machine["id"])
    await operate(alice, "startEcs", machine["id"])
    await alice.console(machine["id"], until="boots=2")
    await alice.console(machine["id"], until="w1 40 data\r\n ok")
    await operate(alice, "stopEcs", machine["id"], force=True)
    await change(alice, EXTEND, disk=kept, size=12)
    later = await add_disk(alice, machine["id"])
    before, quotas = await ecs(alice, machine["id"]), await used(alice)

    dry = {"backupId": backup["id"], "target": {"ecsId": machine["id"]}, "dryRun": True}
    async with unchanged(alice):
        assert await alice.one(RESTORE, input=dry) == {"ecsInstance": None, "job": None, "userErrors": []}
    twins = await asyncio.gather(*(alice.one(RESTORE, input=dry | {"dryRun": False}) for _ in range(2)))
    (job,) = [payload["job"] for payload in twins if payload["job"]]
    await alice.done(job["id"])
    after = await ecs(alice, machine["id"])
    await operate(alice, "startEcs", machine["id"])
    await until(alice, machine["id"], "ACTIVE")
    console = await alice.console(machine["id"], until=f"{12 << 21:08X} ok")

    (refused,) = [told(error) for payload in twins for error in payload["userErrors"]]
    assert refused == ("BUSY", ["input", "backupId"], "Ecs.0073")
    assert console.count("boots=2") == 2
    assert "datadata" not in console
    assert [disk["id"] for disk in after["disks"]] == [disk["id"] for disk in before["disks"]]
    assert [disk["id"] for disk in after["disks"]][1:] == [kept, later]
    assert [(disk["status"], disk["sizeGib"]) for disk in after["disks"]] == [
        ("IN_USE", 1),
        ("IN_USE", 12),
        ("IN_USE", 10),
    ]
    assert (after["status"], after["currentJob"]) == ("SHUTOFF", None)
    assert (await shown(alice, backup["id"]))["status"] == "AVAILABLE"
    assert await used(alice) == quotas
    jobs = await alice.one("{ jobs(filter: {type: [DELETE_IMAGE]}) { nodes { id } } }")
    for each in jobs["nodes"]:
        await alice.done(each["id"])
    restored = await Job.get(project_id=alice.project_id, type="RESTORE_BACKUP")
    before_ids = list(restored.input["before"].values())
    held = await Content.filter(backup_disks__backup_id=UUID(backup["uuid"])).count()
    assert held == 2
    assert await Content.filter(id__in=before_ids).count() == 0
    assert store.remains(*before_ids) == []


async def test_new_machines_are_restored_and_backups_deleted_in_any_order(project, store):
    alice = await project("alice")
    machine = await alice.launch(userData="note kept\nw1 40 data\n", dataDisks=[{"sizeGib": 10}])
    await alice.console(machine["id"], until="READY")
    backups = [await back_up(alice, machine["id"])]
    for boots in (2, 3):
        await operate(alice, "rebootEcs", machine["id"], force=True)
        await alice.console(machine["id"], until=f"boots={boots}")
        backups.append(await back_up(alice, machine["id"]))
    contents = {backup["id"]: await store.contents_of(backup) for backup in backups}
    hashes = {id_: store.hash(id_) for ids in contents.values() for id_ in ids}
    await alice.delete(machine["id"])

    order = random.sample(range(3), 3)
    left = order[2]
    for index in order[:2]:
        await delete_backups(alice, backups[index]["id"])
        gone = contents.pop(backups[index]["id"])
        assert store.remains(*gone) == []
        for ids in contents.values():
            assert {id_: store.hash(id_) for id_ in ids} == {id_: hashes[id_] for id_ in ids}, order
    disks = (await shown(alice, backups[left]["id"]))["disks"]
    overrides = [{"imageDiskId": disks[1]["id"], "sizeGib": 12, "type": "SSD"}]
    dry = {"backupId": backups[left]["id"], "target": new(diskOverrides=overrides), "dryRun": True}
    async with unchanged(alice):
        assert await alice.one(RESTORE, input=dry) == {"ecsInstance": None, "job": None, "userErrors": []}
    keyed = dry | {"dryRun": False, "idempotencyKey": "k"}
    twins = await asyncio.gather(*(alice.one(RESTORE, input=keyed) for _ in range(2)))
    copy = twins[0]["ecsInstance"]
    await delete_backups(alice, backups[left]["id"])
    await alice.done(twins[0]["job"]["id"])
    console = await alice.console(copy["id"], until="READY")
    made = await ecs(alice, copy["id"])

    assert twins[0] == twins[1]
    assert f"boots={left + 2} " in console, order
    assert "NOTE kept" in console
    assert [(disk["sizeGib"], disk["type"]) for disk in made["disks"]] == [(1, "SAS"), (12, "SSD")]
    assert (made["name"], made["image"]["name"]) == ("copy", "hello")
    assert "BACKUPS" not in await used(alice)
    assert (await used(alice))["ECS_INSTANCES"] == 1


async def test_restoring_is_refused_for_each_rule(project, service):
    alice, bob = await project("alice"), await project("bob")
    machine = await alice.launch(dataDisks=[{"sizeGib": 10}])
    other = await bob.launch()
    backup, foreign = await back_up(alice, machine["id"]), await back_up(bob, other["id"])
    disks = (await shown(alice, backup["id"]))["disks"]
    storage = await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.STORAGE])
    reader = await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.ECS])
    own, target, to = {"ecsId": machine["id"]}, ["input", "target", "ecsId"], ["input", "target", "newEcs"]
    id_, missing = ["input", "backupId"], ("NOT_FOUND", ["input", "backupId"], "IMG.0127")

    def smaller(**more: object) -> dict[str, object]:
        return new(diskOverrides=[{"imageDiskId": disks[1]["id"]} | more])

    cases = [
        (alice, foreign["id"], own, missing),
        (alice, str(uuid4()), new(), missing),
        (alice, backup["id"], {"ecsId": other["id"]}, ("NOT_FOUND", target, "IMG.0005")),
        (alice, backup["id"], own, ("INVALID_STATE", target, "Ecs.0100")),
        (bob, foreign["id"], own, ("NOT_FOUND", target, "IMG.0005")),
        (reader, backup["id"], own, ("FORBIDDEN", None, "IMG.0026")),
        (storage, backup["id"], new(), ("FORBIDDEN", to, "IMG.0026")),
        (alice, backup["id"], new(name="a b"), ("INVALID_INPUT", [*to, "name"], "Ecs.0915")),
        (alice, backup["id"], new(flavorId="nope"), ("NOT_FOUND", [*to, "flavorId"], "Ecs.0029")),
        (alice, backup["id"], new(exposePorts=[0]), ("INVALID_INPUT", [*to, "exposePorts", "0"], None)),
        (
            alice,
            backup["id"],
            new(login={"keyPairName": "nope"}),
            ("KEY_UNAVAILABLE", [*to, "login", "keyPairName"], "Ecs.0314"),
        ),
        (
            alice,
            backup["id"],
            smaller(sizeGib=9),
            ("DISK_TOO_SMALL", [*to, "diskOverrides", "0", "sizeGib"], "Ecs.0046"),
        ),
        (
            alice,
            backup["id"],
            smaller(imageDiskId=disks[0]["id"], sizeGib=1025),
            ("DISK_TOO_LARGE", [*to, "diskOverrides", "0", "sizeGib"], "IMG.0111"),
        ),
        (
            alice,
            backup["id"],
            smaller(imageDiskId=str(uuid4())),
            ("NOT_FOUND", [*to, "diskOverrides", "0", "imageDiskId"], "Ecs.0046"),
        ),
    ]
    async with unchanged(alice), unchanged(bob):
        for client, backup_id, where, told_ in cases:
            for dry in (True, False):
                assert await refusal(client, RESTORE, backupId=backup_id, target=where, dryRun=dry) == told_, where
        rows = Backup.filter(id=UUID(backup["uuid"]))
        await rows.update(status=BackupStatus.ERROR)
        for where in (own, new()):
            answer = await refusal(alice, RESTORE, backupId=backup["id"], target=where)
            assert answer == ("BACKUP_UNAVAILABLE", id_, "Ecs.0048")
        await rows.update(status=BackupStatus.AVAILABLE)
        content = Content.filter(backup_disks__backup_id=UUID(backup["uuid"]))
        content_ids = [row.id for row in await content]
        await Content.filter(id__in=content_ids).update(damaged_at=now())
        answer = await refusal(alice, RESTORE, backupId=backup["id"], target=new())
        assert answer == ("DAMAGED", id_, "Ecs.0048")
        await Content.filter(id__in=content_ids).update(damaged_at=None)
    await operate(alice, "stopEcs", machine["id"], force=True)
    data = (await ecs(alice, machine["id"]))["disks"][1]
    await change(alice, DETACH, disk=data["id"])
    async with unchanged(alice):
        answer = await refusal(alice, RESTORE, backupId=backup["id"], target=own)
        assert answer == ("INVALID_STATE", target, "Ecs.0100")
    assert await EvsDisk.filter(project_id=alice.project_id, status="RESTORING").count() == 0
    assert (await ecs(alice, machine["id"]))["currentJob"] is None
    await storage.close()
    await reader.close()
