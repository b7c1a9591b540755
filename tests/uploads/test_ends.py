"""How uploads end: taken by jobs, expired, or interrupted at their very end."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from app import db
from app.enums import TokenScope
from app.errors import Busy, NotFound, Refused
from app.files import path_of
from app.policy import Caller
from app.uploads import janitor
from app.uploads import service as uploads
from app.uploads.models import Upload
from tests.uploads.conftest import Sender, plain_id


def caller(sender: Sender) -> Caller:
    return Caller(
        project_id=sender.client.project_id, scopes=frozenset(TokenScope), token_id=str(uuid4()), token_name="test"
    )


async def complete(sender: Sender, content: bytes = b"abc") -> tuple[dict, UUID]:
    upload = await sender.begin(len(content))
    assert (await sender.patch(upload["url"], 0, content)).status_code == 204
    return upload, UUID(plain_id(upload))


async def expire(*ids: UUID) -> None:
    await Upload.filter(id__in=ids).update(expires_at=db.now() - timedelta(seconds=1))


async def test_a_job_takes_an_upload_and_ends_it(sender):
    upload, id_ = await complete(sender)

    row = await uploads.take(caller(sender), id_)

    assert (row.size_bytes, row.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert (await sender.state(upload))["status"] == "USED"
    assert uploads.path_of(sender.data_dir, id_).read_bytes() == b"abc"
    assert (await sender.call("DELETE", upload["url"])).status_code == 423
    await uploads.finish(id_)
    await uploads.finish(id_)
    assert await sender.state(upload) is None
    assert not sender.file(upload).exists()
    assert await sender.used() == 0


async def test_of_two_jobs_one_gets_the_upload(sender):
    _, id_ = await complete(sender)

    async def take():
        async with db.transaction():
            return await uploads.take(caller(sender), id_)

    results = await asyncio.gather(take(), take(), return_exceptions=True)

    assert {type(result) for result in results} == {Upload, Busy}


async def test_what_a_job_puts_back_can_be_taken_again(sender):
    upload, id_ = await complete(sender)
    await uploads.take(caller(sender), id_)

    await uploads.put_back(id_)

    assert (await sender.state(upload))["status"] == "COMPLETE"
    await uploads.take(caller(sender), id_)


async def test_only_a_complete_upload_of_ones_own_can_be_taken(sender, project, service):
    receiving = await sender.begin(3)
    await sender.patch(receiving["url"], 0, b"ab")
    failed = await sender.begin(3, sha256="0" * 64)
    await sender.patch(failed["url"], 0, b"abc")
    _, expired = await complete(sender)
    await expire(expired)
    stranger = Sender(await project("bob"), service.settings.data_dir)
    upload, foreign = await complete(sender)

    for who, id_, kind, code in [
        (sender, UUID(plain_id(receiving)), Refused, "UPLOAD_INCOMPLETE"),
        (sender, UUID(plain_id(failed)), Refused, "CHECKSUM_MISMATCH"),
        (sender, expired, NotFound, "NOT_FOUND"),
        (sender, uuid4(), NotFound, "NOT_FOUND"),
        (stranger, foreign, NotFound, "NOT_FOUND"),
    ]:
        with pytest.raises(kind) as refused:
            await uploads.take(caller(who), id_)
        assert refused.value.code == code
    assert (await sender.state(upload))["status"] == "COMPLETE"


async def test_what_has_expired_is_removed_unless_a_job_uses_it(sender):
    received = await sender.begin(3)
    await sender.patch(received["url"], 0, b"a")
    done, done_id = await complete(sender)
    used, used_id = await complete(sender)
    kept, _ = await complete(sender)
    await uploads.take(caller(sender), used_id)
    await expire(UUID(plain_id(received)), done_id, used_id)

    gone = await sender.patch(received["url"], 1, b"b")
    await janitor.tidy()

    assert gone.status_code == 404
    assert [sender.file(upload).exists() for upload in (received, done, used, kept)] == [False, False, True, True]
    assert (await sender.state(used))["status"] == "USED"
    assert await sender.used() == 2


async def test_files_that_no_upload_has_are_removed(sender):
    upload, _ = await complete(sender)
    orphan = path_of(sender.data_dir, uuid4())
    orphan.write_bytes(b"x")

    await janitor.tidy()

    assert not orphan.exists()
    assert sender.file(upload).exists()


async def test_an_upload_whose_end_was_interrupted_is_completed(sender):
    upload = await sender.begin(6)
    await sender.patch(upload["url"], 0, b"abc")
    sender.file(upload).write_bytes(b"abcdef")
    await Upload.filter(id=plain_id(upload)).update(
        offset_bytes=6
    )  # as after a kill between the last byte and its hash

    await janitor.tidy()

    state = await sender.state(upload)
    assert (state["status"], state["checksum"]["value"]) == ("COMPLETE", hashlib.sha256(b"abcdef").hexdigest())


async def test_asking_for_the_end_of_an_interrupted_upload_completes_it(sender):
    upload = await sender.begin(3)
    sender.file(upload).write_bytes(b"abc")
    await Upload.filter(id=plain_id(upload)).update(offset_bytes=3)

    response = await sender.patch(upload["url"], 3, b"")

    assert response.status_code == 204
    assert (await sender.state(upload))["status"] == "COMPLETE"
