"""Changing, tagging and deleting images: every rule, and that a refusal changes nothing."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from app.contents.models import Content
from app.enums import ContentState, ImageStatus, ShareStatus
from app.images.models import Image, ImageDisk, ImageTag
from app.sharing.models import ImageMember
from tests.client import Client
from tests.factories import make_image, make_member

UPDATE = """mutation($input: UpdateImageInput!) { updateImage(input: $input) {
  image { name description minDiskGib minRamMib maxRamMib protected os { type platform version bits } }
  userErrors { code otcCode field } } }"""
TAG = """mutation($ids: [ID!]!, $tags: [TagInput!]!) { tagImages(input: {imageIds: $ids, tags: $tags}) {
  results { imageId image { tags { key value } } error { code field } } userErrors { code otcCode field } } }"""
UNTAG = """mutation($ids: [ID!]!, $keys: [String!]!) { untagImages(input: {imageIds: $ids, keys: $keys}) {
  results { imageId image { tags { key value } } error { code field } } userErrors { code otcCode field } } }"""
DELETE = """mutation($ids: [ID!]!, $dry: Boolean! = false) { deleteImages(input: {imageIds: $ids, dryRun: $dry}) {
  results { imageId image { id } error { code field } } userErrors { code otcCode field } } }"""


async def snapshot(*images: Image) -> list[Any]:
    ids = [image.id for image in images]
    tables = (Image.filter(id__in=ids), ImageTag.filter(image_id__in=ids), ImageMember.filter(image_id__in=ids))
    return [await rows.order_by("id").values() for rows in tables]


async def update(client: Client, image: Image, **values: object) -> dict[str, Any]:
    answer: dict[str, Any] = await client.one(UPDATE, input={"imageId": str(image.id), **values})
    return answer


async def test_what_is_absent_stays_and_null_clears(project):
    alice = await project("alice")
    image = await make_image(alice.project_id, "old", description="words", max_ram_mib=2048)

    nothing = (await update(alice, image))["image"]
    assert (nothing["name"], nothing["description"], nothing["maxRamMib"]) == ("old", "words", 2048)
    new = {
        "name": "new name_1.0-x",
        "description": "Größe \U0001f642",
        "minDiskGib": 2,
        "minRamMib": 512,
        "maxRamMib": 512,
        "protected": True,
        "os": {"type": "LINUX", "platform": "Debian", "version": "12", "bits": 64},
    }
    assert (await update(alice, image, **new)) == {"image": new, "userErrors": []}
    assert (await update(alice, image))["image"] == new
    cleared = await update(alice, image, description=None, maxRamMib=None)
    assert cleared["image"] == new | {"description": None, "maxRamMib": None}
    replaced = await update(alice, image, os={"type": "OTHER"})
    assert replaced["image"]["os"] == {"type": "OTHER", "platform": "Other", "version": None, "bits": None}

    assert (await Image.get(id=image.id)).updated_at > image.updated_at


@pytest.mark.parametrize("field", ["name", "minDiskGib", "minRamMib", "protected", "os"])
async def test_what_an_image_always_has_cannot_be_null(project, field):
    alice = await project("alice")
    image = await make_image(alice.project_id)
    before = await snapshot(image)

    codes = await alice.codes(UPDATE, input={"imageId": str(image.id), field: None})

    assert codes == ["BAD_USER_INPUT"]
    assert await snapshot(image) == before


WRONG: list[tuple[dict[str, object], list[str], str]] = [
    ({"name": ""}, ["name"], "IMG.0013"),
    ({"name": "x" * 129}, ["name"], "IMG.0002"),
    ({"name": " x"}, ["name"], "IMG.0003"),
    ({"name": "x "}, ["name"], "IMG.0003"),
    ({"name": "x/y"}, ["name"], "IMG.0003"),
    ({"name": "Größe"}, ["name"], "IMG.0003"),
    ({"name": "x\n"}, ["name"], "IMG.0003"),
    ({"name": "\U0001f642"}, ["name"], "IMG.0003"),
    ({"name": "\u0661"}, ["name"], "IMG.0003"),
    ({"description": "x" * 1025}, ["description"], "IMG.0004"),
    ({"description": "a < b"}, ["description"], "IMG.0054"),
    ({"description": "a > b"}, ["description"], "IMG.0054"),
    ({"description": "a\nb"}, ["description"], "IMG.0054"),
    ({"description": "a\u2028b"}, ["description"], "IMG.0054"),
    ({"description": "a\x1bb"}, ["description"], "IMG.0054"),
    ({"minDiskGib": 0}, ["minDiskGib"], "IMG.0055"),
    ({"minDiskGib": 2}, ["minDiskGib"], "IMG.0055"),
    ({"minDiskGib": 1025}, ["minDiskGib"], "IMG.0055"),
    ({"minDiskGib": -1}, ["minDiskGib"], "IMG.0055"),
    ({"minRamMib": -1}, ["minRamMib"], "IMG.0055"),
    ({"minRamMib": 4_194_305}, ["minRamMib"], "IMG.0055"),
    ({"maxRamMib": 0}, ["maxRamMib"], "IMG.0055"),
    ({"maxRamMib": 4_194_305}, ["maxRamMib"], "IMG.0055"),
    ({"minRamMib": 513, "maxRamMib": 512}, ["maxRamMib"], "IMG.0055"),
    ({"maxRamMib": 255}, ["maxRamMib"], "IMG.0055"),
    ({"minRamMib": 1025}, ["maxRamMib"], "IMG.0055"),
    ({"os": {"type": "LINUX", "bits": 16}}, ["os", "bits"], "IMG.0122"),
    ({"os": {"type": "LINUX", "platform": ""}}, ["os", "platform"], "IMG.0056"),
    ({"os": {"type": "LINUX", "platform": "x" * 65}}, ["os", "platform"], "IMG.0056"),
    ({"os": {"type": "LINUX", "version": "x" * 65}}, ["os", "version"], "IMG.0056"),
    ({"os": {"type": "LINUX", "version": "1\n2"}}, ["os", "version"], "IMG.0056"),
]


async def test_every_rule_is_told_with_its_code_and_field_and_nothing_changes(project):
    alice = await project("alice")
    image = await make_image(alice.project_id, "old", min_ram_mib=256, max_ram_mib=1024)
    await ImageDisk.filter(image_id=image.id).update(size_gib=3)
    before = await snapshot(image)

    with capture_logs() as logged:
        for values, field, otc in WRONG:
            answer = (
                await update(alice, image, name="new", **values)
                if "name" not in values
                else await update(alice, image, **values)
            )
            error = {"code": "INVALID_INPUT", "otcCode": otc, "field": ["input", *field]}
            assert answer == {"image": None, "userErrors": [error]}, values

    assert await snapshot(image) == before
    assert [event for event in logged if event["log_level"] in ("error", "critical")] == []


async def test_the_longest_and_the_least_go_through(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)

    for values in (
        {"name": "x" * 128},
        {"name": "x"},
        {"description": "x" * 1024},
        {"description": "\U0001f642" * 1024},
        {"minDiskGib": 1024},
        {"minDiskGib": 1},
        {"minRamMib": 4_194_304},
        {"minRamMib": 0},
        {"maxRamMib": 4_194_304},
        {"minRamMib": 1, "maxRamMib": 1},
        {"os": {"type": "WINDOWS", "platform": "x" * 64, "version": "x" * 64, "bits": 32}},
    ):
        answer = await update(alice, image, **values)
        assert answer["userErrors"] == [], values
        assert {name: answer["image"][name] for name in values} == values
    assert (await update(alice, image, description=""))["image"]["description"] is None


async def test_a_description_is_kept_in_its_composed_form(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)

    answer = await update(alice, image, description="Gro\u0308\u00dfe")

    assert answer["image"]["description"] == "Gr\u00f6\u00dfe"


async def test_ten_tags_and_not_eleven_and_replacing_does_not_count(project):
    alice = await project("alice")
    image = await make_image(alice.project_id, tags={f"k{n}": "v" for n in range(9)})
    ids = [str(image.id)]

    answer = await alice.one(TAG, ids=ids, tags=[{"key": "k9", "value": "v"}])
    assert answer["userErrors"] == []
    replaced = await alice.one(TAG, ids=ids, tags=[{"key": f"k{n}", "value": "new"} for n in range(10)])
    assert replaced["results"][0]["image"]["tags"] == [{"key": f"k{n}", "value": "new"} for n in range(10)]
    before = await snapshot(image)
    for tags in ([{"key": "more"}], [{"key": "k0", "value": "newer"}, {"key": "more"}]):
        answer = await alice.one(TAG, ids=ids, tags=tags)
        error = {"code": "LIMIT_EXCEEDED", "otcCode": "IMG.0116", "field": ["input", "imageIds", "0"]}
        assert answer["userErrors"] == [error]

    assert await snapshot(image) == before


async def test_tags_are_trimmed_and_may_have_no_value(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)

    tags = [{"key": "  a ", "value": " b "}, {"key": "empty"}, {"key": "K" * 36, "value": "v" * 43}]
    answer = await alice.one(TAG, ids=[str(image.id)], tags=tags)

    shown = answer["results"][0]["image"]["tags"]
    assert sorted((tag["key"], tag["value"]) for tag in shown) == [("K" * 36, "v" * 43), ("a", "b"), ("empty", "")]


WRONG_TAGS: list[tuple[list[dict[str, str]], list[str], str, str]] = [
    ([{"key": ""}], ["0"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": " "}], ["0"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": "a"}, {"key": "b c"}], ["1"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": "x" * 37}], ["0"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": "a", "value": "x" * 44}], ["0"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": "a", "value": "b=c"}], ["0"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": "\u00e4"}], ["0"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": "a", "value": "\U0001f642"}], ["0"], "INVALID_INPUT", "IMG.0115"),
    ([{"key": "a"}, {"key": " a "}], ["1"], "INVALID_INPUT", "Ecs.0908"),
    ([{"key": f"k{n}"} for n in range(11)], [], "LIMIT_EXCEEDED", "IMG.0116"),
]


async def test_wrong_tags_are_refused_as_a_whole(project):
    alice = await project("alice")
    image = await make_image(alice.project_id, tags={"old": "tag"})
    before = await snapshot(image)

    for tags, place, code, otc in WRONG_TAGS:
        answer = await alice.one(TAG, ids=[str(image.id)], tags=tags)
        assert answer == {
            "results": [],
            "userErrors": [{"code": code, "otcCode": otc, "field": ["input", "tags", *place]}],
        }, tags

    assert await snapshot(image) == before


async def test_a_batch_does_what_it_can_and_names_the_place_of_what_it_cannot(project):
    alice, bob = await project("alice"), await project("bob")
    one, two = await make_image(alice.project_id, tags={"a": "1"}), await make_image(alice.project_id)
    lent, hidden = await make_image(bob.project_id), await make_image(bob.project_id)
    await make_member(lent, alice.project_id)
    before = await snapshot(lent, hidden)
    ids = [str(one.id), str(hidden.id), str(lent.id), str(one.id).upper(), "nonsense", str(two.id)]
    wrong = {1: "NOT_FOUND", 2: "FORBIDDEN", 4: "NOT_FOUND"}
    errors = [(["input", "imageIds", str(place)], code) for place, code in wrong.items()]

    for query, given, expected in (
        (TAG, {"tags": [{"key": "b", "value": "2"}]}, [["a", "b"], ["b"]]),
        (UNTAG, {"keys": [" b ", "never-there", "x" * 5000, "%"]}, [["a"], []]),
    ):
        answer = await alice.one(query, ids=ids, **given)
        assert [(error["field"], error["code"]) for error in answer["userErrors"]] == errors
        assert [result["imageId"] for result in answer["results"]] == [ids[0], ids[1], ids[2], ids[4], ids[5]]
        shown = [[tag["key"] for tag in r["image"]["tags"]] for r in answer["results"] if r["image"]]
        assert shown == expected
    dry = await alice.one(DELETE, ids=ids, dry=True)
    assert [(error["field"], error["code"]) for error in dry["userErrors"]] == errors
    assert await Image.filter(id__in=[one.id, two.id]).count() == 2
    deleted = await alice.one(DELETE, ids=ids)
    assert [(error["field"], error["code"]) for error in deleted["userErrors"]] == errors
    assert [result["image"] for result in deleted["results"]] == [None] * 5

    assert await Image.filter(id__in=[one.id, two.id]).count() == 0
    assert await snapshot(lent, hidden) == before


async def test_at_most_a_hundred_keys_are_taken_off_at_a_time(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)
    await ImageTag.create(image=image, key="k0", value="")
    before = await snapshot(image)

    def keys(count: int) -> dict[str, object]:
        return {"ids": [str(image.id)], "keys": [f"k{number}" for number in range(count)]}

    refused = await alice.one(UNTAG, **keys(101))
    unchanged = await snapshot(image) == before
    taken = await alice.one(UNTAG, **keys(100))

    error = {"code": "LIMIT_EXCEEDED", "otcCode": None, "field": ["input", "keys"]}
    assert (refused, unchanged) == ({"results": [], "userErrors": [error]}, True)
    assert taken["userErrors"] == []
    assert taken["results"][0]["image"]["tags"] == []


@pytest.mark.parametrize(("query", "more"), [(TAG, {"tags": [{"key": "a"}]}), (UNTAG, {"keys": ["a"]}), (DELETE, {})])
async def test_a_batch_has_at_most_a_hundred_ids(project, query, more):
    alice = await project("alice")
    image = await make_image(alice.project_id, tags={"a": "1"})
    before = await snapshot(image)

    answer = await alice.one(query, ids=[str(image.id), *(str(uuid4()) for _ in range(100))], **more)

    assert answer["userErrors"] == [{"code": "LIMIT_EXCEEDED", "otcCode": None, "field": ["input", "imageIds"]}]
    assert await snapshot(image) == before
    assert (await alice.one(query, ids=[], **more)) == {"results": [], "userErrors": []}


async def test_what_is_not_deleted_says_why(project):
    alice, bob = await project("alice"), await project("bob")
    public = await make_image(bob.project_id, is_public=True)
    images = [
        await make_image(alice.project_id, protected=True),
        await make_image(alice.project_id, status=ImageStatus.QUEUED),
        await make_image(alice.project_id, status=ImageStatus.SAVING, protected=True),
        public,
    ]
    before = await snapshot(*images)
    ids = [str(image.id) for image in images]

    for dry in (True, False):
        answer = await alice.one(DELETE, ids=ids, dry=dry)
        assert answer["userErrors"] == [
            {"code": code, "otcCode": otc, "field": ["input", "imageIds", str(place)]}
            for place, (code, otc) in enumerate(
                [
                    ("PROTECTED", "IMG.0028"),
                    ("INVALID_STATE", "IMG.0090"),
                    ("INVALID_STATE", "IMG.0090"),
                    ("FORBIDDEN", "IMG.0094"),
                ]
            )
        ]

    assert await snapshot(*images) == before
    await public.delete()


async def test_a_deleted_image_is_gone_for_all_and_its_bytes_are_let_go(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id, status=ImageStatus.ACTIVE)
    await make_member(image, bob.project_id, ShareStatus.ACCEPTED)
    disk = await ImageDisk.get(image_id=image.id)

    await alice.one(DELETE, ids=[str(image.id)])

    for client in (alice, bob):
        assert await client.one("query($id: ID!) { image(id: $id) { id } }", id=str(image.id)) is None
    assert not await ImageMember.exists(image_id=image.id)
    assert not await ImageDisk.exists(id=disk.id)
    content = await Content.get_or_none(id=disk.content_id)
    assert content is None or content.state is ContentState.RELEASED
    again = await alice.one(DELETE, ids=[str(image.id)])
    assert [error["code"] for error in again["userErrors"]] == ["NOT_FOUND"]
