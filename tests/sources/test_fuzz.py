"""Whatever a file holds, it is taken in or refused with a reason, and no other file's bytes come with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.enums import DiskFormat, ErrorCode, ImageKind
from app.errors import EngineError, Refused
from app.sources import detecting
from app.sources.inspection import ENGINE_NAMES, blaming_file, inspect
from tests.engines.lab import QemuLab, no_progress
from tests.sources.corpus import GOOD, disc, good

CANARY = b"a byte of the host"
REFUSALS = {ErrorCode.UNSAFE_FILE, ErrorCode.DISK_TOO_LARGE, ErrorCode.FORMAT_MISMATCH}
NAMES = {one.value.lower() for one in DiskFormat}
HEADER_BYTES = 4096
EXAMPLES = 12
Change = tuple[int, bytes]

WORDS = st.sampled_from(
    [0, 1, 2, 3, 4, 9, 16, 31, 48, 64, 104, 512, 4096, 65536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
)
VALUES = st.one_of(
    st.builds(lambda value: value.to_bytes(4, "big"), WORDS),
    st.builds(lambda value: value.to_bytes(4, "little"), WORDS),
    st.builds(lambda value: value.to_bytes(8, "big"), WORDS),
    st.binary(min_size=1, max_size=8),
    st.just(b"/canary\0"),
)
PLACES = st.one_of(st.integers(0, 127), st.integers(0, HEADER_BYTES), st.integers(-1024, -1))
CHANGES = st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=6)


def changed(data: bytes, changes: list[Change], cut: int | None) -> bytes:
    """A file with parts of it written over, perhaps cut off."""
    buffer = bytearray(data)
    for place, value in changes:
        start = place % len(buffer)
        buffer[start : start + len(value)] = value
    return bytes(buffer[:cut])


def fuzzing(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def samples(folder: Path) -> dict[str, bytes]:
    """One small file of each sort."""
    folder.mkdir()
    found = {sort: good(sort, folder).read_bytes() for sort in GOOD if sort != "VHDX"}
    found["ISO"] = disc(folder / "disc").read_bytes()
    return found


def test_looking_at_a_file_ends_with_a_format_or_a_reason(tmp_path: Path) -> None:
    files = samples(tmp_path / "files")
    path = tmp_path / "file"

    @fuzzing(8 * EXAMPLES)
    @given(st.sampled_from(sorted(files)), CHANGES, st.one_of(st.none(), st.integers(0, 70_000)))
    def look(sort: str, changes: list[Change], cut: int | None) -> None:
        path.write_bytes(changed(files[sort], changes, cut))

        said = detecting.detect(path)

        ((word, value),) = said.items()
        assert word in {"format", "unsafe"}
        assert value
        if word == "format":
            assert value in NAMES | {"luks"}

    look()


def test_what_is_taken_in_holds_nothing_of_the_host_and_what_is_not_leaves_nothing(tmp_path: Path) -> None:
    files = samples(tmp_path / "files")
    lab = QemuLab(tmp_path / "lab")
    lab.folder.mkdir()
    path, canary = lab.folder / "file", lab.folder / "canary"
    canary.write_bytes(CANARY * 1000)
    names = [str(canary).encode() + b"\0", b"canary\0"]

    async def take(data: bytes) -> None:
        path.write_bytes(data)
        content_id = uuid4()
        contents = lab.engine.contents
        refusal = None
        try:
            file = await inspect(contents, path, declared=None, kind=ImageKind.DATA_DISK)
            if file.virtual_bytes > 64 << 20:
                return  # good as it is, and not worth its time
            format, needed = ENGINE_NAMES[file.format], file.needed_bytes
            with blaming_file():
                await contents.ingest(
                    path, format=format, content_id=content_id, progress=no_progress, needed_bytes=needed
                )
        except Refused as error:
            refusal = error
        if refusal:
            assert refusal.code in REFUSALS, refusal.message
            assert str(lab.folder) not in refusal.message
        else:
            assert CANARY not in await contents.read(content_id, 0, 1 << 20)
            await contents.release(content_id)
        assert lab.leavings() == []

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(lab.open())

        @fuzzing(EXAMPLES)
        @given(st.sampled_from(sorted(files)), CHANGES, st.sampled_from(names), st.integers(8, 1024))
        def fuzz(sort: str, changes: list[Change], name: bytes, place: int) -> None:
            if sort.startswith(("RAW", "VHD-fixed", "ISO")):
                place += HEADER_BYTES
            runner.run(take(changed(files[sort], [*changes, (place, name)], None)))

        fuzz()
        runner.run(lab.clear())


async def test_a_description_that_names_another_file_does_not_pass_the_engine_either(tmp_path: Path) -> None:
    lab = QemuLab(tmp_path)
    path, canary = lab.folder / "file", lab.folder / "canary"
    canary.write_bytes(CANARY.ljust(512, b"\0") * 8)
    lines = ["# Disk DescriptorFile", "version=1", "CID=1", "parentCID=ffffffff", 'createType="monolithicFlat"']
    path.write_text("\n".join([*lines, f'RW 8 FLAT "{canary}" 0', ""]))

    with pytest.raises(EngineError) as refused:
        await lab.new_engine().contents.inspect(path, format="vmdk", max_bytes=1 << 40)

    assert (refused.value.code, "another file" in refused.value.message) == (ErrorCode.DAMAGED, True)
