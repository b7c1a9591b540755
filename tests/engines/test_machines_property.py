"""A guest writes all the time, a sector of one disk and then one of the other, while anything is done to its disks in any order."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count
from uuid import UUID

from tests.engines.lab import MIB, Lab, digest, no_progress

SECTOR = 512
FIRST = MIB // SECTOR
"""Below are hello's own sectors."""
DISK_BYTES = 4 * MIB
STEPS = 16


class Story:
    """A machine with two disks, what its guest has written, and what was made of it meanwhile."""

    def __init__(self, lab: Lab, dice: random.Random, machine_id: UUID, disks: tuple[UUID, UUID]) -> None:
        self.lab, self.dice, self.machine_id, self.disks = lab, dice, machine_id, disks
        self.engine = lab.engine
        self.written = 0
        """How many writes the guest has acknowledged; the nth is in the sector that it says."""
        self.digests: dict[UUID, str] = {}
        """Of all contents."""
        self.steps: list[Callable[[], Awaitable[object]]] = [
            *(self.seal_both, self.seal_both, self.seal_one, self.copy, self.shorten, self.compact),
            *(self.extend, self.restore, self.attach, self.release),
        ]

    async def write(self) -> None:
        """Have the guest write without end."""
        for number in count():
            await self.lab.type_line(self.machine_id, f"w{number % 2} {FIRST + number // 2:x} {number:08x}")
            self.written = number + 1

    async def numbers(self, content_id: UUID, disk: int) -> set[int]:
        """The numbers in what was a disk of the guest's; its bytes are what they always were."""
        data = await self.lab.read(content_id)
        assert self.digests.setdefault(content_id, digest(data)) == digest(data)
        found = set()
        for lba in range(FIRST, DISK_BYTES // SECTOR):
            sector = data[lba * SECTOR : (lba + 1) * SECTOR]
            if sector == bytes(SECTOR):
                break
            number = (lba - FIRST) * 2 + disk
            assert sector == (b"%08x" % number) * (SECTOR // 8)
            found.add(number)
        assert not data[lba * SECTOR :].strip(b"\0")
        return found

    async def seal_both(self) -> None:
        """They hold all writes up to one, and none that comes after it."""
        before, sealed = self.written, [self.lab.content() for _ in self.disks]
        await self.engine.contents.seal(dict(zip(self.disks, sealed, strict=True)), machine_id=self.machine_id)
        found = [await self.numbers(content_id, disk) for disk, content_id in enumerate(sealed)]
        assert sorted(found[0] | found[1]) == list(range(len(found[0]) + len(found[1])))
        assert len(found[0]) + len(found[1]) >= before

    async def seal_one(self) -> None:
        disk, content_id = self.dice.randrange(2), self.lab.content()
        before = self.written
        await self.engine.contents.seal({self.disks[disk]: content_id}, machine_id=self.machine_id)
        assert await self.numbers(content_id, disk) >= set(range(disk, before, 2))

    async def copy(self) -> None:
        content_id, copy_id = self.any_content(), self.lab.content()
        await self.engine.contents.copy(content_id, copy_id, no_progress)
        self.digests[copy_id] = digest(await self.lab.read(copy_id))
        assert self.digests[copy_id] == self.digests[content_id]

    async def shorten(self) -> None:
        await self.engine.contents.compact_disk(self.dice.choice(self.disks), no_progress)

    async def compact(self) -> None:
        content_id = self.any_content()
        await self.engine.contents.compact(content_id, no_progress)
        assert await self.engine.contents.verify(content_id, no_progress) == self.digests[content_id]

    async def extend(self) -> None:
        await self.engine.contents.extend(self.dice.choice(self.disks), DISK_BYTES + self.dice.randrange(8) * MIB)

    async def restore(self) -> None:
        """A disk that was made of a content holds it; then it goes again."""
        content_id, sealed = self.any_content(), self.lab.content()
        size_bytes = (await self.engine.contents.describe(content_id)).virtual_bytes
        disk_id = await self.lab.disk(content_id, size_bytes=size_bytes)
        await self.engine.contents.seal({disk_id: sealed}, machine_id=None)
        self.digests[sealed] = self.digests[content_id]
        self.lab.disks.discard(disk_id)
        await self.engine.contents.delete_disk(disk_id)
        assert digest(await self.lab.read(sealed)) == self.digests[sealed]

    async def attach(self) -> None:
        await self.engine.machines.attach(self.machine_id, await self.lab.disk(self.any_content(), size_bytes=16 * MIB))

    async def release(self) -> None:
        content_id = self.any_content()
        if len(self.digests) > 1:
            self.lab.contents.discard(content_id)
            del self.digests[content_id]
            await self.engine.contents.release(content_id)

    def any_content(self) -> UUID:
        return self.dice.choice(list(self.digests))


async def test_whatever_is_done_while_a_guest_writes_is_of_one_instant_and_stays(lab: Lab) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    data_disk = await lab.disk(size_bytes=DISK_BYTES)
    machine_id, system_disk = await lab.launch(data_disk)
    story = Story(lab, random.Random(seed), machine_id, (system_disk, data_disk))
    writing = asyncio.create_task(story.write())
    await story.seal_both()

    for step in story.dice.choices(story.steps, k=STEPS):
        await step()
        assert not writing.done()
    writing.cancel()
    await asyncio.wait({writing})
    await lab.engine.machines.stop(machine_id, deadline_s=1, force=True)
    await story.seal_both()

    assert story.written > STEPS
    assert {id_: digest(await lab.read(id_)) for id_ in story.digests} == story.digests
    assert lab.leavings() == []
