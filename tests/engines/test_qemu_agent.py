"""What the engine believes a guest's agent, and that no guest is left frozen."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.engines.qemu.agent import Agent
from app.enums import Consistency
from tests.engines.lab import QemuLab

Answer = Callable[[str, dict[str, object]], bytes | None]


class Guest:
    """The other end of the port. A real agent answers as `honest` does; the guest's owner may have it say anything."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.heard: list[str] = []
        self.has_thawed = asyncio.Event()
        self._answer = answer or honest

    @asynccontextmanager
    async def listening(self, folder: Path) -> AsyncIterator[None]:
        (folder / "qga.sock").unlink(missing_ok=True)
        # A socket's address is short, a test's folder is not.
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        server = await asyncio.start_unix_server(self._serve, f"/proc/self/fd/{descriptor}/qga.sock")
        try:
            yield
        finally:
            server.close()
            os.close(descriptor)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line.lstrip(b"\xff"))
            self.heard.append(request["execute"])
            answer = self._answer(request["execute"], request.get("arguments", {}))
            if request["execute"] == "guest-fsfreeze-thaw":
                self.has_thawed.set()
            if answer is not None:
                writer.write(answer)
        writer.close()


def honest(command: str, arguments: dict[str, object]) -> bytes | None:
    if command == "guest-sync-delimited":
        return b'{"return": 7}\n\xff' + json.dumps({"return": arguments["id"]}).encode() + b"\n"
    return b'{"return": 2}\n'


def only_at(command: str, said: bytes | None) -> Answer:
    """Honest but for one command."""
    return lambda asked, arguments: said if asked == command else honest(asked, arguments)


def agent_in(folder: Path) -> Agent:
    return Agent(folder, sync_limit_s=0.2, thaw_limit_s=0.2)


async def test_a_guest_that_answers_is_frozen_and_thawed(tmp_path: Path) -> None:
    guest, agent = Guest(), agent_in(tmp_path)

    async with guest.listening(tmp_path):
        assert await agent.freeze(1)
        assert agent.may_be_frozen
        assert await agent.thaw()

    assert not agent.may_be_frozen
    assert [command for command in guest.heard if "sync" not in command] == [
        "guest-fsfreeze-freeze",
        "guest-fsfreeze-thaw",
    ]


@pytest.mark.parametrize(
    "said",
    [
        None,
        b"x" * (1 << 20),
        b"\xff{}\n" * 100_000,
        b'\xff{"return": 1}\n',
        b"\xff" + b"[" * 60_000 + b"\n",
        b'\xff"return"\n',
    ],
    ids=["nothing", "a line without end", "lines without end", "another's answer", "a deep nest", "no object"],
)
async def test_a_guest_that_does_not_begin_sensibly_is_not_asked_to_freeze(tmp_path: Path, said: bytes | None) -> None:
    guest, agent = Guest(only_at("guest-sync-delimited", said)), agent_in(tmp_path)

    async with guest.listening(tmp_path):
        assert not await agent.freeze(1)

    assert not agent.may_be_frozen
    assert set(guest.heard) == {"guest-sync-delimited"}


@pytest.mark.parametrize(
    "said",
    [None, b'{"error": {"class": "GenericError", "desc": "no"}}\n', b'{"return": 0}\n', b'{"return": "many"}\n', b"\n"],
    ids=["nothing", "a refusal", "no file system", "no number", "an empty line"],
)
async def test_a_guest_that_says_nothing_sensible_to_a_freeze_is_not_frozen_but_thawed(
    tmp_path: Path, said: bytes | None
) -> None:
    guest, agent = Guest(only_at("guest-fsfreeze-freeze", said)), agent_in(tmp_path)

    async with guest.listening(tmp_path):
        assert not await agent.freeze(0.2)
        assert agent.may_be_frozen
        assert await agent.thaw()

    assert not agent.may_be_frozen


async def test_a_guest_that_does_not_say_that_it_is_thawed_stays_marked(tmp_path: Path) -> None:
    guest, agent = Guest(only_at("guest-fsfreeze-thaw", None)), agent_in(tmp_path)

    async with guest.listening(tmp_path):
        assert await agent.freeze(1)
        assert not await agent.thaw()

    assert agent.may_be_frozen


async def test_without_an_agent_a_seal_is_crash_consistent_and_says_so(qemu: QemuLab) -> None:
    machine_id, disk_id = await qemu.launch()

    sealed = await qemu.engine.contents.seal({disk_id: qemu.content()}, machine_id=machine_id, freeze=True)

    assert sealed.consistency is Consistency.CRASH
    assert not Agent(qemu.machine_folder(machine_id)).may_be_frozen


@pytest.mark.parametrize("has_frozen", [True, False])
async def test_with_an_agent_a_seal_is_what_the_agent_says(qemu: QemuLab, *, has_frozen: bool) -> None:
    machine_id, disk_id = await qemu.launch()
    folder, wanted = qemu.machine_folder(machine_id), {disk_id: qemu.content()}
    guest = Guest() if has_frozen else Guest(only_at("guest-fsfreeze-freeze", b'{"error": {}}\n'))

    # Hello has no driver for the port, so its agent sits where the port ends; who asks is told that it is there.
    async with guest.listening(folder), qemu.engine.machines.held(machine_id) as running:
        assert running
        seals = qemu.engine.contents._seals
        path = seals.path_of(machine_id, wanted[disk_id])
        sealed = await seals.seal(path, wanted, running.monitor, agent_in(folder))

    assert sealed.consistency is (Consistency.FILESYSTEM if has_frozen else Consistency.CRASH)
    assert guest.has_thawed.is_set()
    assert not Agent(folder).may_be_frozen
    again = await qemu.engine.contents.seal(wanted, machine_id=machine_id, freeze=True)
    assert again.consistency is sealed.consistency


async def test_a_seal_that_fails_or_is_given_up_leaves_no_guest_frozen(qemu: QemuLab) -> None:
    machine_id, disk_id = await qemu.launch()
    folder, wanted = qemu.machine_folder(machine_id), {disk_id: qemu.content()}
    is_frozen = asyncio.Event()

    def freeze(command: str, arguments: dict[str, object]) -> bytes | None:
        if command != "guest-fsfreeze-freeze":
            return honest(command, arguments)
        is_frozen.set()
        return None

    guest = Guest(freeze)
    async with guest.listening(folder), qemu.engine.machines.held(machine_id) as running:
        assert running
        seals = qemu.engine.contents._seals
        path = seals.path_of(machine_id, wanted[disk_id])
        sealing = asyncio.create_task(seals.seal(path, wanted, running.monitor, agent_in(folder)))
        await is_frozen.wait()
        sealing.cancel()
        await asyncio.wait({sealing})

    assert sealing.cancelled()
    assert guest.has_thawed.is_set()
    assert not Agent(folder).may_be_frozen
    await qemu.type_line(machine_id, "w0 200 still there")
    await qemu.engine.contents.seal(wanted, machine_id=machine_id)
    assert qemu.leavings() == []


async def test_a_guest_that_a_killed_service_left_frozen_is_thawed_by_the_next(qemu: QemuLab) -> None:
    machine_id, _ = await qemu.launch()
    folder, guest = qemu.machine_folder(machine_id), Guest()
    await qemu.engine.close()

    async with guest.listening(folder):
        assert await agent_in(folder).freeze(1)
        await qemu.open()
        async with asyncio.timeout(5):
            await guest.has_thawed.wait()
            while Agent(folder).may_be_frozen:  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.01)
