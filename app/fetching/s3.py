"""Addresses of the operator's own object storage: `s3://BUCKET/KEY`, in the places that are the project's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from app import object_storage
from app.errors import ServiceError, Unsupported
from app.fetching.base import Dropped, Stream
from app.object_storage import Found, ObjectStorage, Unanswered
from app.object_storage.places import Address


class S3Opener:
    """Reads objects for one project."""

    def __init__(self, project_id: UUID) -> None:
        self._project_id = project_id

    def check(self, url: str) -> None:
        """Refuse what names no object, or one that is not the project's; whether it is there is not looked at.

        Raises: InvalidInput, Forbidden. Unsupported: there is no object storage.
        """
        self._locate(url)

    @asynccontextmanager
    async def open(self, url: str, *, offset: int = 0, validator: str | None = None) -> AsyncIterator[Stream]:
        """Its bytes; the validator is its version.

        Raises: as app.fetching.base.Opener.
        """
        storage, address = self._locate(url)
        try:
            found = await storage.find(address)
        except Unanswered as error:
            raise Dropped(str(error)) from error
        start = offset if validator == found.version else 0
        yield Stream(start, found.size_bytes, found.version, _chunks(storage, found, start))

    def _locate(self, url: str) -> tuple[ObjectStorage, Address]:
        storage = object_storage.current()
        try:
            if storage is None:
                message = "This installation has no object storage; give an https:// address, or upload the file (createUpload)."
                raise Unsupported(message)
            return storage, storage.check(self._project_id, url)
        except ServiceError as error:
            raise error.at("url") from None


async def _chunks(storage: ObjectStorage, found: Found, offset: int) -> AsyncIterator[bytes]:
    try:
        async for chunk in storage.read(found, offset):
            yield chunk
    except Unanswered as error:
        raise Dropped(str(error)) from error
