"""The service killed at random moments of its work: the next start finishes or undoes all of it, and machines never notice."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import httpx2
import pytest

from tests.client import DEADLINE_S, Client
from tests.e2e.installation import Installation
from tests.ecs.looking import each, ecs, operate

EVENTS = "subscription { jobEvents { type job { status phase } } }"
GOING_ON = "{ jobs(filter: {status: [INIT, RUNNING]}, first: 100) { nodes { id } } }"
MACHINES = "{ ecsInstances(first: 100) { nodes { id uuid name status endpoints { port } } } }"
MADE = """{ images(filter: {visibility: [PRIVATE], status: [ACTIVE]}, first: 100) { nodes { id kind } } }"""


@pytest.fixture
async def installation() -> AsyncIterator[Installation]:
    folder = Path(mkdtemp(prefix="k"))  # short: sockets have at most 107 bytes
    installation = Installation(folder / "data")
    await installation.open()
    yield installation
    await installation.close()
    shutil.rmtree(folder)


async def begin_all(alice: Client, name: str) -> None:
    """A launch, a seal, a copy and deletions, all at once; those that the kill comes before are nobody's loss."""
    machines = (await alice.one(MACHINES))["nodes"]
    kept = {machine["name"]: machine["id"] for machine in machines if machine["name"].startswith("kept")}
    gone = [machine["id"] for machine in machines if not machine["name"].startswith("kept")]
    works = [
        alice.launch(wait=False, name=name, count=3, userData="note new\n", exposePorts=[22]),
        alice.make_image(kept["kept-0000"], full=True, wait=False),
        alice.make_image(kept["kept-0001"], wait=False),
        each(alice, "deleteEcs", *gone),
    ]
    random.shuffle(works)
    with suppress(httpx2.TransportError):
        await asyncio.gather(*works)


async def kill_after_events(alice: Client, installation: Installation, *, number: int, delay_s: float) -> None:
    """Kill the service a moment after so many events of jobs, or when no more come."""
    async with alice.subscribe(EVENTS) as events:
        await anext(events)
        working = asyncio.create_task(begin_all(alice, f"k{number}"))
        with suppress(TimeoutError):
            for _ in range(number):
                async with asyncio.timeout(1):
                    await anext(events)
        await asyncio.sleep(delay_s)  # not a wait: the moment is what is random
        await installation.kill()
    with suppress(httpx2.TransportError):
        await working
    await alice.close()


async def let_all_end(alice: Client) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while going_on := (await alice.one(GOING_ON))["nodes"]:
            for job in going_on:
                await alice.wait(job["id"])


async def test_killed_service_loses_nothing_and_leaves_nothing(installation):
    seed = random.randrange(2**32)
    dice = random.Random(seed)
    print("seed", seed)
    alice = await installation.start()
    kept = (await alice.launch(name="kept", count=2, userData="fill 0 1000 400 x\nnote old\n", exposePorts=[22]))["all"]
    for machine in kept:
        await alice.console(machine["id"], until="READY")
    began = [await ecs(alice, machine["id"]) for machine in kept]
    processes = installation.machines()

    for _ in range(2):
        number, delay_s = dice.randrange(1, 24), dice.random() * 0.05
        print("kill after", number, delay_s)
        await kill_after_events(alice, installation, number=number, delay_s=delay_s)
        alice = await installation.start()
        if dice.random() < 0.5:
            print("and again at once")
            await installation.kill()
            await alice.close()
            alice = await installation.start()
        await let_all_end(alice)
    found = [await ecs(alice, machine["id"]) for machine in kept]
    machines = (await alice.one(MACHINES))["nodes"]
    left = installation.machines()
    # A machine that dies while nobody watches, once more with a job that holds it.
    await alice.make_image(kept[1]["id"], wait=False)
    await installation.kill()
    await alice.close()
    installation.kill_machine(kept[1])
    alice = await installation.start()
    await let_all_end(alice)
    dead = await ecs(alice, kept[1]["id"])
    await operate(alice, "startEcs", kept[1]["id"])
    await alice.console(kept[1]["id"], until="boots=2")
    images = (await alice.one(MADE))["nodes"]
    copies = [await alice.launch(image["id"], name="copy") for image in (images[0], images[-1])]
    notes = [await alice.console(copy["id"], until="READY") for copy in copies]
    await operate(alice, "stopEcs", kept[0]["id"])
    await alice.close()
    await installation.stop()

    assert {machine_id: left.get(machine_id) for machine_id in processes} == processes
    assert [machine["endpoints"] for machine in found] == [machine["endpoints"] for machine in began]
    assert {machine["status"] for machine in machines} == {"ACTIVE"}
    assert (dead["status"], dead["fault"]["code"], dead["endpoints"]) == ("SHUTOFF", "ENGINE_FAILED", [])
    assert all("NOTE old" in note for note in notes)
    assert installation.contradictions() == []
    assert installation.column("SELECT DISTINCT status FROM job") == ["SUCCESS"]
    assert [line for line in installation.said if "Traceback" in line] == []
