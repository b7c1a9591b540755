"""Exports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry
from strawberry import Info

from app.enums import ExportFormat, HashAlgorithm
from app.reading import Row
from schema.context import Context
from schema.payloads import Checksum
from schema.scalars import BigInt


def _url(root: strawberry.Parent[Row], info: Info[Context, None]) -> str:
    return f"{info.context.base_url}/exports/{root.id}"


def _checksum(root: strawberry.Parent[Any]) -> Checksum:
    return Checksum(algorithm=HashAlgorithm.SHA256, value=root.sha256)


@strawberry.type(description="An image as a file, for a while.")
class Export:
    url: str = strawberry.field(
        resolver=_url,
        description="Where it is fetched (GET), in ranges if one likes; with a token of scope READ as here.",
    )
    format: ExportFormat = strawberry.field(description="What kind of disk file it is.")
    size_bytes: BigInt = strawberry.field(description="Bytes of the file.")
    checksum: Checksum = strawberry.field(resolver=_checksum, description="Of the file.")
    expires_at: datetime = strawberry.field(description="When the file is removed.")
