"""An installation with something of every kind in it, in which somebody is killed, and what has to be true of it afterwards.

What an image or backup is to hold is said by its name: `kept-2.7` is the seventh thing of the state `kept-2`, of which the digests of all
disks are known. So it can be looked at although the service died before it answered.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import FIRST_COMPLETED
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from tests.backups.looking import back_up
from tests.client import DEADLINE_S, Client
from tests.disks.acting import changed, image_of
from tests.e2e.aim import DONE, TOOL, Aim, Victim, points
from tests.e2e.books import Books, digest_of
from tests.e2e.installation import Died, Installation
from tests.ecs.looking import operate
from tests.fetching.mirror import Mirror, serving
from tests.uploads.conftest import Sender

GOING_ON = "{ jobs(filter: {status: [INIT, RUNNING]}, first: 100) { nodes { id } } }"
OUTPUT = "subscription($id: ID!) { ecsConsole(id: $id, fromOffset: 0) { text } }"
THINGS = """{ images(filter: {visibility: [PRIVATE]}, first: 100) { nodes { id } } backups(first: 100) { nodes { id } }
  ecsInstances(first: 100) { nodes { id } } uploads(first: 100) { nodes { url } }
  evsDisks(first: 100) { nodes { id status ecsInstance { id } } } }"""
EXPORTS = "{ jobs(filter: {type: [EXPORT_IMAGE]}, first: 100) { nodes { export { url } } } }"
GOING = {
    "ecsInstances": "mutation($ids: [ID!]!) { deleteEcs(input: {ecsIds: $ids, deleteDataDisks: true}) { userErrors { code message } } }",
    "evsDisks": "mutation($ids: [ID!]!) { deleteEvsDisks(input: {diskIds: $ids}) { userErrors { code message } } }",
    "images": "mutation($ids: [ID!]!) { deleteImages(input: {imageIds: $ids}) { userErrors { code message } } }",
    "backups": "mutation($ids: [ID!]!) { deleteBackups(input: {backupIds: $ids}) { userErrors { code message } } }",
}
DATA_BYTES = 1 << 20
TOOL_LIVES_S = 0.03
"""At most, when it is killed."""
PLAYS = 10
"""After so many a project's quota of images is near."""
LIMIT_S = 20.0
"""What is done beside jobs, such as tidying up after a start, has been done by then."""

Digests = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of work: how it is begun through the API, and who beside the service can die of it."""

    name: str
    begin: Callable[[Scene], Awaitable[object]]
    victims: Sequence[Victim] = ()
    check: Callable[[Scene], Awaitable[list[str]]] | None = None
    """What is wrong afterwards that names do not tell."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the next life of the service, in which it goes on by itself with what was begun, and somebody is killed."""
    is_done: Callable[[Scene], bool] = lambda scene: True
    """Whether it has."""

    def __str__(self) -> str:
        return self.name


@dataclass
class Scene:
    """One machine that runs, one that is off with two backups, and images."""

    installation: Installation
    dice: random.Random
    states: dict[str, Digests] = field(default_factory=dict)
    boots: int = 1
    wrong: list[str] = field(default_factory=list)
    """Whatever was found."""
    is_sound: bool = True

    @classmethod
    async def set(cls) -> Scene:
        """A new one, in a folder with a short path."""
        installation = Installation(Path(mkdtemp(prefix="k")))
        scene = cls(installation, random.Random(random.randrange(2**32)))
        await installation.open()
        try:
            scene.alice = await installation.start()
            await scene._furnish()
        except BaseException:
            await scene.close()
            raise
        return scene

    def __post_init__(self) -> None:
        self.books, self.alice = Books(self.installation), Client("", None)
        self._lives = AsyncExitStack()
        self._numbers, self._jobs = count(1), 0
        self._points: dict[str, list[str]] = {}
        self._plays = 0

    async def _furnish(self) -> None:
        alice, data_disk = self.alice, [{"sizeGib": 10}]
        programs = {"kept": "fill 0 1000 400 x\nw1 200 data\nnote old\n", "off": "w1 200 data\n"}
        self.kept, self.off = [
            await alice.launch(name=name, userData=program, dataDisks=data_disk, exposePorts=[22])
            for name, program in programs.items()
        ]
        await self._until_ready(self.kept, 1)
        await self._note_state()
        self.backups: list[dict[str, Any]] = []
        for boots in (1, 2):
            await self._until_ready(self.off, boots)
            await operate(alice, "stopEcs", self.off["id"], force=True)
            backup = await back_up(alice, self.off["id"], name=f"off-{boots}.0")
            self.states[f"off-{boots}"] = self.off_now = await self._held_by_backup(backup)
            self.backups.append(backup)
            if boots == 1:
                await operate(alice, "startEcs", self.off["id"])
        self.data = random.randbytes(DATA_BYTES)
        self.mirror = await self._lives.enter_async_context(serving(Mirror(self.data)))
        raw = self.installation.folder / "data.raw"
        raw.write_bytes(self.data)
        self.states["data"] = (await digest_of([raw], "raw"),)
        self.image = await alice.make_image(self.kept["id"], name=self.name())
        self.full_image = await alice.make_image(self.kept["id"], full=True, name=self.name())
        self.data_image = await image_of(alice, await self.uploaded(), name=self.name("data"))
        self.image_state = self.state
        self._jobs = len(self.books.rows("SELECT id FROM job"))
        self._base = {thing["id"] for thing in (self.kept, self.off, self.image, self.full_image, self.data_image)}
        self._base |= {backup["id"] for backup in self.backups}
        self._base |= {disk["id"] for disk in (await alice.ask(THINGS))["evsDisks"]["nodes"]}

    async def close(self) -> None:
        """Leave nothing behind."""
        await self._lives.aclose()
        await self.alice.close()
        await self.installation.close()

    # ------------------------------------------------------------ what kinds are begun with

    def name(self, state: str = "") -> str:
        """A name for something that is to hold what the machine that runs holds, or another state."""
        return f"{state or self.state}.{next(self._numbers)}"

    async def uploaded(self) -> dict[str, object]:
        """A source: a complete upload of a data disk."""
        sender = Sender(self.alice, self.installation.data)
        upload = await sender.begin(DATA_BYTES)
        await sender.patch(urlsplit(upload["url"]).path, 0, self.data)
        return {"upload": {"uploadId": upload["id"], "kind": "DATA_DISK"}}

    @staticmethod
    async def together(*works: Awaitable[object]) -> None:
        """Do all of them, to their ends: what goes on alone would go on in the service's next life."""
        for answer in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    async def delete(self, kind: str, *ids: str) -> None:
        """Begin to delete "images", "backups", "evsDisks" or "ecsInstances"."""
        payload = await self.alice.one(GOING[kind], ids=list(ids))
        assert payload["userErrors"] == [], payload

    # ------------------------------------------------------------ rounds

    async def play(self, kind: Kind, victim: Victim) -> None:
        """Do the work and kill somebody at some point of it; what is wrong afterwards is kept. Nobody comes first: it counts the points."""
        known, aim = self._points.get(kind.name, []), Aim(victim)
        if victim is not Victim.NOBODY:
            known = [point for point in known if victim is not Victim.TOOL or point.startswith(TOOL)]
            pid = self.installation.machine(self.kept) if victim is Victim.MACHINE else 0
            aim = Aim(victim, self.dice.randrange(1, len(known) + 1), self.dice.random() * TOOL_LIVES_S, pid)
        if kind.settings:
            await self._live_on(kind, aim)
        else:
            self.installation.arm(aim)
            await (self._die_at(kind) if victim is Victim.SERVICE else self._work(kind))
        met = points(self.installation.folder)
        self._points.setdefault(kind.name, met)
        where = ", ".join(point for point in met if point.startswith(DONE)) or f"{victim} until the end"
        where = f"{kind}: {where} ({aim.nth} of {len(known)})"
        print(where)
        self.wrong += [f"{where}: {wrong}" for wrong in await self._find_wrong(kind, victim)]
        self._plays += 1
        if self._plays % PLAYS == 0:
            await self.clear()

    async def _die_at(self, kind: Kind) -> None:
        """The same with a service that is dead at its end at the latest; and its next life."""
        working = asyncio.create_task(self._work(kind))
        dying = asyncio.create_task(self.installation.dead())
        await asyncio.wait({working, dying}, return_when=FIRST_COMPLETED)
        await self.installation.kill()
        await asyncio.wait({working})  # whatever it asks for fails now
        working.exception()
        await self.alice.close()
        self.alice = await self.installation.start(**kind.settings)
        await self._let_all_end()

    async def _live_on(self, kind: Kind, aim: Aim) -> None:
        """The same in a life of the service with other settings."""
        await self._work(kind)
        await self.alice.close()
        await self.installation.stop()
        with suppress(Died):
            await (await self.installation.start(aim, **kind.settings)).close()
            await self._until_done(kind)
        if aim.victim is Victim.SERVICE:
            await self.installation.kill()
            await (await self.installation.start(**kind.settings)).close()
            await self._until_done(kind)
        await self.installation.stop()
        self.alice = await self.installation.start()

    async def _until_done(self, kind: Kind) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.installation.lives and not kind.is_done(self):  # noqa: ASYNC110 - upkeep tells nobody
                await asyncio.sleep(0.02)

    async def _work(self, kind: Kind) -> None:
        await kind.begin(self)
        await self._let_all_end()

    async def forget_exports(self) -> None:
        """Remove the files of images that were made: another export of the same image would be answered with what is there."""
        for job in (await self.alice.one(EXPORTS))["nodes"]:
            if job["export"]:
                await self.alice.http.delete(urlsplit(job["export"]["url"]).path)

    async def _let_all_end(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while going_on := (await self.alice.one(GOING_ON))["nodes"]:
                for job in going_on:
                    await self.alice.wait(job["id"])

    async def clear(self) -> None:
        """Remove what was made, so that quotas are not reached."""
        things = await self.alice.ask(THINGS)
        disks = [node for node in things["evsDisks"]["nodes"] if node["id"] not in self._base]
        for disk in disks:
            if disk["status"] == "IN_USE" and disk["ecsInstance"]["id"] == self.off["id"]:
                await changed(self.alice, "detachEvsDisk", diskId=disk["id"])  # a kill came before that
        things["evsDisks"]["nodes"] = [
            disk for disk in disks if (disk["ecsInstance"] or self.off)["id"] == self.off["id"]
        ]
        for kind in GOING:
            if ids := [node["id"] for node in things[kind]["nodes"] if node["id"] not in self._base]:
                await self.delete(kind, *ids)
                await self._let_all_end()
        for upload in things["uploads"]["nodes"]:
            await Sender(self.alice, self.installation.data).call("DELETE", urlsplit(upload["url"]).path)

    # ------------------------------------------------------------ what has to be true

    async def _find_wrong(self, kind: Kind, victim: Victim) -> list[str]:
        jobs = self.books.rows("SELECT type, status, fault_code FROM job ORDER BY created_at, id")
        new, self._jobs = jobs[self._jobs :], len(jobs)
        failed = [job for job in new if job[1] != "SUCCESS"]
        # Who lost the service runs again; who lost a machine or a tool need not.
        wrong = [f"jobs: {failed}"] if failed and victim in (Victim.SERVICE, Victim.NOBODY) else []
        wrong += [f"job: {job}" for job in new if job[2] == "INTERNAL"]
        wrong += [line for line in self.installation.said if "Traceback" in line]
        self.installation.said.clear()
        wrong += await self._contradictions()
        if kind.check:
            wrong += await kind.check(self)
        wrong += await self._changed()
        await self._repair()
        return wrong

    async def _contradictions(self) -> list[str]:
        async with asyncio.timeout(LIMIT_S * 2):
            end = asyncio.get_running_loop().time() + LIMIT_S
            while (found := self.books.contradictions()) and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - no event: it is
                await asyncio.sleep(0.05)  # tidied up beside everything else
        return found

    async def _changed(self) -> list[str]:
        """Images, backups and disks that do not hold what their names say."""
        made: dict[tuple[str, str], list[str]] = {}
        for table, kinds in {"image": "'ACTIVE'", "backup": "'AVAILABLE'"}.items():
            sql = f"""SELECT t.id, t.name, d.content_id FROM {table} t JOIN {table}_disk d ON d.{table}_id = t.id
                WHERE t.status IN ({kinds}) ORDER BY t.id, d.boot_index"""
            for id_, name, content_id in self.books.rows(sql):
                made.setdefault((id_, name), []).append(content_id)
        found = {name: await self.books.held("contents", ids) for (_, name), ids in made.items() if "." in name}
        sql = "SELECT name, id FROM evs_disk WHERE status = 'AVAILABLE'"
        found |= {name: await self.books.held("disks", [id_]) for name, id_ in self.books.rows(sql) if "." in name}
        exports = "SELECT i.name, e.id || '.' || lower(e.format) FROM export e JOIN image i ON i.id = e.image_id"
        for name, file in self.books.rows(exports):
            format = file.partition(".")[2]
            found[f"{name} {file}"] = (await digest_of([self.installation.data / "exports" / file], format),)
        return [
            f"{name} has changed"
            for name, held in found.items()
            if held != self.states[name.partition(".")[0]][: len(held)]
        ]

    async def restored(self) -> list[str]:
        """What is wrong with the disks of the machine that is off, after the last restore."""
        held = await self.books.held("disks", self.books.disks_of(self.off["uuid"]))
        last = """SELECT b.name FROM job j JOIN backup b ON b.id = j.backup_id WHERE j.type = 'RESTORE_BACKUP'
            AND j.status = 'SUCCESS' AND j.input LIKE '%before%' ORDER BY j.created_at DESC LIMIT 1"""
        names = [name for (name,) in self.books.rows(last)]
        expected = self.states[names[0].partition(".")[0]] if names else self.off_now
        return [] if held[: len(expected)] == expected else [f"restored: {held} but {expected}"]

    # ------------------------------------------------------------ the machine that runs

    async def _repair(self) -> None:
        if UUID(self.kept["uuid"]) not in self.installation.machines():
            await operate(self.alice, "startEcs", self.kept["id"])
            self.boots += 1
            await self._until_ready(self.kept, self.boots)
            await self._note_state()
            self._jobs = len(self.books.rows("SELECT id FROM job"))

    async def _note_state(self) -> None:
        """What the machine that runs holds, as long as it does not boot anew."""
        self.state = f"kept-{self.boots}"
        backup = await back_up(self.alice, self.kept["id"], name=f"{self.state}.0")
        self.states[self.state] = await self._held_by_backup(backup)

    async def _held_by_backup(self, backup: dict[str, Any]) -> Digests:
        sql = f"SELECT content_id FROM backup_disk WHERE backup_id = '{backup['uuid']}' ORDER BY boot_index"
        return await self.books.held("contents", [content_id for (content_id,) in self.books.rows(sql)])

    async def _until_ready(self, ecs: dict[str, Any], boots: int) -> None:
        text = ""
        async with asyncio.timeout(DEADLINE_S), self.alice.subscribe(OUTPUT, id=ecs["id"]) as values:
            async for value in values:
                text += value["ecsConsole"]["text"]
                if "READY" in text.partition(f"HELLO boots={boots} ")[2]:
                    return
        raise AssertionError(text)
