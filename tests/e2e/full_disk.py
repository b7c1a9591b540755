"""What becomes of each kind of job where the service's disk is full, told in a small file system: python -m tests.e2e.full_disk FOLDER.

It prints a line of JSON for each thing that was tried: what, and what was wrong with it, or null.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from app.demo.hello import disk_image
from app.engines.qemu.consoles import QemuConsoles
from app.engines.qemu.qmp import open_socket
from tests.backups.looking import CREATE as BACK_UP
from tests.backups.looking import RESTORE, back_up
from tests.client import CREATE_IMAGE, DEADLINE_S, LAUNCH, Client
from tests.disks.acting import CREATE, DELETE
from tests.e2e.books import Books
from tests.e2e.installation import SETTINGS, Installation
from tests.ecs.looking import ECS, operate
from tests.small_disk import fill
from tests.uploads.conftest import Sender

MIB = 1 << 20
RESERVE_BYTES = int(SETTINGS["RESERVE_DISK_MIB"]) * MIB
LEVELS = {"refused before the disk is full": RESERVE_BYTES - MIB, "refused when it is": 0}
"""Bytes that are left."""
AGAIN = "works once there is space"
GUEST = "a guest waits and goes on"
EXPORT = (
    """mutation($input: ExportImageInput!) { exportImage(input: $input) { job { id } userErrors { code message } } }"""
)
GOING_ON = "{ jobs(filter: {status: [INIT, RUNNING]}, first: 100) { nodes { id } } }"
BROKEN_DISKS = "{ evsDisks(filter: {status: [ERROR]}, first: 100) { nodes { id } } }"


@dataclass
class World:
    """A machine that runs, one that is off and has a backup, an image, and an upload."""

    alice: Client
    running: str
    off: str
    backup: str
    image: str
    upload: str

    async def begin(self, mutation: str, **input: object) -> str:
        """The job of a mutation."""
        payload = await self.alice.one(mutation, input=input)
        assert payload["userErrors"] == [], payload
        job_id: str = payload["job"]["id"]
        return job_id

    async def make(self, **source: object) -> str:
        """The job of a new image."""
        return await self.begin(CREATE_IMAGE, name="new", source=source)


KINDS: Mapping[str, Callable[[World], Awaitable[str]]] = {
    "CREATE_IMAGE": lambda w: w.make(ecs={"ecsId": w.running}),
    "CREATE_FULL_ECS_IMAGE": lambda w: w.make(fullEcs={"ecsId": w.running}),
    "COPY_IMAGE": lambda w: w.make(image={"imageId": w.image}),
    "IMPORT_IMAGE": lambda w: w.make(upload={"uploadId": w.upload, "format": "RAW"}),
    "EXPORT_IMAGE": lambda w: w.begin(EXPORT, imageId=w.image, format="QCOW2"),
    "CREATE_BACKUP": lambda w: w.begin(BACK_UP, ecsId=w.running, name="new"),
    "RESTORE_BACKUP": lambda w: w.begin(RESTORE, backupId=w.backup, target={"ecsId": w.off}),
    "RESTORE_BACKUP into a new ECS": lambda w: w.begin(
        RESTORE, backupId=w.backup, target={"newEcs": {"name": "new", "flavorId": "t1.nano", "exposePorts": []}}
    ),
    "CREATE_DISK": lambda w: w.begin(CREATE, name="new", sizeGib=10, count=2),
    "LAUNCH_ECS": lambda w: w.begin(
        LAUNCH, name="new", imageId=w.image, flavorId="t1.nano", exposePorts=[], dataDisks=[{"sizeGib": 10}]
    ),
}
"""How a job of each kind is begun, each time in the same way."""


class Scenario:
    """The installation, its disk, and what is wrong with it."""

    def __init__(self, folder: Path) -> None:
        (folder / "i").mkdir()
        self.folder, self.installation = folder, Installation(folder / "i")
        self.books = Books(self.installation)

    async def run(self) -> None:
        await self.installation.open()
        try:
            alice = await self.installation.start()
            world = await self._furnish(alice)
            for level, left in LEVELS.items():
                filling = fill(self.folder, leave_bytes=left)
                for kind, begin in KINDS.items():
                    await _tell(f"{kind}: {level}", self._refused(world, begin))
                filling.unlink()
            for kind, begin in KINDS.items():
                await _tell(f"{kind}: {AGAIN}", self._works(world, begin))
            await _tell(GUEST, self._guest(alice, world))
        finally:
            await self.installation.close()

    async def _furnish(self, alice: Client) -> World:
        running = await alice.launch(name="running", dataDisks=[{"sizeGib": 10}])
        off = await alice.launch(name="off", dataDisks=[{"sizeGib": 10}])
        for machine in (running, off):
            await alice.console(machine["id"], until="READY")
        image = await alice.make_image(running["id"])
        await operate(alice, "stopEcs", off["id"], force=True)
        backup = await back_up(alice, off["id"])
        sender = Sender(alice, self.installation.data)
        upload = await sender.begin(len(disk_image()))
        assert (await sender.patch(upload["url"], 0, disk_image())).status_code == 204
        return World(alice, running["id"], off["id"], backup["id"], image["id"], upload["id"])

    async def _refused(self, world: World, begin: Callable[[World], Awaitable[str]]) -> None:
        alice = world.alice
        before = self._files()
        job = await alice.wait(await begin(world))
        assert (job["status"], (job["fault"] or {}).get("code")) == ("FAIL", "INSUFFICIENT_STORAGE"), job
        await self._clean(alice)
        assert self._files() == before, sorted(self._files() ^ before)
        shown = await alice.one(ECS, id=world.running)
        assert (shown["status"], shown["fault"], shown["currentJob"]) == ("ACTIVE", None, None), shown

    async def _works(self, world: World, begin: Callable[[World], Awaitable[str]]) -> None:
        await world.alice.done(await begin(world))
        await self._clean(world.alice)

    async def _clean(self, alice: Client) -> None:
        """Rows, files and processes say the same, once all work has ended and disks that could not be made are deleted."""
        if broken := [disk["id"] for disk in (await alice.one(BROKEN_DISKS))["nodes"]]:
            await alice.one(DELETE, ids=broken)
        while going_on := (await alice.one(GOING_ON))["nodes"]:
            for job in going_on:
                await alice.wait(job["id"])
        assert (found := self.books.contradictions()) == [], found

    def _files(self) -> set[Path]:
        return {
            path for kind in ("engine", "uploads", "exports") for path in (self.installation.data / kind).rglob("*")
        }

    async def _guest(self, alice: Client, world: World) -> None:
        """It finds the disk full, stands still, also while the service is killed and starts, and goes on by itself."""
        other = await alice.launch(name="other")
        await alice.console(other["id"], until="READY")
        writing = await alice.one(ECS, id=world.running)
        filling = fill(self.folder, leave_bytes=8 * MIB)
        typed = asyncio.create_task(self._type(writing["uuid"], "fill 1 0 8000 a lot"))
        paused = await _until(alice, writing["id"], lambda ecs: ecs["fault"] is not None)
        assert (paused["status"], paused["fault"]["code"]) == ("ACTIVE", "INSUFFICIENT_STORAGE"), paused
        assert "s0 00" in await self._type(other["uuid"], "s0")  # it echoes what is typed
        assert (await alice.one(ECS, id=other["id"]))["fault"] is None
        await self.installation.kill()
        await alice.close()
        alice = await self.installation.start()
        still = await alice.one(ECS, id=writing["id"])
        assert (still["status"], still["fault"]["code"]) == ("ACTIVE", "INSUFFICIENT_STORAGE"), still
        filling.unlink()
        await _until(alice, writing["id"], lambda ecs: ecs["fault"] is None)
        assert " ok" in await typed
        await self._clean(alice)
        await alice.close()

    async def _type(self, uuid: str, line: str) -> str:
        """Type a line on a machine's console, and stay connected until the answer is there; the answer."""
        consoles, machine_id, said = QemuConsoles(self.installation.engine), UUID(uuid), b""
        offset, _ = await consoles.tail(machine_id, max_bytes=0)
        with await open_socket(self.installation.engine / "machines" / uuid, "console.sock") as connection:
            await asyncio.get_running_loop().sock_sendall(connection, line.encode() + b"\n")
            async with asyncio.timeout(DEADLINE_S):
                async for _, piece in consoles.follow(machine_id, from_offset=offset):
                    said += piece
                    if b" ok" in said:
                        break
        return said.decode().replace("\r\n", " ")


async def _until(alice: Client, ecs_id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A machine once something is true of it, by watching it."""
    query = f"subscription($id: ID!) {{ ecsUpdated(id: $id) {ECS.partition('(id: $id) ')[2].rpartition('}')[0]} }}"
    async with asyncio.timeout(DEADLINE_S), alice.subscribe(query, id=ecs_id) as values:
        async for value in values:
            ecs: dict[str, Any] = value["ecsUpdated"]
            if is_so(ecs):
                return ecs
    raise AssertionError("the subscription ended")


async def _tell(what: str, trying: Awaitable[object]) -> None:
    wrong = None
    try:
        await trying
    except Exception:  # noqa: BLE001 - whatever it is, the test says it
        wrong = traceback.format_exc()[-3000:]
    print(json.dumps({"what": what, "wrong": wrong}), flush=True)


if __name__ == "__main__":
    asyncio.run(Scenario(Path(sys.argv[1])).run())
