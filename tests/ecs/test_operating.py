"""Starting, stopping, restarting, deleting and renaming machines, and when that is refused."""

import asyncio

from tests.client import CREATE_IMAGE, Client
from tests.ecs.looking import each, ecs, operate, told, unchanged, used

UPDATE = """mutation($input: UpdateEcsInput!) { updateEcs(input: $input) {
  ecsInstance { id name description tags { key value } status } userErrors { code field otcCode } } }"""
CANCEL = "mutation($id: ID!) { cancelJob(input: {jobId: $id}) { job { id } userErrors { code field otcCode } } }"
WRONG_STATE = ("INVALID_STATE", ["input", "ecsIds", "0"], "Ecs.0100")


async def test_machine_is_stopped_started_and_restarted(project):
    alice = await project("alice")
    machine_id = (await alice.launch(exposePorts=[22]))["id"]
    await alice.console(machine_id, until="READY")

    await operate(alice, "stopEcs", machine_id)
    stopped = await ecs(alice, machine_id)
    await operate(alice, "startEcs", machine_id)
    await alice.console(machine_id, until="boots=2")
    started = await ecs(alice, machine_id)
    soft = (await each(alice, "rebootEcs", machine_id))["results"][0]
    await alice.done(soft["job"]["id"])
    await alice.console(machine_id, until="boots=3")
    twins = await asyncio.gather(
        *(each(alice, "rebootEcs", machine_id, force=True, idempotencyKey="k") for _ in range(2))
    )
    hard = twins[0]["results"][0]
    await alice.done(hard["job"]["id"])
    late = await each(alice, "rebootEcs", machine_id, force=True, idempotencyKey="k")
    other = await each(alice, "rebootEcs", machine_id, idempotencyKey="k")
    console = await alice.console(machine_id, until="boots=4")
    restarted = await ecs(alice, machine_id)
    await operate(alice, "stopEcs", machine_id, force=True)

    assert (stopped["status"], stopped["endpoints"], stopped["fault"]) == ("SHUTOFF", [], None)
    assert (started["status"], len(started["endpoints"])) == ("ACTIVE", 1)
    assert started["launchedAt"] == stopped["launchedAt"]
    assert [(one["ecsInstance"]["status"], one["job"]["type"]) for one in (soft, hard)] == [
        ("REBOOT", "REBOOT_ECS"),
        ("HARD_REBOOT", "REBOOT_ECS"),
    ]
    assert {answer["results"][0]["job"]["id"] for answer in (*twins, late)} == {hard["job"]["id"]}
    assert told(other["userErrors"][0]) == ("IDEMPOTENCY_MISMATCH", ["input", "idempotencyKey"], None)
    assert console.count("BYE") == 2, "stopEcs and rebootEcs asked the guest, force did not"
    assert (restarted["status"], restarted["endpoints"]) == ("ACTIVE", started["endpoints"])
    assert (await ecs(alice, machine_id))["status"] == "SHUTOFF"


async def test_held_machine_is_busy_until_the_deadline_cuts_its_power(project, service):
    alice = await project("alice")
    machine_id = (await alice.launch(userData="deaf\n"))["id"]
    await alice.console(machine_id, until="READY")
    source = {"ecs": {"ecsId": machine_id}}
    loop = asyncio.get_running_loop()

    begun = loop.time()
    (stop,) = (await each(alice, "stopEcs", machine_id))["results"]
    async with unchanged(alice):
        refused = [await each(alice, name, machine_id) for name in ("startEcs", "stopEcs", "rebootEcs", "deleteEcs")]
        imaged = await alice.one(CREATE_IMAGE, input={"name": "image", "source": source})
        cancelled = await alice.one(CANCEL, id=stop["job"]["id"])
    renamed = await alice.one(UPDATE, input={"ecsId": machine_id, "name": "meanwhile"})
    held = await ecs(alice, machine_id)
    await alice.done(stop["job"]["id"])
    took_s = loop.time() - begun

    assert [told(payload["userErrors"][0]) for payload in refused] == [
        ("BUSY", ["input", "ecsIds", "0"], "Ecs.0100")
    ] * 4
    assert [payload["results"][0]["job"] for payload in refused] == [None] * 4
    assert told(imaged["userErrors"][0]) == ("BUSY", ["input", "source", "ecs", "ecsId"], "IMG.0010")
    assert told(cancelled["userErrors"][0]) == ("INVALID_STATE", ["input", "jobId"], None)
    assert renamed["userErrors"] == []
    assert (held["name"], held["status"], held["currentJob"]["type"]) == ("meanwhile", "ACTIVE", "STOP_ECS")
    assert service.settings.stop_timeout_s <= took_s
    assert (await ecs(alice, machine_id))["status"] == "SHUTOFF"
    assert "BYE" not in await alice.console(machine_id, until="READY")


async def test_machine_in_another_state_is_refused(project):
    alice = await project("alice")
    machine_id = (await alice.launch())["id"]

    async with unchanged(alice):
        running = await each(alice, "startEcs", machine_id)
    stops = await asyncio.gather(*(each(alice, "stopEcs", machine_id, force=True) for _ in range(4)))
    (stop,) = [payload["results"][0]["job"] for payload in stops if payload["results"][0]["job"]]
    await alice.done(stop["id"])
    async with unchanged(alice):
        refused = [await each(alice, mutation, machine_id) for mutation in ("stopEcs", "rebootEcs")]

    assert {error["code"] for payload in stops for error in payload["userErrors"]} <= {"BUSY", "INVALID_STATE"}
    assert [told(payload["userErrors"][0]) for payload in (running, *refused)] == [WRONG_STATE] * 3
    assert (await ecs(alice, machine_id))["status"] == "SHUTOFF"


async def test_batch_does_what_it_can_and_tells_the_rest(project):
    alice, bob = await project("alice"), await project("bob")
    mine, theirs = (await alice.launch())["id"], (await bob.launch())["id"]

    payload = await each(alice, "stopEcs", theirs, mine, "no id", mine, force=True)
    await alice.done(payload["results"][1]["job"]["id"])

    assert [result["ecsId"] for result in payload["results"]] == [theirs, mine, "no id"]
    assert [result["error"] and told(result["error"])[:2] for result in payload["results"]] == [
        ("NOT_FOUND", ["input", "ecsIds", "0"]),
        None,
        ("NOT_FOUND", ["input", "ecsIds", "2"]),
    ]
    assert [told(error)[:2] for error in payload["userErrors"]] == [
        ("NOT_FOUND", ["input", "ecsIds", "0"]),
        ("NOT_FOUND", ["input", "ecsIds", "2"]),
    ]
    assert (await ecs(alice, mine))["status"] == "SHUTOFF"
    assert (await ecs(bob, theirs))["status"] == "ACTIVE"


async def test_batch_of_more_than_a_hundred_is_refused(project):
    alice = await project("alice")

    payload = await each(alice, "deleteEcs", *(f"no-{index}" for index in range(101)))

    assert payload["results"] == []
    assert [told(error)[:2] for error in payload["userErrors"]] == [("LIMIT_EXCEEDED", ["input", "ecsIds"])]


async def test_deleting_keeps_data_disks_unless_they_are_to_go(project, store):
    alice = await project("alice")
    begun = await alice.launch(count=2, dataDisks=[{"sizeGib": 10}])
    kept, gone = [await ecs(alice, machine["id"]) for machine in begun["all"]]

    await asyncio.gather(
        operate(alice, "deleteEcs", kept["id"]), operate(alice, "deleteEcs", gone["id"], deleteDataDisks=True)
    )
    disks = (await alice.one("{ evsDisks { nodes { uuid status ecsInstance { id } bootIndex sizeGib } } }"))["nodes"]

    assert disks == [
        {"uuid": kept["disks"][1]["uuid"], "status": "AVAILABLE", "ecsInstance": None, "bootIndex": None, "sizeGib": 10}
    ]
    assert store.remains(disks[0]["uuid"]) == [f"{disks[0]['uuid']}.json"]
    assert store.remains(kept["uuid"], gone["uuid"], kept["disks"][0]["uuid"], gone["disks"][1]["uuid"]) == []
    assert await used(alice) == {"DISKS": 1, "DISK_GIB": 10}


async def test_update_changes_what_is_given_and_nothing_else(project):
    alice, bob = await project("alice"), await project("bob")
    machine = await alice.launch(name="old", description="kept", tags=[{"key": "a"}, {"key": "b"}])

    renamed = await alice.one(UPDATE, input={"ecsId": machine["id"], "name": "new"})
    retagged = await alice.one(
        UPDATE, input={"ecsId": machine["uuid"], "description": None, "tags": [{"key": "c", "value": "d"}]}
    )
    foreign = await bob.one(UPDATE, input={"ecsId": machine["id"], "name": "bobs"})

    assert renamed["ecsInstance"]["name"] == "new"
    assert renamed["ecsInstance"]["description"] == "kept"
    assert [tag["key"] for tag in renamed["ecsInstance"]["tags"]] == ["a", "b"]
    assert retagged["ecsInstance"] == {
        "id": machine["id"], "name": "new", "description": None, "tags": [{"key": "c", "value": "d"}], "status": "ACTIVE",
    }  # fmt: skip
    assert told(foreign["userErrors"][0])[:2] == ("NOT_FOUND", ["input", "ecsId"])
    await refuses_updates(alice, machine["id"])


async def refuses_updates(client: Client, ecs_id: str) -> None:
    before = await ecs(client, ecs_id)
    cases = [
        ({"name": ""}, "INVALID_INPUT", ["input", "name"], "Ecs.0915"),
        ({"name": "x" * 129}, "INVALID_INPUT", ["input", "name"], "Ecs.0914"),
        ({"description": "x" * 86}, "INVALID_INPUT", ["input", "description"], "IMG.0004"),
        ({"tags": [{"key": f"k{index}"} for index in range(11)]}, "LIMIT_EXCEEDED", ["input", "tags"], "IMG.0116"),
        ({"name": "fine", "tags": [{"key": ""}]}, "INVALID_INPUT", ["input", "tags", "0"], "IMG.0115"),
    ]
    for changes, *expected in cases:
        payload = await client.one(UPDATE, input={"ecsId": ecs_id} | changes)
        assert told(payload["userErrors"][0]) == tuple(expected)
        assert payload["ecsInstance"] is None
    assert await ecs(client, ecs_id) == before
