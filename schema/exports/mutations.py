"""Exporting images."""

from __future__ import annotations

import strawberry
from strawberry import Info

from app.enums import ExportFormat, TokenScope
from app.exports import service as exports
from app.jobs import service as jobs
from schema.context import caller
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import uuid_of
from schema.jobs.types import Job
from schema.payloads import about, errors_field, reread_one, shown
from schema.selection import wanted


@strawberry.input(description="The image to export.")
class ExportImageInput:
    image_id: strawberry.ID = strawberry.field(
        description="The image's id, opaque or plain: an own system or data disk image."
    )
    format: ExportFormat = strawberry.field(default=ExportFormat.QCOW2, description="What kind of disk file is wanted.")
    idempotency_key: str | None = strawberry.field(
        default=None, description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer."
    )


@strawberry.type(description="The job that makes the file; its `export` says where it is fetched, once it has ended.")
class ExportImagePayload:
    job: Job | None = strawberry.field(default=None, description="Null when it was refused.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class ExportMutations:
    @changing("Make a disk file of an image, to be fetched. Needs scope IMAGES.")
    async def export_image(self, info: Info, input: Input[ExportImageInput]) -> ExportImagePayload | None:
        return await refusable(ExportImagePayload, _export(info, input))


async def _export(info: Info, input: ExportImageInput) -> ExportImagePayload:
    who = caller(info, TokenScope.IMAGES)
    key = input.idempotency_key
    with about("image_id"):
        job_id = await exports.export_image(who, uuid_of(input.image_id, "Image"), input.format, idempotency_key=key)
    row = await reread_one(jobs.find_jobs, who, job_id, wanted(info).of("job"))
    return shown(ExportImagePayload, job=row)
