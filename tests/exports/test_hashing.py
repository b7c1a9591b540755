"""The checksum of an export: holes are hashed as the zeros that they are, wherever they begin and end."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.exports import folder
from app.exports.folder import Hashing

BLOCK = 4096
pieces = st.lists(st.tuples(st.booleans(), st.integers(1, 40 * BLOCK)), max_size=6)


def sparse_file(path: Path, parts: list[tuple[bool, int]]) -> None:
    """Bytes and holes in turn."""
    with path.open("wb") as file:
        for number, (is_hole, length) in enumerate(parts):
            if is_hole:
                file.seek(length, os.SEEK_CUR)
            else:
                file.write(bytes([number + 1]) * length)
        file.truncate()


@settings(max_examples=60, deadline=None)
@given(pieces)
def test_a_file_with_holes_has_the_hash_of_its_bytes(parts):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "file"
        sparse_file(path, parts)
        hashing = Hashing(path)
        while not hashing.hash_on():
            pass

        assert hashing.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
        assert hashing.done == hashing.total == path.stat().st_size


def test_slices_end_in_holes_and_in_data(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SLICE_BYTES", 3 * BLOCK + 1)
    path, steps = tmp_path / "file", 0
    sparse_file(path, [(False, 5 * BLOCK), (True, 9 * BLOCK), (False, 2 * BLOCK + 7), (True, 4 * BLOCK)])

    hashing = Hashing(path)
    while not hashing.hash_on():
        steps += 1

    assert steps == path.stat().st_size // (3 * BLOCK + 1)
    assert hashing.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_holes_are_not_read(tmp_path, monkeypatch):
    path, read = tmp_path / "file", list[int]()
    sparse_file(path, [(True, 100 << 20), (False, BLOCK), (True, 10 << 20)])
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, length, at: read.append(length) or pread(file, length, at))

    hashing = Hashing(path)
    while not hashing.hash_on():
        pass

    assert sum(read) <= 16 * BLOCK


def test_a_file_that_becomes_shorter_is_no_file_of_zeros(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10 * BLOCK)
    hashing = Hashing(path)
    os.truncate(path, BLOCK)

    with pytest.raises(OSError, match="shorter"):
        hashing.hash_on()
