"""Files to be fetched: GET and HEAD /exports/{id}, whole or in ranges."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from uuid import UUID

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from app.enums import ErrorCode
from app.errors import NotFound, ServiceError, Unauthenticated
from app.exports import folder
from app.exports import service as exports
from app.policy import Caller

STATUS: Mapping[str, int] = {Unauthenticated.code: 401, ErrorCode.FORBIDDEN: 403, ErrorCode.NOT_FOUND: 404}
"""Of refusals."""
REQUEST_HEADERS = ("Range", "If-Range", "If-None-Match")
RESPONSE_HEADERS = ("Accept-Ranges", "Content-Disposition", "Content-Range", "ETag")
"""What a browser's client has to be allowed to send and to see."""
METHODS = ("GET", "HEAD")
NOBODY = UUID(int=0)

Authenticate = Callable[[str | None], Awaitable[Caller | None]]


class _File(FileResponse):
    chunk_size = 1 << 20


class Downloads:
    """The endpoint."""

    def __init__(self, *, authenticate: Authenticate, data_dir: Path) -> None:
        self._authenticate, self._data_dir = authenticate, data_dir

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
        if request.method not in METHODS:
            allowed = ", ".join(METHODS)
            return Response(f"Here one can {allowed}.\n", 405, media_type="text/plain", headers={"Allow": allowed})
        caller = await self._authenticate(request.headers.get("authorization"))
        if caller is None:
            raise Unauthenticated("Send a token: Authorization: Bearer img_…")
        row = await exports.find_file(caller, _id(request))
        path = folder.path_of(self._data_dir, row.id, row.format)
        try:
            facts = await asyncio.to_thread(path.stat)
        except FileNotFoundError:
            raise NotFound("There is no such export.") from None
        headers = {"ETag": f'"{row.sha256}"'}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        name = f"{row.image_id}.{folder.SUFFIX[row.format]}"
        return _File(path, headers=headers, media_type="application/octet-stream", filename=name, stat_result=facts)


def _id(request: Request) -> UUID:
    """What is no id is the id of nothing."""
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        return NOBODY
