"""What the service does with its object storage. Keys are names below the prefix of the settings; whose they are, others decide."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import obstore
import structlog
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from app.enums import ErrorCode
from app.errors import Forbidden, Refused, StartupError
from app.object_storage import leftovers, places
from app.object_storage.places import Address
from app.settings import Settings

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Credential

log = structlog.get_logger(__name__)

EXPORTS, IMPORTS = "exports/", "imports/"
PART_BYTES = 8 << 20
BUFFERED_BYTES = 32 << 20
"""Of parts on their way at a time; so much memory an upload takes."""
MAX_PARTS = 10_000
"""Of an upload (S3, OBS); parts of larger files are larger."""
RANGE_BYTES = 16 << 20
"""Asked for at a time, so that no request takes long."""
PIECE_BYTES = 1 << 20
LONGEST = timedelta(days=7)
"""How long a presigned URL can hold (Signature Version 4)."""
TIMEOUT = timedelta(seconds=60)
"""Of one request: a part, or a range."""
FAILURES = (BaseError, OSError, aiohttp.ClientError, TimeoutError)

FINAL = (FileNotFoundError, PermissionDeniedError, UnauthenticatedError)
"""No other try would help."""

Progress = Callable[[int, int], Awaitable[None]]


class Unanswered(Exception):
    """The storage did not answer, several times; later it may."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object that can be read."""

    address: Address
    size_bytes: int
    version: str
    """Of what it is now. A storage may know no entity tag of an object, so it is more than that."""


class ObjectStorage:
    """The operator's endpoint, with the operator's key."""

    def __init__(self, settings: Settings) -> None:
        """Raises: StartupError: the settings are not whole, or contradict each other."""
        self._settings = settings
        self._endpoint = _endpoint(settings)
        bucket, key_id, secret = settings.s3_bucket, settings.s3_access_key_id, settings.s3_secret_access_key
        if not bucket or not key_id or not secret:
            given = {"BUCKET": bucket, "ACCESS_KEY_ID": key_id, "SECRET_ACCESS_KEY": secret}
            lacking = [f"IMAGE_SERVICE_S3_{name}" for name, value in given.items() if not value]
            raise StartupError(f"Object storage needs {' and '.join(lacking)}, too.")
        self._bucket, self._prefix, self._key_id, self._secret = bucket, settings.s3_prefix or "", key_id, secret
        if self._prefix and not (self._prefix.endswith("/") and places.NAMES.fullmatch(self._prefix[:-1])):
            raise StartupError("IMAGE_SERVICE_S3_PREFIX ends with a slash, and does not begin with one.")
        own = f"{self._bucket}/{self._prefix}{IMPORTS}{places.PROJECT}/"
        self._places = places.read_places(
            settings.s3_import_places or (own,), bucket=self._bucket, exports=self._prefix + EXPORTS
        )
        self._stores = {name: self._store(name) for name in {self._bucket, *(place.bucket for place in self._places)}}

    def _root(self, bucket: str) -> str:
        """The URL of a bucket."""
        scheme, host = self._endpoint
        return f"{scheme}://{bucket}.{host}" if self._settings.s3_virtual_hosted else f"{scheme}://{host}/{bucket}"

    def _store(self, bucket: str) -> S3Store:
        settings = self._settings
        root = self._root(bucket)
        endpoint = root if settings.s3_virtual_hosted else root.removesuffix(f"/{bucket}")
        return S3Store(
            bucket,
            # obstore reads AWS_… of the environment as well, which may be meant for something else: these win.
            endpoint=endpoint,
            aws_endpoint_url_s3=endpoint,
            region=settings.s3_region,
            virtual_hosted_style_request=settings.s3_virtual_hosted,
            skip_signature=False,
            credential_provider=self._credential,
            disable_bulk_delete=True,  # not every such storage has it
            client_options={"allow_http": settings.s3_allow_http, "timeout": TIMEOUT},
            retry_config={"max_retries": 4, "retry_timeout": TIMEOUT},
        )

    def _credential(self) -> S3Credential:
        return {
            "access_key_id": self._key_id,
            "secret_access_key": self._secret.get_secret_value(),
            "token": None,
            "expires_at": None,
        }

    def sign(self, name: str, *, expires_in: timedelta, method: Literal["GET", "HEAD"] = "GET") -> str:
        """Where anybody can fetch an export for a while, without a token. It is worked out here, in 20 microseconds."""
        seconds = max(1, int(min(expires_in, LONGEST).total_seconds()))
        return obstore.sign(self._stores[self._bucket], method, self._key(name), timedelta(seconds=seconds))

    async def upload(self, name: str, path: Path, *, file_name: str, progress: Progress) -> None:
        """Put a file there as an export, in parts; it is there once all of it is. `file_name`: what it is called when it is fetched.

        Whatever ends it early, `remove` takes away what was sent.

        Raises: Refused: INTERNAL: the storage does not take it. What `progress` raises.
        """
        total = (await asyncio.to_thread(path.stat)).st_size
        part = max(PART_BYTES, -(-total // MAX_PARTS))
        writer = obstore.open_writer_async(
            self._stores[self._bucket],
            self._key(name),
            attributes={
                "Content-Disposition": f'attachment; filename="{file_name}"',
                "Content-Type": "application/octet-stream",
            },
            buffer_size=part,
            max_concurrency=max(1, BUFFERED_BYTES // part),
        )
        file = await asyncio.to_thread(path.open, "rb")
        try:
            done = 0
            while block := await asyncio.to_thread(file.read, PART_BYTES):
                await writer.write(block)
                done += len(block)
                await progress(done, total)
            await writer.close()
        except BaseError as error:
            raise _failed("upload", error) from error
        finally:
            await asyncio.to_thread(file.close)

    async def remove(self, name: str) -> None:
        """See that nothing is left of an export, nor of uploads that were to make it.

        Raises: Refused: INTERNAL: the storage cannot be reached, or does not let us.
        """
        key, root, region = self._key(name), self._root(self._bucket), self._settings.s3_region
        signer = leftovers.Signer(root, region, self._key_id, self._secret)
        try:
            if aborted := await leftovers.abort(signer, key):
                log.info("uploads_aborted", key=key, count=aborted)
            await obstore.delete_async(self._stores[self._bucket], key)
        except FileNotFoundError:
            return
        except FAILURES as error:
            raise _failed("remove", error) from error

    def _key(self, name: str) -> str:
        return f"{self._prefix}{EXPORTS}{name}"

    def check(self, project_id: UUID, url: str) -> Address:
        """The object that a project wants to import, if it may; whether it is there is not looked at.

        Raises: InvalidInput: the URL names no object. Forbidden: it is not in a place of the project.
        """
        address = places.locate(url)
        if not places.is_within(self._places, project_id, address):
            own = " or ".join(f"{place.of(project_id)}…" for place in self._places)
            raise Forbidden(f"Your project imports from {own} only.")
        return address

    async def find(self, address: Address) -> Found:
        """An object as it is now.

        Raises: Unanswered. Refused: FETCH_FAILED: it is not there, or not to be read.
        """
        try:
            facts = await obstore.head_async(self._stores[address.bucket], address.key)
        except FAILURES as error:
            raise _not_read(address, error) from error
        return Found(address, facts["size"], _version(facts))

    async def read(self, found: Found, offset: int) -> AsyncIterator[bytes]:
        """Its bytes from an offset on, in pieces; a range that fails on the way is asked for again.

        Raises: Unanswered. Refused: FETCH_FAILED: also if it is another object by now.
        """
        store = self._stores[found.address.bucket]
        while offset < found.size_bytes:
            end = min(offset + RANGE_BYTES, found.size_bytes)
            try:
                answer = await obstore.get_async(store, found.address.key, options={"range": (offset, end)})
                if _version(answer.meta) != found.version:
                    raise Refused(ErrorCode.FETCH_FAILED, f"{found.address} was changed while it was read.")
                async for piece in answer.stream(min_chunk_size=PIECE_BYTES):
                    offset += len(piece)
                    yield bytes(piece)
            except FAILURES as error:
                raise _not_read(found.address, error) from error


def _version(facts: ObjectMeta) -> str:
    return f"{facts['e_tag']} {facts['size']} {facts['last_modified'].timestamp()}"


def _endpoint(settings: Settings) -> tuple[str, str]:
    """Its scheme and its host with port."""
    url = urlsplit((settings.s3_endpoint or "").rstrip("/"))
    if url.scheme not in ("https", "http") or not url.netloc or url.path or url.query or "@" in url.netloc:
        raise StartupError("IMAGE_SERVICE_S3_ENDPOINT is https://HOST or https://HOST:PORT, without a bucket.")
    if url.scheme == "http" and not settings.s3_allow_http:
        raise StartupError(
            "IMAGE_SERVICE_S3_ENDPOINT is not https://; if that is meant, set IMAGE_SERVICE_S3_ALLOW_HTTP."
        )
    return url.scheme, url.netloc


def _failed(what: str, error: Exception) -> Refused:
    log.error("object_storage_failed", what=what, reason=_first_line(error))
    message = "The object storage does not answer as it should; try again later, or tell the operator."
    return Refused(ErrorCode.INTERNAL, message)


def _not_read(address: Address, error: Exception) -> Exception:
    log.warning("object_not_read", address=str(address), reason=_first_line(error))
    if not isinstance(error, FINAL):
        return Unanswered(f"{address} could not be read: the object storage does not answer.")
    why = "is not there" if isinstance(error, FileNotFoundError) else "is not for the service to read"
    return Refused(ErrorCode.FETCH_FAILED, f"{address} {why}.")


def _first_line(error: Exception) -> str:
    """Without the request that obstore shows below it."""
    return str(error).partition("\n")[0] or type(error).__name__


class _Current:
    storage: ObjectStorage | None = None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[ObjectStorage | None]:
    """While open, the installation has the object storage of these settings, if they name one.

    Raises: StartupError: the settings are not whole.
    """
    before, _Current.storage = _Current.storage, ObjectStorage(settings) if settings.s3_endpoint else None
    try:
        yield _Current.storage
    finally:
        _Current.storage = before


def current() -> ObjectStorage | None:
    """The object storage of this installation, if it has one."""
    return _Current.storage
