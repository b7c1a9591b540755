"""A full-ECS image: all disks of an ECS are sealed at one instant. Nothing is copied, so it takes no longer for larger disks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from app.contents import service as contents
from app.disks.models import EvsDisk
from app.ecs import holding, host
from app.enums import EcsAction, ErrorCode, ImageKind, ImageSourceKind, JobType
from app.errors import Refused, Unsupported
from app.policy import Caller
from app.sources.base import Draft, FullEcsSource
from app.sources.ecs import draft, image_disks, source_ecs


@dataclass(frozen=True, slots=True)
class OfFullEcs:
    """All disks of an ECS, running or stopped."""

    request: FullEcsSource
    kind = ImageKind.FULL_ECS
    source_kind = ImageSourceKind.FULL_ECS
    job_type = JobType.CREATE_FULL_ECS_IMAGE

    async def check(self, caller: Caller) -> Draft:
        """The image that its disks would make."""
        ecs = await source_ecs(caller, self.request.ecs_id)
        if not host.current().capabilities.consistent_group:
            raise Unsupported("This installation cannot seal all disks of an ECS at one instant.")
        disks = await EvsDisk.filter(ecs_id=self.request.ecs_id)
        if not any(disk.is_system for disk in disks):
            raise Refused(ErrorCode.INVALID_STATE, "The ECS has no system disk.", otc="IMG.0119")
        return draft(ecs, disks)

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """Hold the ECS, and name a content for each of its disks."""
        await holding.hold(caller, EcsAction.CREATE_IMAGE, self.request.ecs_id, job_id)
        disks = await EvsDisk.filter(ecs_id=self.request.ecs_id).order_by("boot_index", "id")
        ids = await contents.expect(host.current().engine, len(disks))
        await image_disks(image_id, disks, ids)
        seals = {str(disk.id): str(content_id) for disk, content_id in zip(disks, ids, strict=True)}
        return {"ecs_id": str(self.request.ecs_id), "seals": seals}
