"""As test_contents_property, with disks that grow and chains that are shortened in between, hashed each time as the engine does."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.engines.lab import digest, no_progress
from tests.engines.test_contents_property import MAX_CONTENTS, Storage, sizes

EXAMPLES = 3
STEPS = 16


class GrowingStorage(Storage):
    """A store whose disks grow and whose chains are shortened."""

    @precondition(lambda self: self.disks)
    @rule(data=st.data(), size=sizes, is_repeated=st.booleans())
    def extend(self, data: st.DataObject, size: int, is_repeated: bool) -> None:
        disk_id = data.draw(st.sampled_from(list(self.disks)), label="which")
        for _ in range(1 + is_repeated):
            self.run(self._extend(disk_id, size))

    @precondition(lambda self: self.contents)
    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        content_id = data.draw(st.sampled_from(list(self.contents)), label="which")
        self.run(self.lab.engine.contents.compact(content_id, no_progress))
        assert self.run(self.lab.engine.contents.depth(content_id)) == 1

    @precondition(lambda self: self.disks)
    @rule(data=st.data())
    def compact_disk(self, data: st.DataObject) -> None:
        disk_id = data.draw(st.sampled_from(list(self.disks)), label="which")
        self.run(self.lab.engine.contents.compact_disk(disk_id, no_progress))
        assert self.run(self.lab.engine.contents.depth(disk_id)) <= 2

    @precondition(lambda self: self.contents)
    @rule(data=st.data())
    def verify(self, data: st.DataObject) -> None:
        content_id = data.draw(st.sampled_from(list(self.contents)), label="which")
        assert self.run(self.lab.engine.contents.verify(content_id, no_progress)) == digest(self.contents[content_id])

    @precondition(lambda self: self.disks and self.contents and len(self.contents) < MAX_CONTENTS)
    @rule(data=st.data(), size=sizes)
    def shorten_while_much_happens(self, data: st.DataObject, size: int) -> None:
        """Its chain is shortened while a disk is sealed and grows, and contents go."""
        disk_id = data.draw(st.sampled_from(list(self.disks)), label="which")
        contents = data.draw(st.permutations(list(self.contents)), label="compacted and released")
        work: list[Callable[[], Awaitable[object]]] = [
            partial(self.lab.engine.contents.compact_disk, disk_id, no_progress),
            partial(self.lab.engine.contents.compact, contents[0], no_progress),
            partial(self._grow_and_seal, disk_id, size),
        ]
        work += [partial(self._release, content_id) for content_id in contents[1:2]]
        self.random.shuffle(work)
        self.run(_do(work))

    async def _extend(self, disk_id: UUID, size: int) -> None:
        await self.lab.engine.contents.extend(disk_id, size)
        self.disks[disk_id] = self.disks[disk_id].ljust(size, b"\0")

    async def _grow_and_seal(self, disk_id: UUID, size: int) -> None:
        await self._extend(disk_id, size)
        await self._seal([disk_id])


async def _do(work: list[Callable[[], Awaitable[object]]]) -> None:
    await asyncio.gather(*(step() for step in work))


def test_whatever_grows_and_is_shortened_keeps_its_bytes(tmp_path: Path) -> None:
    chosen = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )

    run_state_machine_as_test(lambda: GrowingStorage(Path(mkdtemp(dir=tmp_path))), settings=chosen)
