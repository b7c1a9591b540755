"""Files to be fetched, whole or in ranges: GET and HEAD of /images/{id}/file and /exports/{id}; an export can be deleted, too (DELETE).

They are open before the answer begins, so that none is cut short because it was removed meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from app.ecs import host
from app.enums import ErrorCode
from app.errors import NotFound, ServiceError, Unauthenticated
from app.exports import folder, shelf
from app.exports import service as exports
from app.exports.presigning import presigned
from app.images import files as images
from app.policy import Caller

STATUS: Mapping[str, int] = {
    Unauthenticated.code: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_EXPORTABLE: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.NOT_ACTIVE: 409,
    ErrorCode.UNSUPPORTED: 409,
    ErrorCode.DAMAGED: 500,
    ErrorCode.ENGINE_FAILED: 500,
}
"""Of refusals and failures."""
REQUEST_HEADERS = ("Range", "If-Range", "If-None-Match")
RESPONSE_HEADERS = ("Accept-Ranges", "Content-Disposition", "Content-Range", "ETag")
"""What a browser's client has to be allowed to send and to see."""
NOBODY = UUID(int=0)

Authenticate = Callable[[str | None], Awaitable[Caller | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file that the caller may fetch. Whoever was given it closes it."""

    file: BinaryIO
    tag: str
    """Another where the bytes are others (RFC 9110 8.8.3, strong)."""
    name: str
    """For whoever saves it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A file in the object storage, that the caller may fetch there: a presigned URL for either method."""

    get: str
    head: str


Open = Callable[[Caller, UUID], Awaitable[Opened | Elsewhere]]
Delete = Callable[[Caller, UUID], Awaitable[None]]


async def open_image(caller: Caller, image_id: UUID) -> Opened:
    """The file of an image, as the engine keeps it: nothing is converted.

    Its tag stays as it is when its checksum becomes known, so that what was begun before can be continued.

    Raises: ServiceError: the caller may not, or there is none.
    """
    found = await images.find_file(caller, image_id)
    try:
        lent = await host.current().files.lend(found.content_id)
    except NotFound:
        raise NotFound("There is no such image.", otc="IMG.0027") from None
    facts = os.fstat(lent.file.fileno())
    tag = f"{found.content_id.hex}-{facts.st_size:x}-{facts.st_mtime_ns:x}"
    return Opened(file=lent.file, tag=tag, name=f"{found.image_name}.{lent.format}")


async def open_export(caller: Caller, export_id: UUID) -> Opened | Elsewhere:
    """The file of an export.

    Raises: Forbidden, NotFound.
    """
    row = await exports.find_file(caller, export_id)
    if row.in_bucket and row.expires_at:
        get, head = (presigned(row.id, row.format, row.expires_at, method=method) for method in ("GET", "HEAD"))
        if get and head:
            return Elsewhere(get=get, head=head)
    path = folder.path_of(shelf.current().data_dir, row.id, row.format)
    try:
        file = await asyncio.to_thread(path.open, "rb", buffering=0)
    except FileNotFoundError:
        raise NotFound("There is no such export.") from None
    return Opened(file=file, tag=str(row.sha256), name=f"{row.image_id}.{folder.SUFFIX[row.format]}")


class _Download(FileResponse):
    """What is open, sent from where it was opened once more: it may have no name any longer."""

    chunk_size = 1 << 20

    def __init__(self, opened: Opened) -> None:
        self._file = opened.file
        super().__init__(
            f"/proc/self/fd/{opened.file.fileno()}",
            headers={"ETag": f'"{opened.tag}"'},
            media_type="application/octet-stream",
            filename=opened.name,
            stat_result=os.fstat(opened.file.fileno()),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


class Downloads:
    """One kind of file."""

    def __init__(self, open_: Open, *, authenticate: Authenticate, delete: Delete | None = None) -> None:
        self._open, self._authenticate, self._delete = open_, authenticate, delete
        self._methods = ("GET", "HEAD", *(["DELETE"] if delete else []))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ServiceError as error:
            response = Response(f"{error.message}\n", STATUS.get(error.code, 400), media_type="text/plain")
            if isinstance(error, Unauthenticated):
                response.headers["WWW-Authenticate"] = "Bearer"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        if request.method not in self._methods:
            allowed = ", ".join(self._methods)
            return Response(f"Here one can {allowed}.\n", 405, media_type="text/plain", headers={"Allow": allowed})
        caller = await self._authenticate(request.headers.get("authorization"))
        if caller is None:
            raise Unauthenticated("Send a token: Authorization: Bearer img_…")
        if request.method == "DELETE" and self._delete:
            await self._delete(caller, _id(request))
            return Response(status_code=204)
        opened = await self._open(caller, _id(request))
        if isinstance(opened, Elsewhere):
            return RedirectResponse(opened.head if request.method == "HEAD" else opened.get)
        if _is_known(request, f'"{opened.tag}"'):
            opened.file.close()
            return Response(status_code=304, headers={"ETag": f'"{opened.tag}"'})
        return _Download(opened)


def _is_known(request: Request, etag: str) -> bool:
    """Whether the client has these bytes already (RFC 9110 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return bool(tags & {etag, "*"})


def _id(request: Request) -> UUID:
    """What is no id is the id of nothing."""
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        return NOBODY
