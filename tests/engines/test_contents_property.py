"""Disks and contents in any order: whatever is released, deleted or shortened, everything else keeps its bytes.

A content is what an image's disk holds, and its last holder gone (image deleted, share withdrawn, machine deleted) means that it is
released. So sequences of seals, copies, releases and deletions, cut by restarts, are all that deletions in the service can come to. In
between disks grow, chains are shortened, and contents go out as files and come in again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any, TypeVar
from uuid import UUID

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.engines.base import Known
from app.engines.qemu.layers import SUFFIX
from tests.engines.lab import MIB, QemuLab, digest, no_progress

T = TypeVar("T")
Step = Callable[[], Awaitable[object]]

SECTOR = 512
MAX_DISKS = 5
MAX_CONTENTS = 8
EXAMPLES = 6
STEPS = 20

sizes = st.integers(MIB // SECTOR, 2 * MIB // SECTOR).map(lambda sectors: sectors * SECTOR)
"""Bytes; seldom a whole number of clusters."""
writes = st.lists(
    st.tuples(
        st.sampled_from(["write -q -s {pattern}", "write -q -z", "write -q -z -u"]),
        st.integers(0, 4 * MIB),
        st.one_of(st.integers(1, 5_000), st.integers(1, 400_000)),
    ),
    min_size=1,
    max_size=4,
)
"""What qemu-io is told, an offset and a length, neither aligned to anything."""


class GivenUp(Exception):
    """Whoever wanted a copy no longer does."""


class Storage(RuleBasedStateMachine):
    """A store, and beside it what each of its disks and contents has to hold."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.lab = QemuLab(folder)
        self.disks: dict[UUID, bytearray] = {}
        self.contents: dict[UUID, bytes] = {}
        self.numbers = count(1)
        self.random = Random(0)
        self.is_sound = True
        # Its own loop, which is nobody else's current one: the rules are no coroutines.
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.run(self.lab.open())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self.runner.run(work)
        except BaseException:
            self.is_sound = False
            raise

    def new_id(self) -> UUID:
        """The same in a replay."""
        return UUID(int=next(self.numbers))

    # ------------------------------------------------------------ what happens

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random.seed(seed)

    @precondition(lambda self: len(self.contents) < MAX_CONTENTS)
    @rule(size=sizes)
    def ingest(self, size: int) -> None:
        data = self.random.randbytes(size // 2).ljust(size, b"\0")
        self.contents[self.run(self.lab.ingest(data))] = data

    @precondition(lambda self: len(self.disks) < MAX_DISKS)
    @rule(data=st.data(), size=sizes)
    def create_disk(self, data: st.DataObject, size: int) -> None:
        content_id = data.draw(st.sampled_from([*self.contents, None]), label="from")
        self.run(self._create_disk(content_id, size))

    @precondition(lambda self: self.disks)
    @rule(data=st.data(), writes=writes)
    def write(self, data: st.DataObject, writes: list[tuple[str, int, int]]) -> None:
        disk_id = data.draw(st.sampled_from(list(self.disks)), label="to")
        self.run(self._write(disk_id, writes))

    @precondition(lambda self: self.disks and len(self.contents) < MAX_CONTENTS)
    @rule(data=st.data(), is_repeated=st.booleans())
    def seal(self, data: st.DataObject, is_repeated: bool) -> None:
        disk_ids = data.draw(st.lists(st.sampled_from(list(self.disks)), min_size=1, max_size=3, unique=True))
        self.run(self._seal(disk_ids, is_repeated=is_repeated))

    @precondition(lambda self: self.contents and len(self.contents) < MAX_CONTENTS)
    @rule(data=st.data())
    def copy(self, data: st.DataObject) -> None:
        self.run(self._copy(data.draw(st.sampled_from(list(self.contents)), label="of")))

    @precondition(lambda self: self.contents)
    @rule(data=st.data(), calls=st.integers(0, 5))
    def give_a_copy_up(self, data: st.DataObject, calls: int) -> None:
        content_id = data.draw(st.sampled_from(list(self.contents)), label="of")
        self.run(self._give_a_copy_up(content_id, calls))

    @precondition(lambda self: self.contents)
    @rule(data=st.data(), is_repeated=st.booleans())
    def release(self, data: st.DataObject, is_repeated: bool) -> None:
        content_id = data.draw(st.sampled_from(list(self.contents)))
        for _ in range(1 + is_repeated):
            self.run(self._release(content_id))

    @precondition(lambda self: self.disks)
    @rule(data=st.data(), is_repeated=st.booleans())
    def delete_disk(self, data: st.DataObject, is_repeated: bool) -> None:
        disk_id = data.draw(st.sampled_from(list(self.disks)))
        for _ in range(1 + is_repeated):
            self.run(self._delete_disk(disk_id))

    @precondition(lambda self: self.disks)
    @rule(data=st.data(), size=sizes, is_repeated=st.booleans())
    def extend(self, data: st.DataObject, size: int, is_repeated: bool) -> None:
        disk_id = data.draw(st.sampled_from(list(self.disks)), label="which")
        for _ in range(1 + is_repeated):
            self.run(self._extend(disk_id, size))

    @precondition(lambda self: self.contents or self.disks)
    @rule(data=st.data())
    def shorten(self, data: st.DataObject) -> None:
        """Contents are hashed then, too, as the engine does it."""
        chosen = data.draw(st.sampled_from([*self.disks, *self.contents]), label="which")
        self.run(self._shorten(chosen))

    @precondition(lambda self: self.contents and len(self.contents) < MAX_CONTENTS)
    @rule(data=st.data(), format=st.sampled_from(["raw", "qcow2", "vmdk", "vpc", "vhdx"]))
    def send_out_and_take_in(self, data: st.DataObject, format: str) -> None:
        content_id = data.draw(st.sampled_from(list(self.contents)), label="which")
        self.run(self._send_out_and_take_in(content_id, format))

    @precondition(lambda self: self.disks and len(self.contents) > 1)
    @rule(data=st.data())
    def do_much_at_once(self, data: st.DataObject) -> None:
        """Some of it goes while the rest is used."""
        contents, disks = (data.draw(st.permutations(list(ids))) for ids in (self.contents, self.disks))
        gone_contents = contents[: data.draw(st.integers(0, len(contents) - 1), label="contents that go")]
        gone_disks = disks[: data.draw(st.integers(0, len(disks) - 1), label="disks that go")]
        work: list[Step] = [partial(self._create_disk, contents[-1], 0), partial(self._grow_and_seal, disks[-1])]
        work += [partial(self._copy, contents[-1])]
        work += [partial(self.lab.engine.contents.compact_disk, disks[-1], no_progress)]
        work += [partial(self.lab.engine.contents.compact, contents[-1], no_progress)]
        work += [partial(self._release, content_id) for content_id in gone_contents]
        work += [partial(self._delete_disk, disk_id) for disk_id in gone_disks]
        self.random.shuffle(work)
        self.run(_do(work, lanes=data.draw(st.integers(2, 3), label="lanes")))

    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        """The database may have forgotten some of it since."""
        everything = [*self.disks, *self.contents]
        forgotten = data.draw(st.sets(st.sampled_from(everything), max_size=2)) if everything else set()
        self.run(self._reopen(forgotten))

    # ------------------------------------------------------------ how

    async def _create_disk(self, content_id: UUID | None, size: int) -> None:
        disk_id, below = self.new_id(), self.contents[content_id] if content_id else b""
        size = max(size, len(below))
        await self.lab.engine.contents.create_disk(disk_id, size_bytes=size, content_id=content_id)
        self.disks[disk_id] = bytearray(below.ljust(size, b"\0"))

    async def _write(self, disk_id: UUID, writes: list[tuple[str, int, int]]) -> None:
        held, commands = self.disks[disk_id], []
        for number, (command, anywhere, most) in enumerate(writes):
            begin = anywhere % len(held)
            end = min(begin + most, len(held))
            pattern = self.folder / f"pattern{number}"
            held[begin:end] = new = self.random.randbytes(end - begin) if "{pattern}" in command else bytes(end - begin)
            pattern.write_bytes(new)
            commands += ["-c", f"{command.format(pattern=pattern)} {begin} {end - begin}"]
        await _run("qemu-io", "-f", "qcow2", *commands, str(self._file("disks", disk_id)))

    async def _seal(self, disk_ids: list[UUID], *, is_repeated: bool = False) -> None:
        wanted = {disk_id: self.new_id() for disk_id in disk_ids}
        for _ in range(1 + is_repeated):
            sealed = await self.lab.engine.contents.seal(wanted, machine_id=None)
            assert {content_id: facts.virtual_bytes for content_id, facts in sealed.contents.items()} == {
                content_id: len(self.disks[disk_id]) for disk_id, content_id in wanted.items()
            }
        self.contents |= {content_id: bytes(self.disks[disk_id]) for disk_id, content_id in wanted.items()}

    async def _copy(self, content_id: UUID) -> None:
        copy_id, held = self.new_id(), self.contents[content_id]
        await self.lab.engine.contents.copy(content_id, copy_id, no_progress)
        self.contents[copy_id] = held

    async def _give_a_copy_up(self, content_id: UUID, calls: int) -> None:
        left, copy_id = count(calls, -1), self.new_id()

        async def give_up(done: int, total: int) -> None:
            if not next(left):
                raise GivenUp

        with suppress(GivenUp):
            await self.lab.engine.contents.copy(content_id, copy_id, give_up)
            # How often progress is told differs from run to run, and here nothing may.
            await self.lab.engine.contents.release(copy_id)

    async def _extend(self, disk_id: UUID, size: int) -> None:
        await self.lab.engine.contents.extend(disk_id, size)
        self.disks[disk_id] = self.disks[disk_id].ljust(size, b"\0")

    async def _grow_and_seal(self, disk_id: UUID) -> None:
        await self._extend(disk_id, 2 * MIB)
        await self._seal([disk_id])

    async def _shorten(self, id_: UUID) -> None:
        engine = self.lab.engine.contents
        if id_ in self.disks:
            await engine.compact_disk(id_, no_progress)
            assert await engine.depth(id_) <= 2
            return
        await engine.compact(id_, no_progress)
        assert await engine.depth(id_) == 1
        assert await engine.verify(id_, no_progress) == digest(self.contents[id_])

    async def _send_out_and_take_in(self, content_id: UUID, format: str) -> None:
        path, new_id, engine = self.folder / "sent", self.new_id(), self.lab.engine.contents
        await engine.export(content_id, path, format=format, progress=no_progress)
        facts = await engine.ingest(path, format=format, content_id=new_id, progress=no_progress)
        path.unlink()
        # Some formats have whole MiBs or sectors only.
        self.contents[new_id] = self.contents[content_id].ljust(facts.virtual_bytes, b"\0")

    async def _release(self, content_id: UUID) -> None:
        self.contents.pop(content_id, None)
        await self.lab.engine.contents.release(content_id)

    async def _delete_disk(self, disk_id: UUID) -> None:
        self.disks.pop(disk_id, None)
        await self.lab.engine.contents.delete_disk(disk_id)

    async def _reopen(self, forgotten: set[UUID]) -> None:
        for unknown in forgotten:
            self.disks.pop(unknown, None)
            self.contents.pop(unknown, None)
        self._tell_lab()
        report = await self.lab.reopen()
        for unknown in forgotten:
            assert any(str(unknown) in removed for removed in report.removed)

    # ------------------------------------------------------------ what has to hold

    @invariant()
    def everything_is_as_it_was_written(self) -> None:
        self.run(self._look())

    async def _look(self) -> None:
        self._tell_lab()
        assert self.lab.leavings() == []
        begin, found = 0, await self._read_all()
        for (kind, id_), expected in self._expected().items():
            begin, data = begin + len(expected), found[begin : begin + len(expected)]
            assert data == expected, f"{kind}/{id_} differs"
        assert begin == len(found)

    def _expected(self) -> Mapping[tuple[str, UUID], bytes | bytearray]:
        disks = {("disks", disk_id): held for disk_id, held in self.disks.items()}
        return disks | {("contents", content_id): held for content_id, held in self.contents.items()}

    async def _read_all(self) -> bytes:
        """The bytes of all disks and contents, one behind the other."""
        files = [str(self._file(*name)) for name in self._expected()]
        raw = self.folder / "all.raw"
        raw.write_bytes(b"")
        if files:
            await _run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", *files, str(raw))
        return raw.read_bytes()

    def _file(self, kind: str, id_: UUID) -> Path:
        record = json.loads((self.lab.root / kind / f"{id_}.json").read_bytes())
        return self.lab.root / "layers" / (record["layer"] + SUFFIX)

    def _tell_lab(self) -> None:
        self.lab.disks, self.lab.contents = set(self.disks), set(self.contents)

    def teardown(self) -> None:
        """Everything goes, in any order, and nothing is left."""
        try:
            if self.is_sound:
                self.run(self._remove_all())
        finally:
            self.runner.run(self.lab.engine.close())
            self.runner.close()

    async def _remove_all(self) -> None:
        everything: list[Step] = [partial(self._delete_disk, disk_id) for disk_id in self.disks]
        everything += [partial(self._release, content_id) for content_id in self.contents]
        self.random.shuffle(everything)
        for number, remove in enumerate(everything):
            await remove()
            if number % 3 == 0:
                await self._look()
        assert sorted(path.name for path in self.lab.root.glob("*/*")) == []
        report = await self.lab.engine.reconcile(Known(machines=(), disks=(), contents=()))
        assert report.removed == []


async def _do(work: list[Step], *, lanes: int) -> None:
    """Some at a time, so that short work meets long work at all its stages."""

    async def follow(lane: list[Step]) -> None:
        for step in lane:
            await step()

    await asyncio.gather(*(follow(work[number::lanes]) for number in range(lanes)))


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    # qemu-io ends well also when a command of its failed; it says so, and nothing else.
    assert (process.returncode, said) == (0, b""), said


def test_whatever_goes_in_whatever_order_the_rest_keeps_its_bytes(tmp_path: Path) -> None:
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

    run_state_machine_as_test(lambda: Storage(Path(mkdtemp(dir=tmp_path))), settings=chosen)
