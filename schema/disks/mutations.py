"""Making, attaching, changing and deleting EVS disks."""

from __future__ import annotations

import strawberry
from strawberry import Info

from app.disks import service as disks
from app.ecs import attaching
from app.enums import DiskType, TokenScope
from app.jobs import service as jobs
from app.policy import Caller
from schema.context import caller
from schema.disks.types import EvsDisk
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import plain, uuid_of
from schema.jobs.batches import results_of
from schema.jobs.types import Job
from schema.payloads import Batch, about, errors_field, reread, reread_one, shown
from schema.selection import wanted


@strawberry.input(description="EVS disks to make.")
class CreateEvsDisksInput:
    name: str = strawberry.field(
        description="1 to 255 printable characters. With a count above 1 at most 250; a number from -0000 is put behind it."
    )
    size_gib: int | None = strawberry.field(
        default=None, description="10 to 32768 GiB. Null: what the image needs; of an empty disk it has to be given."
    )
    type: DiskType | None = strawberry.field(default=None, description="Performance class. Null: SAS.")
    image_id: strawberry.ID | None = strawberry.field(
        default=None, description="The data disk image to make them from, opaque or plain. Null: they are empty."
    )
    count: int = strawberry.field(default=1, description="How many, 1 to 100; all are made, or none.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be refused.")

    def request(self) -> disks.CreateDisks:
        """The request as the service has it."""
        return disks.CreateDisks(
            name=self.name,
            size_gib=self.size_gib,
            type=self.type,
            image_id=None if self.image_id is None else uuid_of(self.image_id, "Image"),
            count=self.count,
        )


@strawberry.type(description="The disks that were begun, and the job that makes them.")
class CreateEvsDisksPayload:
    evs_disks: list[EvsDisk] = strawberry.field(
        default_factory=list, description="By their numbers. Empty when it was refused, and in a dry run."
    )
    job: Job | None = strawberry.field(default=None, description="Null when it was refused, and in a dry run.")
    user_errors: list[UserError] = errors_field()


@strawberry.input(description="What to change of an EVS disk.")
class UpdateEvsDiskInput:
    disk_id: strawberry.ID = strawberry.field(description="The disk's id, opaque or plain.")
    name: str = strawberry.field(description="1 to 255 printable characters.")


@strawberry.type(description="The disk as it is now.")
class UpdateEvsDiskPayload:
    evs_disk: EvsDisk | None = strawberry.field(default=None, description="Null when it was refused.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class DiskChange:
    """The payload of every mutation that has a job do something to one disk."""

    evs_disk: EvsDisk | None = strawberry.field(default=None, description="Null when it was refused.")
    job: Job | None = strawberry.field(default=None, description="What does it. Null when it was refused.")
    user_errors: list[UserError] = errors_field()


@strawberry.input(description="An EVS disk that is AVAILABLE, and an ECS that is ACTIVE or SHUTOFF.")
class AttachEvsDiskInput:
    disk_id: strawberry.ID = strawberry.field(description="The disk's id, opaque or plain.")
    ecs_id: strawberry.ID = strawberry.field(description="The ECS's id, opaque or plain.")


@strawberry.type(description="The disk, and the job that attaches it.")
class AttachEvsDiskPayload(DiskChange):
    pass


@strawberry.input(description="A data disk of an ECS that is ACTIVE or SHUTOFF.")
class DetachEvsDiskInput:
    disk_id: strawberry.ID = strawberry.field(description="The disk's id, opaque or plain.")
    force: bool = strawberry.field(
        default=False,
        description="If the operating system does not let go of the disk in time, cut the power of the ECS and start it "
        "without the disk, instead of failing.",
    )


@strawberry.type(description="The disk, and the job that detaches it.")
class DetachEvsDiskPayload(DiskChange):
    pass


@strawberry.input(description="An EVS disk that is AVAILABLE, or that belongs to an ECS that is ACTIVE or SHUTOFF.")
class ExtendEvsDiskInput:
    disk_id: strawberry.ID = strawberry.field(description="The disk's id, opaque or plain.")
    size_gib: int = strawberry.field(
        description="More than it has, up to 32768 GiB, or 1024 GiB for a system disk. The operating system sees it at once, or "
        "with its next start."
    )


@strawberry.type(description="The disk, and the job that makes it larger.")
class ExtendEvsDiskPayload(DiskChange):
    pass


@strawberry.input(description="EVS disks to delete. They must be AVAILABLE or ERROR.")
class DeleteEvsDisksInput:
    disk_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")


@strawberry.type(description="What was begun for one disk of a batch.")
class DiskResult:
    disk_id: strawberry.ID = strawberry.field(description="The argument, as it was written.")
    evs_disk: EvsDisk | None = strawberry.field(
        default=None, description="The disk now. Null when it was refused, and when it is gone."
    )
    job: Job | None = strawberry.field(default=None, description="What does it. Null when it was refused.")
    error: UserError | None = strawberry.field(default=None, description="Why it was refused.")


@strawberry.type(description="What was begun for each disk.")
class DeleteEvsDisksPayload:
    results: list[DiskResult] = strawberry.field(
        default_factory=list, description="One for each disk, in the order of diskIds; duplicates are collapsed."
    )
    user_errors: list[UserError] = errors_field()


@strawberry.type
class DiskMutations:
    @changing("Make EVS disks. Needs scope STORAGE.")
    async def create_evs_disks(self, info: Info, input: Input[CreateEvsDisksInput]) -> CreateEvsDisksPayload | None:
        return await refusable(CreateEvsDisksPayload, _create(info, input))

    @changing("Change what is said about an EVS disk. Needs scope STORAGE.")
    async def update_evs_disk(self, info: Info, input: Input[UpdateEvsDiskInput]) -> UpdateEvsDiskPayload | None:
        return await refusable(UpdateEvsDiskPayload, _update(info, input))

    @changing("Give an EVS disk to an ECS, as its last one. Needs scope STORAGE.")
    async def attach_evs_disk(self, info: Info, input: Input[AttachEvsDiskInput]) -> AttachEvsDiskPayload | None:
        return await refusable(AttachEvsDiskPayload, _attach(info, input))

    @changing("Take an EVS disk away from its ECS. Needs scope STORAGE.")
    async def detach_evs_disk(self, info: Info, input: Input[DetachEvsDiskInput]) -> DetachEvsDiskPayload | None:
        return await refusable(DetachEvsDiskPayload, _detach(info, input))

    @changing("Make an EVS disk larger. Needs scope STORAGE.")
    async def extend_evs_disk(self, info: Info, input: Input[ExtendEvsDiskInput]) -> ExtendEvsDiskPayload | None:
        return await refusable(ExtendEvsDiskPayload, _extend(info, input))

    @changing("Delete EVS disks. Needs scope STORAGE.")
    async def delete_evs_disks(self, info: Info, input: Input[DeleteEvsDisksInput]) -> DeleteEvsDisksPayload | None:
        return await refusable(DeleteEvsDisksPayload, _delete(info, input))


async def _create(info: Info, input: CreateEvsDisksInput) -> CreateEvsDisksPayload:
    who, key = caller(info, TokenScope.STORAGE), input.idempotency_key
    begun = await disks.create_evs_disks(who, input.request(), idempotency_key=key, dry_run=input.dry_run)
    rows = await reread(disks.find_evs_disks, who, begun.disk_ids, wanted(info).of("evs_disks"))
    job = await reread_one(jobs.find_jobs, who, begun.job_id, wanted(info).of("job"))
    return shown(CreateEvsDisksPayload, evs_disks=[rows[id_] for id_ in begun.disk_ids if id_ in rows], job=job)


async def _update(info: Info, input: UpdateEvsDiskInput) -> UpdateEvsDiskPayload:
    who = caller(info, TokenScope.STORAGE)
    with about("disk_id"):
        await disks.update_evs_disk(who, uuid_of(input.disk_id, "EvsDisk"), name=input.name)
    row = await reread_one(disks.find_evs_disks, who, plain(input.disk_id, "EvsDisk"), wanted(info).of("evs_disk"))
    return shown(UpdateEvsDiskPayload, evs_disk=row)


async def _attach(info: Info, input: AttachEvsDiskInput) -> AttachEvsDiskPayload:
    who, disk_id = caller(info, TokenScope.STORAGE), uuid_of(input.disk_id, "EvsDisk")
    job_id = await attaching.attach_evs_disk(who, disk_id, uuid_of(input.ecs_id, "EcsInstance"))
    return shown(AttachEvsDiskPayload, **await _changed(info, who, str(disk_id), str(job_id)))


async def _detach(info: Info, input: DetachEvsDiskInput) -> DetachEvsDiskPayload:
    who, disk_id = caller(info, TokenScope.STORAGE), uuid_of(input.disk_id, "EvsDisk")
    job_id = await attaching.detach_evs_disk(who, disk_id, force=input.force)
    return shown(DetachEvsDiskPayload, **await _changed(info, who, str(disk_id), str(job_id)))


async def _extend(info: Info, input: ExtendEvsDiskInput) -> ExtendEvsDiskPayload:
    who, disk_id = caller(info, TokenScope.STORAGE), uuid_of(input.disk_id, "EvsDisk")
    job_id = await attaching.extend_evs_disk(who, disk_id, input.size_gib)
    return shown(ExtendEvsDiskPayload, **await _changed(info, who, str(disk_id), str(job_id)))


async def _changed(info: Info, who: Caller, disk_id: str, job_id: str) -> dict[str, object]:
    """The fields of a DiskChange payload."""
    row = await reread_one(disks.find_evs_disks, who, disk_id, wanted(info).of("evs_disk"))
    return {"evs_disk": row, "job": await reread_one(jobs.find_jobs, who, job_id, wanted(info).of("job"))}


async def _delete(info: Info, input: DeleteEvsDisksInput) -> DeleteEvsDisksPayload:
    who, batch = caller(info, TokenScope.STORAGE), Batch.of("EvsDisk", disk_ids=input.disk_ids)
    outcomes = await disks.delete_evs_disks(who, batch.ids)
    results = await results_of(info, who, batch, outcomes, find=disks.find_evs_disks, name="evs_disk", make=DiskResult)
    return shown(DeleteEvsDisksPayload, **results)
