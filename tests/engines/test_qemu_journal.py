"""Layers, headers and journals, looked at from below."""

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest

from app.engines.qemu.journal import Entry, Journal, active_nodes
from app.engines.qemu.layers import Header, Layers, read_header
from app.engines.qemu.store import read_record, write_durably
from app.engines.qemu.tools import Tools
from app.enums import Consistency
from tests.engines.lab import MIB, QemuLab


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    return Layers(tmp_path, Tools("qemu-img", 30))


async def test_a_header_says_what_a_layer_stands_on(layers: Layers) -> None:
    await layers.create("below", virtual_bytes=MIB, backing=None)
    await layers.create("above", virtual_bytes=2 * MIB, backing="below")

    assert read_header(layers.path("below")) == Header(None, MIB)
    assert read_header(layers.path("above")) == Header("below.qcow2", 2 * MIB)
    assert layers.chain("above") == ["above", "below"]


@pytest.mark.parametrize("data", [b"", b"QFI\xfb", b"raw" * 100])
def test_an_unfinished_file_has_no_header(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "layer").write_bytes(data)

    assert read_header(tmp_path / "layer") is None
    assert read_header(tmp_path / "missing") is None


async def test_a_sweep_spares_what_is_reached_and_what_is_being_made(layers: Layers) -> None:
    for name, below in (("base", None), ("kept", "base"), ("rubbish", "base"), ("made", "kept")):
        await layers.create(name, virtual_bytes=MIB, backing=below)

    with layers.pinned("made"):
        assert await layers.sweep(list) == ["rubbish"]
    assert await layers.sweep(lambda: ["kept"]) == ["made"]
    assert await layers.sweep(list) == ["base", "kept"]


def test_a_journal_survives_being_written_down() -> None:
    journal = Journal((Entry(uuid4(), uuid4(), "old", "new"),), Consistency.CRASH)

    assert Journal.from_json(json.loads(json.dumps(journal.as_json()))) == journal


def test_active_nodes_are_read_by_device() -> None:
    answer = [
        {"qdev": "/machine/peripheral/disk-1/virtio-backend", "inserted": {"node-name": "n1"}},
        {"qdev": "/machine/peripheral/cd", "device": ""},
    ]

    assert active_nodes(answer) == {"disk-1": "n1"}


def test_a_torn_record_is_none_and_a_durable_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"layer": "a')

    write_durably({tmp_path / "whole.json": {"layer": "a"}})

    assert read_record(tmp_path / "torn.json") is None
    assert read_record(tmp_path / "whole.json") == {"layer": "a"}
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "unfinished"])
async def test_a_seal_of_a_dead_machine_is_finished_only_with_whole_layers(qemu: QemuLab, *, is_whole: bool) -> None:
    disks = [await qemu.disk(await qemu.hello()) for _ in range(2)]
    contents = [qemu.content() for _ in disks]
    await qemu.engine.close()
    olds = [json.loads((qemu.root / "disks" / f"{disk_id}.json").read_text())["layer"] for disk_id in disks]
    news = [Layers.new_name() for _ in disks]
    layers = Layers(qemu.root / "layers", Tools("qemu-img", 30))
    for old, new in zip(olds, news, strict=True):
        await layers.create(new, virtual_bytes=4 * MIB, backing=old)
    if not is_whole:
        layers.path(news[1]).write_bytes(layers.path(news[1]).read_bytes()[:100])
    entries = tuple(map(Entry, disks, contents, olds, news))
    journal = Journal(entries, Consistency.STOPPED)
    await asyncio.to_thread(write_durably, {qemu.root / "seals" / f"{contents[0]}.json": journal.as_json()})

    await qemu.open()

    there = {path.stem for path in (qemu.root / "contents").glob("*.json")}
    assert {str(content_id) in there for content_id in contents} == {is_whole}
    assert [layers.path(new).exists() for new in news] == [is_whole] * 2
    assert list((qemu.root / "seals").iterdir()) == []
    assert qemu.leavings() == []
