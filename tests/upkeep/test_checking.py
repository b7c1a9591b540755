"""Checksums appear, damage is found with all that it hits, and is gone when the bytes are back; nothing of a job's making is needed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from app import events
from app.contents import service as contents
from app.contents.models import Content
from app.contents.service import Health
from app.db import now
from app.demo.hello import disk_image
from app.enums import ErrorCode, ImageStatus
from app.errors import EngineError
from app.faults import columns
from app.images.models import Image
from tests.engines.lab import MIB
from tests.upkeep.conftest import World, sha256


def flipped(path: Path) -> None:
    data = path.read_bytes()
    assert b"x" * 512 in data
    path.write_bytes(data.replace(b"x" * 512, b"x" * 511 + b"y", 1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: -256 * 1024])


def headless(path: Path) -> None:
    path.write_bytes(bytes(4096) + path.read_bytes()[4096:])


HARMS: list[Callable[[Path], None]] = [flipped, cut, headless, Path.unlink]


async def written(world: World, disk_id: UUID, text: str) -> None:
    """Have 64 KiB in the middle of a disk filled with a letter, as a guest would."""
    layer = (await world.engine.contents.chains()).disks[disk_id][0]
    path = world.lab.root / "layers" / f"{layer}.qcow2"
    command = ("qemu-io", "-f", "qcow2", "-c", f"write -q -P {ord(text)} 1M 64k", str(path))
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 0


async def test_new_contents_get_checksums_and_their_images_are_told(world: World) -> None:
    data = disk_image(2 * MIB)
    hello = await world.lab.ingest(data)
    disk_id = await world.lab.disk(hello)
    upper = await world.sealed(disk_id)
    image, full = await world.image("single", hello), await world.image("full", hello, upper)
    backup = await world.sealed(disk_id)
    await world.backup("backup", backup)
    passing = await world.content(await world.sealed(disk_id))

    async with events.listen(lambda event: event.noun == "Image") as listener:
        await world.keep_up()
        told = {(await asyncio.wait_for(anext(aiter(listener)), 5)).id for _ in range(2)}

    expected = await world.engine.contents.verify(upper, world.upkeep()._pace.progress)
    rows = {row.id: row for row in await Content.all()}
    assert [rows[id_].sha256 for id_ in (upper, backup)] == [expected, expected]
    assert all(rows[id_].verified_at and not rows[id_].damaged_at for id_ in (hello, upper, backup))
    assert rows[passing.id].sha256 is None
    assert (await Image.get(id=image.id)).sha256 == sha256(world.layer(hello))
    assert (await Image.get(id=full.id)).sha256 is None
    assert told == {str(image.id), str(full.id)}
    assert await contents.health() == Health(sealed=4, unverified=1, damaged=0)


@pytest.mark.parametrize("harm", HARMS)
async def test_damage_is_found_with_all_that_it_hits_and_is_gone_when_the_bytes_are_back(world: World, harm) -> None:
    hello = await world.lab.ingest(disk_image(2 * MIB))
    own, sibling, alone = await world.lab.disk(hello), await world.lab.disk(hello), await world.lab.ingest(b"x" * MIB)
    await written(world, own, "x")
    lower = await world.sealed(own)
    upper = await world.sealed(own)
    await world.image("public", hello, is_public=True)
    await world.image("alone", alone)
    await world.image("hit", hello, lower)
    await world.image("made with it", upper, status=ImageStatus.SAVING)
    await world.image("lost before", lower, status=ImageStatus.KILLED, **columns(EngineError(ErrorCode.TIMED_OUT, "")))
    await world.image("sibling", await world.sealed(sibling))
    await world.backup("hit too", upper)
    await world.ecs("machine", own)
    await world.ecs("other machine", sibling)
    await world.keep_up()
    path = world.layer(lower)
    data = path.read_bytes()
    lost = {"lost before": "TIMED_OUT"}
    assert await world.faults() == lost

    harm(path)
    with capture_logs() as logged:
        await world.keep_up()
        unnoticed = await world.faults()
        await world.age()
        await world.keep_up()
    hit = await world.faults()
    reasons = [line for line in logged if line["event"] == "content_damaged"]
    named = [line for line in logged if line["event"] == "damage_found"]
    health = await contents.health()
    await world.keep_up()
    again = await world.faults()
    path.write_bytes(data)
    with capture_logs() as logged:
        await world.keep_up()

    assert unnoticed == lost
    assert hit == again == lost | dict.fromkeys(("hit", "hit too", "machine", "machine-system"), "DAMAGED")
    assert {(noun, *names.values()) for line in named for noun, names in line.items() if isinstance(names, dict)} == {
        ("Image", "hit"),
        ("Backup", "hit too"),
        ("EcsInstance", "machine"),
        ("EvsDisk", "machine-system"),
    }
    assert [path.stem] in [line["layers"] for line in reasons if line["content_id"] == str(lower)]
    assert health == Health(sealed=5, unverified=0, damaged=2)
    assert await world.faults() == lost
    assert [line["event"] for line in logged if line["event"] == "damage_gone"]
    assert await Content.filter(damaged_at__isnull=False).count() == 0
    assert world.lab.leavings() == []


async def test_what_has_other_bytes_in_that_place_is_not_hit(world: World) -> None:
    disk_id = await world.lab.disk(await world.lab.ingest(disk_image(2 * MIB)))
    await written(world, disk_id, "x")
    lower = await world.sealed(disk_id)
    await written(world, disk_id, "z")
    upper = await world.sealed(disk_id)
    for name, content_id in (("lower", lower), ("upper", upper)):
        await world.image(name, content_id)
    await world.keep_up()
    flipped(world.layer(lower))
    # It was right after the upper one was made, so that one's checksum is of sound bytes.
    await Content.filter(id=upper).update(created_at=now().replace(year=2024))

    await world.age()
    await world.keep_up()

    assert await world.faults() == {"lower": "DAMAGED"}


async def test_no_checksum_is_made_of_what_stands_on_damaged_bytes(world: World) -> None:
    disk_id = await world.lab.disk(await world.lab.ingest(disk_image(2 * MIB)))
    await written(world, disk_id, "x")
    lower = await world.sealed(disk_id)
    await world.image("lower", lower)
    await world.keep_up()
    data = world.layer(lower).read_bytes()
    flipped(world.layer(lower))
    await world.age()
    await world.keep_up()
    upper = await world.sealed(disk_id)
    await world.image("upper", upper)

    await world.keep_up()
    content = await world.content(upper)
    damaged = await world.faults()
    world.layer(lower).write_bytes(data)
    await world.keep_up()

    assert (content.sha256, content.damaged_at is None) == (None, False)
    assert damaged == {"lower": "DAMAGED", "upper": "DAMAGED"}
    assert await world.faults() == {}
    assert (await world.content(upper)).sha256 == (await world.content(lower)).sha256


async def test_a_download_whose_tables_are_damaged_is_found_although_a_guest_sees_the_same(world: World) -> None:
    content_id = await world.lab.ingest(b"x" * MIB)
    await world.image("alone", content_id)
    await world.keep_up()
    with world.layer(content_id).open("ab") as file:
        file.write(b"something")

    await world.age()
    await world.keep_up()

    assert await world.faults() == {"alone": "DAMAGED"}


async def test_what_is_no_fault_of_the_bytes_condemns_nothing(world: World) -> None:
    disk_id = await world.lab.disk(await world.lab.ingest(disk_image()))
    content_id = await world.sealed(disk_id)
    await world.image("full", content_id)
    await world.keep_up()
    await world.age()

    with capture_logs() as logged:
        world.tool.unlink()
        await world.keep_up()

    assert await world.faults() == {}
    assert (await world.content(content_id)).damaged_at is None
    assert [line["event"] for line in logged] == ["content_not_looked_at"]


async def test_what_was_released_or_is_unknown_to_the_engine_is_no_error(world: World) -> None:
    kept, gone = await world.lab.ingest(b"x" * MIB), await world.lab.ingest(b"y" * MIB)
    await world.image("gone", gone)
    await world.image("kept", kept)
    await world.engine.contents.release(gone)
    world.lab.contents.discard(gone)

    with capture_logs() as logged:
        await world.keep_up()

    assert logged == []
    assert (await world.content(gone)).sha256 is None
    assert (await world.content(kept)).sha256 is not None


async def test_upkeep_that_is_stopped_in_the_middle_begins_anew(world: World) -> None:
    content_id = await world.lab.ingest(b"x" * (200 * MIB))
    await world.image("large", content_id)
    begun = asyncio.Event()

    def is_busy() -> bool:
        begun.set()
        return True

    # So little of the time that it is resting when it is stopped, however fast it reads.
    async with world.upkeep(is_busy=is_busy, upkeep_percent=1).going_on():
        await asyncio.wait_for(begun.wait(), 30)
    untouched = (await world.content(content_id)).sha256
    await world.keep_up()

    assert untouched is None
    assert (await world.content(content_id)).sha256 is not None
    assert world.lab.leavings() == []
