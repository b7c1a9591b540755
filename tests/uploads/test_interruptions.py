"""Uploads that are cut: by clients that go away, by networks, by the service being killed. The file arrives whole all the same."""

from __future__ import annotations

import asyncio
import hashlib
import random
from contextlib import suppress
from io import BytesIO
from urllib.parse import urlsplit

import aiotus
import pytest

from app.transfer.client import connected
from app.transfer.uploading import upload as send
from app.uploads import intake
from tests.uploads.conftest import MIB, Sender, cutting


async def hang_up(sender: Sender, url: str, offset: int, rest: bytes, after: int) -> None:
    """Promise all the rest, send a part of it, and go away."""
    parts = urlsplit(url)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    head = (
        f"PATCH {parts.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sender.client.token}\r\nTus-Resumable: 1.0.0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nUpload-Offset: {offset}\r\nContent-Length: {len(rest)}\r\n\r\n"
    )
    writer.write(head.encode() + rest[:after])
    await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def go_on(sender: Sender, url: str, content: bytes) -> None:
    """Send the rest as clients do: ask, send, and ask again when somebody else was still at it."""
    async with asyncio.timeout(30):
        while True:
            offset = await sender.offset(url)
            response = await sender.patch(url, offset, content[offset:])
            if response.status_code == 204:
                return
            assert response.status_code in (409, 423), response


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_a_client_that_goes_away_again_and_again_gets_its_file_across(sender, chance):
    content = chance.randbytes(5 * MIB + 17)
    upload = await sender.begin(len(content))

    offset = 0
    for _ in range(6):
        await hang_up(sender, upload["url"], offset, content[offset:], chance.randrange(2 * MIB))
        offset = await sender.offset(upload["url"])
    await go_on(sender, upload["url"], content)

    assert sender.file(upload).read_bytes() == content
    assert (await sender.state(upload))["checksum"]["value"] == sha256(content)


async def test_what_came_before_a_cut_is_kept(sender):
    content = bytes(range(256)) * 2000
    upload = await sender.begin(len(content))

    await hang_up(sender, upload["url"], 0, content, 300_000)

    async with asyncio.timeout(10):
        while not (offset := await sender.offset(upload["url"])):
            pass
    assert sender.file(upload).read_bytes() == content[:offset]
    await go_on(sender, upload["url"], content)
    assert (await sender.state(upload))["checksum"]["value"] == sha256(content)


async def test_an_unfinished_piece_with_a_checksum_is_dropped(sender):
    upload = await sender.begin(6)
    await sender.patch(upload["url"], 0, b"ab")

    async def half():
        yield b"c"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await sender.patch(upload["url"], 2, half(), upload_checksum="sha1 AAAA", content_length=4)

    await go_on(sender, upload["url"], b"abcdef")
    assert sender.file(upload).read_bytes() == b"abcdef"


async def test_after_a_restart_what_was_received_is_hashed_again(sender, service):
    content = random.Random(1).randbytes(3 * MIB)
    upload = await sender.begin(len(content))
    await sender.patch(upload["url"], 0, content[: 2 * MIB])

    async with intake.opened(service.settings):  # as after a restart, it remembers no hash
        await sender.patch(upload["url"], 2 * MIB, content[2 * MIB :])

    assert (await sender.state(upload))["checksum"]["value"] == sha256(content)


async def test_bytes_that_were_never_counted_are_cut_off(sender):
    upload = await sender.begin(6)
    await sender.patch(upload["url"], 0, b"abc")
    with sender.file(upload).open("ab") as file:
        file.write(b"from before a crash")

    await sender.patch(upload["url"], 3, b"def")

    assert sender.file(upload).read_bytes() == b"abcdef"


async def test_a_file_that_was_lost_fails_its_upload(sender):
    upload = await sender.begin(6)
    await sender.patch(upload["url"], 0, b"abc")
    sender.file(upload).unlink()

    response = await sender.patch(upload["url"], 3, b"def")

    state = await sender.state(upload)
    assert response.status_code == 410
    assert (state["status"], state["fault"]["code"]) == ("FAILED", "INTERNAL")


async def test_aiotus_gets_a_file_over_a_network_that_breaks(sender, service, chance):
    content = chance.randbytes(6 * MIB)
    headers = {"Authorization": f"Bearer {sender.client.token}"}
    retries = aiotus.RetryConfiguration(retry_attempts=40, max_retry_period_seconds=0.02)

    async with cutting(service.url, [chance.randrange(600, MIB) for _ in range(4)]) as url:
        location = await aiotus.upload(
            f"{url}/uploads",
            BytesIO(content),
            {"filename": b"a.raw"},
            config=retries,
            headers=headers,
            chunksize=MIB // 2,
        )
        metadata = await aiotus.metadata(location, config=retries, headers=headers)

    uploads = (await sender.client.one("{ uploads { nodes { id status fileName checksum { value } } } }"))["nodes"]
    sent = next(upload for upload in uploads if upload["status"] == "COMPLETE")
    assert metadata == {"filename": b"a.raw"}
    assert (sent["fileName"], sent["checksum"]["value"]) == ("a.raw", sha256(content))


async def test_our_client_gets_a_file_over_a_network_that_breaks(sender, service, chance, tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(chance.randbytes(6 * MIB))
    told = []

    async with (
        cutting(service.url, [chance.randrange(50_000, MIB) for _ in range(4)]) as url,
        connected(url, sender.client.token, pauses_s=[0.02] * 50) as client,
    ):
        upload = await send(client, path, lambda done, total: told.append((done, total)))

    assert upload["checksum"]["value"] == sha256(path.read_bytes())
    assert told[-1] == (6 * MIB, 6 * MIB)
