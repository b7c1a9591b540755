"""Which objects a project may import: those in places that are its own, or everybody's, and never anything else of the bucket."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Forbidden, InvalidInput, StartupError
from app.object_storage import ObjectStorage, opened
from app.object_storage.places import locate
from app.settings import Settings

ALICE, BOB = UUID(int=1), UUID(int=2)
WHOLE = {
    "s3_endpoint": "https://storage.example",
    "s3_bucket": "images",
    "s3_access_key_id": "key",
    "s3_secret_access_key": "a-secret",
}


def settings(**more: object) -> Settings:
    return Settings(**(WHOLE | more))


def storage(**more: object) -> ObjectStorage:
    return ObjectStorage(settings(**more))


@pytest.mark.parametrize("prefix", [None, "service/"])
def test_a_project_imports_what_lies_below_its_own_id_and_nothing_else(prefix):
    here = storage(s3_prefix=prefix)
    root = f"s3://images/{prefix or ''}"

    assert here.check(ALICE, f"{root}imports/{ALICE}/a/disk.qcow2").key.endswith("/a/disk.qcow2")
    for other in (
        f"{root}imports/{BOB}/disk.qcow2",
        f"{root}exports/{ALICE}.qcow2",
        f"{root}imports/{ALICE}",
        f"{root}imports/{ALICE}x/disk.qcow2",
        f"{root}Imports/{ALICE}/disk.qcow2",
        f"{root}disk.qcow2",
        f"s3://other-bucket/{prefix or ''}imports/{ALICE}/disk.qcow2",
    ):
        with pytest.raises(Forbidden, match="imports from s3://"):
            here.check(ALICE, other)


@pytest.mark.parametrize(
    "way",
    [
        "../exports/x.qcow2",
        "a/../../x/disk.qcow2",
        "./disk",
        "a//disk",
        "/disk",
        "disk/",
        "..",
        "%2e%2e/x",
        "disk?versionId=1",
        "disk#x",
        "a\\b",
        "a\nb",
        "a\0b",
        "",
        "x" * 1024,
    ],
)
def test_what_might_be_read_as_another_key_is_no_key(way):
    with pytest.raises(InvalidInput):
        storage().check(ALICE, f"s3://images/imports/{ALICE}/{way}")


@pytest.mark.parametrize(
    "url", ["s3://", "s3://images", "s3:///key", "s3://Images/key", "S3://images/key", "s3:images/key", "images/key"]
)
def test_what_names_no_object_is_refused(url):
    with pytest.raises(InvalidInput):
        locate(url)


@given(st.text(max_size=60))
def test_no_key_leads_out_of_the_place_of_a_project(tail):
    root = f"s3://images/imports/{ALICE}/"

    try:
        address = storage_of_all.check(ALICE, root + tail)
    except InvalidInput:
        return

    url = urlsplit(storage_of_all.sign(address.key, expires_in=timedelta(hours=1)))
    assert url.path.startswith(f"/images/exports/imports/{ALICE}/")  # obstore and URLs leave it where it is
    assert len(url.path.split("/")) == len(address.key.split("/")) + 3


storage_of_all = storage()


def test_the_operator_names_places_for_each_project_and_for_all():
    here = storage(s3_import_places=["images/in/{project}/", "golden/linux/", "drop/{project}/", "public/"])

    assert str(here.check(BOB, f"s3://images/in/{BOB}/x")) == f"s3://images/in/{BOB}/x"
    assert here.check(BOB, "s3://golden/linux/debian.qcow2").bucket == "golden"
    assert here.check(BOB, "s3://public/debian.qcow2").key == "debian.qcow2"
    for other in (
        f"s3://images/imports/{BOB}/x",
        "s3://golden/windows/x",
        f"s3://drop/{ALICE}/x",
        "s3://images/in/{project}/x",
    ):
        with pytest.raises(Forbidden):
            here.check(BOB, other)


@pytest.mark.parametrize(
    ("places", "why"),
    [
        (["images/"], "open to all"),
        (["images/imports/"], "open to all"),
        (["drop/{project}/", "drop/"], "open to all"),
        (["images/exports/{project}/"], "where exports lie"),
        (["images"], "no place"),
        (["images/in"], "no place"),
        (["images/in-{project}/"], "no place"),
        (["images/../{project}/"], "no place"),
        (["images//{project}/"], "no place"),
        (["Images/{project}/"], "no place"),
        (["{project}/"], "no place"),
    ],
)
def test_a_place_that_would_show_what_is_not_a_projects_keeps_the_service_from_starting(places, why):
    with pytest.raises(StartupError, match=why):
        storage(s3_import_places=places)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"s3_bucket": None}, "needs IMAGE_SERVICE_S3_BUCKET, too"),
        ({"s3_access_key_id": None, "s3_secret_access_key": None}, "ACCESS_KEY_ID and IMAGE_SERVICE_S3_SECRET"),
        ({"s3_endpoint": "storage.example"}, "is https://HOST"),
        ({"s3_endpoint": "https://storage.example/images"}, "without a bucket"),
        ({"s3_endpoint": "https://key:secret@storage.example"}, "is https://HOST"),
        ({"s3_endpoint": "http://storage.example"}, "S3_ALLOW_HTTP"),
        ({"s3_prefix": "images"}, "ends with a slash"),
        ({"s3_prefix": "/images/"}, "ends with a slash"),
    ],
)
def test_settings_that_are_not_whole_keep_the_service_from_starting(wrong, why):
    with pytest.raises(StartupError, match=why) as refused:
        storage(**wrong)

    assert "a-secret" not in str(refused.value)


async def test_without_an_endpoint_there_is_no_object_storage():
    async with opened(Settings(s3_bucket="images")) as current:
        assert current is None


def test_buckets_are_named_in_the_path_or_in_the_host():
    by_path, by_host = storage(), storage(s3_virtual_hosted=True)

    urls = [urlsplit(one.sign("x.raw", expires_in=timedelta(hours=1))) for one in (by_path, by_host)]

    assert [(url.netloc, url.path) for url in urls] == [
        ("storage.example", "/images/exports/x.raw"),
        ("images.storage.example", "/exports/x.raw"),
    ]


def test_what_others_set_in_the_environment_leads_nowhere_else(monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "https://elsewhere.example",
        "AWS_ENDPOINT_URL": "https://elsewhere.example",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_REGION": "other",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)

    url = storage(s3_region="eu-de").sign("x.raw", expires_in=timedelta(hours=1))

    assert url.startswith("https://storage.example/images/exports/x.raw?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    assert "X-Amz-Credential=key%2F" in url
    assert "%2Feu-de%2Fs3%2F" in url
    assert "Token" not in url


def test_nothing_shows_the_secret():
    here = storage()

    shown = [repr(vars(here)), repr(settings()), str(here._store("images").config), repr(here._store("images"))]

    assert [text for text in shown if "a-secret" in text] == []
