"""Making, listing and deleting backups."""

import asyncio
from uuid import UUID, uuid4

from app.backups.models import Backup
from app.enums import BackupStatus, TokenScope
from app.projects.models import Quota
from tests.backups.looking import CREATE, DELETE, back_up, delete_backups, refusal, shown
from tests.ecs.looking import operate, told, unchanged, used
from tests.factories import make_client

CLUSTER = 1 << 16
LISTS = """query($filter: BackupFilter, $ecs: ID!) { backups(filter: $filter) { totalCount nodes { id name } }
  ecsInstance(id: $ecs) { backups(first: 1) { totalCount nodes { name } pageInfo { hasNextPage } } } }"""


async def test_backup_says_what_it_holds_and_outlives_its_machine(project, store):
    alice = await project("alice")
    machine = await alice.launch(name="origin", dataDisks=[{"sizeGib": 10}], userData="w1 40 data\n")
    await alice.console(machine["id"], until="READY")

    running = await back_up(alice, machine["id"], name="first")
    await operate(alice, "stopEcs", machine["id"], force=True)
    stopped = await back_up(alice, machine["id"], name="second")
    before = [await shown(alice, backup["id"]) for backup in (running, stopped)]
    lists = await alice.ask(LISTS, ecs=machine["id"], filter={"ecsIds": [machine["id"]], "name": {"contains": "FIRST"}})
    await alice.delete(machine["id"])
    after = [await shown(alice, backup["id"]) for backup in (running, stopped)]

    assert running["warnings"] == [{"code": "CRASH_CONSISTENT", "field": ["input", "ecsId"]}]
    assert stopped["warnings"] == []
    facts = [(one["name"], one["status"], one["consistency"], one["changedBytes"], one["image"]) for one in before]
    assert facts == [
        ("first", "AVAILABLE", "CRASH", 2 * CLUSTER, None),
        ("second", "AVAILABLE", "STOPPED", 0, None),
    ]
    for backup in before:
        disks = [(disk["bootIndex"], disk["sizeGib"], disk["isSystem"]) for disk in backup["disks"]]
        assert disks == [(0, 1, True), (1, 10, False)]
        assert backup["ecs"] == {"ecsId": machine["id"], "name": "origin", "ecsInstance": {"id": machine["id"]}}
    assert after == [backup | {"ecs": backup["ecs"] | {"ecsInstance": None}} for backup in before]
    assert [node["id"] for node in lists["backups"]["nodes"]] == [running["id"]]
    newest = {"totalCount": 2, "nodes": [{"name": "second"}], "pageInfo": {"hasNextPage": True}}
    assert lists["ecsInstance"]["backups"] == newest
    assert (await used(alice)) == {"BACKUPS": 2}
    contents = await store.contents_of(stopped) + await store.contents_of(running)
    await delete_backups(alice, running["id"], stopped["id"])
    assert await shown(alice, running["id"]) is None
    assert await used(alice) == {}
    assert store.remains(*contents) == []


async def test_backup_is_refused_for_each_rule(project, service):
    alice, bob = await project("alice"), await project("bob")
    machine_id = (await alice.launch())["id"]
    reader = await make_client(
        service.url, project_id=alice.project_id, scopes=[s for s in TokenScope if s is not TokenScope.STORAGE]
    )
    where = ["input", "ecsId"]

    async with unchanged(alice), unchanged(bob):
        assert await refusal(bob, CREATE, ecsId=machine_id, name="x") == ("NOT_FOUND", where, "IMG.0005")
        assert await refusal(alice, CREATE, ecsId=str(uuid4()), name="x") == ("NOT_FOUND", where, "IMG.0005")
        assert await refusal(alice, CREATE, ecsId="nonsense", name="x") == ("NOT_FOUND", where, "IMG.0005")
        assert await refusal(reader, CREATE, ecsId=machine_id, name="x") == ("FORBIDDEN", None, "IMG.0026")
        for name in ("", "x" * 129, " x", "a/b"):
            told_ = await refusal(alice, CREATE, ecsId=machine_id, name=name)
            assert told_ == ("INVALID_INPUT", ["input", "name"], None), name
    limits = Quota.filter(project_id=alice.project_id, resource="BACKUPS")
    await limits.update(limit=0)
    async with unchanged(alice):
        assert await refusal(alice, CREATE, ecsId=machine_id, name="x") == ("QUOTA_EXCEEDED", None, "Ecs.0001")
    await limits.update(limit=9)
    begun = await alice.launch(wait=False)
    busy = await refusal(alice, CREATE, ecsId=begun["id"], name="x")
    await alice.done(begun["jobId"])
    await reader.close()

    assert busy == ("BUSY", where, "Ecs.0100")


async def test_of_backups_of_one_machine_at_once_one_is_made_and_a_retry_is_the_same(project):
    alice = await project("alice")
    machine_id = (await alice.launch())["id"]
    chosen = {"ecsId": machine_id, "name": "b"}

    twins = await asyncio.gather(*(alice.one(CREATE, input=chosen | {"idempotencyKey": "k"}) for _ in range(3)))
    await alice.done(twins[0]["job"]["id"])
    late = await alice.one(CREATE, input=chosen | {"idempotencyKey": "k"})
    other = await refusal(alice, CREATE, **chosen | {"name": "c", "idempotencyKey": "k"})
    payloads = await asyncio.gather(*(alice.one(CREATE, input=chosen) for _ in range(3)))
    (job_id,) = [payload["job"]["id"] for payload in payloads if payload["job"]]
    await alice.done(job_id)

    assert len({payload["backup"]["id"] for payload in (*twins, late)}) == 1
    assert [payload["warnings"] for payload in (*twins, late)] == [twins[0]["warnings"]] * 4
    assert [warning["code"] for warning in late["warnings"]] == ["CRASH_CONSISTENT"]
    assert other == ("IDEMPOTENCY_MISMATCH", ["input", "idempotencyKey"], None)
    errors = [told(error) for payload in payloads for error in payload["userErrors"]]
    assert errors == [("BUSY", ["input", "ecsId"], "Ecs.0100")] * 2
    assert (await used(alice))["BACKUPS"] == 2


async def test_backups_are_found_by_what_they_are_and_only_by_their_project(project):
    alice, bob = await project("alice"), await project("bob")
    machine_id = (await alice.launch())["id"]
    first, second = await back_up(alice, machine_id, name="a 100_"), await back_up(alice, machine_id, name="b")
    await Backup.filter(id=UUID(second["uuid"])).update(status=BackupStatus.ERROR)
    query = "query($filter: BackupFilter) { backups(filter: $filter) { nodes { id } } }"
    cases = [
        ({"ids": [first["id"], second["uuid"]]}, {first["id"], second["id"]}),
        ({"status": ["ERROR"]}, {second["id"]}),
        ({"name": {"contains": "0_"}}, {first["id"]}),
        ({"ecsIds": [machine_id]}, {first["id"], second["id"]}),
        ({"hasImage": True}, set()),
        ({"hasImage": False}, {first["id"], second["id"]}),
        ({"createdAt": {"lt": "2000-01-01T00:00:00Z"}}, set()),
        ({"ids": []}, set()),
    ]

    for where, ids in cases:
        found = await alice.one(query, filter=where)
        assert {node["id"] for node in found["nodes"]} == ids, where
        assert (await bob.one(query, filter=where))["nodes"] == []
    assert await bob.one("query($id: ID!) { node(id: $id) { id } }", id=first["id"]) is None
    assert await shown(bob, first["id"]) is None
    assert await shown(bob, first["uuid"]) is None
    assert await alice.one("query($id: ID!) { node(id: $id) { __typename } }", id=first["id"]) == {
        "__typename": "Backup"
    }


async def test_backups_are_deleted_one_by_one_and_what_is_refused_for_one_is_done_for_others(project, service):
    alice, bob = await project("alice"), await project("bob")
    machine_id = (await alice.launch())["id"]
    backups = [await back_up(alice, machine_id, name=name) for name in ("a", "b")]
    ids = [backup["id"] for backup in backups]
    await Backup.filter(id=UUID(backups[1]["uuid"])).update(status=BackupStatus.ERROR)
    reader = await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.IMAGES])

    async with unchanged(alice), unchanged(bob):
        foreign = await bob.one(DELETE, ids=ids)
        forbidden = await reader.one(DELETE, ids=ids)
    payload = await alice.one(DELETE, ids=[ids[0], str(uuid4()), backups[0]["uuid"], ids[1]])
    again = await alice.one(DELETE, ids=ids[:1])
    for result in payload["results"]:
        if result["job"]:
            await alice.done(result["job"]["id"])
    await reader.close()

    assert [told(error) for error in foreign["userErrors"]] == [
        ("NOT_FOUND", ["input", "backupIds", str(index)], "IMG.0127") for index in range(2)
    ]
    assert [told(error) for error in forbidden["userErrors"]] == [("FORBIDDEN", None, "IMG.0026")]
    assert [told(error) for error in payload["userErrors"]] == [("NOT_FOUND", ["input", "backupIds", "1"], "IMG.0127")]
    done = [result["job"] and result["job"]["type"] for result in payload["results"]]
    assert done == ["DELETE_BACKUP", None, "DELETE_BACKUP"]
    assert again["userErrors"][0]["code"] in ("BUSY", "NOT_FOUND")
    assert "BACKUPS" not in await used(alice)
