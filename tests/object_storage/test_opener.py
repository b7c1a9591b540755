"""Reading objects by their s3:// addresses, in ranges, on from where a connection broke."""

from __future__ import annotations

import random
from uuid import UUID, uuid4

import pytest

from app.errors import Forbidden, Refused, Unsupported
from app.fetching import schemes
from app.fetching.base import Dropped, Stream
from app.fetching.s3 import S3Opener
from app.object_storage.storage import RANGE_BYTES
from tests.object_storage.conftest import BUCKET, MIB

ALICE = UUID(int=1)


@pytest.fixture
def content() -> bytes:
    return random.randbytes(RANGE_BYTES + 3 * MIB + 1)


@pytest.fixture
async def url(storage, content) -> str:
    """An object of alice's that takes more than one range."""
    address: str = await storage.put(f"imports/{ALICE}/{uuid4()} with ümlaut+.raw", content)
    return address


def key_of(url: str) -> str:
    return url.removeprefix(f"s3://{BUCKET}/")


async def bytes_of(stream: Stream) -> bytes:
    return b"".join([chunk async for chunk in stream.chunks])


async def test_an_object_is_read_whole_or_from_its_middle(stored, url, content):
    opener = S3Opener(ALICE)

    async with opener.open(url) as whole:
        everything = await bytes_of(whole)
    async with opener.open(url, offset=5 * MIB, validator=whole.validator) as rest:
        tail = await bytes_of(rest)
    async with opener.open(url, offset=len(content), validator=whole.validator) as nothing:
        none = await bytes_of(nothing)

    assert (whole.offset, whole.total_bytes, everything == content) == (0, len(content), True)
    assert (rest.offset, rest.total_bytes, tail == content[5 * MIB :]) == (5 * MIB, len(content), True)
    assert (nothing.offset, none) == (len(content), b"")


async def test_an_object_that_is_another_by_now_is_read_from_its_beginning(stored, storage, url, content):
    opener = S3Opener(ALICE)
    async with opener.open(url) as before:
        pass
    await storage.put(key_of(url), content[::-1])

    async with opener.open(url, offset=MIB, validator=before.validator) as after:
        everything = await bytes_of(after)

    assert after.offset == 0
    assert everything == content[::-1]


async def test_an_object_that_changes_while_it_is_read_is_not_mixed_with_what_it_becomes(stored, storage, url, content):
    got = 0

    async def read() -> None:
        nonlocal got
        async with S3Opener(ALICE).open(url) as stream:
            async for chunk in stream.chunks:
                if not got:
                    await storage.put(key_of(url), content[::-1])
                got += len(chunk)

    with pytest.raises(Refused, match="was changed while it was read") as refused:
        await read()

    assert refused.value.code == "FETCH_FAILED"
    assert got == RANGE_BYTES


async def test_a_connection_that_breaks_in_a_range_is_taken_up_again(opened, wire, url, content):
    async with opened(s3_endpoint=f"http://127.0.0.1:{wire.port}"):
        wire.cut_after(2 * MIB)
        async with S3Opener(ALICE).open(url) as stream:
            everything = await bytes_of(stream)

    assert wire.cuts == 1
    assert everything == content


async def test_a_storage_that_does_not_answer_may_do_so_later(opened, url):
    async with opened(s3_endpoint="http://127.0.0.1:9"):
        with pytest.raises(Dropped, match="does not answer"):
            async with S3Opener(ALICE).open(url):
                pass


async def test_what_is_missing_or_not_ours_to_read_is_refused_for_good(opened, storage, url):
    missing = f"s3://{BUCKET}/imports/{ALICE}/missing.raw"

    async with opened():
        with pytest.raises(Refused, match="is not there") as gone:
            async with S3Opener(ALICE).open(missing):
                pass
        with pytest.raises(Forbidden):
            async with S3Opener(uuid4()).open(url):
                pass
    async with opened(s3_secret_access_key="wrong"):
        with pytest.raises(Refused, match="not for the service to read") as refused:
            async with S3Opener(ALICE).open(url):
                pass

    assert (gone.value.code, refused.value.code) == ("FETCH_FAILED", "FETCH_FAILED")
    assert "wrong" not in refused.value.message


async def test_without_object_storage_an_address_of_it_is_refused_with_what_to_do(service):
    with pytest.raises(Unsupported, match="upload the file") as refused:
        schemes.opener_of(f"s3://{BUCKET}/imports/{ALICE}/x", ALICE)

    assert refused.value.field == ("url",)
