"""Exports that lie in a bucket: fetched by a presigned URL, removed when their time has come, never left half-done."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx2
import pytest
from pydantic import SecretStr

from app import db
from app.enums import TokenScope
from app.exports import janitor
from app.exports.models import Export
from app.object_storage.leftovers import Signer
from tests.client import Client
from tests.disks.acting import again
from tests.exports.test_exports import CANCEL, JOB, begin, exported, files, small_image
from tests.object_storage.conftest import BUCKET, KEY_ID, MIB, SECRET

WATCH = "subscription($id: ID!) { jobUpdated(id: $id) { phase bytesDone bytesTotal progress export { url } } }"


@pytest.fixture
async def anybody() -> Any:
    """A client without a token."""
    async with httpx2.AsyncClient(verify=False) as client:
        yield client


async def export_of(job: dict[str, Any]) -> Export:
    return await Export.get(job_id=job["uuid"])


async def test_an_export_is_fetched_from_the_bucket_by_whoever_has_its_url(
    alice, service, storage, stored, anybody, data_image
):
    job = await begin(alice, data_image["id"], format="QCOW2")
    async with alice.subscribe(WATCH, id=job["id"]) as values:
        seen = [value["jobUpdated"] async for value in values]
    export = (await alice.one(JOB, id=job["id"]))["export"]
    name = f"{(await export_of(job)).id}.qcow2"
    url = urlsplit(export["url"])

    whole = await anybody.get(export["url"])
    part = await anybody.get(export["url"], headers={"Range": "bytes=4-9"})
    last = await anybody.get(export["url"], headers={"Range": f"bytes={export['sizeBytes'] - 5}-"})

    assert (url.netloc, url.path) == (f"127.0.0.1:{storage.port}", f"/{BUCKET}/exports/{name}")
    assert (whole.status_code, len(whole.content)) == (200, export["sizeBytes"])
    assert hashlib.sha256(whole.content).hexdigest() == export["checksum"]["value"]
    assert whole.headers["content-disposition"] == f'attachment; filename="{data_image["uuid"]}.qcow2"'
    assert (part.status_code, part.content) == (206, whole.content[4:10])
    assert (last.status_code, last.content) == (206, whole.content[-5:])
    assert part.headers["content-range"] == f"bytes 4-9/{export['sizeBytes']}"
    assert name in storage.exports()
    assert storage.unfinished() == set()
    assert files(service.settings.data_dir, name) == []
    assert "uploading the file" in [value["phase"] for value in seen]
    assert [value["progress"] for value in seen] == sorted(value["progress"] for value in seen)
    assert SECRET not in str([seen, export])


async def test_the_url_holds_as_long_as_the_export_and_a_week_at_most(alice, stored):
    image = await small_image(alice)
    job = await begin(alice, image["id"])
    await alice.done(job["id"])
    export = await export_of(job)

    async def seconds(left: timedelta) -> int:
        await Export.filter(id=export.id).update(expires_at=db.now() + left)
        shown = (await alice.one(JOB, id=job["id"]))["export"]["url"]
        query = parse_qs(urlsplit(shown).query)
        assert query["X-Amz-Credential"][0].startswith(f"{KEY_ID}/")
        return int(query["X-Amz-Expires"][0])

    assert 3500 < await seconds(timedelta(hours=1)) <= 3600
    assert await seconds(timedelta(days=30)) == 7 * 86400


async def test_a_url_that_was_changed_or_has_expired_is_refused(alice, storage, stored, anybody):
    image = await small_image(alice)
    mine, other = await exported(alice, image["id"]), await exported(alice, image["id"], format="VMDK")
    path, of_other = urlsplit(mine["url"]).path, urlsplit(other["url"]).path
    name = path.rpartition("/")[2]
    signer = Signer(mine["url"].partition("/exports/")[0], "us-east-1", KEY_ID, SecretStr(SECRET))
    late, fresh = (signer.url("GET", f"exports/{name}", {}, at=db.now() - timedelta(seconds=age)) for age in (61, 1))
    asked = {
        "another object": mine["url"].replace(path, of_other),
        "for longer": mine["url"].replace("X-Amz-Expires=", "X-Amz-Expires=1"),
        "another signature": mine["url"][:-1] + ("0" if mine["url"][-1] != "0" else "1"),
        "none at all": mine["url"].partition("?")[0],
    }

    said = {what: (await anybody.get(url)).status_code for what, url in asked.items()}
    deleted = await anybody.delete(mine["url"])

    assert said == dict.fromkeys(asked, 403)
    assert deleted.status_code == 403
    assert [(await anybody.get(url)).status_code for url in (late, fresh)] == [403, 200]
    assert (await anybody.get(mine["url"])).status_code == 200
    assert name in storage.exports()


async def test_a_caller_with_a_token_is_sent_on_to_the_bucket(alice, project, service, stored, anybody):
    image = await small_image(alice)
    export = await exported(alice, image["id"])
    id_ = urlsplit(export["url"]).path.rpartition("/")[2].partition(".")[0]
    bob, writer = await project("bob"), await project(project_id=alice.project_id, scopes=[TokenScope.IMAGES])
    nobody = Client(service.url, None)

    answer = await alice.http.get(f"/exports/{id_}")
    head = await alice.http.head(f"/exports/{id_}", follow_redirects=True)
    fetched = await anybody.get(answer.headers["location"])
    others = [(await client.http.get(f"/exports/{id_}")).status_code for client in (bob, writer, nobody)]
    await nobody.close()

    assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
    assert hashlib.sha256(fetched.content).hexdigest() == export["checksum"]["value"]
    assert (head.status_code, head.headers["content-length"]) == (200, str(export["sizeBytes"]))
    assert others == [404, 403, 401]


async def test_what_has_expired_is_removed_from_the_bucket(alice, service, storage, stored):
    image = await small_image(alice)
    gone, kept = await begin(alice, image["id"]), None
    await alice.done(gone["id"])
    kept = await exported(alice, image["id"], format="VMDK")
    export = await export_of(gone)
    await Export.filter(id=export.id).update(expires_at=db.now() - timedelta(seconds=1))

    shown = (await alice.one(JOB, id=gone["id"]))["export"]
    before = f"{export.id}.qcow2" in storage.exports()
    await janitor.tidy(service.settings.data_dir)

    assert (before, shown) == (True, None)
    assert f"{export.id}.qcow2" not in storage.exports()
    assert urlsplit(kept["url"]).path.rpartition("/")[2] in storage.exports()
    assert not await Export.exists(id=export.id)


async def test_an_export_outlives_a_storage_that_is_away_when_it_expires(alice, service, storage, opened):
    image = await small_image(alice)
    async with opened():
        job = await begin(alice, image["id"])
        await alice.done(job["id"])
    export = await export_of(job)
    await Export.filter(id=export.id).update(expires_at=db.now() - timedelta(seconds=1))

    await janitor.tidy(service.settings.data_dir)  # there is no storage any more
    without = await Export.exists(id=export.id)
    async with opened(s3_secret_access_key="wrong"):
        await janitor.tidy(service.settings.data_dir)
    refused = await Export.exists(id=export.id)
    there = f"{export.id}.qcow2" in storage.exports()
    async with opened():
        await janitor.tidy(service.settings.data_dir)

    assert (without, refused, there) == (True, True, True)
    assert not await Export.exists(id=export.id)
    assert f"{export.id}.qcow2" not in storage.exports()


async def test_without_its_storage_an_export_has_no_file(alice, opened):
    image = await small_image(alice)
    async with opened():
        job = await begin(alice, image["id"])
        await alice.done(job["id"])

    url = (await alice.one(JOB, id=job["id"]))["export"]["url"]

    assert "X-Amz" not in url
    assert (await alice.http.get(url)).status_code == 404


async def test_cancelling_in_the_middle_of_the_upload_leaves_nothing(alice, service, storage, opened, wire, data_image):
    async with opened(s3_endpoint=f"http://127.0.0.1:{wire.port}"):
        wire.stall_after(12 * MIB)
        job = await begin(alice, data_image["id"], format="RAW")
        async with asyncio.timeout(30):
            await wire.stalled.wait()
        export = await export_of(job)
        begun = storage.unfinished()
        assert (await alice.one(CANCEL, id=job["id"]))["userErrors"] == []
        wire.go_on()
        ended = await alice.wait(job["id"])

    assert (export.in_bucket, len(begun)) == (True, 1)
    assert ended["status"] == "CANCELLED"
    assert storage.unfinished() == set()
    assert f"{export.id}.raw" not in storage.exports()
    assert files(service.settings.data_dir, export.id) == []
    assert not await Export.exists(id=export.id)


async def test_an_upload_that_the_storage_refuses_fails_the_job_and_keeps_nothing_to_itself(alice, service, opened):
    image = await small_image(alice)
    async with opened(s3_secret_access_key="wrong-secret"):
        job = await begin(alice, image["id"])
        ended = await alice.wait(job["id"])
    export = await export_of(job)  # the janitor's, as nobody knows what the storage has of it

    async with opened():
        await janitor.tidy(service.settings.data_dir)

    assert (ended["status"], ended["fault"]["code"]) == ("FAIL", "INTERNAL")
    assert ended["fault"]["message"].startswith("The object storage does not answer")
    assert export.expires_at is not None
    assert export.expires_at <= db.now()
    assert files(service.settings.data_dir, export.id) == []
    assert not await Export.exists(id=export.id)


async def test_an_export_that_was_cut_short_at_its_end_is_made_again_under_its_name(alice, storage, stored, anybody):
    image = await small_image(alice)
    job = await begin(alice, image["id"])
    await alice.done(job["id"])
    before = await export_of(job)

    await Export.filter(id=before.id).update(sha256=None, expires_at=None, size_bytes=0)
    await again(UUID(job["uuid"]))
    await alice.done(job["id"])
    after = (await alice.one(JOB, id=job["id"]))["export"]

    fetched = await anybody.get(after["url"])
    assert hashlib.sha256(fetched.content).hexdigest() == after["checksum"]["value"]
    assert [name for name in storage.exports() if str(before.id) in name] == [f"{before.id}.qcow2"]


async def test_unfinished_uploads_of_others_are_left_alone(storage, stored, tmp_path):
    mine, other = f"{uuid4()}.raw", f"{uuid4()}.raw"
    path = tmp_path / "file"
    path.write_bytes(bytes(12 * MIB))

    async def breaks(done: int, total: int) -> None:
        if done == total:
            raise InterruptedError

    for name in (mine, other):
        with pytest.raises(InterruptedError):
            await stored.upload(name, path, file_name=name, progress=breaks)
    both = storage.unfinished()
    await stored.remove(mine)
    left = storage.unfinished()
    await stored.remove(mine)  # nothing is there any more
    await stored.remove(other)

    assert (len(both), len(left)) == (2, 1)
    assert storage.unfinished() == set()
