"""Quotas: counted in the transaction that makes or removes what is counted, so that concurrent requests cannot overshoot."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from tortoise.expressions import F, Q

from app.enums import QuotaResource
from app.errors import QuotaExceeded
from app.projects.models import Quota

DEFAULTS: Mapping[QuotaResource, int | None] = {
    QuotaResource.IMAGES: 50,
    QuotaResource.IMAGE_BYTES: 4 << 40,
    QuotaResource.IMAGE_JOBS: 40,
    QuotaResource.ECS_INSTANCES: 200,
    QuotaResource.VCPUS: 800,
    QuotaResource.RAM_MIB: 1_638_400,
    QuotaResource.DISKS: 400,
    QuotaResource.DISK_GIB: 40_000,
    QuotaResource.BACKUPS: 100,
    QuotaResource.KEY_PAIRS: 100,
    QuotaResource.UPLOADS: 20,
}
"""Limits of a new project; images and image jobs by IMS's constraints, the others by what one host could ever hold."""

OTC = {
    QuotaResource.IMAGES: "IMG.0015",
    QuotaResource.IMAGE_BYTES: "IMG.0015",
    QuotaResource.IMAGE_JOBS: "IMG.0060",
    QuotaResource.DISKS: "Ecs.0021",
    QuotaResource.DISK_GIB: "Ecs.0021",
}


async def take(project_id: UUID, **amounts: int) -> None:
    """Count up, in the caller's transaction: all of it or, by its rollback, nothing. Amounts by resource in lower case.

    Raises: QuotaExceeded.
    """
    for resource, amount in _in_order(amounts):
        if not amount:
            continue
        rows = Quota.filter(project_id=project_id, resource=resource)
        room = rows.filter(Q(limit__isnull=True) | Q(limit__gte=F("used") + amount))
        if await room.update(used=F("used") + amount):
            continue
        quota = await _quota(project_id, resource)  # perhaps it was missing
        if not await room.update(used=F("used") + amount):
            raise QuotaExceeded(
                f"{resource.value}: {quota.used} of {quota.limit} are used, {amount} more do not fit.",
                otc=OTC.get(resource, "Ecs.0001"),
            )


async def fits(project_id: UUID, **amounts: int) -> None:
    """The same question without counting.

    Raises: QuotaExceeded.
    """
    for resource, amount in _in_order(amounts):
        quota = await _quota(project_id, resource)
        if quota.limit is not None and quota.used + amount > quota.limit:
            message = f"{resource.value}: {quota.used} of {quota.limit} are used, {amount} more do not fit."
            raise QuotaExceeded(message, otc=OTC.get(resource, "Ecs.0001"))


async def give_back(project_id: UUID | str, **amounts: int) -> None:
    """Count down, in the transaction that removes what was counted."""
    for resource, amount in _in_order(amounts):
        if amount:
            await Quota.filter(project_id=project_id, resource=resource).update(used=F("used") - amount)


async def _quota(project_id: UUID, resource: QuotaResource) -> Quota:
    """A project's quota; a project that is older than the resource gets the default now."""
    if (quota := await Quota.get_or_none(project_id=project_id, resource=resource)) is not None:
        return quota
    missing = Quota(project_id=project_id, resource=resource, limit=DEFAULTS[resource])
    await Quota.bulk_create([missing], ignore_conflicts=True)
    return await Quota.get(project_id=project_id, resource=resource)


def _in_order(amounts: Mapping[str, int]) -> list[tuple[QuotaResource, int]]:
    """Always the same order: two transactions that lock the same rows cannot wait for each other."""
    return sorted((QuotaResource(name.upper()), amount) for name, amount in amounts.items())
