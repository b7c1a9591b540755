"""tus 1.0, the protocol by which files are uploaded so that they can be continued: https://tus.io/protocols/resumable-upload

POST    /uploads        creation: Upload-Length, and filename and sha256 in Upload-Metadata; createUpload does the same
HEAD    /uploads/{id}   how much is here
PATCH   /uploads/{id}   more of it, with Upload-Checksum or without
DELETE  /uploads/{id}   termination
OPTIONS                 what there is of the protocol
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from datetime import UTC
from email.utils import format_datetime
from uuid import UUID

from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.enums import ErrorCode
from app.errors import InvalidInput, ServiceError, Unauthenticated
from app.policy import Caller
from app.uploads import intake, receiving
from app.uploads import service as uploads
from app.uploads.models import Upload
from app.uploads.receiving import Cut, Received, Sent

VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,checksum,termination"
CONTENT_TYPE = "application/offset+octet-stream"
SILENCE_S = 60.0
"""How long a sender may send nothing; then another may go on."""
REQUEST_HEADERS = (
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Checksum",
    "X-HTTP-Method-Override",
)
RESPONSE_HEADERS = (
    "Location",
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Expires",
)
"""What a browser's client has to be allowed to send and to see."""

STATUS: Mapping[str, int] = {
    Unauthenticated.code: 401,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.QUOTA_EXCEEDED: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.INVALID_STATE: 410,
    ErrorCode.LIMIT_EXCEEDED: 413,
    ErrorCode.BUSY: 423,
    ErrorCode.CHECKSUM_MISMATCH: 460,
    ErrorCode.INTERNAL: 500,
    ErrorCode.INSUFFICIENT_STORAGE: 507,
}
"""Of refusals; all others are 400."""

_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
NOBODY = UUID(int=0)

Authenticate = Callable[[str | None], Awaitable[Caller | None]]
BaseUrl = Callable[[HTTPConnection], str]


class _Answer(Exception):
    """A refusal that has a status and no code."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.response = Response(f"{message}\n", status, media_type="text/plain", headers=headers)


class Tus:
    """The endpoint of both routes."""

    def __init__(self, *, authenticate: Authenticate, base_url: BaseUrl) -> None:
        """`base_url` is how the sender of a request reaches the service."""
        self._authenticate, self._base_url = authenticate, base_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing, if its sender is gone."""
        request = Request(scope, receive)
        method = request.headers.get("x-http-method-override", request.method).upper()
        try:
            response = await self._respond(request, method)
        except Cut:
            response = Response("Nothing was sent for too long.\n", 408, media_type="text/plain")
        except _Answer as answer:
            response = answer.response
        except ServiceError as error:
            response = Response(f"{error.message}\n", STATUS.get(error.code, 400), media_type="text/plain")
            if isinstance(error, Unauthenticated):
                response.headers["WWW-Authenticate"] = "Bearer"
        if method != "OPTIONS":
            response.headers["Tus-Resumable"] = VERSION
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        await response(scope, receive, send)

    async def _respond(self, request: Request, method: str) -> Response:
        one = "id" in request.path_params
        verbs = {"HEAD": self._head, "PATCH": self._patch, "DELETE": self._delete} if one else {"POST": self._post}
        if method == "OPTIONS":
            return _options()
        if method not in verbs:
            allowed = ", ".join([*verbs, "OPTIONS"])
            raise _Answer(405, f"Here one can {allowed}.", Allow=allowed)
        if request.headers.get("tus-resumable") != VERSION:
            raise _Answer(412, f"This is tus {VERSION}; say so in Tus-Resumable.", **{"Tus-Version": VERSION})
        caller = await self._authenticate(request.headers.get("authorization"))
        if caller is None:
            raise Unauthenticated("Send a token: Authorization: Bearer img_…")
        return await verbs[method](request, caller)

    async def _post(self, request: Request, caller: Caller) -> Response:
        if "upload-defer-length" in request.headers:
            raise InvalidInput("The length has to be known: send Upload-Length.")
        metadata = _metadata(request.headers.get("upload-metadata", ""))
        id_ = await uploads.create_upload(
            caller,
            _number(request, "upload-length"),
            file_name=metadata.get("filename"),
            sha256=metadata.get("sha256"),
        )
        row = await receiving.look(caller, UUID(id_))
        headers = {"Location": f"{self._base_url(request)}/uploads/{id_}", "Upload-Expires": _expires(row)}
        return Response(status_code=201, headers=headers)

    async def _head(self, request: Request, caller: Caller) -> Response:
        row = await receiving.look(caller, _id(request))
        named = {"filename": row.file_name, "sha256": row.expected_sha256}
        metadata = ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in named.items() if value)
        headers = {
            "Upload-Offset": str(row.offset_bytes),
            "Upload-Length": str(row.size_bytes),
            "Upload-Expires": _expires(row),
            **({"Upload-Metadata": metadata} if metadata else {}),
        }
        return Response(status_code=200, headers=headers)

    async def _patch(self, request: Request, caller: Caller) -> Response:
        await receiving.look(caller, _id(request))  # first: what is not there is 404 whatever else is wrong
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != CONTENT_TYPE:
            raise _Answer(415, f"The body has to be {CONTENT_TYPE}.")
        sent = _sent(request)
        async with aclosing(_chunks(request)) as chunks:
            received = await receiving.receive(caller, _id(request), sent, chunks)
        return Response(
            status_code=204, headers={"Upload-Offset": str(received.offset_bytes), "Upload-Expires": _expires(received)}
        )

    async def _delete(self, request: Request, caller: Caller) -> Response:
        await uploads.delete_upload(caller, _id(request))
        return Response(status_code=204)


def _options() -> Response:
    headers = {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(intake.current().max_bytes),
        "Tus-Checksum-Algorithm": ",".join(receiving.ALGORITHMS),
    }
    return Response(status_code=204, headers=headers)


def _id(request: Request) -> UUID:
    """What is no id is the id of nothing."""
    try:
        return UUID(request.path_params["id"])
    except ValueError:
        return NOBODY


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise InvalidInput(f"{name.title()} has to be a number of bytes.")
    return int(text)


def _sent(request: Request) -> Sent:
    offset = _number(request, "upload-offset")
    length = _number(request, "content-length") if "content-length" in request.headers else None
    if "upload-checksum" not in request.headers:
        return Sent(offset, length)
    algorithm, _, checksum = request.headers["upload-checksum"].partition(" ")
    return Sent(offset, length, algorithm, _decoded(checksum, "Upload-Checksum"))


def _metadata(header: str) -> dict[str, str]:
    """Those of the pairs in Upload-Metadata that mean something here."""
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in header.split(","))):
        key, _, value = pair.partition(" ")
        if key in ("filename", "sha256"):
            try:
                found[key] = _decoded(value, "Upload-Metadata").decode()
            except UnicodeDecodeError:
                raise InvalidInput(f"Upload-Metadata: {key} is not UTF-8.") from None
    return found


def _decoded(text: str, header: str) -> bytes:
    try:
        return b64decode(text.strip(), validate=True)
    except ValueError:
        raise InvalidInput(f"{header} has to be base64.") from None


async def _chunks(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it comes.

    Raises: Cut: its sender is gone, or silent.
    """
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(SILENCE_S):
                chunk = await anext(stream, None)
        except (ClientDisconnect, TimeoutError) as error:
            raise Cut from error
        if chunk is None:
            return
        yield chunk


def _expires(row: Upload | Received) -> str:
    return format_datetime(row.expires_at.astimezone(UTC), usegmt=True)
