"""Making and deleting key pairs."""

from __future__ import annotations

import strawberry
from strawberry import Info

from app.ecs import key_pairs
from app.enums import TokenScope
from schema.context import caller
from schema.ecs.types import KeyPair
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import opaque, plain, uuid_of
from schema.payloads import about, errors_field, reread_one, shown
from schema.selection import wanted


@strawberry.input(description="A key pair. Without publicKey a pair is generated, and the private key answered once.")
class CreateKeyPairInput:
    name: str = strawberry.field(description="1 to 64 letters, digits, hyphens and underscores; unique in the project.")
    public_key: str | None = strawberry.field(
        default=None, description="In OpenSSH's form (ssh-ed25519 AAAA…), at most 1024 bytes."
    )


@strawberry.type(description="The key pair, and the private key where one was made.")
class CreateKeyPairPayload:
    key_pair: KeyPair | None = strawberry.field(default=None, description="Null when it was refused.")
    private_key: str | None = strawberry.field(
        default=None, description="In OpenSSH's form. It is not kept: this is the only time that it is shown."
    )
    user_errors: list[UserError] = errors_field()


@strawberry.input(description="The key pair to delete. Machines that were launched with it keep the public key.")
class DeleteKeyPairInput:
    key_pair_id: strawberry.ID = strawberry.field(description="The key pair's id, opaque or plain.")


@strawberry.type(description="The key pair that is gone.")
class DeleteKeyPairPayload:
    deleted_key_pair_id: strawberry.ID | None = strawberry.field(
        default=None, description="Its opaque id. Null when it was refused."
    )
    user_errors: list[UserError] = errors_field()


@strawberry.type
class KeyPairMutations:
    @changing("Keep a public key, or make a pair. Needs scope ECS.")
    async def create_key_pair(self, info: Info, input: Input[CreateKeyPairInput]) -> CreateKeyPairPayload | None:
        return await refusable(CreateKeyPairPayload, _create(info, input))

    @changing("Delete a key pair. Needs scope ECS.")
    async def delete_key_pair(self, info: Info, input: Input[DeleteKeyPairInput]) -> DeleteKeyPairPayload | None:
        return await refusable(DeleteKeyPairPayload, _delete(info, input))


async def _create(info: Info, input: CreateKeyPairInput) -> CreateKeyPairPayload:
    who = caller(info, TokenScope.ECS)
    id_, private_key = await key_pairs.create_key_pair(who, input.name, input.public_key)
    row = await reread_one(key_pairs.find_key_pairs, who, id_, wanted(info).of("key_pair"))
    return shown(CreateKeyPairPayload, key_pair=row, private_key=private_key)


async def _delete(info: Info, input: DeleteKeyPairInput) -> DeleteKeyPairPayload:
    who = caller(info, TokenScope.ECS)
    with about("key_pair_id"):
        await key_pairs.delete_key_pair(who, uuid_of(input.key_pair_id, "KeyPair"))
    return DeleteKeyPairPayload(deleted_key_pair_id=opaque("KeyPair", plain(input.key_pair_id, "KeyPair")))
