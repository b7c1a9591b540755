"""Images, the machines that they were made of and a share go in any order; every machine and image that remains keeps its bytes."""

import asyncio
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tests.client import DEADLINE_S, Client
from tests.ecs.looking import operate

OUTPUT_END = "query($id: ID!) { ecsInstance(id: $id) { consoleLog { endOffset } } }"
OUTPUT = "subscription($id: ID!, $from: BigInt!) { ecsConsole(id: $id, fromOffset: $from) { text } }"
UNSHARE = """mutation($image: ID!, $project: ID!) { unshareImages(input: {imageIds: [$image], projectIds: [$project]}) {
  userErrors { code } } }"""
DELETE_IMAGE = "mutation($id: ID!) { deleteImages(input: {imageIds: [$id]}) { userErrors { code } } }"
UNFINISHED = "{ jobs(filter: {status: [INIT, RUNNING]}, first: 100) { nodes { id } } }"

TEXTS = {"0 200": "first-", "1 200": "first-data-", "0 210": "second-", "0 220": "third-"}
"""What is written to which sector (disk and LBA), each by one machine."""
FIRST, FIRST_DATA, SECOND, THIRD = TEXTS


@dataclass(frozen=True, slots=True)
class Thing(ABC):
    """A machine or an image, and the sectors that it has to hold."""

    id: str
    owner: Client
    sectors: Sequence[str]

    async def check(self) -> None:
        """What a boot from it reads is what was written."""
        console = await self.boot()
        shown = dict(re.findall(r"> r(\d [0-9a-f]+)\s+(\S{64}) ok", console))
        assert {sector: text.startswith(TEXTS[sector] * 3) for sector, text in shown.items()} == dict.fromkeys(
            self.sectors, True
        ), console

    @abstractmethod
    async def boot(self) -> str: ...

    @abstractmethod
    async def delete(self) -> None: ...


class Machine(Thing):
    """A machine that reads its sectors at each boot, and then writes its own."""

    async def boot(self) -> str:
        """In a new process: a running one would still have files open that are gone."""
        await operate(self.owner, "stopEcs", self.id, force=True)
        before = await self.owner.one(OUTPUT_END, id=self.id)
        await operate(self.owner, "startEcs", self.id)
        return await boot_output(self.owner, self.id, from_offset=before["consoleLog"]["endOffset"])

    async def delete(self) -> None:
        await self.owner.delete(self.id)


class Image(Thing):
    """An image."""

    async def boot(self) -> str:
        machine = await self.owner.launch(self.id, userData="".join(f"r{sector}\n" for sector in self.sectors))
        console = await boot_output(self.owner, machine["id"])
        await self.owner.delete(machine["id"])
        return console

    async def delete(self) -> None:
        payload = await self.owner.one(DELETE_IMAGE, id=self.id)
        assert payload["userErrors"] == []
        for job in (await self.owner.one(UNFINISHED))["nodes"]:
            await self.owner.done(job["id"])


async def boot_output(owner: Client, ecs_id: str, *, from_offset: int = 0) -> str:
    """What a machine says in one boot."""
    text = ""
    async with asyncio.timeout(DEADLINE_S), owner.subscribe(OUTPUT, id=ecs_id, **{"from": from_offset}) as values:
        async for value in values:
            text += value["ecsConsole"]["text"]
            if "READY" in text:
                return text
    raise AssertionError(text)


async def launch(
    owner: Client, image_id: str | None, *, holds: Sequence[str], writes: Sequence[str], **more
) -> Machine:
    sectors = [*holds, *writes]
    lines = [f"r{sector}" for sector in sectors] + [f"w{sector} {TEXTS[sector]}" for sector in writes]
    machine = await owner.launch(image_id, userData="\n".join(lines), **more)
    await boot_output(owner, machine["id"])
    return Machine(machine["id"], owner, sectors)


async def make_image(machine: Machine, *, full: bool) -> Image:
    image = await machine.owner.make_image(machine.id, full=full)
    return Image(image["id"], machine.owner, [sector for sector in machine.sectors if full or sector.startswith("0")])


async def test_whatever_goes_every_machine_and_image_that_remains_keeps_its_bytes(project):
    seed = random.randrange(2**32)
    print("seed", seed)
    alice, bob = await project("alice"), await project("bob")
    first = await launch(alice, None, holds=[], writes=[FIRST, FIRST_DATA], dataDisks=[{"sizeGib": 10}])
    parent = await make_image(first, full=True)
    second = await launch(alice, parent.id, holds=first.sectors, writes=[SECOND])
    system, full = await make_image(second, full=False), await make_image(second, full=True)
    await alice.share(full.id, bob)
    third = await launch(bob, full.id, holds=full.sectors, writes=[THIRD])
    remaining = [first, parent, second, system, full, third]

    async def withdraw() -> None:
        await alice.one(UNSHARE, image=full.id, project=bob.project_id)

    async def delete(thing: Thing) -> None:
        await thing.delete()
        remaining.remove(thing)

    steps: list[Callable[[], Awaitable[None]]] = [withdraw, *(partial(delete, thing) for thing in remaining)]
    random.Random(seed).shuffle(steps)
    for step in steps:
        await step()

        await asyncio.gather(*(thing.check() for thing in remaining))
