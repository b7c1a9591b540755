"""Beginning uploads."""

from __future__ import annotations

import strawberry
from strawberry import Info

from app.enums import TokenScope
from app.uploads import service as uploads
from schema.context import caller
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.payloads import errors_field, reread_one, shown
from schema.scalars import BigInt
from schema.selection import wanted
from schema.uploads.types import Upload


@strawberry.input(description="The file that is to be sent.")
class CreateUploadInput:
    size_bytes: BigInt = strawberry.field(
        description="Its bytes: 1 to the installation's limit, 128 GiB unless it is set up otherwise."
    )
    file_name: str | None = strawberry.field(
        default=None, description="To be remembered by: 1 to 255 printable characters."
    )
    sha256: str | None = strawberry.field(
        default=None, description="64 hexadecimal digits. If what arrives has another, the upload fails."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )


@strawberry.type(description="The upload, ready to receive.")
class CreateUploadPayload:
    upload: Upload | None = strawberry.field(default=None, description="Null when it was refused.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class UploadMutations:
    @changing("Begin to upload a file: its bytes are then sent to the upload's url. Needs scope IMAGES.")
    async def create_upload(self, info: Info, input: Input[CreateUploadInput]) -> CreateUploadPayload | None:
        return await refusable(CreateUploadPayload, _create(info, input))


async def _create(info: Info, input: CreateUploadInput) -> CreateUploadPayload:
    who = caller(info, TokenScope.IMAGES)
    id_ = await uploads.create_upload(
        who,
        input.size_bytes,
        file_name=input.file_name,
        sha256=input.sha256,
        idempotency_key=input.idempotency_key,
    )
    row = await reread_one(uploads.find_uploads, who, id_, wanted(info).of("upload"))
    return shown(CreateUploadPayload, upload=row)
