"""The viewer, its quotas, and projects to share with."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.ecs.models import KeyPair
from app.enums import QuotaResource, TokenScope
from app.errors import InvalidInput
from app.images.models import Image
from app.projects import service as projects
from app.projects.models import Project, Quota
from app.projects.quotas import DEFAULTS
from tests.client import CREATE_IMAGE, Client
from tests.factories import EVERYTHING, make_client

CREATE_KEY = "mutation($name: String!) { createKeyPair(input: {name: $name}) { keyPair { id } userErrors { code otcCode field } } }"
QUOTAS = "{ viewer { quotas { resource used limit } } }"
BY = "query($by: ProjectBy!) { project(by: $by) { id uuid name } }"


async def quotas(client: Client) -> dict[str, tuple[int, int | None]]:
    rows = (await client.one(QUOTAS))["quotas"]
    return {row["resource"]: (row["used"], row["limit"]) for row in rows}


async def set_quota(client: Client, resource: QuotaResource, **columns: object) -> None:
    await Quota.filter(project_id=client.project_id, resource=resource).update(**columns)


async def test_the_viewer_is_the_token_and_its_project(project):
    alice = await project("alice")
    operator = await project(project_id=alice.project_id, scopes=[TokenScope.READ, TokenScope.OPERATOR])
    query = "{ viewer { id project { id uuid name } tokenName scopes isOperator pendingShareCount } }"

    viewer = await alice.one(query)

    id_ = b64encode(f"Project:{alice.project_id}".encode()).decode()
    assert viewer == {
        "id": b64encode(f"Viewer:{alice.project_id}".encode()).decode(),
        "project": {"id": id_, "uuid": alice.project_id, "name": alice.name},
        "tokenName": "alice",
        "scopes": sorted(EVERYTHING),
        "isOperator": False,
        "pendingShareCount": 0,
    }
    other = await operator.one(query)
    assert (other["isOperator"], other["scopes"], other["id"]) == (True, ["OPERATOR", "READ"], viewer["id"])


async def test_a_new_project_has_all_quotas_and_has_used_none(project):
    alice = await project("alice")

    assert await quotas(alice) == {resource.value: (0, limit) for resource, limit in DEFAULTS.items()}


async def test_a_project_is_found_by_its_exact_name_or_id(project):
    alice, bob = await project("alice"), await project("bob")
    id_ = b64encode(f"Project:{bob.project_id}".encode()).decode()
    shown = {"id": id_, "uuid": bob.project_id, "name": bob.name}

    for by in ({"name": bob.name}, {"id": bob.project_id}, {"id": id_}):
        assert await alice.one(BY, by=by) == shown
    for by in (
        {"name": bob.name.upper()},
        {"name": bob.name[:-1]},
        {"name": bob.name + " "},
        {"name": "%"},
        {"name": ""},
        {"name": "x" * 5000},
        {"id": str(uuid4())},
        {"id": bob.name},
        {"id": ""},
        {"id": b64encode(f"Image:{bob.project_id}".encode()).decode()},
    ):
        assert await alice.one(BY, by=by) is None, by
    for by in ({}, {"id": bob.project_id, "name": bob.name}, {"name": None}):
        assert await alice.codes(BY, by=by) == ["BAD_USER_INPUT"], by


async def test_finding_projects_needs_scope_sharing(project):
    alice = await project("alice")
    scopes = [scope for scope in EVERYTHING if scope is not TokenScope.SHARING]
    other = await project(project_id=alice.project_id, scopes=scopes)

    for by in ({"name": alice.name}, {"name": "nobody"}, {"id": alice.project_id}):
        answer = await other.answer(BY, by=by)
        (error,) = answer["errors"]
        assert (error["extensions"]["code"], answer["data"]) == ("FORBIDDEN", {"project": None})


async def test_of_twenty_at_the_last_three_places_three_get_one(project):
    alice = await project("alice")
    await set_quota(alice, QuotaResource.KEY_PAIRS, limit=5, used=2)
    clients = [await make_client(alice.url, project_id=alice.project_id) for _ in range(20)]

    answers = await asyncio.gather(*(c.one(CREATE_KEY, name=f"key-{n}") for n, c in enumerate(clients)))

    refused = {"keyPair": None, "userErrors": [{"code": "QUOTA_EXCEEDED", "otcCode": "Ecs.0001", "field": None}]}
    assert [answer for answer in answers if answer["keyPair"] is None] == [refused] * 17
    assert await KeyPair.filter(project_id=alice.project_id).count() == 3
    assert (await quotas(alice))["KEY_PAIRS"] == (5, 5)
    for client in clients:
        await client.close()


async def test_a_refused_or_deleted_thing_gives_its_place_back(project):
    alice = await project("alice")
    await set_quota(alice, QuotaResource.KEY_PAIRS, limit=1)
    delete = "mutation($id: ID!) { deleteKeyPair(input: {keyPairId: $id}) { deletedKeyPairId userErrors { code } } }"

    first = await alice.one(CREATE_KEY, name="one")
    assert [e["code"] for e in (await alice.one(CREATE_KEY, name="two"))["userErrors"]] == ["QUOTA_EXCEEDED"]
    await set_quota(alice, QuotaResource.KEY_PAIRS, limit=2)
    assert [e["code"] for e in (await alice.one(CREATE_KEY, name="one"))["userErrors"]] == ["NAME_TAKEN"]
    assert (await quotas(alice))["KEY_PAIRS"] == (1, 2)
    await alice.one(delete, id=first["keyPair"]["id"])

    assert (await quotas(alice))["KEY_PAIRS"] == (0, 2)


async def test_without_a_limit_there_is_no_end(project):
    alice = await project("alice")
    await set_quota(alice, QuotaResource.KEY_PAIRS, limit=None, used=2**62)

    assert (await alice.one(CREATE_KEY, name="one"))["userErrors"] == []

    assert (await quotas(alice))["KEY_PAIRS"] == (2**62 + 1, None)


async def test_images_are_counted_while_they_are_made_and_until_they_are_deleted(project):
    alice = await project("alice")
    machine = await alice.launch()
    await set_quota(alice, QuotaResource.IMAGES, limit=1)
    source = {"source": {"fullEcs": {"ecsId": machine["id"]}}}

    image = await alice.make_image(machine["id"], full=True)
    assert (await quotas(alice))["IMAGES"] == (1, 1)
    assert (await quotas(alice))["IMAGE_JOBS"][0] == 0
    for more in ({}, {"dryRun": True}, {"idempotencyKey": uuid4().hex}):
        answer = await alice.one(CREATE_IMAGE, input={"name": "two", **source, **more})
        assert [(e["code"], e["otcCode"]) for e in answer["userErrors"]] == [("QUOTA_EXCEEDED", "IMG.0015")]
        assert answer["image"] is answer["job"] is None
    assert await Image.filter(project_id=alice.project_id).count() == 1
    busy = await alice.one("query($id: ID!) { ecsInstance(id: $id) { currentJob { id } } }", id=machine["id"])
    assert busy == {"currentJob": None}, "a refusal holds nothing"
    await alice.one(
        "mutation($i: [ID!]!) { deleteImages(input: {imageIds: $i}) { userErrors { code } } }", i=[image["id"]]
    )

    assert (await quotas(alice))["IMAGES"] == (0, 1)
    answer = await alice.one(CREATE_IMAGE, input={"name": "two", **source, "dryRun": True})
    assert answer["userErrors"] == []


async def test_quotas_are_a_projects_own(project):
    alice, bob = await project("alice"), await project("bob")
    await set_quota(alice, QuotaResource.KEY_PAIRS, limit=0)

    refused: dict[str, Any] = await alice.one(CREATE_KEY, name="key")
    taken = await bob.one(CREATE_KEY, name="key")

    assert [e["code"] for e in refused["userErrors"]] == ["QUOTA_EXCEEDED"]
    assert taken["userErrors"] == []
    assert (await quotas(alice))["KEY_PAIRS"] == (0, 0)


@pytest.mark.parametrize("name", ["", "x" * 65, " x", "x\n"])
async def test_a_projects_name_is_printable_and_short(service, name):
    with pytest.raises(InvalidInput):
        await projects.create_project(name, project_id=UUID(int=7))

    assert not await Project.exists(id=UUID(int=7))
