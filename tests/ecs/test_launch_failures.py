"""Launches that fail after they were accepted: nothing of them is left but rows that say why."""

from app.ecs.models import EcsInstance
from app.engines.qemu.process import available_memory_bytes
from tests.ecs.looking import each, ecs, operate, told, used
from tests.factories import make_flavor

JOB = """query($id: ID!) { job(id: $id) { status fault { code message }
  ecsInstances { id uuid name status fault { code message } disks { id } } } }"""


async def too_large_twice(service) -> str:
    """A flavor of which this host has room for one machine, but not for two."""
    room_mib = (available_memory_bytes() >> 20) - service.settings.reserve_memory_mib
    return str((await make_flavor(ram_mib=int(room_mib * 0.7))).name)


async def disks_of(client, begun) -> list[str]:
    """The plain ids of the machines that were begun, and of their disks."""
    machines = [await ecs(client, machine["id"]) for machine in begun["all"]]
    return [each["uuid"] for machine in machines for each in (machine, *machine["disks"])]


async def test_launch_is_all_or_nothing(project, service, store):
    alice = await project("alice")
    flavor = await too_large_twice(service)

    begun = await alice.launch(wait=False, flavorId=flavor, count=2, login={"password": "Abcd1234!"}, userData="x")
    uuids = await disks_of(alice, begun)
    job = await alice.wait(begun["jobId"])
    shown = await alice.one(JOB, id=begun["jobId"])

    assert job["status"] == "FAIL"
    assert job["fault"]["code"] == "NO_CAPACITY"
    assert "memory" in job["fault"]["message"]
    assert len(shown["ecsInstances"]) == 2
    for machine in shown["ecsInstances"]:
        assert (machine["status"], machine["disks"]) == ("ERROR", [])
        assert machine["fault"] == job["fault"]
        row = await EcsInstance.get(id=machine["uuid"])
        assert (row.password_hash, row.user_data) == (None, None)
    assert store.remains(*uuids) == []
    assert await used(alice) == {}
    assert await alice.one("{ evsDisks { totalCount } }") == {"totalCount": 0}


async def test_launch_with_a_least_count_keeps_those_that_run(project, service, store):
    alice = await project("alice")
    flavor = await too_large_twice(service)

    begun = await alice.launch(flavorId=flavor, count=2, minCount=1)
    shown = await alice.one(JOB, id=begun["jobId"])
    ran, failed = sorted(shown["ecsInstances"], key=lambda machine: machine["status"])
    facts = await ecs(alice, ran["id"])
    usage = await used(alice)

    assert (ran["status"], ran["fault"], failed["status"]) == ("ACTIVE", None, "ERROR")
    assert (failed["fault"]["code"], failed["disks"]) == ("NO_CAPACITY", [])
    assert store.remains(failed["uuid"]) == []
    assert store.pid(facts) is not None
    assert usage == {"ECS_INSTANCES": 1, "VCPUS": 1, "RAM_MIB": facts["flavor"]["ramMib"], "DISKS": 1, "DISK_GIB": 1}
    for mutation in ("startEcs", "stopEcs", "rebootEcs"):
        refused = await each(alice, mutation, failed["id"])
        assert told(refused["userErrors"][0]) == ("INVALID_STATE", ["input", "ecsIds", "0"], "Ecs.0100")
    await operate(alice, "deleteEcs", failed["id"])
    assert await ecs(alice, failed["id"]) is None
    assert await used(alice) == usage, "what failed had given its quota back already"
