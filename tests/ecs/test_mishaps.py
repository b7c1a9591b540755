"""What machines do by themselves: a guest that switches itself off, and a process that dies."""

import asyncio

from tests.ecs.looking import ecs, operate, until


async def test_guest_that_switches_itself_off_is_shutoff_without_a_fault(project, store):
    alice = await project("alice")
    begun = await alice.launch(userData="off\n", exposePorts=[22])

    machine = await until(alice, begun["id"], "SHUTOFF")

    assert (machine["fault"], machine["endpoints"], machine["currentJob"]) == (None, [], None)
    assert machine["launchedAt"] is not None
    assert store.pid(machine) is None
    assert "BYE" in await alice.console(begun["id"], until="BYE")


async def test_killed_machine_is_shutoff_within_a_second_and_says_why(project, store):
    alice = await project("alice")
    begun = await alice.launch(userData="w0 200 kept\nr0 200\n", exposePorts=[22])
    await alice.console(begun["id"], until="READY")
    watching = asyncio.create_task(until(alice, begun["id"], "SHUTOFF"))

    store.kill(begun)
    async with asyncio.timeout(1):
        machine = await watching
    await operate(alice, "startEcs", begun["id"])
    console = await alice.console(begun["id"], until="boots=2")
    started = await ecs(alice, begun["id"])

    assert machine["fault"]["code"] == "ENGINE_FAILED"
    assert "SIGKILL" in machine["fault"]["message"]
    assert "startEcs" in machine["fault"]["message"]
    assert (machine["endpoints"], machine["currentJob"]) == ([], None)
    assert (started["status"], started["fault"], len(started["endpoints"])) == ("ACTIVE", None, 1)
    assert "kept" in console
    assert "READY" in await alice.console(begun["id"], until="READY")


async def test_killed_machine_that_is_being_deleted_is_gone(project, store):
    alice = await project("alice")
    begun = await alice.launch()

    store.kill(begun)
    await operate(alice, "deleteEcs", begun["id"])

    assert await ecs(alice, begun["id"]) is None
    assert store.remains(begun["uuid"]) == []
