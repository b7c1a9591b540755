"""A full-ECS image of a backup, at most one of each: it holds the same contents, so there is nothing to do but to say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app.backups import holding
from app.backups.models import BackupDisk
from app.contents.models import Content
from app.ecs.rules import Notice
from app.enums import BackupAction, Consistency, ImageKind, ImageSourceKind, JobType, WarningCode
from app.images.models import ImageDisk
from app.policy import Caller
from app.sources.base import BackupSource, Draft


@dataclass(frozen=True, slots=True)
class OfBackup:
    """All disks of a backup."""

    request: BackupSource
    kind = ImageKind.FULL_ECS
    source_kind = ImageSourceKind.BACKUP
    job_type = JobType.CREATE_FULL_ECS_IMAGE

    async def check(self, caller: Caller) -> Draft:
        """The image that its disks would make."""
        backup = await holding.check(caller, BackupAction.CREATE_IMAGE, self.request.backup_id)
        system = await BackupDisk.get(backup_id=backup.id, is_system=True)
        traits: dict[str, Any] = dict(backup.traits)
        least, most = traits.pop("min_ram_mib") or 0, traits.pop("max_ram_mib")
        parent_id, parent_name = traits.pop("image_id"), traits.pop("image_name")
        columns = {
            **traits,
            "source_image_id": UUID(parent_id),
            "source_image_name": parent_name,
            "source_ecs_id": UUID(backup.ecs_id),
            "source_ecs_name": backup.ecs_name,
            "source_backup_id": UUID(backup.id),
        }
        return Draft(
            columns=columns,
            min_disk_gib=system.size_gib,
            min_ram_mib=least,
            max_ram_mib=most,
            virtual_bytes=await _virtual_bytes(backup.id),
            warnings=_warnings(backup.consistency),
        )

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """Lock the backup, so that it gets one image and is not deleted; from now on the image holds its contents, too."""
        await holding.lock(caller, BackupAction.CREATE_IMAGE, self.request.backup_id, but_image=image_id)
        disks = await BackupDisk.filter(backup_id=self.request.backup_id).order_by("boot_index", "id")
        rows = [
            ImageDisk(
                id=uuid4(),
                image_id=image_id,
                content_id=disk.content_id,
                boot_index=disk.boot_index,
                size_gib=disk.size_gib,
                content_bytes=disk.content_bytes,
                is_system=disk.is_system,
            )
            for disk in disks
        ]
        await ImageDisk.bulk_create(rows)
        return {"backup_id": str(self.request.backup_id), "seals": {}}


async def _virtual_bytes(backup_id: str) -> int:
    disks = await BackupDisk.filter(backup_id=backup_id)
    return sum(content.virtual_bytes for content in await Content.filter(id__in=[disk.content_id for disk in disks]))


def _warnings(consistency: Consistency | None) -> list[Notice]:
    if consistency is not Consistency.CRASH:
        return []
    message = "The ECS ran when the backup was made: its disks are as they would be after a power cut."
    return [Notice(WarningCode.CRASH_CONSISTENT, message, ("input", "source"))]
