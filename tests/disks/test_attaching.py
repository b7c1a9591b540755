"""Disks that go from machine to machine, and grow: their bytes go with them."""

import asyncio
from uuid import uuid4

from app import db
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance
from app.enums import DiskStatus, ErrorCode, TokenScope
from app.jobs.models import Job
from app.projects.models import Quota
from tests.disks.acting import DELETE, again, change, changed, create, disk, image_of, refusal
from tests.ecs.looking import ecs, operate, told, unchanged, used
from tests.factories import make_client, make_flavor

KEEP_DISKS = "mutation($id: ID!) { deleteEcs(input: {ecsIds: [$id]}) { results { job { id } } userErrors { code } } }"


async def test_bytes_of_a_disk_survive_its_machine_attaching_detaching_extending_and_images(project):
    alice = await project("alice")
    first = await alice.launch(dataDisks=[{"sizeGib": 10, "name": "kept"}], userData="w1 40 bytes\n")
    await alice.console(first["id"], until="READY")
    kept = (await ecs(alice, first["id"]))["disks"][1]
    payload = await alice.one(KEEP_DISKS, id=first["id"])
    await alice.done(payload["results"][0]["job"]["id"])
    left = await disk(alice, kept["id"])
    second = await alice.launch(userData="r1 40\ns1\n")
    await alice.console(second["id"], until="READY")

    attached = await changed(alice, "attachEvsDisk", diskId=kept["id"], ecsId=second["id"])
    extended = await changed(alice, "extendEvsDisk", diskId=kept["id"], sizeGib=12)
    machine = await ecs(alice, second["id"])
    live = await image_of(alice, {"disk": {"diskId": kept["id"]}}, name="live")
    await operate(alice, "rebootEcs", second["id"], force=True)
    console = await alice.console(second["id"], until="bytesbytes")
    await alice.console(second["id"], until=f"{12 << 21:08X} ok")
    await operate(alice, "stopEcs", second["id"], force=True)
    detached = await changed(alice, "detachEvsDisk", diskId=kept["id"])
    still = await image_of(alice, {"disk": {"diskId": kept["id"]}}, name="still")
    usage = await used(alice)
    larger = await changed(alice, "extendEvsDisk", diskId=kept["id"], sizeGib=13)
    (copy,) = await create(alice, imageId=live["id"])
    await changed(alice, "attachEvsDisk", diskId=copy["id"], ecsId=second["id"])
    await operate(alice, "startEcs", second["id"])
    third = await alice.launch(
        dataDisks=[{"imageId": still["id"]}, {"sizeGib": 10}], userData="r1 40\nr2 40\ns1\n", name="third"
    )

    for machine_id in (second["id"], third["id"]):
        assert "bytesbytes" in await alice.console(machine_id, until=f"{12 << 21:08X} ok")
    assert (left["status"], left["ecsInstance"], left["bootIndex"]) == ("AVAILABLE", None, None)
    assert (attached["status"], attached["ecsInstance"], attached["bootIndex"]) == ("IN_USE", {"id": second["id"]}, 1)
    assert [one["id"] for one in machine["disks"]][1:] == [kept["id"]]
    assert (machine["status"], machine["currentJob"]) == ("ACTIVE", None)
    assert (extended["sizeGib"], extended["status"]) == (12, "IN_USE")
    assert console.count("HELLO boots=2") == 1
    assert (live["kind"], live["warnings"], still["warnings"]) == ("DATA_DISK", ["CRASH_CONSISTENT"], [])
    assert (detached["status"], detached["ecsInstance"], detached["bootIndex"]) == ("AVAILABLE", None, None)
    assert (usage["DISKS"], usage["DISK_GIB"]) == (2, 13)
    assert (larger["sizeGib"], larger["status"]) == (13, "AVAILABLE")
    assert (copy["sizeGib"], copy["image"]) == (12, {"imageId": live["id"], "name": "live"})
    disks = (await ecs(alice, third["id"]))["disks"]
    assert [(one["name"], one["sizeGib"], one["image"] and one["image"]["name"]) for one in disks] == [
        ("third-system", 1, "hello"),
        ("third-data-1", 12, "still"),
        ("third-data-2", 10, None),
    ]


async def test_guest_that_does_not_let_go_keeps_its_disk_unless_it_is_forced(project):
    alice = await project("alice")
    machines = (await alice.launch(count=2, dataDisks=[{"sizeGib": 10}], userData="w1 40 mine\n"))["all"]
    kept, taken = [(await ecs(alice, one["id"]))["disks"][1]["id"] for one in machines]
    for machine in machines:
        await alice.console(machine["id"], until="READY")

    begun = [
        await change(alice, "detachEvsDisk", diskId=kept),
        await change(alice, "detachEvsDisk", diskId=taken, force=True),
    ]
    meanwhile = await refusal(alice, "detachEvsDisk", diskId=kept)
    failed, forced = await asyncio.gather(*(alice.wait(payload["job"]["id"]) for payload in begun))
    here, free = await disk(alice, kept), await disk(alice, taken)
    machine, restarted = [await ecs(alice, one["id"]) for one in machines]

    assert meanwhile == ("BUSY", ["input", "diskId"], "Ecs.0103")
    assert begun[0]["evsDisk"]["status"] == "DETACHING"
    assert (failed["status"], failed["fault"]["code"]) == ("FAIL", "TIMED_OUT")
    assert (here["status"], here["ecsInstance"], here["fault"]) == (
        "IN_USE",
        {"id": machine["id"]},
        {"code": "TIMED_OUT"},
    )
    assert (machine["status"], machine["currentJob"]) == ("ACTIVE", None)
    assert forced["status"] == "SUCCESS", forced
    assert (free["status"], free["ecsInstance"]) == ("AVAILABLE", None)
    assert (restarted["status"], restarted["currentJob"], len(restarted["disks"])) == ("ACTIVE", None, 1)
    assert "boots=2" in await alice.console(restarted["id"], until="boots=2")

    await operate(alice, "stopEcs", machine["id"], force=True)
    after = await changed(alice, "detachEvsDisk", diskId=kept)

    assert (after["status"], after["fault"]) == ("AVAILABLE", None)


async def test_attaching_detaching_extending_and_deleting_are_refused_for_each_rule(project, service):
    alice, bob = await project("alice"), await project("bob")
    reader = await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.ECS])
    flavor = await make_flavor(max_data_disks=1)
    machine = await alice.launch(flavorId=flavor.name, dataDisks=[{"sizeGib": 10}])
    other = await alice.launch()
    system, data = (await ecs(alice, machine["id"]))["disks"]
    (free,) = await create(alice)
    (theirs,) = await create(bob)
    (odd,) = await create(alice)
    await EvsDisk.filter(id=odd["uuid"]).update(status=DiskStatus.ERROR)
    disk_field, ecs_field, size_field = ["input", "diskId"], ["input", "ecsId"], ["input", "sizeGib"]
    attach, detach, extend = "attachEvsDisk", "detachEvsDisk", "extendEvsDisk"
    cases = [
        (attach, {"diskId": free["id"], "ecsId": machine["id"]}, "TOO_MANY_DISKS", ecs_field, "Ecs.0104"),
        (attach, {"diskId": free["id"], "ecsId": str(uuid4())}, "NOT_FOUND", ecs_field, "IMG.0005"),
        (attach, {"diskId": theirs["id"], "ecsId": other["id"]}, "NOT_FOUND", disk_field, "IMG.0120"),
        (attach, {"diskId": data["id"], "ecsId": other["id"]}, "INVALID_STATE", disk_field, "Ecs.0103"),
        (attach, {"diskId": odd["id"], "ecsId": other["id"]}, "INVALID_STATE", disk_field, "Ecs.0103"),
        (detach, {"diskId": system["id"]}, "UNSUPPORTED", disk_field, None),
        (detach, {"diskId": free["id"]}, "INVALID_STATE", disk_field, "Ecs.0103"),
        (detach, {"diskId": theirs["id"]}, "NOT_FOUND", disk_field, "IMG.0120"),
        (extend, {"diskId": free["id"], "sizeGib": 10}, "DISK_TOO_SMALL", size_field, "Ecs.0007"),
        (extend, {"diskId": data["id"], "sizeGib": 9}, "DISK_TOO_SMALL", size_field, "Ecs.0007"),
        (extend, {"diskId": free["id"], "sizeGib": 32769}, "DISK_TOO_LARGE", size_field, "Ecs.0007"),
        (extend, {"diskId": system["id"], "sizeGib": 1025}, "DISK_TOO_LARGE", size_field, "IMG.0111"),
        (extend, {"diskId": odd["id"], "sizeGib": 20}, "INVALID_STATE", disk_field, "Ecs.0103"),
        (extend, {"diskId": theirs["id"], "sizeGib": 20}, "NOT_FOUND", disk_field, "IMG.0120"),
    ]

    async with unchanged(alice), unchanged(bob):
        for mutation, chosen, code, field, otc in cases:
            assert await refusal(alice, mutation, **chosen) == (code, field, otc), (mutation, chosen)
        assert await refusal(bob, attach, diskId=theirs["id"], ecsId=other["id"]) == (
            "NOT_FOUND",
            ecs_field,
            "IMG.0005",
        )
        for mutation, more in ((attach, {"ecsId": other["id"]}), (detach, {}), (extend, {"sizeGib": 20})):
            assert await refusal(reader, mutation, diskId=free["id"], **more) == ("FORBIDDEN", None, "IMG.0026")
        in_use = await alice.one(DELETE, ids=[data["id"]])
        assert [told(error) for error in in_use["userErrors"]] == [
            ("INVALID_STATE", ["input", "diskIds", "0"], "Ecs.0103")
        ]
        limit = Quota.filter(project_id=alice.project_id, resource="DISK_GIB")
        await limit.update(limit=40)
        assert await refusal(alice, extend, diskId=free["id"], sizeGib=20) == ("QUOTA_EXCEEDED", None, "Ecs.0021")
        await limit.update(limit=1000)
        await EcsInstance.filter(id=other["uuid"]).update(job_id=uuid4())
        held = await refusal(alice, attach, diskId=free["id"], ecsId=other["id"])
        await EcsInstance.filter(id=other["uuid"]).update(job_id=None)
        assert held == ("BUSY", ecs_field, "Ecs.0100")
    await reader.close()
    statuses = [(await disk(alice, one["id"]))["status"] for one in (system, data, free)]
    assert statuses == ["IN_USE", "IN_USE", "AVAILABLE"]


async def test_of_many_that_want_a_disk_or_more_of_it_at_once_one_gets_it(project):
    alice = await project("alice")
    machines = (await alice.launch(count=2))["all"]
    for machine in machines:
        await operate(alice, "stopEcs", machine["id"], force=True)
    (free,) = await create(alice)
    await Quota.filter(project_id=alice.project_id, resource="DISK_GIB").update(limit=20)

    grown = await asyncio.gather(*(change(alice, "extendEvsDisk", diskId=free["id"], sizeGib=18) for _ in range(3)))
    await asyncio.gather(*(alice.done(payload["job"]["id"]) for payload in grown if payload["job"]))
    attached = await asyncio.gather(
        *(change(alice, "attachEvsDisk", diskId=free["id"], ecsId=machine["id"]) for machine in machines)
    )
    await asyncio.gather(*(alice.done(payload["job"]["id"]) for payload in attached if payload["job"]))

    assert sum(payload["job"] is not None for payload in grown) == 1
    assert sum(payload["job"] is not None for payload in attached) == 1
    assert {told(error)[0] for payload in grown for error in payload["userErrors"]} <= {"BUSY", "DISK_TOO_SMALL"}
    assert {told(error)[0] for payload in attached for error in payload["userErrors"]} <= {"BUSY", "INVALID_STATE"}
    assert (await used(alice))["DISK_GIB"] == 20
    now = await disk(alice, free["id"])
    assert (now["sizeGib"], now["status"]) == (18, "IN_USE")


async def test_jobs_that_were_killed_before_they_were_written_down_end_as_they_would_have(project):
    alice = await project("alice")
    machine = await alice.launch()
    await operate(alice, "stopEcs", machine["id"], force=True)
    (made,) = await create(alice)
    row, holder = EvsDisk.filter(id=made["uuid"]), EcsInstance.filter(id=machine["uuid"])

    async def repeat(status: DiskStatus, *, is_abandoned: bool = False, **columns: object) -> dict[str, object]:
        """The disk after its last job has run once more, from the rows as they were before its end."""
        job = await Job.filter(project_id=alice.project_id).order_by("-created_at").first()
        await row.update(status=status, job_id=job.id, **columns)
        await holder.update(job_id=job.id)
        fault = {"fault_code": ErrorCode.INTERNAL, "fault_message": "killed", "fault_at": db.now()}
        await again(job.id, **(fault if is_abandoned else {}))
        assert (await alice.wait(str(job.id)))["status"] == ("FAIL" if is_abandoned else "SUCCESS")
        assert (await ecs(alice, machine["id"]))["currentJob"] is None
        after = await disk(alice, made["id"])
        return {name: after[name] for name in ("status", "bootIndex", "sizeGib", "fault")}

    free = {"status": "AVAILABLE", "bootIndex": None, "sizeGib": 10, "fault": None}
    in_use, fault = {"status": "IN_USE", "bootIndex": 1, "sizeGib": 10, "fault": None}, {"fault": {"code": "INTERNAL"}}
    await changed(alice, "attachEvsDisk", diskId=made["id"], ecsId=machine["id"])
    assert await repeat(DiskStatus.ATTACHING, ecs_id=None, boot_index=None) == in_use
    assert await repeat(DiskStatus.ATTACHING, ecs_id=None, boot_index=None, is_abandoned=True) == free | fault
    await changed(alice, "attachEvsDisk", diskId=made["id"], ecsId=machine["id"])
    await changed(alice, "extendEvsDisk", diskId=made["id"], sizeGib=11)
    assert await repeat(DiskStatus.EXTENDING, size_gib=10) == in_use | {"sizeGib": 11}
    assert await repeat(DiskStatus.EXTENDING, size_gib=10, is_abandoned=True) == in_use | {"sizeGib": 11} | fault
    await changed(alice, "detachEvsDisk", diskId=made["id"])
    back = {"ecs_id": machine["uuid"], "boot_index": 1}
    assert await repeat(DiskStatus.DETACHING, **back) == free | {"sizeGib": 11}
    assert await repeat(DiskStatus.DETACHING, **back, is_abandoned=True) == in_use | {"sizeGib": 11} | fault
    assert (await used(alice))["DISK_GIB"] == 12
