"""A backup in the hands of a transaction that is about to use or delete it."""

from __future__ import annotations

from uuid import UUID

from tortoise.expressions import Q

from app import policy
from app.backups.models import Backup
from app.backups.reads import BACKUPS, BackupRow
from app.contents.models import Content
from app.enums import BackupAction, ContentState, ErrorCode
from app.errors import NotFound, Refused
from app.policy import Caller
from app.reading import Wanted, find

FOR_RULES = Wanted.naming("project_id", "status", "job_id", "name", "ecs_id", "ecs_name", "consistency", "traits")


async def get_backup(caller: Caller, backup_id: UUID | str) -> BackupRow:
    """One of the caller's backups.

    Raises: NotFound.
    """
    row = (await find(caller, BACKUPS, [str(backup_id)], FOR_RULES)).get(str(backup_id))
    if row is None:
        raise NotFound("There is no such backup.", otc="IMG.0127")
    return row


async def check(
    caller: Caller, action: BackupAction, backup_id: UUID | str, *, but_image: UUID | None = None
) -> BackupRow:
    """The same, if the caller may do this to it; `but_image`: an image of it that does not count.

    Raises: NotFound, and what app.policy refuses with: Forbidden, Busy; Refused: BACKUP_HAS_IMAGE, BACKUP_UNAVAILABLE, DAMAGED.
    """
    row = await get_backup(caller, backup_id)
    of_it = policy.images_of_backups(caller).filter(source_backup_id=backup_id)
    has_image = await (of_it.exclude(id=but_image) if but_image else of_it).exists()
    policy.authorize(policy.backup_refusal(caller, action, row, has_image=has_image))
    if action is not BackupAction.DELETE:
        lost = Content.filter(~Q(state=ContentState.SEALED) | Q(damaged_at__isnull=False))
        for content in await lost.filter(backup_disks__backup_id=backup_id).order_by("damaged_at").limit(1):
            code, message = ErrorCode.DAMAGED, "Bytes of the backup are not what they were; the operator knows."
            if content.damaged_at is None:
                code, message = ErrorCode.BACKUP_UNAVAILABLE, "The backup's bytes are not there."
            otc = "IMG.0132" if action is BackupAction.CREATE_IMAGE else "Ecs.0048"
            raise Refused(code, message, otc=otc)
    return row


async def lock(caller: Caller, action: BackupAction, backup_id: UUID, *, but_image: UUID | None = None) -> BackupRow:
    """The same, in a transaction: of two that contradict each other the second sees what the first did."""
    await Backup.filter(id=backup_id).select_for_update().get_or_none()
    return await check(caller, action, backup_id, but_image=but_image)
