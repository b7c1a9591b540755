"""Key pairs: made, brought along, taken away. What a machine gets of them is in test_launch.py."""

import asyncio
from base64 import b64decode, b64encode
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from app.ecs.models import KeyPair
from app.projects.models import Quota
from tests.client import Client
from tests.ecs.looking import told, unchanged, used

CREATE = """mutation($input: CreateKeyPairInput!) { createKeyPair(input: $input) {
  keyPair { id name fingerprint publicKey createdAt } privateKey userErrors { code field otcCode } } }"""
DELETE = """mutation($id: ID!) { deleteKeyPair(input: {keyPairId: $id}) {
  deletedKeyPairId userErrors { code field otcCode } } }"""


def openssh(key) -> str:
    text: str = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return text


async def refusal(client: Client, **input: object):
    payload = await client.one(CREATE, input=input)
    assert (payload["keyPair"], payload["privateKey"]) == (None, None)
    return told(payload["userErrors"][0])


async def test_made_pair_fits_together_and_its_private_half_is_not_kept(project):
    alice = await project("alice")

    made = await alice.one(CREATE, input={"name": "made"})
    listed = await alice.one("{ keyPairs { totalCount nodes { name publicKey fingerprint } } }")

    private, pair = load_ssh_private_key(made["privateKey"].encode(), None), made["keyPair"]
    blob = b64decode(pair["publicKey"].split()[1])
    row = await KeyPair.get(project_id=alice.project_id)
    assert openssh(private) == pair["publicKey"]
    assert pair["fingerprint"] == "SHA256:" + b64encode(sha256(blob).digest()).decode().rstrip("=")
    assert listed["nodes"] == [{name: pair[name] for name in ("name", "publicKey", "fingerprint")}]
    assert "PRIVATE" not in str(dict(row))
    assert await used(alice) == {"KEY_PAIRS": 1}


async def test_brought_key_is_kept_on_one_line_with_its_comment(project):
    alice = await project("alice")
    key = openssh(ec.generate_private_key(ec.SECP256R1()))

    brought = await alice.one(CREATE, input={"name": "mine", "publicKey": f"  {key}\n  alice@home\n"})

    assert brought["userErrors"] == []
    assert (brought["keyPair"]["publicKey"], brought["privateKey"]) == (f"{key} alice@home", None)


async def test_keys_that_are_none_are_refused(project):
    alice = await project("alice")
    key = openssh(ec.generate_private_key(ec.SECP256R1()))
    too_long = key + " " + "x" * (1024 - len(key))
    no_keys = [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        key[:-8],
        "ssh-rsa " + key.split()[1],
        key.replace("ecdsa", "none", 1),
    ]

    async with unchanged(alice):
        for public_key in (*no_keys, too_long, f"{key} \N{ESCAPE}[31m"):
            refused = await refusal(alice, name="mine", publicKey=public_key)
            assert refused == ("INVALID_INPUT", ["input", "publicKey"], "Ecs.0314"), public_key
        for name in ("", "a b", "x" * 65, "ä"):
            refused = await refusal(alice, name=name)
            assert refused == ("INVALID_INPUT", ["input", "name"], "Ecs.0314"), name
    assert (await alice.one(CREATE, input={"name": "x" * 64, "publicKey": too_long[:-1]}))["userErrors"] == []


async def test_name_is_given_once_in_a_project(project):
    alice, bob = await project("alice"), await project("bob")

    payloads = await asyncio.gather(*(alice.one(CREATE, input={"name": "same"}) for _ in range(4)))
    async with unchanged(alice):
        late = await refusal(alice, name="same")
    other = await bob.one(CREATE, input={"name": "same"})

    errors = [told(error) for payload in payloads for error in payload["userErrors"]]
    assert errors == [("NAME_TAKEN", ["input", "name"], "Ecs.0314")] * 3
    assert late == errors[0]
    assert other["userErrors"] == []
    assert await used(alice) == {"KEY_PAIRS": 1}


async def test_key_pairs_are_counted(project):
    alice = await project("alice")
    await Quota.filter(project_id=alice.project_id, resource="KEY_PAIRS").update(limit=1)
    await alice.one(CREATE, input={"name": "first"})

    async with unchanged(alice):
        refused = await refusal(alice, name="second")

    assert refused[0] == "QUOTA_EXCEEDED"


async def test_deleted_pair_frees_its_name_and_place(project):
    alice, bob = await project("alice"), await project("bob")
    key_pair_id = (await alice.one(CREATE, input={"name": "mine"}))["keyPair"]["id"]

    async with unchanged(alice):
        foreign = await bob.one(DELETE, id=key_pair_id)
    deleted = await alice.one(DELETE, id=key_pair_id)
    again = await alice.one(DELETE, id=key_pair_id)

    assert told(foreign["userErrors"][0]) == ("NOT_FOUND", ["input", "keyPairId"], "Ecs.0314")
    assert deleted == {"deletedKeyPairId": key_pair_id, "userErrors": []}
    assert told(again["userErrors"][0])[0] == "NOT_FOUND"
    assert await used(alice) == {}
    assert (await alice.one(CREATE, input={"name": "mine"}))["userErrors"] == []
