"""Exports."""

from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import Info

from app.enums import ExportFormat
from app.exports.reads import ExportRow
from schema.context import Context
from schema.payloads import Checksum
from schema.scalars import BigInt


def _url(root: strawberry.Parent[ExportRow], info: Info[Context, None]) -> str:
    return f"{info.context.base_url}{root.url}" if root.url.startswith("/") else root.url


@strawberry.type(description="An image as a file, for a while.")
class Export:
    url: str = strawberry.field(
        resolver=_url,
        description="Where it is fetched (GET), in ranges if one likes; with a token of scope READ as here. Where the service has "
        "object storage: presigned, so by whoever knows it, without a token, until `expiresAt` (at most 7 days); each answer has a "
        "new one.",
    )
    format: ExportFormat = strawberry.field(description="What kind of disk file it is.")
    size_bytes: BigInt = strawberry.field(description="Bytes of the file.")
    checksum: Checksum = strawberry.field(description="Of the file.")
    expires_at: datetime = strawberry.field(description="When the file is removed.")
