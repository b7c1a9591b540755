"""Operating ECSs. Launching them is in schema/ecs/launch.py, key pairs are in schema/ecs/key_pairs.py."""

from __future__ import annotations

from functools import partial

import strawberry
from strawberry import Info

from app.ecs import service as ecs
from app.enums import TokenScope
from schema.context import caller
from schema.ecs.types import EcsInstance
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import plain, uuid_of
from schema.jobs.batches import results_of
from schema.jobs.types import Job
from schema.payloads import Batch, TagInput, about, errors_field, reread_one, shown, tags_of
from schema.selection import wanted


@strawberry.type(description="What was begun for one ECS of a batch.")
class EcsResult:
    ecs_id: strawberry.ID = strawberry.field(description="The argument, as it was written.")
    ecs_instance: EcsInstance | None = strawberry.field(
        default=None, description="The ECS now. Null when it was refused, and when it is gone."
    )
    job: Job | None = strawberry.field(default=None, description="What does it. Null when it was refused.")
    error: UserError | None = strawberry.field(default=None, description="Why it was refused.")


@strawberry.type
class EcsResults:
    """The payload of every mutation that does one thing to many ECSs."""

    results: list[EcsResult] = strawberry.field(
        default_factory=list, description="One for each ECS, in the order of ecsIds; duplicates are collapsed."
    )
    user_errors: list[UserError] = errors_field()


@strawberry.input(
    description="What to change of an ECS. Absent: unchanged. Null clears description. Tags replace all that there are."
)
class UpdateEcsInput:
    ecs_id: strawberry.ID = strawberry.field(description="The ECS's id, opaque or plain.")
    name: strawberry.Maybe[str] = strawberry.field(
        description="1 to 128 letters, digits, dots, hyphens and underscores. The name inside the machine stays."
    )
    description: strawberry.Maybe[str | None] = strawberry.field(description="At most 85 characters on one line.")
    tags: strawberry.Maybe[list[TagInput]] = strawberry.field(description="At most 10, with different keys.")

    def changes(self) -> dict[str, object]:
        """What is given, as the service has it."""
        given = {name: some.value for name, some in vars(self).items() if isinstance(some, strawberry.Some)}
        return given | {"tags": tags_of(self.tags.value)} if self.tags else given


@strawberry.type(description="The ECS as it is now.")
class UpdateEcsPayload:
    ecs_instance: EcsInstance | None = strawberry.field(default=None, description="Null when it was refused.")
    user_errors: list[UserError] = errors_field()


@strawberry.input(description="ECSs to switch on. They must be SHUTOFF.")
class StartEcsInput:
    ecs_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")


@strawberry.type(description="What was begun for each ECS.")
class StartEcsPayload(EcsResults):
    pass


@strawberry.input(description="ECSs to switch off. They must be ACTIVE.")
class StopEcsInput:
    ecs_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    force: bool = strawberry.field(
        default=False, description="Cut the power, instead of asking the operating system to shut down."
    )


@strawberry.type(description="What was begun for each ECS.")
class StopEcsPayload(EcsResults):
    pass


@strawberry.input(description="ECSs to restart. They must be ACTIVE.")
class RebootEcsInput:
    ecs_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    force: bool = strawberry.field(
        default=False, description="Reset the machine, instead of asking the operating system to restart."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )


@strawberry.type(description="What was begun for each ECS.")
class RebootEcsPayload(EcsResults):
    pass


@strawberry.input(description="ECSs to delete, with their system disks.")
class DeleteEcsInput:
    ecs_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    delete_data_disks: bool = strawberry.field(default=False, description="Delete their data disks, too.")


@strawberry.type(description="What was begun for each ECS.")
class DeleteEcsPayload(EcsResults):
    pass


_results = partial(results_of, find=ecs.find_ecs, name="ecs_instance", make=EcsResult)


@strawberry.type
class EcsMutations:
    @changing("Change what is said about an ECS. Needs scope ECS.")
    async def update_ecs(self, info: Info, input: Input[UpdateEcsInput]) -> UpdateEcsPayload | None:
        return await refusable(UpdateEcsPayload, _update(info, input))

    @changing("Switch ECSs on. Needs scope ECS.")
    async def start_ecs(self, info: Info, input: Input[StartEcsInput]) -> StartEcsPayload | None:
        return await refusable(StartEcsPayload, _start(info, input))

    @changing("Switch ECSs off. Needs scope ECS.")
    async def stop_ecs(self, info: Info, input: Input[StopEcsInput]) -> StopEcsPayload | None:
        return await refusable(StopEcsPayload, _stop(info, input))

    @changing("Restart ECSs. Needs scope ECS.")
    async def reboot_ecs(self, info: Info, input: Input[RebootEcsInput]) -> RebootEcsPayload | None:
        return await refusable(RebootEcsPayload, _reboot(info, input))

    @changing("Delete ECSs. Needs scope ECS.")
    async def delete_ecs(self, info: Info, input: Input[DeleteEcsInput]) -> DeleteEcsPayload | None:
        return await refusable(DeleteEcsPayload, _delete(info, input))


async def _update(info: Info, input: UpdateEcsInput) -> UpdateEcsPayload:
    who = caller(info, TokenScope.ECS)
    with about("ecs_id"):
        await ecs.update_ecs(who, uuid_of(input.ecs_id, "EcsInstance"), input.changes())
    row = await reread_one(ecs.find_ecs, who, plain(input.ecs_id, "EcsInstance"), wanted(info).of("ecs_instance"))
    return shown(UpdateEcsPayload, ecs_instance=row)


async def _start(info: Info, input: StartEcsInput) -> StartEcsPayload:
    who, batch = caller(info, TokenScope.ECS), Batch.of("EcsInstance", ecs_ids=input.ecs_ids)
    outcomes = await ecs.start_ecs(who, batch.ids)
    return shown(StartEcsPayload, **await _results(info, who, batch, outcomes))


async def _stop(info: Info, input: StopEcsInput) -> StopEcsPayload:
    who, batch = caller(info, TokenScope.ECS), Batch.of("EcsInstance", ecs_ids=input.ecs_ids)
    outcomes = await ecs.stop_ecs(who, batch.ids, force=input.force)
    return shown(StopEcsPayload, **await _results(info, who, batch, outcomes))


async def _reboot(info: Info, input: RebootEcsInput) -> RebootEcsPayload:
    who, batch = caller(info, TokenScope.ECS), Batch.of("EcsInstance", ecs_ids=input.ecs_ids)
    outcomes = await ecs.reboot_ecs(who, batch.ids, force=input.force, idempotency_key=input.idempotency_key)
    return shown(RebootEcsPayload, **await _results(info, who, batch, outcomes))


async def _delete(info: Info, input: DeleteEcsInput) -> DeleteEcsPayload:
    who, batch = caller(info, TokenScope.ECS), Batch.of("EcsInstance", ecs_ids=input.ecs_ids)
    outcomes = await ecs.delete_ecs(who, batch.ids, delete_data_disks=input.delete_data_disks)
    return shown(DeleteEcsPayload, **await _results(info, who, batch, outcomes))
