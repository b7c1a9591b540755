"""Images and other things by their opaque ids."""

from __future__ import annotations

from base64 import b64encode
from uuid import uuid4

from app.ecs.models import Flavor
from app.enums import ShareStatus
from tests.factories import make_image, make_member


def opaque(noun: str, id_: object) -> str:
    return b64encode(f"{noun}:{id_}".encode()).decode()


async def test_nodes_come_in_their_order_and_as_their_viewer_sees_them(project):
    alice, bob = await project("alice"), await project("bob")
    own, lent, hidden = [await make_image(p.project_id) for p in (alice, bob, bob)]
    member = await make_member(lent, alice.project_id, ShareStatus.PENDING)
    flavor = await Flavor.get(name="t1.nano")
    hello = await alice.hello()
    ids = {
        opaque("Image", own.id): "PrivateImage",
        opaque("Image", lent.id): "SharedImage",
        opaque("Image", hidden.id): None,
        hello: "PublicImage",
        opaque("ImageMember", member.id): "ImageMember",
        opaque("Flavor", flavor.id): "Flavor",
        opaque("Project", bob.project_id): "Project",
        opaque("Project", own.id): None,
        opaque("EcsInstance", own.id): None,
        opaque("PrivateImage", own.id): None,
        opaque("ImageDisk", own.id): None,
        opaque("image", own.id): None,
        str(own.id): None,
        "": None,
        "nonsense": None,
        opaque("Image", "x"): None,
    }

    found = await alice.one("query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }", ids=list(ids))

    assert [node and node["__typename"] for node in found] == list(ids.values())
    assert all(node["id"] == id_ for node, id_ in zip(found, ids, strict=True) if node)
    for id_, type_ in ids.items():
        node = await alice.one("query($id: ID!) { node(id: $id) { __typename } }", id=id_)
        assert (node and node["__typename"]) == type_


async def test_a_node_shows_what_its_type_has(project):
    alice = await project("alice")
    image = await make_image(alice.project_id, "mine", tags={"a": "b"})
    query = """query($id: ID!) { node(id: $id) { id
      ... on Image { name tags { key } }
      ... on PrivateImage { memberLimit members { totalCount } source { kind } }
      ... on EcsInstance { status } } }"""

    node = await alice.one(query, id=opaque("Image", image.id))

    assert node == {
        "id": opaque("Image", image.id),
        "name": "mine",
        "tags": [{"key": "a"}],
        "memberLimit": 256,
        "members": {"totalCount": 0},
        "source": {"kind": "INSTALLED"},
    }


async def test_at_most_a_hundred_nodes(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)
    id_ = opaque("Image", image.id)
    query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }"

    answer = await alice.answer(query, ids=[id_] * 101)

    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["extensions"]["field"]) == ("LIMIT_EXCEEDED", ["ids"])
    assert await alice.one(query, ids=[id_] * 100) == [{"id": id_}] * 100
    assert await alice.one(query, ids=[]) == []


async def test_an_image_is_found_by_either_form_of_its_id(project):
    alice = await project("alice")
    image = await make_image(alice.project_id)
    query = "query($id: ID!) { image(id: $id) { id uuid } }"
    shown = {"id": opaque("Image", image.id), "uuid": str(image.id)}

    for id_ in (opaque("Image", image.id), str(image.id), str(image.id).upper()):
        assert await alice.one(query, id=id_) == shown
    for id_ in (opaque("Project", image.id), str(uuid4()), "x", ""):
        assert await alice.one(query, id=id_) is None
