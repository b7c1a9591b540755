"""An own copy of an image that the caller may use. It shares no bytes with it, so it stays when the other goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from app import policy
from app.contents import service as contents
from app.contents.models import Content
from app.ecs import host
from app.ecs.planning import TRAITS
from app.enums import ContentState, ErrorCode, ImageAction, ImageKind, ImageSourceKind, JobType
from app.errors import NotFound, Refused
from app.images import service as images
from app.images.models import Image, ImageDisk
from app.images.reads import RULE_COLUMNS, ImageRow
from app.policy import Caller
from app.reading import Wanted
from app.sources.base import Draft, ImageCopySource

FOR_COPY = Wanted.naming(*RULE_COLUMNS, *TRAITS, "name", "min_disk_gib")


@dataclass(slots=True)
class OfImage:
    """An image of one disk: public, own, or shared and accepted."""

    request: ImageCopySource
    kind: ImageKind = ImageKind.SYSTEM_DISK
    """Of the image that is copied, once it is known."""
    source_kind = ImageSourceKind.IMAGE
    job_type = JobType.COPY_IMAGE

    async def check(self, caller: Caller) -> Draft:
        """The same image, as another project's."""
        image = await self._image(caller)
        self.kind = image.kind
        traits = {name: getattr(image, name) for name in TRAITS if name not in ("min_ram_mib", "max_ram_mib")}
        return Draft(
            columns={**traits, "source_image_id": UUID(image.id), "source_image_name": image.name},
            min_disk_gib=image.min_disk_gib,
            min_ram_mib=image.min_ram_mib,
            max_ram_mib=image.max_ram_mib,
            virtual_bytes=(await Image.get(id=image.id)).virtual_size_bytes or 0,
        )

    async def _image(self, caller: Caller) -> ImageRow:
        image = await images.get_image(caller, self.request.image_id, FOR_COPY)
        await policy.authorize_image(caller, ImageAction.COPY, image)
        return image

    async def begin(self, caller: Caller, image_id: UUID, job_id: UUID) -> Mapping[str, object]:
        """See that it may still be copied; from now on the new image's disk holds what is to be copied, until the copy is there."""
        if await Image.filter(id=self.request.image_id).select_for_update().get_or_none() is None:
            raise NotFound("There is no such image.", otc="IMG.0027")
        await self._image(caller)
        disk = await ImageDisk.get(image_id=self.request.image_id)
        if not await Content.exists(id=disk.content_id, state=ContentState.SEALED):
            raise Refused(ErrorCode.NOT_ACTIVE, "The image's bytes are not there.", otc="IMG.0046")
        (copied,) = await contents.expect(host.current().engine)
        await ImageDisk.create(
            id=uuid4(),
            image_id=image_id,
            content_id=disk.content_id,
            boot_index=0,
            size_gib=disk.size_gib,
            is_system=disk.is_system,
        )
        return {"original_id": str(disk.content_id), "copy_id": str(copied)}
