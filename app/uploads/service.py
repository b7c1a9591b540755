"""What one can do with uploads: begin, read and delete them. Jobs take them, and end them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

from app import db, faults, policy, states
from app.enums import ErrorCode, TokenScope, UploadStatus
from app.errors import Busy, InvalidInput, LimitExceeded, NotFound, Refused, ServiceError
from app.files import path_of
from app.paging import Page, Slice
from app.policy import Caller
from app.projects import idempotency, quotas
from app.reading import Wanted, find, list_page
from app.uploads import intake
from app.uploads.models import Upload
from app.uploads.reads import UPLOADS, UploadRow

__all__ = [
    "create_upload",
    "delete_upload",
    "discard",
    "find_uploads",
    "finish",
    "list_uploads",
    "path_of",
    "put_back",
    "reject",
    "take",
    "usable",
    "use_up",
]

MAX_FILE_NAME = 255
SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


async def create_upload(
    caller: Caller,
    size_bytes: int,
    *,
    file_name: str | None = None,
    sha256: str | None = None,
    idempotency_key: str | None = None,
) -> str:
    """Begin an upload; its id.

    Raises: Forbidden, InvalidInput, LimitExceeded, QuotaExceeded; Refused: INSUFFICIENT_STORAGE; of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.IMAGES)
    asked = ("createUpload", size_bytes, file_name, sha256)
    if (known := await idempotency.recall(caller, idempotency_key, asked)) is not None:
        return str(known["upload_id"])
    place = intake.current()
    columns: dict[str, Any] = {
        "size_bytes": _checked_size(size_bytes, place.max_bytes),
        "file_name": _checked_file_name(file_name),
        "expected_sha256": checked_sha256(sha256),
    }
    if not place.has_room(size_bytes):
        message = f"The service has no room for {size_bytes} bytes; delete images or uploads, or try again later."
        raise Refused(ErrorCode.INSUFFICIENT_STORAGE, message, field=("input", "size_bytes"))

    async def work() -> dict[str, object]:
        await quotas.take(caller.project, uploads=1)
        row = await Upload.create(
            id=uuid4(),
            project_id=caller.project,
            status=UploadStatus.RECEIVING,
            expires_at=db.now() + place.kept,
            **columns,
        )
        return {"upload_id": str(row.id)}

    answer: Any = await idempotency.once(caller, idempotency_key, asked, work)
    return str(answer["upload_id"])


def _checked_size(size_bytes: int, most: int) -> int:
    if size_bytes < 1:
        raise InvalidInput("A file has at least one byte.", field=("input", "size_bytes"))
    if size_bytes > most:
        raise LimitExceeded(f"A file has at most {most} bytes.", field=("input", "size_bytes"))
    return size_bytes


def _checked_file_name(name: str | None) -> str | None:
    if name is not None and (not 1 <= len(name) <= MAX_FILE_NAME or not name.isprintable()):
        message = f"A file's name has 1 to {MAX_FILE_NAME} printable characters."
        raise InvalidInput(message, field=("input", "file_name"))
    return name


def checked_sha256(value: str | None) -> str | None:
    """A checksum that was given, as we write it.

    Raises: InvalidInput.
    """
    if value is None:
        return None
    if not SHA256.fullmatch(value):
        raise InvalidInput("A SHA-256 has 64 hexadecimal digits.", field=("input", "sha256"))
    return value.lower()


async def list_uploads(caller: Caller, *, page: Page, wanted: Wanted) -> Slice[UploadRow]:
    """A page of the caller's uploads, newest first.

    Raises: InvalidInput, InvalidCursor.
    """
    return await list_page(caller, UPLOADS, policy.visible_uploads(caller), wanted, page)


async def find_uploads(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, UploadRow]:
    """Those of the uploads that are the caller's, by id."""
    return await find(caller, UPLOADS, ids, wanted)


async def delete_upload(caller: Caller, upload_id: UUID) -> None:
    """Forget an upload, and remove what was received.

    Raises: Forbidden, NotFound. Busy: an image is being made of it.
    """
    policy.require(caller, TokenScope.IMAGES)
    row = await policy.visible_uploads(caller).get_or_none(id=upload_id)
    if row is None:
        raise NotFound("There is no such upload.")
    if row.status is UploadStatus.USED or not await forget(upload_id):
        raise Busy("An image is being made of this upload; wait for its job.")


async def forget(upload_id: UUID, *, only_expired: bool = False) -> bool:
    """Remove an upload that no job uses; whether it was there."""
    return await _remove(Upload.filter(id=upload_id).exclude(status=UploadStatus.USED), only_expired=only_expired)


async def _remove(rows: Any, *, only_expired: bool = False) -> bool:
    query = rows.filter(expires_at__lt=db.now()) if only_expired else rows
    async with db.transaction():
        row = await query.get_or_none()
        if row is None or not await query.delete():
            return False
        await quotas.give_back(row.project_id, uploads=1)
    await intake.current().remove(row.id)
    return True


# ---------------------------------------------------------------- for jobs


async def usable(caller: Caller, upload_id: UUID) -> Upload:
    """An upload of which an image can be made.

    Raises: NotFound. Busy: another job uses it. Refused: UPLOAD_INCOMPLETE, or why it failed.
    """
    row = await policy.visible_uploads(caller).get_or_none(id=upload_id)
    if row is None:
        raise NotFound("There is no such upload.")
    if row.status is UploadStatus.USED:
        raise Busy("Another job is making an image of this upload.")
    if row.status is UploadStatus.FAILED:
        raise Refused(row.fault_code or ErrorCode.INTERNAL, row.fault_message or "The upload failed.")
    if row.status is UploadStatus.RECEIVING:
        message = f"Of this upload's {row.size_bytes} bytes {row.offset_bytes} are here; send the rest first."
        raise Refused(ErrorCode.UPLOAD_INCOMPLETE, message)
    return row


async def take(caller: Caller, upload_id: UUID) -> Upload:
    """Make an upload the caller's job's, in the transaction that makes the job. Until `finish` or `put_back` nobody can delete it.

    Raises: as usable.
    """
    row = await usable(caller, upload_id)
    if not await states.UPLOAD.move(upload_id, UploadStatus.USED, where={"expires_at__gt": db.now()}):
        await usable(caller, upload_id)  # says what it has become
        raise NotFound("There is no such upload.")
    return row


async def put_back(upload_id: UUID) -> None:
    """Let another job take an upload, of one that could not use it and is not to blame the file; it is kept as if just received."""
    await states.UPLOAD.move(upload_id, UploadStatus.COMPLETE, expires_at=db.now() + intake.current().kept)


async def reject(upload_id: UUID, error: ServiceError) -> None:
    """Say that a job found its upload's file to be at fault; in the transaction that ends the work. Then `discard` the file."""
    await states.UPLOAD.move(upload_id, UploadStatus.FAILED, **faults.columns(error))


async def discard(upload_id: UUID) -> None:
    """Remove the file of an upload that was rejected, or whose row is gone."""
    await intake.current().remove(upload_id)


async def use_up(upload_id: UUID) -> None:
    """Forget an upload, in the transaction that ends the job which used it. Then `discard` the file."""
    row = await Upload.get_or_none(id=upload_id)
    if row is not None and await Upload.filter(id=upload_id).delete():
        await quotas.give_back(row.project_id, uploads=1)


async def finish(upload_id: UUID) -> None:
    """Remove an upload that a job has used, with its file; it may be gone already. Not within a transaction."""
    if not await _remove(Upload.filter(id=upload_id)):
        await intake.current().remove(upload_id)
