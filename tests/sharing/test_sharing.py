"""Offering, withdrawing, accepting and rejecting images."""

from __future__ import annotations

from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from app.enums import ImageKind, ImageStatus, ShareStatus, TokenScope
from app.sharing.models import ImageMember
from tests.factories import EVERYTHING, make_image, make_member
from tests.sharing.asking import ACCEPT, REJECT, fill, listed, make_projects, members, opaque, outcomes, share, unshare


async def test_pending_image_is_read_by_id_but_not_listed_and_shows_no_tags(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id, tags={"colour": "red"})

    await share(alice, [image], [bob.project_id])

    query = "query($id: ID!) { image(id: $id) { __typename visibility tags { key } ... on SharedImage { membership { status } } } }"
    assert await bob.one(query, id=str(image.id)) == {
        "__typename": "SharedImage",
        "visibility": "SHARED",
        "tags": [],
        "membership": {"status": "PENDING"},
    }
    assert str(image.id) not in await listed(bob)
    assert await listed(bob, shareStatus=["PENDING"]) == {str(image.id)}
    assert (await bob.one("{ viewer { pendingShareCount } }"))["pendingShareCount"] == 1
    assert (await alice.one(query, id=str(image.id)))["visibility"] == "PRIVATE"


@pytest.mark.parametrize(
    ("where", "is_found"),
    [
        ({"tags": {"all": [{"key": "colour"}]}}, False),
        ({"tags": {"any": [{"key": "colour", "values": ["red"]}]}}, False),
        ({"tags": {"notAny": [{"key": "colour"}]}}, True),
        ({"tags": {"notAll": [{"key": "colour"}]}}, True),
        ({"tags": {"untagged": True}}, True),
        ({"tags": {"untagged": False}}, False),
        ({"search": "colour"}, False),
        ({"search": "made"}, True),
    ],
)
async def test_tags_of_a_share_are_found_only_once_it_is_accepted(project, where, is_found):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id, tags={"colour": "red"})
    await make_member(image, bob.project_id, ShareStatus.PENDING)

    for status in ("PENDING", "REJECTED", "ACCEPTED"):
        await ImageMember.filter(image_id=image.id).update(status=status)
        found = await listed(bob, shareStatus=[status], **where)
        assert bool(found) == (is_found if status != "ACCEPTED" else not is_found or "made" in where.values()), status
    counts = await bob.one("{ images(filter: {shareStatus: [ACCEPTED]}) { facets(by: TAG) { value count } } }")
    assert counts["facets"] == [{"value": "colour=red", "count": 1}]


async def test_facets_of_pending_shares_name_no_tags(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id, tags={"colour": "red"})
    await make_member(image, bob.project_id, ShareStatus.PENDING)

    counts = "totalCount keys: facets(by: TAG_KEY) { value } tags: facets(by: TAG) { value }"
    query = f"{{ images(filter: {{shareStatus: [PENDING]}}) {{ {counts} }} }}"
    answer = await bob.one(query)

    assert answer == {"totalCount": 1, "keys": [], "tags": []}


async def test_a_share_goes_from_pending_to_accepted_to_rejected_and_is_offered_again(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)
    ids = [str(image.id)]

    (offered,) = (await share(alice, [image], [bob.project_id]))["results"]
    assert (offered["outcome"], offered["member"]["status"]) == ("SHARED", "PENDING")
    assert await outcomes(alice, [image], [bob.project_id]) == ["ALREADY_MEMBER"]
    for _ in range(2):
        (accepted,) = (await bob.one(ACCEPT, ids=ids))["results"]
        assert (accepted["image"]["membership"]["status"], accepted["error"]) == ("ACCEPTED", None)
    assert str(image.id) in await listed(bob)
    assert await outcomes(alice, [image], [bob.project_id]) == ["ALREADY_MEMBER"]
    for _ in range(2):
        (rejected,) = (await bob.one(REJECT, ids=ids))["results"]
        assert (rejected["image"]["membership"]["status"], rejected["error"]) == ("REJECTED", None)
    assert str(image.id) not in await listed(bob)
    assert (await bob.one(ACCEPT, ids=ids))["userErrors"] == [], "while it is offered, one may think again"
    await bob.one(REJECT, ids=ids)
    (again,) = (await share(alice, [image], [bob.project_id]))["results"]

    assert (again["outcome"], again["member"]["status"]) == ("SHARED_AGAIN", "PENDING")
    assert again["member"]["id"] == offered["member"]["id"]


async def test_a_withdrawn_image_is_gone_for_its_recipient(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)
    await make_member(image, bob.project_id)

    removed = await unshare(alice, [image], [bob.project_id])
    again = await unshare(alice, [image], [bob.project_id])

    assert [result["outcome"] for result in removed["results"]] == ["REMOVED"]
    assert [result["outcome"] for result in again["results"]] == ["NOT_A_MEMBER"]
    assert removed["userErrors"] == again["userErrors"] == []
    assert await bob.one("query($id: ID!) { image(id: $id) { id } }", id=str(image.id)) is None
    answer = await bob.one(ACCEPT, ids=[str(image.id)])
    assert answer["userErrors"] == [{"code": "NOT_FOUND", "otcCode": "IMG.0027", "field": ["input", "imageIds", "0"]}]


async def test_what_cannot_be_shared_says_why_and_changes_nothing(project):
    alice, bob, carol = await project("alice"), await project("bob"), await project("carol")
    own = await make_image(alice.project_id)
    killed = await make_image(alice.project_id, status=ImageStatus.KILLED)
    public = await make_image(alice.project_id, is_public=True)
    lent = await make_image(bob.project_id)
    await make_member(lent, alice.project_id)
    hidden = await make_image(bob.project_id)
    images = [own, killed, public, lent, hidden]
    before = [await members(image) for image in images]
    cases = [
        (own, alice.project_id, "INVALID_INPUT", "IMG.0076", "projectIds"),
        (own, str(uuid4()), "NOT_FOUND", "IMG.0108", "projectIds"),
        (own, "nonsense", "NOT_FOUND", "IMG.0108", "projectIds"),
        (own, opaque("Image", carol.project_id), "NOT_FOUND", "IMG.0108", "projectIds"),
        (killed, carol.project_id, "NOT_ACTIVE", "IMG.0046", "imageIds"),
        (public, carol.project_id, "NOT_SHAREABLE", "IMG.0089", "imageIds"),
        (lent, carol.project_id, "FORBIDDEN", "IMG.0092", "imageIds"),
        (hidden, carol.project_id, "NOT_FOUND", "IMG.0027", "imageIds"),
    ]

    with capture_logs() as logged:
        for image, to, code, otc, field in cases:
            answer = await share(alice, [image], [to])
            error = {"code": code, "otcCode": otc, "field": ["input", field, "0"]}
            (result,) = answer["results"]
            assert answer["userErrors"] == [error], (code, answer)
            assert (result["outcome"], result["error"], result["member"]) == ("REFUSED", error, None)

    assert [await members(image) for image in images] == before
    assert [event for event in logged if event["log_level"] in ("error", "critical")] == []
    await public.delete()


async def test_results_are_images_by_projects_and_echo_what_was_written(project):
    alice, bob, carol = await project("alice"), await project("bob"), await project("carol")
    one, two = await make_image(alice.project_id), await make_image(alice.project_id)
    images = [opaque("Image", one.id), str(two.id).upper(), str(one.id), "nonsense"]
    projects = [carol.project_id, opaque("Project", bob.project_id), carol.project_id]

    answer = await share(alice, images, projects)

    written = [images[0], images[1], images[3]]
    assert [(r["imageId"], r["projectId"]) for r in answer["results"]] == [
        (i, p) for i in written for p in projects[:2]
    ]
    assert [r["outcome"] for r in answer["results"]] == ["SHARED"] * 4 + ["REFUSED"] * 2
    assert [r["member"] and r["member"]["project"]["uuid"] for r in answer["results"]] == [
        *[carol.project_id, bob.project_id] * 2,
        None,
        None,
    ]
    assert [e["field"] for e in answer["userErrors"]] == [["input", "imageIds", "3"]] * 2


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(project):
    alice, bob, carol = await project("alice"), await project("bob"), await project("carol")
    image = await make_image(alice.project_id)
    await make_member(image, carol.project_id, ShareStatus.REJECTED)
    before = await members(image)

    answer = await share(alice, [image], [bob.project_id, carol.project_id, alice.project_id], dryRun=True)

    assert [r["outcome"] for r in answer["results"]] == ["SHARED", "SHARED_AGAIN", "REFUSED"]
    assert [r["member"] for r in answer["results"]] == [None, None, None]
    assert [e["code"] for e in answer["userErrors"]] == ["INVALID_INPUT"]
    assert await members(image) == before


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_batch_beyond_the_last_place_is_refused_from_there_on(project, dry_run):
    alice = await project("alice")
    image = await make_image(alice.project_id, kind=ImageKind.FULL_ECS)
    await fill(image, 8)

    answer = await share(alice, [image], await make_projects(3), dryRun=dry_run)

    assert [r["outcome"] for r in answer["results"]] == ["SHARED", "SHARED", "REFUSED"]
    assert answer["userErrors"] == [
        {"code": "LIMIT_EXCEEDED", "otcCode": "IMG.0088", "field": ["input", "projectIds", "2"]}
    ]
    assert await ImageMember.filter(image_id=image.id).count() == (8 if dry_run else 10)


@pytest.mark.parametrize(("kind", "limit"), [(ImageKind.SYSTEM_DISK, 256), (ImageKind.FULL_ECS, 10)])
async def test_an_image_has_so_many_members_and_not_one_more(project, kind, limit):
    alice = await project("alice")
    image = await make_image(alice.project_id, kind=kind)
    await fill(image, limit - 1)
    last, beyond = await make_projects(2)

    shown = await alice.one(
        "query($id: ID!) { image(id: $id) { ... on PrivateImage { memberLimit } } }", id=str(image.id)
    )
    assert shown["memberLimit"] == limit
    assert await outcomes(alice, [image], [last]) == ["SHARED"]
    answer = await share(alice, [image], [beyond])
    assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [("LIMIT_EXCEEDED", ["input", "projectIds", "0"])]
    assert await outcomes(alice, [image], [last]) == ["ALREADY_MEMBER"], "who is in stays in"
    await unshare(alice, [image], [last])
    assert await outcomes(alice, [image], [beyond]) == ["SHARED"]

    assert await ImageMember.filter(image_id=image.id).count() == limit


async def test_too_many_ids_or_pairs_are_refused_as_a_whole(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)
    many = [str(uuid4()) for _ in range(101)]
    cases = [
        ([image], many, "projectIds"),
        (many, [bob.project_id], "imageIds"),
        (many[:11], many[:91], "projectIds"),
        ([image, *many[:12]], [bob.project_id, *many[:76]], "projectIds"),
    ]

    for images, projects, field in cases:
        answer = await share(alice, images, projects)
        assert answer == {
            "results": [],
            "userErrors": [{"code": "LIMIT_EXCEEDED", "otcCode": None, "field": ["input", field]}],
        }

    assert await members(image) == []


async def test_a_token_without_scope_sharing_shares_nothing(project):
    alice, bob = await project("alice"), await project("bob")
    scopes = [scope for scope in EVERYTHING if scope is not TokenScope.SHARING]
    reader = await project(project_id=alice.project_id, scopes=scopes)
    image = await make_image(alice.project_id)

    answer = await share(reader, [image], [bob.project_id])

    assert answer == {"results": [], "userErrors": [{"code": "FORBIDDEN", "otcCode": "IMG.0026", "field": None}]}
    assert await members(image) == []


async def test_an_owner_sees_all_members_and_a_recipient_only_itself(project):
    alice, bob, carol = await project("alice"), await project("bob"), await project("carol")
    image = await make_image(alice.project_id)
    of_bob = await make_member(image, bob.project_id)
    of_carol = await make_member(image, carol.project_id, ShareStatus.PENDING)
    query = """query($id: ID!, $status: [ShareStatus!]) { image(id: $id) { ... on PrivateImage {
      members(status: $status) { totalCount nodes { status project { uuid name } image { uuid } } } } } }"""

    everyone = (await alice.one(query, id=str(image.id)))["members"]
    waiting = (await alice.one(query, id=str(image.id), status=["PENDING"]))["members"]

    assert {m["project"]["uuid"]: m["status"] for m in everyone["nodes"]} == {
        bob.project_id: "ACCEPTED",
        carol.project_id: "PENDING",
    }
    assert everyone["totalCount"] == 2
    assert {m["image"]["uuid"] for m in everyone["nodes"]} == {str(image.id)}
    assert [m["project"]["name"] for m in waiting["nodes"]] == [carol.name]
    ids = [opaque("ImageMember", member.id) for member in (of_bob, of_carol)]
    found = await bob.one(
        "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on ImageMember { image { uuid } } } }", ids=ids
    )
    assert found == [{"id": ids[0], "image": {"uuid": str(image.id)}}, None]
    assert (await bob.answer(query.replace("PrivateImage", "SharedImage"), id=str(image.id)))["errors"]


async def test_members_are_paged_oldest_first(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)
    await fill(image, 5)
    query = """query($id: ID!, $after: String) { image(id: $id) { ... on PrivateImage {
      members(first: 2, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } } } }"""
    pages: list[list[str]] = []
    after = None

    while True:
        page = (await alice.one(query, id=str(image.id), after=after))["members"]
        pages.append([node["id"] for node in page["nodes"]])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break

    rows = await ImageMember.filter(image_id=image.id).order_by("created_at", "id").values_list("id", flat=True)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [id_ for page in pages for id_ in page] == [opaque("ImageMember", id_) for id_ in rows]


async def test_an_image_without_answer_is_not_launched(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)
    launch = "mutation($i: LaunchEcsInput!) { launchEcs(input: $i) { userErrors { code otcCode field } } }"
    given = {"name": "vm", "imageId": str(image.id), "flavorId": "t1.nano", "dryRun": True}
    refused = [{"code": "NOT_ACCEPTED", "otcCode": "Ecs.0031", "field": ["input", "imageId"]}]

    await make_member(image, bob.project_id, ShareStatus.PENDING)
    assert (await bob.one(launch, i=given))["userErrors"] == refused
    await bob.one(ACCEPT, ids=[str(image.id)])
    assert (await bob.one(launch, i=given))["userErrors"] == []
    await bob.one(REJECT, ids=[str(image.id)])
    assert (await bob.one(launch, i=given))["userErrors"] == refused
    await unshare(alice, [image], [bob.project_id])

    assert [e["code"] for e in (await bob.one(launch, i=given))["userErrors"]] == ["NOT_FOUND"]
