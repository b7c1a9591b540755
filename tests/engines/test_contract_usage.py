"""What an engine says that its store takes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from app.engines.base import Piece
from tests.engines.lab import MIB, Lab, no_progress


async def du(folder: Path) -> int:
    """What a folder takes, as the system's own tool counts it."""
    command = ("du", "--summarize", "--block-size=1", str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    return int(said.split()[0])


def total(pieces: list[Piece]) -> int:
    return sum(piece.allocated_bytes for piece in pieces)


async def usage(lab: Lab) -> list[Piece]:
    """As the engine says, and as one says that does not own the store: they are the same."""
    own = list(await lab.engine.files.usage())
    strangers = list(await lab.new_engine().files.usage())
    assert sorted(map(repr, own)) == sorted(map(repr, strangers))
    return own


async def test_the_pieces_of_a_store_are_what_its_files_take(lab: Lab) -> None:
    empty = total(await usage(lab)), await du(lab.store)
    base = await lab.ingest(os.urandom(3 * MIB))
    disk = await lab.disk(base, size_bytes=8 * MIB)
    sealed = lab.content()
    await lab.engine.contents.seal({disk: sealed}, machine_id=None)
    flat = lab.content()
    await lab.engine.contents.copy(base, flat, no_progress)
    hello = await lab.hello()
    machine_id, system = await lab.launch()

    async with asyncio.timeout(10):  # a machine that runs may write a line of its log in between
        while total(pieces := await usage(lab)) != await du(lab.store):
            pass

    by_need = {(piece.machines, piece.disks, piece.contents): piece.allocated_bytes for piece in pieces}
    assert len(by_need) == len(pieces)
    assert empty[0] == empty[1]
    assert 3 * MIB < by_need[frozenset(), frozenset({disk}), frozenset({base, sealed})] < 4 * MIB
    assert 3 * MIB < by_need[frozenset(), frozenset(), frozenset({flat})] < 4 * MIB
    assert 0 < by_need[frozenset(), frozenset({disk}), frozenset({sealed})] < MIB
    assert 0 < by_need[frozenset(), frozenset({disk}), frozenset()] < MIB
    assert 0 < by_need[frozenset(), frozenset({system}), frozenset({hello})] < MIB
    assert by_need[frozenset({machine_id}), frozenset(), frozenset()] > 0

    for content_id in (base, flat):
        await lab.engine.contents.release(content_id)
    await lab.engine.machines.delete(machine_id)
    left = await usage(lab)

    assert total(left) == await du(lab.store)
    needed = {content_id for piece in left for content_id in piece.contents}
    assert (needed, any(piece.machines for piece in left)) == ({sealed, hello}, False)
    assert 3 * MIB < total(left) < 6 * MIB  # the base's bytes are the sealed content's, too; the copy's are gone
