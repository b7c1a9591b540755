"""What owner and recipient are told of a share as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.client import Client, Refusal
from tests.factories import make_image, make_member

EVENTS = """subscription($after: String) { imageEvents(after: $after) {
  cursor type imageId image { __typename uuid } member { status project { uuid } } memberProject { uuid } at } }"""


async def events(values: AsyncIterator[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    return [(await anext(values))["imageEvents"] for _ in range(number)]


def brief(event: dict[str, Any]) -> tuple[Any, ...]:
    member, project = event["member"], event["memberProject"]
    return (
        event["type"],
        event["image"] and event["image"]["__typename"],
        member and member["status"],
        project and project["uuid"],
    )


async def answer(client: Client, what: str, image_id: str) -> None:
    query = f"mutation($i: [ID!]!) {{ {what}(input: {{imageIds: $i}}) {{ userErrors {{ code }} }} }}"
    assert (await client.one(query, i=[image_id]))["userErrors"] == []


async def unshare(client: Client, image_id: str, to: Client) -> None:
    query = "mutation($i: [ID!]!, $p: [ID!]!) { unshareImages(input: {imageIds: $i, projectIds: $p}) { userErrors { code } } }"
    assert (await client.one(query, i=[image_id], p=[to.project_id]))["userErrors"] == []


async def test_owner_and_recipient_hear_of_every_step_of_a_share(project):
    alice, bob = await project("alice"), await project("bob")
    image_id = str((await make_image(alice.project_id)).id)

    async with alice.subscribe(EVENTS) as to_alice, bob.subscribe(EVENTS) as to_bob:
        (begin_a,), (begin_b,) = await events(to_alice, 1), await events(to_bob, 1)
        await alice.share(image_id, bob)
        await answer(bob, "rejectShares", image_id)
        await alice.share(image_id, bob, accept=False)
        await unshare(alice, image_id, bob)
        heard_by_alice, heard_by_bob = await events(to_alice, 5), await events(to_bob, 5)

    assert begin_a["type"] == begin_b["type"] == "RESYNC"
    assert begin_a["imageId"] is begin_a["image"] is None
    assert [event["type"] for event in heard_by_alice] == ["SHARED", "ACCEPTED", "REJECTED", "SHARED", "REVOKED"]
    assert [event["type"] for event in heard_by_bob] == ["SHARED", "ACCEPTED", "REJECTED", "SHARED", "REVOKED"]
    assert {event["memberProject"]["uuid"] for event in heard_by_alice + heard_by_bob} == {bob.project_id}
    assert brief(heard_by_alice[-1]) == ("REVOKED", "PrivateImage", None, bob.project_id)
    assert brief(heard_by_bob[-1]) == ("REVOKED", None, None, bob.project_id)
    assert heard_by_bob[-1]["imageId"] == heard_by_bob[0]["imageId"] is not None


async def test_each_event_shows_the_share_as_it_is(project):
    alice, bob = await project("alice"), await project("bob")
    image_id = str((await make_image(alice.project_id)).id)

    async with bob.subscribe(EVENTS) as values:
        await events(values, 1)
        await alice.share(image_id, bob, accept=False)
        shared = await events(values, 1)
        await answer(bob, "acceptShares", image_id)
        accepted = await events(values, 1)

    assert list(map(brief, shared + accepted)) == [
        ("SHARED", "SharedImage", "PENDING", bob.project_id),
        ("ACCEPTED", "SharedImage", "ACCEPTED", bob.project_id),
    ]


async def test_a_recipient_is_told_revoked_when_the_owner_deletes(project):
    alice, bob, carol = await project("alice"), await project("bob"), await project("carol")
    image = await make_image(alice.project_id)
    await make_member(image, bob.project_id)
    await make_member(image, carol.project_id)

    async with alice.subscribe(EVENTS) as to_alice, bob.subscribe(EVENTS) as to_bob:
        await events(to_alice, 1)
        await events(to_bob, 1)
        await alice.one(
            "mutation($i: [ID!]!) { deleteImages(input: {imageIds: $i}) { userErrors { code } } }", i=[str(image.id)]
        )
        (heard_by_alice,), (heard_by_bob,) = await events(to_alice, 1), await events(to_bob, 1)

    assert brief(heard_by_alice) == ("DELETED", None, None, None)
    assert brief(heard_by_bob) == ("REVOKED", None, None, bob.project_id)


async def test_a_stranger_hears_nothing(project):
    alice, bob, eve = await project("alice"), await project("bob"), await project("eve")
    image_id = str((await make_image(alice.project_id)).id)
    own = str((await make_image(eve.project_id)).id)

    async with eve.subscribe(EVENTS) as values:
        await events(values, 1)
        await alice.share(image_id, bob)
        await eve.share(own, bob, accept=False)
        (first,) = await events(values, 1)

    assert first["image"]["uuid"] == own


async def test_a_subscriber_goes_on_where_it_was(project):
    alice, bob = await project("alice"), await project("bob")
    image_id = str((await make_image(alice.project_id)).id)
    async with bob.subscribe(EVENTS) as values:
        (begin,) = await events(values, 1)

    await alice.share(image_id, bob)
    await answer(bob, "rejectShares", image_id)
    async with bob.subscribe(EVENTS, after=begin["cursor"]) as values:
        missed = await events(values, 2)
    async with bob.subscribe(EVENTS, after=missed[0]["cursor"]) as values:
        rest = await events(values, 2)

    assert [event["type"] for event in missed] == ["SHARED", "ACCEPTED"]
    assert [event["type"] for event in rest] == ["ACCEPTED", "REJECTED"]
    assert rest[0]["member"]["status"] == "REJECTED", "an event says what happened; what it shows is as it is now"


@pytest.mark.parametrize("after", ["", "nonsense", "00000000.1", "00000000.999999999999999999999999", "🙂.🙂"])
async def test_a_cursor_that_cannot_be_continued_begins_with_resync(project, after):
    alice = await project("alice")

    async with alice.subscribe(EVENTS, after=after) as values:
        (first,) = await events(values, 1)

    assert first["type"] == "RESYNC"


async def test_events_are_for_callers_with_a_token(project):
    alice = await project("alice")
    nobody = Client(alice.url, None)

    async with nobody.subscribe(EVENTS) as values:
        with pytest.raises(Refusal, match="UNAUTHENTICATED"):
            await anext(values)
    await nobody.close()
