"""Uploads."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import Info

from app.enums import UploadProtocol, UploadStatus
from app.uploads.reads import UploadRow
from schema.context import Context
from schema.ids import Node
from schema.payloads import Checksum, Fault
from schema.scalars import BigInt


def _url(root: strawberry.Parent[UploadRow], info: Info[Context, None]) -> str:
    return f"{info.context.base_url}{root.url}"


@strawberry.type(description="A file on its way to the service.")
class Upload(Node):
    file_name: str | None = strawberry.field(description="As its sender calls it.")
    url: str = strawberry.field(
        resolver=_url,
        description="Where its bytes are sent, and where it is deleted (DELETE); with the same token as here, of scope IMAGES.",
    )
    protocol: UploadProtocol = strawberry.field(description="How its bytes are sent.")
    status: UploadStatus = strawberry.field(description="Where it is in its life.")
    fault: Fault | None = strawberry.field(description="Why it cannot be used.")
    size_bytes: BigInt = strawberry.field(description="Bytes of the whole file.")
    offset_bytes: BigInt = strawberry.field(description="Bytes that are here for good; the next one to send.")
    checksum: Checksum | None = strawberry.field(description="Of what was received. Null until all of it is here.")
    created_at: datetime = strawberry.field(description="When it was begun.")
    expires_at: datetime = strawberry.field(
        description="When it is removed, unless more bytes arrive or an image is made of it before."
    )
