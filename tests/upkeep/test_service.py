"""Upkeep in a service that runs, is killed and starts again: what users see of it, and what it leaves."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from app.engines.qemu.layers import SUFFIX, read_header
from tests.backups.looking import RESTORE, back_up, refusal
from tests.client import DEADLINE_S, Client
from tests.disks.acting import create
from tests.e2e import installation as installations
from tests.e2e.installation import Installation
from tests.ecs.looking import ecs, launch_refusal, operate, unchanged

EVENTS = "subscription { imageEvents { image { id } } }"
IMAGE = """query($id: ID!) { image(id: $id) { status fault { code } viewerCan disks { checksum { algorithm value } }
  launchability(flavorId: "t1.nano") { ok reasons { code field } } } }"""
MAX_LAYERS = 4


@pytest.fixture
async def installation(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installation]:
    for name, value in {"UPKEEP_PERCENT": "100", "MAX_LAYERS": str(MAX_LAYERS)}.items():
        monkeypatch.setitem(installations.SETTINGS, name, value)
    installation = Installation(Path(mkdtemp(prefix="u")))
    await installation.open()
    yield installation
    await installation.close()


class Data:
    """What lies in the service's folder."""

    def __init__(self, installation: Installation) -> None:
        self.engine = installation.engine
        self.database = installation.engine.parent / "service.sqlite"

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=10)) as connection, connection:
            return connection.execute(sql).fetchall()

    def layer(self, image_name: str) -> Path:
        """The file that is the top of an image's first disk."""
        ((content_id,),) = self.rows(
            f"SELECT content_id FROM image_disk d JOIN image i ON i.id = d.image_id WHERE i.name = '{image_name}'"
        )
        record = json.loads((self.engine / "contents" / f"{content_id}.json").read_bytes())
        return self.engine / "layers" / f"{record['layer']}{SUFFIX}"

    def depth(self, disk_id: str) -> int:
        """On how many layers a disk stands."""
        name: str | None = json.loads((self.engine / "disks" / f"{disk_id}.json").read_bytes())["layer"] + SUFFIX
        number = 0
        while name:
            header = read_header(self.engine / "layers" / name)
            assert header is not None
            number, name = number + 1, header.backing
        return number


async def until(client: Client, image_id: str, what: Any) -> dict[str, Any]:
    """An image once something holds of it, by its events."""
    async with asyncio.timeout(DEADLINE_S), client.subscribe(EVENTS) as values:
        async for _ in values:
            image: dict[str, Any] = await client.one(IMAGE, id=image_id)
            if what(image):
                return image
    raise AssertionError(image_id)


async def until_true(what: Callable[[], object]) -> None:
    """Wait until what nobody announces is so: lines of the log, rows without events."""
    async with asyncio.timeout(DEADLINE_S):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_damage_is_told_to_users_until_it_is_gone(installation):
    alice, data = await installation.start(), Data(installation)
    vm = await alice.launch(name="vm")
    image = await alice.make_image(vm["id"], full=True, name="full", wait=False)
    # Checksums come by themselves.
    sound = await until(alice, image["id"], lambda seen: seen["disks"] and seen["disks"][0]["checksum"])
    backup = await back_up(alice, vm["id"])
    hello = await alice.one(IMAGE, id=await alice.hello())
    path = data.layer("full")
    before = path.read_bytes()
    await until_true(lambda: data.rows("SELECT count(*) FROM content WHERE sha256 IS NULL") == [(0,)])

    path.write_bytes(before[:-65536] + bytes(byte ^ 255 for byte in before[-65536:]))
    data.rows("UPDATE content SET verified_at = '2025-01-01 00:00:00+00:00' WHERE verified_at IS NOT NULL")
    await create(alice)  # a job, whichever, has it look what there is to do
    hit = await until(alice, image["id"], lambda seen: seen["fault"])
    async with unchanged(alice):
        refused = await launch_refusal(alice, imageId=image["id"])
        new = {"newEcs": {"name": "new", "flavorId": "t1.nano"}}
        not_restored = await refusal(alice, RESTORE, backupId=backup["id"], target=new)
    machine, other = await ecs(alice, vm["id"]), await alice.launch(name="other")
    await installation.kill()
    await alice.close()
    # The operator puts the bytes back, and starts the service anew.
    path.write_bytes(before)
    said = len(installation.said)
    alice = await installation.start()
    await until_true(lambda: any("EcsInstance" in line for line in installation.said[said:]))

    assert (hit["status"], hit["fault"]["code"], hit["launchability"]["ok"]) == ("ACTIVE", "DAMAGED", False)
    assert {"LAUNCH", "COPY", "EXPORT"}.isdisjoint(hit["viewerCan"])
    assert [reason["code"] for reason in hit["launchability"]["reasons"]] == ["DAMAGED"]
    assert refused == ("DAMAGED", ["input", "imageId"], "Ecs.0032")
    assert not_restored == ("DAMAGED", ["input", "backupId"], "Ecs.0048")
    assert machine["fault"]["code"] == "DAMAGED"
    assert (await ecs(alice, other["id"]))["fault"] is None
    assert (await alice.one(IMAGE, id=await alice.hello()))["disks"] == hello["disks"]
    assert await alice.one(IMAGE, id=image["id"]) == sound
    assert (await ecs(alice, vm["id"]))["fault"] is None
    assert data.rows("SELECT count(*) FROM content WHERE damaged_at IS NOT NULL") == [(0,)]
    await alice.close()
    await installation.stop()
    assert [line for line in installation.said if "Traceback" in line] == []


async def test_a_chain_that_is_too_long_becomes_short_although_the_service_dies_over_it(installation):
    alice, data = await installation.start(), Data(installation)
    vm = await alice.launch(name="vm")
    await alice.console(vm["id"], until="READY")
    ((disk_id,),) = data.rows("SELECT id FROM evs_disk WHERE name = 'vm-system'")

    while data.depth(disk_id) <= MAX_LAYERS:
        await back_up(alice, vm["id"])
    await installation.kill()
    await alice.close()
    said = len(installation.said)
    alice = await installation.start()
    if data.depth(disk_id) > 2:
        await until_true(lambda: any("chain_shortened" in line for line in installation.said[said:]))
    depth = data.depth(disk_id)
    await operate(alice, "rebootEcs", vm["id"], force=True)
    await alice.console(vm["id"], until="boots=2")
    await alice.close()
    await installation.stop()

    assert depth == 2
    assert [line for line in installation.said if "Traceback" in line] == []
    assert data.rows("SELECT DISTINCT status FROM job") == [("SUCCESS",)]
