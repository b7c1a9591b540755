"""Changing, tagging and deleting images. Making them is in schema/sources."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry
from strawberry import Info

from app.backups import service as backups
from app.enums import OsType, TokenScope
from app.errors import ServiceError
from app.images import service as images
from app.images.reads import OperatingSystem
from app.policy import Caller
from schema.context import caller
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.ids import plain, uuid_of
from schema.images.types import Image, ImageResult, ImageResults
from schema.payloads import Batch, TagInput, about, errors_field, reread, reread_one, shown, tags_of
from schema.selection import wanted


@strawberry.input(description="What an image boots. It replaces what there was as a whole.")
class OsInput:
    type: OsType = strawberry.field(description="The family that launch rules tell apart.")
    platform: str | None = strawberry.field(default=None, description="Its name, such as Debian; 1 to 64 characters.")
    version: str | None = strawberry.field(default=None, description="Such as 12; 1 to 64 characters.")
    bits: int | None = strawberry.field(default=None, description="32 or 64.")


@strawberry.input(description="What to change of an image. Absent: unchanged. Null clears description and maxRamMib.")
class UpdateImageInput:
    image_id: strawberry.ID = strawberry.field(description="The image's id, opaque or plain.")
    name: strawberry.Maybe[str] = strawberry.field(
        description="1 to 128 letters, digits, spaces, dots, hyphens and underscores, and no space at its ends."
    )
    description: strawberry.Maybe[str | None] = strawberry.field(description="At most 1024 characters on one line.")
    min_disk_gib: strawberry.Maybe[int] = strawberry.field(
        description="Least system disk in GiB: 1 to 1024, and no less than the image's own."
    )
    min_ram_mib: strawberry.Maybe[int] = strawberry.field(description="Least memory in MiB: 0 to 4194304. 0: no limit.")
    max_ram_mib: strawberry.Maybe[int | None] = strawberry.field(description="Most memory in MiB: 1 to 4194304.")
    protected: strawberry.Maybe[bool] = strawberry.field(
        description="Whether it is to be protected from being deleted."
    )
    os: strawberry.Maybe[OsInput] = strawberry.field(description="What it boots.")

    def changes(self) -> images.ImageChanges:
        """What is given, as the service has it."""
        given = {name: some.value for name, some in vars(self).items() if isinstance(some, strawberry.Some)}
        if self.os:
            given["os"] = OperatingSystem(**vars(self.os.value))
        return images.ImageChanges(given)


@strawberry.type(description="The image as it is now.")
class UpdateImagePayload:
    image: Image | None = strawberry.field(default=None, description="Null when it was refused.")
    user_errors: list[UserError] = errors_field()


@strawberry.input(description="Tags to put on images. A tag that an image has with the same key is replaced.")
class TagImagesInput:
    image_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    tags: list[TagInput] = strawberry.field(
        description="At most 10, with different keys; no image may end up with more."
    )


@strawberry.type(description="What became of each image.")
class TagImagesPayload(ImageResults):
    pass


@strawberry.input(description="Tags to take off images. What is not there counts as taken off.")
class UntagImagesInput:
    image_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    keys: list[str] = strawberry.field(description="Of the tags to take off; at most 100.")


@strawberry.type(description="What became of each image.")
class UntagImagesPayload(ImageResults):
    pass


@strawberry.input(description="Images to delete. Machines that were launched from them run on; shares of them end.")
class DeleteImagesInput:
    image_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    delete_backups: bool = strawberry.field(
        default=False,
        description="Delete the backups that images were made from, too: an image and its backup, or neither. Needs scope STORAGE.",
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be refused.")


@strawberry.type(description="What became of each image.")
class DeleteImagesPayload(ImageResults):
    pass


Results = dict[str, list[ImageResult] | list[UserError]]


async def results_of(
    info: Info, who: Caller, batch: Batch, errors: Sequence[ServiceError | None], *, dry_run: bool = False
) -> Results:
    """The fields of an ImageResults payload: each image as it is now, or why it was refused."""
    done = [] if dry_run else batch.done(errors)
    rows = await reread(images.find_images, who, done, wanted(info).of("results", "image"))
    results = [
        shown(ImageResult, image_id=text, image=rows.get(str(id_)), error=batch.error(index, errors[index]))
        for index, (text, id_) in enumerate(zip(batch.texts, batch.ids, strict=True))
    ]
    return {"results": results, "user_errors": [result.error for result in results if result.error]}


@strawberry.type
class ImageMutations:
    @changing("Change an image. Needs scope IMAGES.")
    async def update_image(self, info: Info, input: Input[UpdateImageInput]) -> UpdateImagePayload | None:
        return await refusable(UpdateImagePayload, _update(info, input))

    @changing("Put tags on images. Needs scope IMAGES.")
    async def tag_images(self, info: Info, input: Input[TagImagesInput]) -> TagImagesPayload | None:
        return await refusable(TagImagesPayload, _tag(info, input))

    @changing("Take tags off images. Needs scope IMAGES.")
    async def untag_images(self, info: Info, input: Input[UntagImagesInput]) -> UntagImagesPayload | None:
        return await refusable(UntagImagesPayload, _untag(info, input))

    @changing("Delete images. Needs scope IMAGES.")
    async def delete_images(self, info: Info, input: Input[DeleteImagesInput]) -> DeleteImagesPayload | None:
        return await refusable(DeleteImagesPayload, _delete(info, input))


async def _update(info: Info, input: UpdateImageInput) -> UpdateImagePayload:
    who = caller(info, TokenScope.IMAGES)
    with about("image_id"):
        await images.update_image(who, uuid_of(input.image_id, "Image"), input.changes())
    row = await reread_one(images.find_images, who, plain(input.image_id, "Image"), wanted(info).of("image"))
    return shown(UpdateImagePayload, image=row)


async def _tag(info: Info, input: TagImagesInput) -> TagImagesPayload:
    who, batch = caller(info, TokenScope.IMAGES), Batch.of("Image", image_ids=input.image_ids)
    errors = await images.tag_images(who, batch.ids, tags_of(input.tags))
    return shown(TagImagesPayload, **await results_of(info, who, batch, errors))


async def _untag(info: Info, input: UntagImagesInput) -> UntagImagesPayload:
    who, batch = caller(info, TokenScope.IMAGES), Batch.of("Image", image_ids=input.image_ids)
    errors = await images.untag_images(who, batch.ids, input.keys)
    return shown(UntagImagesPayload, **await results_of(info, who, batch, errors))


async def _delete(info: Info, input: DeleteImagesInput) -> DeleteImagesPayload:
    who, batch = caller(info, TokenScope.IMAGES), Batch.of("Image", image_ids=input.image_ids)
    if input.delete_backups:
        errors = await backups.delete_images_and_backups(who, batch.ids, dry_run=input.dry_run)
    else:
        errors = await images.delete_images(who, batch.ids, dry_run=input.dry_run)
    return shown(DeleteImagesPayload, **await results_of(info, who, batch, errors, dry_run=input.dry_run))
