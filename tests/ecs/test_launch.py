"""Launching: what a machine has once it runs, what it tells its guest, and what it takes of the quotas."""

import asyncio
import socket
from datetime import datetime
from io import BytesIO

import pycdlib
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from app.ecs.models import EcsInstance
from app.enums import FlavorState
from app.projects.models import Quota
from tests.client import LAUNCH
from tests.ecs.looking import ECS, ecs, launch_refusal, unchanged, until, used
from tests.factories import make_flavor

WATCH = (
    "subscription($id: ID!) { ecsUpdated(id: $id) { status currentJob { id } endpoints { port } disks { status } } }"
)


async def test_launched_machine_has_all_that_was_asked_for(project, store):
    alice = await project("alice")
    hello = await alice.hello()
    pair = await alice.one('mutation { createKeyPair(input: {name: "mine"}) { keyPair { publicKey } privateKey } }')

    begun = await alice.launch(
        wait=False,
        name="web.1_A",
        description="the  first",
        exposePorts=[22, 8080],
        systemDisk={"sizeGib": 2, "type": "SSD"},
        dataDisks=[{"sizeGib": 10, "name": "logs"}, {"sizeGib": 11, "type": "SATA"}],
        tags=[{"key": "b", "value": "2"}, {"key": "a"}],
        login={"keyPairName": "mine"},
        userData="s0\ns1\ns2\n",
    )
    seen = []
    async with alice.subscribe(WATCH, id=begun["id"]) as values:
        async for value in values:
            seen.append(value["ecsUpdated"])
            if seen[-1]["status"] != "BUILD":
                break
    machine = await ecs(alice, begun["id"])
    console = await alice.console(begun["id"], until="READY")

    assert begun["status"] == "BUILD"
    assert [one["status"] for one in seen] == ["BUILD"] * (len(seen) - 1) + ["ACTIVE"]
    assert seen[-1]["currentJob"] is None
    assert {disk["status"] for disk in seen[-1]["disks"]} == {"IN_USE"}
    assert (machine["name"], machine["description"], machine["status"]) == ("web.1_A", "the  first", "ACTIVE")
    assert (machine["fault"], machine["currentJob"]) == (None, None)
    assert machine["flavor"] == {"name": "t1.nano", "vcpus": 1, "ramMib": 64}
    assert machine["image"] == {"imageId": hello, "name": "hello", "image": {"id": hello}}
    assert machine["tags"] == [{"key": "a", "value": ""}, {"key": "b", "value": "2"}]
    assert machine["keyPairName"] == "mine"
    assert machine["createdAt"] <= machine["launchedAt"] <= machine["updatedAt"]
    assert datetime.fromisoformat(machine["launchedAt"]).utcoffset() is not None
    facts = ("name", "sizeGib", "type", "status", "isSystem", "bootIndex", "image")
    assert [tuple(disk[fact] for fact in facts) for disk in machine["disks"]] == [
        ("web.1_A-system", 2, "SSD", "IN_USE", True, 0, {"imageId": hello, "name": "hello"}),
        ("web.1_A-logs", 10, "SAS", "IN_USE", False, 1, None),
        ("web.1_A-data-2", 11, "SATA", "IN_USE", False, 2, None),
    ]
    assert [(end["guestPort"], end["host"], end["protocol"]) for end in machine["endpoints"]] == [
        (22, "127.0.0.1", "TCP"),
        (8080, "127.0.0.1", "TCP"),
    ]
    for endpoint in machine["endpoints"]:
        with socket.create_connection((endpoint["host"], endpoint["port"]), timeout=5):
            pass
    # Sectors of 512 bytes, in hexadecimal: 2, 10 and 11 GiB.
    assert "HELLO boots=1 hostname=web" in console
    assert [f"{gib * 2097152:08X}" in console.upper() for gib in (2, 10, 11)] == [True] * 3
    assert store.pid(machine) is not None
    public_key = pair["keyPair"]["publicKey"]
    private_key = load_ssh_private_key(pair["privateKey"].encode(), None)
    assert private_key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() == public_key
    assert public_key in seed_file(store, machine, "meta-data")
    assert await used(alice) == {
        "ECS_INSTANCES": 1, "VCPUS": 1, "RAM_MIB": 64, "DISKS": 3, "DISK_GIB": 23, "KEY_PAIRS": 1,
    }  # fmt: skip


async def test_password_reaches_the_guest_as_a_hash_and_is_forgotten(project, store):
    alice = await project("alice")
    password = "Correct-Horse9"

    machine = await alice.launch(login={"password": password}, userData="hi\n")

    seed = store.machine(machine) / "seed.iso"
    row = await EcsInstance.get(id=machine["uuid"])
    assert '"$6$' in seed_file(store, machine, "vendor-data")
    assert password not in seed_file(store, machine, "vendor-data")
    assert "$6$" not in seed_file(store, machine, "meta-data") + seed_file(store, machine, "user-data")
    assert seed.stat().st_mode & 0o777 == 0o600
    assert seed.parent.stat().st_mode & 0o077 == 0
    assert row.password_hash is None
    assert [
        path for path in store.machine(machine).iterdir() if path.is_file() and password.encode() in path.read_bytes()
    ] == []


async def test_twins_with_one_key_launch_once(project):
    alice = await project("alice")
    chosen = {"name": "twin", "imageId": await alice.hello(), "flavorId": "t1.nano", "count": 3, "exposePorts": []}

    twins = await asyncio.gather(*(alice.one(LAUNCH, input=chosen | {"idempotencyKey": "k"}) for _ in range(5)))
    await alice.done(twins[0]["job"]["id"])
    late = await alice.one(LAUNCH, input=chosen | {"idempotencyKey": "k"})
    mismatch = await launch_refusal(alice, **chosen | {"idempotencyKey": "k", "name": "other"})

    machines = twins[0]["ecsInstances"]
    assert [machine["name"] for machine in machines] == ["twin-0000", "twin-0001", "twin-0002"]
    for answer in (*twins, late):
        assert answer["userErrors"] == []
        assert [machine["id"] for machine in answer["ecsInstances"]] == [machine["id"] for machine in machines]
        assert answer["job"]["id"] == twins[0]["job"]["id"]
    assert {machine["status"] for machine in late["ecsInstances"]} == {"ACTIVE"}
    assert mismatch == ("IDEMPOTENCY_MISMATCH", ["input", "idempotencyKey"], None)
    assert await used(alice) == {"ECS_INSTANCES": 3, "VCPUS": 3, "RAM_MIB": 192, "DISKS": 3, "DISK_GIB": 3}
    consoles = await asyncio.gather(*(alice.console(machine["id"], until="READY") for machine in machines))
    for machine, console in zip(machines, consoles, strict=True):
        assert f"hostname={machine['name']} " in console.replace("\r", " ")


async def test_key_of_one_project_means_nothing_to_another(project):
    alice, bob = await project("alice"), await project("bob")
    chosen = {"name": "vm", "imageId": await alice.hello(), "flavorId": "t1.none", "idempotencyKey": "k"}

    refusals = [(await client.one(LAUNCH, input=chosen))["userErrors"][0]["code"] for client in (alice, bob)]
    again = await launch_refusal(alice, name="other", flavorId="t1.none", idempotencyKey="k")

    assert refusals == ["NOT_FOUND", "NOT_FOUND"]
    assert again[0] == "NOT_FOUND", "a refusal does not use up the key"


async def test_a_dry_run_warns_and_changes_nothing_and_a_retry_warns_again(project):
    alice = await project("alice")
    flavor = await make_flavor(state=FlavorState.PROMOTION)
    chosen = {"name": "vm", "imageId": await alice.hello(), "flavorId": flavor.name, "dryRun": True}

    async with unchanged(alice):
        payload = await alice.one(LAUNCH, input=chosen)
    keyed = chosen | {"dryRun": False, "exposePorts": [], "idempotencyKey": "k"}
    first, again = [await alice.one(LAUNCH, input=keyed) for _ in range(2)]
    await alice.done(first["job"]["id"])

    assert first["warnings"] == again["warnings"] == payload["warnings"]
    assert payload == {
        "ecsInstances": [],
        "job": None,
        "warnings": [{"code": "FLAVOR_BEING_RETIRED"}],
        "userErrors": [],
    }


async def test_of_twenty_clients_one_gets_the_last_place(project):
    alice = await project("alice")
    await Quota.filter(project_id=alice.project_id, resource="ECS_INSTANCES").update(limit=1)
    chosen = {"name": "vm", "imageId": await alice.hello(), "flavorId": "t1.nano", "exposePorts": []}

    answers = await asyncio.gather(*(alice.one(LAUNCH, input=chosen) for _ in range(20)))

    (job_id,) = [answer["job"]["id"] for answer in answers if answer["job"]]
    refusals = [error["code"] for answer in answers for error in answer["userErrors"]]
    assert refusals == ["QUOTA_EXCEEDED"] * 19
    assert await used(alice) == {"ECS_INSTANCES": 1, "VCPUS": 1, "RAM_MIB": 64, "DISKS": 1, "DISK_GIB": 1}
    assert (await alice.one("{ ecsInstances { totalCount } }"))["totalCount"] == 1
    await alice.done(job_id)


async def test_deleted_machine_leaves_nothing_and_is_told_of_once_more(project, store):
    alice, bob = await project("alice"), await project("bob")
    machine = await alice.launch(userData="x\n")
    shown = await ecs(alice, machine["id"])
    uuids = [shown["uuid"], *(disk["uuid"] for disk in shown["disks"])]

    before = store.remains(*uuids)
    watching = asyncio.create_task(until(alice, machine["id"], "DELETED"))
    await alice.delete(machine["id"])
    last = await watching

    assert len(before) == 3
    assert (last["status"], last["endpoints"], last["disks"]) == ("DELETED", [], [])
    assert store.remains(*uuids) == []
    assert await alice.one(ECS, id=machine["id"]) is None
    assert await used(alice) == {}
    assert await bob.one(ECS, id=machine["id"]) is None


def seed_file(store, machine, name: str) -> str:
    """A file of a machine's seed, by its Rock Ridge name."""
    seed, data = pycdlib.PyCdlib(), BytesIO()
    seed.open(str(store.machine(machine) / "seed.iso"))
    seed.get_file_from_iso_fp(data, rr_path=f"/{name}")
    seed.close()
    return data.getvalue().decode()
