"""An image of one EVS disk, attached or not: the disk is sealed, and the sealed content copied, flat and independent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app import policy
from app.contents import service as contents
from app.disks import holding as disks
from app.disks.models import EvsDisk
from app.ecs import host
from app.ecs.attaching import hold_with_ecs
from app.ecs.reads import EcsRow
from app.enums import DiskAction, DiskStatus, ImageKind, ImageSourceKind, JobType
from app.errors import InvalidInput
from app.images import service as images
from app.images.charging import GIB
from app.policy import Caller
from app.sources.base import DiskSource, Draft
from app.sources.ecs import check_size, image_disks, source_ecs, warnings


@dataclass(frozen=True, slots=True)
class OfDisk:
    """One disk: of a machine, running or stopped, or of none."""

    request: DiskSource
    source_kind = ImageSourceKind.DISK
    job_type = JobType.CREATE_IMAGE

    @property
    def kind(self) -> ImageKind:
        """A data disk image, or a system disk image of a disk on which a system was installed."""
        return self.request.kind

    async def check(self, caller: Caller) -> Draft:
        """The image that the disk would make."""
        row = await disks.get_disk(caller, self.request.disk_id)
        policy.authorize(policy.disk_refusal(caller, DiskAction.CREATE_IMAGE, row))
        ecs = await source_ecs(caller, UUID(row.ecs_id)) if row.ecs_id else None
        os = self._os()
        disk = await EvsDisk.get(id=row.id)
        check_size(self.kind, disk)
        columns = {
            **os,
            "source_disk_id": disk.id,
            "source_image_id": disk.image_id,
            "source_image_name": disk.image_name,
        }
        return self._draft(disk, ecs, columns)

    def _os(self) -> dict[str, object]:
        """Raises: InvalidInput: missing for a system disk image (IMG.0195), given for a data disk image, or another kind (IMG.0024)."""
        if self.kind not in (ImageKind.SYSTEM_DISK, ImageKind.DATA_DISK):
            raise InvalidInput("This is DATA_DISK or SYSTEM_DISK.", field=("kind",), otc="IMG.0024")
        if self.kind is ImageKind.DATA_DISK and self.request.os:
            raise InvalidInput("A data disk image has no operating system.", field=("os",), otc="IMG.0024")
        if self.kind is ImageKind.DATA_DISK:
            return {}
        if self.request.os is None:
            message = "Say what operating system is on the disk, to make a system disk image of it."
            raise InvalidInput(message, field=("os",), otc="IMG.0195")
        try:
            return images.os_columns(self.request.os)
        except InvalidInput as error:
            raise error.at(*(error.field or ())[1:]) from None

    def _draft(self, disk: EvsDisk, ecs: EcsRow | None, columns: dict[str, object]) -> Draft:
        """With the ECS's traits where the disk is its system disk: what boots it is as it was."""
        notices = warnings(ecs) if ecs else []
        if ecs:
            columns |= {"source_ecs_id": UUID(ecs.id), "source_ecs_name": ecs.name}
        if self.kind is ImageKind.DATA_DISK or not (ecs and disk.is_system):
            traits: dict[str, Any] = {"min_ram_mib": 0, "max_ram_mib": None}
        else:
            traits = dict(ecs.traits)
        least, most = traits.pop("min_ram_mib") or 0, traits.pop("max_ram_mib")
        return Draft(
            columns={**traits, **columns},
            min_disk_gib=disk.size_gib,
            min_ram_mib=least,
            max_ram_mib=most,
            virtual_bytes=disk.size_gib * GIB,
            warnings=notices,
        )

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """Hold the disk and its ECS, if it has one, and name the sealed content and its copy."""
        row = await hold_with_ecs(caller, DiskAction.CREATE_IMAGE, self.request.disk_id, job_id, DiskStatus.UPLOADING)
        disk = await EvsDisk.get(id=row.id)
        sealed, copied = await contents.expect(host.current().engine, 2)
        await image_disks(image_id, [disk], [copied], is_system=self.kind is ImageKind.SYSTEM_DISK)
        return {"ecs_id": row.ecs_id, "disk_id": row.id, "sealed_id": str(sealed), "copy_id": str(copied)}
