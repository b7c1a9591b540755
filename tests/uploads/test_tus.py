"""tus 1.0 as its text has it: every answer, and that a refusal changes nothing."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from starlette.testclient import TestClient

from app.asgi import create_app
from app.enums import TokenScope
from app.uploads import intake
from tests.factories import make_client
from tests.uploads.conftest import Sender, base64


async def test_pieces_become_a_file(sender):
    upload = await sender.begin(6)

    first = await sender.patch(upload["url"], 0, b"abcd")
    state = await sender.state(upload)
    second = await sender.patch(upload["url"], 4, b"ef")

    assert (first.status_code, first.headers["upload-offset"], first.content) == (204, "4", b"")
    assert (state["status"], state["offsetBytes"], state["checksum"]) == ("RECEIVING", 4, None)
    assert (second.status_code, second.headers["upload-offset"]) == (204, "6")
    assert sender.file(upload).read_bytes() == b"abcdef"
    state = await sender.state(upload)
    assert (state["status"], state["offsetBytes"], state["fault"]) == ("COMPLETE", 6, None)
    assert state["checksum"] == {"algorithm": "SHA256", "value": hashlib.sha256(b"abcdef").hexdigest()}


async def test_each_piece_puts_the_expiry_off(sender):
    upload = await sender.begin(2)

    await sender.patch(upload["url"], 0, b"a")

    assert (await sender.state(upload))["expiresAt"] > upload["expiresAt"]


async def test_nothing_more_can_be_sent_to_a_complete_upload(sender):
    upload = await sender.begin(1)
    await sender.patch(upload["url"], 0, b"a")

    assert (await sender.patch(upload["url"], 1, b"")).status_code == 204
    assert (await sender.patch(upload["url"], 1, b"b")).status_code == 413
    assert (await sender.patch(upload["url"], 0, b"b")).status_code == 409
    assert sender.file(upload).read_bytes() == b"a"


@pytest.mark.parametrize(
    ("status", "method", "headers"),
    [
        (412, "PATCH", {"tus_resumable": "0.2.2"}),
        (412, "HEAD", {"tus_resumable": "2.0.0"}),
        (415, "PATCH", {"content_type": "application/octet-stream"}),
        (400, "PATCH", {"upload_offset": "x"}),
        (400, "PATCH", {"upload_offset": "-3"}),
        (409, "PATCH", {"upload_offset": 2}),
        (409, "PATCH", {"upload_offset": 4}),
        (400, "PATCH", {"upload_checksum": "crc32 AAAA"}),
        (400, "PATCH", {"upload_checksum": "sha1 !"}),
        (460, "PATCH", {"upload_checksum": "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="}),
        (401, "PATCH", {"authorization": "Bearer img_00000000_0000000000000000"}),
        (401, "DELETE", {"authorization": "Basic YTpi"}),
        (405, "GET", {}),
        (405, "POST", {}),
    ],
)
async def test_a_wrong_request_changes_nothing(sender, status, method, headers):
    upload = await sender.begin(9)
    await sender.patch(upload["url"], 0, b"abc")
    before = await sender.state(upload)

    given = {"content_type": "application/offset+octet-stream", "upload_offset": 3} | headers
    response = await sender.call(method, upload["url"], b"def", **given)

    assert response.status_code == status
    assert response.headers["tus-resumable"] == "1.0.0"
    assert ("tus-version" in response.headers) == (status == 412)
    assert await sender.state(upload) == before
    assert sender.file(upload).read_bytes() == b"abc"
    await sender.patch(upload["url"], 3, b"defghi")
    assert (await sender.state(upload))["checksum"]["value"] == hashlib.sha256(b"abcdefghi").hexdigest()


async def test_more_bytes_than_declared_are_refused(sender):
    upload = await sender.begin(4)
    await sender.patch(upload["url"], 0, b"ab")

    async def too_many():
        yield b"c"
        yield b"d" * (1 << 20)

    declared = await sender.patch(upload["url"], 2, b"cde")
    counted = await sender.patch(upload["url"], 2, too_many())

    assert (declared.status_code, counted.status_code) == (413, 413)
    assert await sender.offset(upload["url"]) == 2
    assert sender.file(upload).read_bytes() == b"ab"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
async def test_bytes_with_their_checksum_are_taken(sender, algorithm):
    upload = await sender.begin(5)
    checksum = base64(hashlib.new(algorithm, b"hello").digest())

    response = await sender.patch(upload["url"], 0, b"hello", upload_checksum=f"{algorithm} {checksum}")

    assert response.status_code == 204
    assert (await sender.state(upload))["status"] == "COMPLETE"


async def test_a_file_that_is_not_the_promised_one_fails(sender):
    upload = await sender.begin(5, sha256=hashlib.sha256(b"hello").hexdigest().upper())

    response = await sender.patch(upload["url"], 0, b"jello")

    state = await sender.state(upload)
    assert response.status_code == 460
    assert (state["status"], state["fault"]["code"]) == ("FAILED", "CHECKSUM_MISMATCH")
    assert state["checksum"]["value"] == hashlib.sha256(b"jello").hexdigest()
    assert not sender.file(upload).exists()
    assert (await sender.call("HEAD", upload["url"])).status_code == 410
    assert (await sender.call("DELETE", upload["url"])).status_code == 204
    assert await sender.used() == 0


async def test_a_deleted_upload_leaves_nothing(sender):
    upload = await sender.begin(5)
    await sender.patch(upload["url"], 0, b"abc")

    response = await sender.call("DELETE", upload["url"])

    assert (response.status_code, response.content) == (204, b"")
    assert await sender.state(upload) is None
    assert not sender.file(upload).exists()
    assert await sender.used() == 0
    assert (await sender.call("DELETE", upload["url"])).status_code == 404
    assert (await sender.patch(upload["url"], 3, b"de")).status_code == 404
    assert not sender.file(upload).exists()


async def test_another_project_cannot_tell_an_upload_from_none(sender, project, service):
    upload = await sender.begin(5)
    await sender.patch(upload["url"], 0, b"abc")
    stranger = Sender(await project("bob"), service.settings.data_dir)
    none = "/uploads/00000000-0000-4000-8000-000000000000"

    for method, headers in [("HEAD", {}), ("PATCH", {"upload_offset": 3}), ("PATCH", {}), ("DELETE", {})]:
        answers = [await stranger.call(method, url, b"de", **headers) for url in (upload["url"], none, "/uploads/x")]
        assert {answer.status_code for answer in answers} == {404}
        shown = [(answer.content, [pair for pair in answer.headers.items() if pair[0] != "date"]) for answer in answers]
        assert shown[0] == shown[1] == shown[2]

    assert sender.file(upload).read_bytes() == b"abc"
    assert await sender.offset(upload["url"]) == 3


async def test_sending_needs_scope_images(sender, service):
    upload = await sender.begin(1)
    reader = await make_client(service.url, project_id=sender.client.project_id, scopes=[TokenScope.READ])

    responses = [
        await Sender(reader, sender.data_dir).call(method, upload["url"], b"a", upload_offset=0)
        for method in ("HEAD", "PATCH", "DELETE")
    ]

    assert [response.status_code for response in responses] == [403, 403, 403]
    assert await sender.offset(upload["url"]) == 0
    await reader.close()


async def test_a_method_can_be_named_in_a_header(sender):
    upload = await sender.begin(1)

    response = await sender.call(
        "POST",
        upload["url"],
        b"a",
        x_http_method_override="PATCH",
        upload_offset=0,
        content_type="application/offset+octet-stream",
    )

    assert response.status_code == 204
    assert (await sender.state(upload))["status"] == "COMPLETE"


async def test_of_several_who_send_at_once_one_gets_through(sender):
    upload = await sender.begin(3 << 20)

    async def body(letter):
        for _ in range(12):
            yield letter * (1 << 18)
            await asyncio.sleep(0)

    answers = await asyncio.gather(*(sender.patch(upload["url"], 0, body(bytes([65 + i]))) for i in range(4)))

    statuses = sorted(answer.status_code for answer in answers)
    content = sender.file(upload).read_bytes()
    assert statuses[0] == 204
    assert set(statuses[1:]) <= {409, 423}
    assert content == content[:1] * (3 << 20)
    assert (await sender.state(upload))["checksum"]["value"] == hashlib.sha256(content).hexdigest()


async def test_before_the_disk_is_full_no_more_is_taken(sender, service):
    upload = await sender.begin(4)
    await sender.patch(upload["url"], 0, b"ab")

    async with intake.opened(service.settings.model_copy(update={"reserve_disk_mib": 1 << 40})):
        response = await sender.patch(upload["url"], 2, b"cd")

    assert response.status_code == 507
    assert await sender.offset(upload["url"]) == 2
    assert (await sender.patch(upload["url"], 2, b"cd")).status_code == 204
    assert sender.file(upload).read_bytes() == b"abcd"


async def test_zeros_take_no_space(sender):
    size = 9 << 20
    upload = await sender.begin(size)

    await sender.patch(upload["url"], 0, bytes(size))

    facts = sender.file(upload).stat()
    assert (facts.st_size, facts.st_blocks) == (size, 0)
    assert (await sender.state(upload))["checksum"]["value"] == hashlib.sha256(bytes(size)).hexdigest()


async def test_what_there_is_of_the_protocol_can_be_asked_without_a_token(service, sender):
    response = await sender.client.http.options("/uploads", headers={"Authorization": ""})

    assert response.status_code == 204
    assert response.headers["tus-version"] == "1.0.0"
    assert response.headers["tus-extension"] == "creation,expiration,checksum,termination"
    assert response.headers["tus-max-size"] == str(128 << 30)
    assert "sha1" in response.headers["tus-checksum-algorithm"].split(",")


async def test_pages_of_allowed_origins_may_upload(service):
    client = TestClient(create_app(service.settings.model_copy(update={"allowed_origins": ("https://front.end",)})))
    asked = "authorization,content-type,tus-resumable,upload-length,upload-metadata,upload-offset,upload-checksum"

    preflight = await asyncio.to_thread(
        client.options,
        "/uploads/x",
        headers={
            "Origin": "https://front.end",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": asked,
        },
    )
    answer = await asyncio.to_thread(client.options, "/uploads", headers={"Origin": "https://front.end"})

    assert preflight.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://front.end"
    exposed = {name.strip().lower() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert {"location", "upload-offset", "upload-length", "upload-expires", "tus-resumable"} <= exposed
