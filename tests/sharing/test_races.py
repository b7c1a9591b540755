"""Sharing by many at once, and again."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from app.enums import ImageKind, ShareStatus
from app.projects.models import IdempotencyKey
from app.sharing.models import ImageMember
from tests.client import Client
from tests.factories import make_client, make_image, make_member
from tests.sharing.asking import ACCEPT, REJECT, fill, make_projects, members, outcomes, share


async def test_of_twenty_that_take_the_last_place_one_gets_it(project):
    alice = await project("alice")
    image = await make_image(alice.project_id, kind=ImageKind.FULL_ECS)
    await fill(image, 9)
    others = await make_projects(20)
    clients = [await make_client(alice.url, project_id=alice.project_id) for _ in others]

    answers = await asyncio.gather(*(outcomes(c, [image], [p]) for c, p in zip(clients, others, strict=True)))

    assert sorted(answers) == [["REFUSED"]] * 19 + [["SHARED"]]
    assert await ImageMember.filter(image_id=image.id).count() == 10
    for client in clients:
        await client.close()


async def test_of_twenty_that_share_with_one_project_all_are_told_the_same_member(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)

    answers = await asyncio.gather(*(share(alice, [image], [bob.project_id]) for _ in range(20)))

    results = [answer["results"][0] for answer in answers]
    assert sorted(r["outcome"] for r in results) == ["ALREADY_MEMBER"] * 19 + ["SHARED"]
    assert len({r["member"]["id"] for r in results}) == 1


async def test_twenty_answers_at_once_all_succeed(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)
    await make_member(image, bob.project_id, ShareStatus.PENDING)

    for query, status in ((ACCEPT, "ACCEPTED"), (REJECT, "REJECTED")):
        answers = await asyncio.gather(*(bob.one(query, ids=[str(image.id)]) for _ in range(20)))
        assert [answer["userErrors"] for answer in answers] == [[]] * 20
        assert (await ImageMember.get(image_id=image.id)).status == status


async def test_a_retry_with_its_key_gets_the_first_answer_and_reopens_nothing(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)
    key = uuid4().hex

    first = await share(alice, [image, "nonsense"], [bob.project_id], idempotencyKey=key)
    await bob.one(REJECT, ids=[str(image.id)])
    retry = await share(alice, [image, "nonsense"], [bob.project_id], idempotencyKey=key)

    assert [r["outcome"] for r in retry["results"]] == ["SHARED", "REFUSED"]
    assert [r["error"] for r in retry["results"]] == [r["error"] for r in first["results"]]
    assert retry["userErrors"] == first["userErrors"]
    assert retry["results"][0]["member"]["status"] == "REJECTED", "the row is shown as it is now"
    assert await outcomes(alice, [image], [bob.project_id]) == ["SHARED_AGAIN"]


async def test_a_key_is_good_for_one_request_of_one_project(project):
    alice, bob, carol = await project("alice"), await project("bob"), await project("carol")
    image, of_bob = await make_image(alice.project_id), await make_image(bob.project_id)
    key = uuid4().hex
    await share(alice, [image], [bob.project_id], idempotencyKey=key)

    other = await share(alice, [image], [carol.project_id], idempotencyKey=key)

    mismatch = {"code": "IDEMPOTENCY_MISMATCH", "otcCode": None, "field": ["input", "idempotencyKey"]}
    assert other == {"results": [], "userErrors": [mismatch]}
    assert len(await members(image)) == 1
    assert await outcomes(bob, [of_bob], [carol.project_id], idempotencyKey=key) == ["SHARED"]


async def test_twins_with_one_key_are_one(project):
    alice, *others = [await project(name) for name in ("alice", "bob", "carol")]
    image = await make_image(alice.project_id)
    to = [other.project_id for other in others]
    key = uuid4().hex

    answers = await asyncio.gather(*(share(alice, [image], to, idempotencyKey=key) for _ in range(10)))

    assert answers == [answers[0]] * 10
    assert [r["outcome"] for r in answers[0]["results"]] == ["SHARED", "SHARED"]
    assert await IdempotencyKey.filter(key=key).count() == 1


async def test_a_request_that_was_cut_off_goes_on_where_it_was(project):
    alice, bob = await project("alice"), await project("bob")
    images = [await make_image(alice.project_id) for _ in range(3)]
    key = uuid4().hex
    await share(alice, images, [bob.project_id], idempotencyKey=key)
    row = await IdempotencyKey.get(key=key)
    await bob.one(REJECT, ids=[str(images[0].id)])

    # as after a kill behind the first image
    await ImageMember.filter(image_id__in=[image.id for image in images[1:]]).delete()
    await IdempotencyKey.filter(id=row.id).update(answer={"steps": row.answer["steps"][:1]})
    retry = await share(alice, images, [bob.project_id], idempotencyKey=key)

    assert len(row.answer["steps"]) == 3
    assert [r["outcome"] for r in retry["results"]] == ["SHARED"] * 3
    assert [r["member"]["status"] for r in retry["results"]] == ["REJECTED", "PENDING", "PENDING"]
    assert await outcomes(alice, images, [bob.project_id], idempotencyKey=key) == ["SHARED"] * 3


async def test_requests_with_keys_that_name_images_in_another_order_do_not_wait_for_each_other(project):
    alice = await project("alice")
    images = [await make_image(alice.project_id) for _ in range(4)]
    others = await make_projects(8)

    orders = [images if number % 2 else images[::-1] for number in range(8)]
    answers = await asyncio.gather(
        *(outcomes(alice, some, [to], idempotencyKey=uuid4().hex) for some, to in zip(orders, others, strict=True))
    )

    assert answers == [["SHARED"] * 4] * 8


async def test_a_dry_run_uses_no_key_up(project):
    alice, bob = await project("alice"), await project("bob")
    image = await make_image(alice.project_id)
    key = uuid4().hex

    assert await outcomes(alice, [image], [bob.project_id], idempotencyKey=key, dryRun=True) == ["SHARED"]
    assert await outcomes(alice, [image], [bob.project_id], idempotencyKey=key) == ["SHARED"]


async def test_keys_have_1_to_255_characters(project):
    alice: Client = await project("alice")
    bob = await project("bob")
    image = await make_image(alice.project_id)

    for key in ("", "k" * 256):
        answer = await share(alice, [image], [bob.project_id], idempotencyKey=key)
        assert [(e["code"], e["field"]) for e in answer["userErrors"]] == [
            ("INVALID_INPUT", ["input", "idempotencyKey"])
        ]
    assert await members(image) == []

    assert await outcomes(alice, [image], [bob.project_id], idempotencyKey="k" * 255) == ["SHARED"]
