"""Beginning uploads, and finding them again."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.enums import TokenScope
from app.projects.models import Quota
from app.uploads import intake
from tests.factories import make_client
from tests.uploads.conftest import CREATE, UPLOAD, Sender, plain_id


async def test_an_upload_says_where_its_bytes_go(sender, service):
    upload = await sender.begin(3, fileName="disk.qcow2")

    lasts = datetime.fromisoformat(upload["expiresAt"]) - datetime.fromisoformat(upload["createdAt"])
    assert upload["url"] == f"{service.url}/uploads/{plain_id(upload)}"
    assert (upload["protocol"], upload["status"], upload["checksum"]) == ("TUS", "RECEIVING", None)
    assert (upload["sizeBytes"], upload["offsetBytes"], upload["fileName"]) == (3, 0, "disk.qcow2")
    assert abs(lasts - timedelta(hours=24)) < timedelta(minutes=1)
    assert await sender.used() == 1


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        ({"sizeBytes": 0}, "INVALID_INPUT", "sizeBytes"),
        ({"sizeBytes": -1}, "INVALID_INPUT", "sizeBytes"),
        ({"sizeBytes": (128 << 30) + 1}, "LIMIT_EXCEEDED", "sizeBytes"),
        ({"fileName": ""}, "INVALID_INPUT", "fileName"),
        ({"fileName": "x" * 256}, "INVALID_INPUT", "fileName"),
        ({"fileName": "a\nb"}, "INVALID_INPUT", "fileName"),
        ({"sha256": "ab"}, "INVALID_INPUT", "sha256"),
        ({"sha256": "g" * 64}, "INVALID_INPUT", "sha256"),
        ({"idempotencyKey": ""}, "INVALID_INPUT", "idempotencyKey"),
    ],
)
async def test_what_is_no_file_is_refused(sender, wrong, code, field):
    assert await sender.refusal(**{"sizeBytes": 1} | wrong) == (code, ["input", field], None)


async def test_an_upload_needs_scope_images(service):
    reader = await make_client(service.url, scopes=[TokenScope.READ])

    payload = await reader.one(CREATE, input={"sizeBytes": 1})

    assert [error["code"] for error in payload["userErrors"]] == ["FORBIDDEN"]
    await reader.close()


async def test_uploads_are_counted_also_in_projects_older_than_their_quota(sender):
    quota = Quota.filter(project_id=sender.client.project_id, resource="UPLOADS")
    await quota.delete()

    await sender.begin(1)

    assert await quota.values("used", "limit") == [{"used": 1, "limit": 20}]
    await quota.update(limit=1)
    assert await sender.refusal(sizeBytes=1) == ("QUOTA_EXCEEDED", None, "Ecs.0001")


async def test_a_retry_gets_the_same_upload(sender):
    first = await sender.begin(5, idempotencyKey="k")

    again = await sender.begin(5, idempotencyKey="k")

    assert again["id"] == first["id"]
    assert await sender.used() == 1
    mismatch = ("IDEMPOTENCY_MISMATCH", ["input", "idempotencyKey"], None)
    assert await sender.refusal(sizeBytes=6, idempotencyKey="k") == mismatch


async def test_a_file_for_which_there_is_no_room_is_refused_at_once(sender, service):
    async with intake.opened(service.settings.model_copy(update={"reserve_disk_mib": 1 << 40})):
        refusal = await sender.refusal(sizeBytes=1)

    assert refusal == ("INSUFFICIENT_STORAGE", ["input", "sizeBytes"], None)


async def test_uploads_are_listed_newest_first_to_their_project_alone(sender, project):
    ids = [(await sender.begin(size))["id"] for size in (1, 2, 3)]
    stranger = await project("bob")

    page = await sender.client.one(
        "{ uploads(first: 2) { totalCount nodes { id } pageInfo { endCursor hasNextPage } } }"
    )
    rest = await sender.client.one(
        "query($after: String) { uploads(after: $after) { nodes { id } } }", after=page["pageInfo"]["endCursor"]
    )

    assert [node["id"] for node in page["nodes"] + rest["nodes"]] == ids[::-1]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (3, True)
    assert await stranger.one("{ uploads { nodes { id } } }") == {"nodes": []}
    assert await stranger.one(UPLOAD, id=ids[0]) is None


async def test_an_expired_upload_is_gone(sender, service):
    async with intake.opened(service.settings.model_copy(update={"upload_kept_h": 1e-9})):
        payload = await sender.client.one(CREATE, input={"sizeBytes": 1})

    assert payload == {"upload": None, "userErrors": []}
    assert await sender.client.one("{ uploads { totalCount } }") == {"totalCount": 0}


async def test_begun_by_tus_it_is_the_same_upload(sender: Sender, service):
    created = await sender.call("POST", "/uploads", upload_length=7, upload_metadata="filename YS5yYXc=,other,x eA==")

    url = created.headers["location"]
    assert created.status_code == 201
    assert url.startswith(f"{service.url}/uploads/")
    (node,) = (await sender.client.one("{ uploads { nodes { url fileName sizeBytes } } }"))["nodes"]
    assert node == {"url": url, "fileName": "a.raw", "sizeBytes": 7}
    head = await sender.call("HEAD", url)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("0", "7")
    assert head.headers["upload-metadata"] == "filename YS5yYXc="
    assert head.headers["cache-control"] == "no-store"
    assert head.headers["upload-expires"] == created.headers["upload-expires"]
    assert UUID(url.rpartition("/")[2])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"upload_length": "x"}, 400),
        ({"upload_length": "-1"}, 400),
        ({"upload_length": 0}, 400),
        ({"upload_length": 1, "upload_defer_length": 1}, 400),
        ({"upload_length": 1 << 50}, 413),
        ({"upload_length": 1, "upload_metadata": "filename !"}, 400),
        ({"upload_length": 1, "upload_metadata": "filename /w=="}, 400),
        ({"upload_length": 1, "upload_metadata": "sha256 eA=="}, 400),
        ({"upload_length": 1, "tus_resumable": "0.2.2"}, 412),
        ({"upload_length": 1, "authorization": "Bearer img_00000000_0000000000000000"}, 401),
    ],
)
async def test_a_creation_by_tus_that_is_wrong_makes_nothing(sender, headers, status):
    response = await sender.call("POST", "/uploads", **headers)

    assert response.status_code == status
    assert response.headers["tus-resumable"] == "1.0.0"
    assert await sender.used() == 0
