"""Making, listing and deleting backups."""

from tests.backups.looking import back_up, delete_backups, shown
from tests.ecs.looking import operate, used


async def test_backup_says_what_it_holds_and_outlives_its_machine(project, store):
    alice = await project("alice")
    machine = await alice.launch(name="origin", dataDisks=[{"sizeGib": 10}], userData="w1 40 data\n")
    await alice.console(machine["id"], until="READY")

    running = await back_up(alice, machine["id"], name="first")
    await operate(alice, "stopEcs", machine["id"])
    stopped = await back_up(alice, machine["id"], name="second")
    before = [await shown(alice, backup["id"]) for backup in (running, stopped)]
    await alice.delete(machine["id"])
    after = [await shown(alice, backup["id"]) for backup in (running, stopped)]

    assert running["warnings"] == [{"code": "CRASH_CONSISTENT", "field": ["input", "ecsId"]}]
    assert stopped["warnings"] == []
    assert [backup["consistency"] for backup in before] == ["CRASH", "STOPPED"]
    assert [disk["sizeGib"] for disk in before[0]["disks"]] == [1, 10]
    print(before)
    assert after == [backup | {"ecs": backup["ecs"] | {"ecsInstance": None}} for backup in before]
    assert (await used(alice))["BACKUPS"] == 2
    await delete_backups(alice, running["id"], stopped["id"])
    assert await used(alice) == {}
