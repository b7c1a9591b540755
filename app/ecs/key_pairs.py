"""Key pairs: SSH public keys by name."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID, uuid4

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from tortoise.exceptions import IntegrityError

from app import db, policy
from app.ecs.models import KeyPair
from app.ecs.reads import KEY_PAIRS, KeyPairRow
from app.enums import ErrorCode, TokenScope
from app.errors import InvalidInput, NotFound, Refused
from app.paging import Page, Slice
from app.policy import Caller
from app.projects import quotas
from app.reading import Wanted, find, list_page

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
MAX_KEY_BYTES = 1024


async def list_key_pairs(caller: Caller, *, page: Page, wanted: Wanted) -> Slice[KeyPairRow]:
    """A page of the caller's key pairs, newest first.

    Raises: InvalidCursor.
    """
    return await list_page(caller, KEY_PAIRS, policy.visible_key_pairs(caller), wanted, page)


async def find_key_pairs(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, KeyPairRow]:
    """Those of the key pairs that are the caller's, by id."""
    return await find(caller, KEY_PAIRS, ids, wanted)


async def create_key_pair(caller: Caller, name: str, public_key: str | None) -> tuple[str, str | None]:
    """Keep a public key, or make a pair (Ed25519); its id, and the private key where one was made: it is not kept.

    Raises: Forbidden, InvalidInput, QuotaExceeded. Refused: NAME_TAKEN.
    """
    policy.require(caller, TokenScope.ECS)
    if not NAME.fullmatch(name):
        message = "A key pair's name has 1 to 64 letters, digits, hyphens and underscores."
        raise InvalidInput(message, field=("input", "name"), otc="Ecs.0314")
    private_key = None
    if public_key is None:
        private = Ed25519PrivateKey.generate()
        private_key = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        public_key = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    public_key, fingerprint = checked_key(public_key)
    try:
        async with db.transaction():
            await quotas.take(caller.project, key_pairs=1)
            pair = await KeyPair.create(
                id=uuid4(), project_id=caller.project, name=name, public_key=public_key, fingerprint=fingerprint
            )
    except IntegrityError as error:
        message = f"There is a key pair {name!r} already."
        raise Refused(ErrorCode.NAME_TAKEN, message, field=("input", "name"), otc="Ecs.0314") from error
    return str(pair.id), private_key


def checked_key(public_key: str) -> tuple[str, str]:
    """An OpenSSH public key on one line, and its fingerprint as ssh-keygen prints it.

    Raises: InvalidInput: it is none, longer than 1024 bytes, or has a comment that cannot be printed.
    """
    where = ("input", "public_key")
    text = " ".join(public_key.split())
    if len(text.encode()) > MAX_KEY_BYTES:
        raise InvalidInput(f"A public key has at most {MAX_KEY_BYTES} bytes.", field=where, otc="Ecs.0314")
    if not text.isprintable():
        raise InvalidInput("A public key is one line of printable text.", field=where, otc="Ecs.0314")
    try:
        load_ssh_public_key(text.encode())
        blob = b64decode(text.split(" ")[1], validate=True)
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise InvalidInput("This is no OpenSSH public key (ssh-ed25519 AAAA…).", field=where, otc="Ecs.0314") from error
    return text, "SHA256:" + b64encode(sha256(blob).digest()).decode().rstrip("=")


async def delete_key_pair(caller: Caller, key_pair_id: UUID) -> None:
    """Forget a key; machines that were launched with it keep it.

    Raises: Forbidden, NotFound.
    """
    policy.require(caller, TokenScope.ECS)
    async with db.transaction():
        if not await policy.visible_key_pairs(caller).filter(id=key_pair_id).delete():
            raise NotFound("There is no such key pair.", otc="Ecs.0314")
        await quotas.give_back(caller.project, key_pairs=1)
