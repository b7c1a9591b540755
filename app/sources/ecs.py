"""A system disk image of an ECS: its system disk is sealed, and the sealed content copied, flat and independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app import policy
from app.contents import service as contents
from app.disks.models import EvsDisk
from app.ecs import holding, host
from app.ecs.reads import EcsRow
from app.ecs.rules import Notice
from app.enums import EcsAction, EcsStatus, ErrorCode, ImageKind, ImageSourceKind, JobType, WarningCode
from app.errors import Refused, Unsupported
from app.images import rules
from app.images.charging import GIB
from app.images.models import ImageDisk
from app.policy import Caller
from app.sources.base import Draft, EcsSource


@dataclass(frozen=True, slots=True)
class OfEcs:
    """The system disk of an ECS, running or stopped."""

    request: EcsSource
    kind = ImageKind.SYSTEM_DISK
    source_kind = ImageSourceKind.ECS
    job_type = JobType.CREATE_IMAGE

    async def check(self, caller: Caller) -> Draft:
        """The image that its system disk would make."""
        ecs = await source_ecs(caller, self.request.ecs_id)
        disks = await EvsDisk.filter(ecs_id=self.request.ecs_id, is_system=True)
        if not disks:
            raise Refused(ErrorCode.INVALID_STATE, "The ECS has no system disk.", otc="IMG.0119")
        check_size(self.kind, disks[0])
        return draft(ecs, disks)

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """Hold the ECS, and name the sealed content and its copy."""
        await holding.hold(caller, EcsAction.CREATE_IMAGE, self.request.ecs_id, job_id)
        (disk,) = await EvsDisk.filter(ecs_id=self.request.ecs_id, is_system=True)
        sealed, copied = await contents.expect(host.current().engine, 2)
        await image_disks(image_id, [disk], [copied])
        return {
            "ecs_id": str(self.request.ecs_id),
            "disk_id": str(disk.id),
            "sealed_id": str(sealed),
            "copy_id": str(copied),
        }


def check_size(kind: ImageKind, disk: EvsDisk) -> None:
    """Whether an image can be made of one disk.

    Raises: Refused: DISK_TOO_LARGE (IMG.0111).
    """
    most = rules.max_disk_gib(kind)
    if disk.size_gib > most:
        message = f"A {kind.value} image has at most {most} GiB; make a full-ECS image."
        raise Refused(ErrorCode.DISK_TOO_LARGE, message, otc="IMG.0111")


async def source_ecs(caller: Caller, ecs_id: UUID) -> EcsRow:
    """An ECS that the caller may make an image of.

    Raises: NotFound, Forbidden, Busy, InvalidState. Unsupported: it runs, and the engine seals only what is stopped.
    """
    ecs = await holding.get_ecs(caller, ecs_id)
    policy.authorize(policy.ecs_refusal(caller, EcsAction.CREATE_IMAGE, ecs))
    if ecs.status is EcsStatus.ACTIVE and not host.current().capabilities.live_seal:
        raise Unsupported("This installation makes images of stopped machines only; stop the ECS first (stopEcs).")
    return ecs


def draft(ecs: EcsRow, disks: Sequence[EvsDisk]) -> Draft:
    """An image of an ECS takes over what is known of the image that it was launched from."""
    traits: dict[str, Any] = dict(ecs.traits)
    least, most = traits.pop("min_ram_mib") or 0, traits.pop("max_ram_mib")
    system = next(disk for disk in disks if disk.is_system)
    columns = {
        **traits,
        "source_ecs_id": UUID(ecs.id),
        "source_ecs_name": ecs.name,
        "source_image_id": UUID(ecs.image_id),
        "source_image_name": ecs.image_name,
    }
    return Draft(
        columns=columns,
        min_disk_gib=system.size_gib,
        min_ram_mib=least,
        max_ram_mib=most,
        virtual_bytes=sum(disk.size_gib for disk in disks) * GIB,
        warnings=warnings(ecs),
    )


def warnings(ecs: EcsRow) -> list[Notice]:
    """What to know of an image of an ECS."""
    if ecs.status is not EcsStatus.ACTIVE:
        return []
    message = (
        "The ECS runs: the image is as its disks would be after a power cut. Stop it first if that is not good enough."
    )
    return [Notice(WarningCode.CRASH_CONSISTENT, message, ("input", "source"))]


async def image_disks(
    image_id: UUID, disks: Sequence[EvsDisk], content_ids: Sequence[UUID], *, is_system: bool | None = None
) -> None:
    """Rows of an image's disks; from now on they hold the contents. `is_system`: of an only disk, whether the image boots from it."""
    rows = [
        ImageDisk(
            id=uuid4(),
            image_id=image_id,
            content_id=content_id,
            boot_index=(disk.boot_index or 0) if is_system is None else 0,
            size_gib=disk.size_gib,
            is_system=disk.is_system if is_system is None else is_system,
        )
        for disk, content_id in zip(disks, content_ids, strict=True)
    ]
    await ImageDisk.bulk_create(rows)
