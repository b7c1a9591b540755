"""Data disk images as what EVS disks are made from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from app import policy
from app.contents.models import Content
from app.disks import rules
from app.enums import ContentState, ErrorCode, ImageAction
from app.errors import NotFound, Refused, ServiceError
from app.images import service as images
from app.images.models import Image, ImageDisk
from app.images.reads import RULE_COLUMNS
from app.policy import Caller
from app.reading import Wanted

FOR_DISKS = Wanted.naming(*RULE_COLUMNS, "name", "min_disk_gib")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An image that a disk can be made from."""

    image_id: UUID
    name: str
    content_id: UUID
    least_gib: int
    where: tuple[str, ...]
    """The argument that names it."""

    def size_gib(self, asked: int | None, *where: str) -> int:
        """The size of a disk made from it: what is asked for, else the least.

        Raises: Refused: DISK_TOO_SMALL, DISK_TOO_LARGE.
        """
        size = max(self.least_gib, rules.MIN_DATA_DISK_GIB) if asked is None else asked
        rules.check_data_disk_size(size, *where)
        if size < self.least_gib:
            message = f"The image needs a disk of {self.least_gib} GiB; {size} were asked for."
            raise Refused(ErrorCode.DISK_TOO_SMALL, message, field=where, otc="Ecs.0007")
        return size


async def find_template(caller: Caller, image_id: UUID, *where: str) -> Template:
    """A data disk image that the caller may make disks of; the scope for that is the caller's business.

    Raises: NotFound (Ecs.0031). Forbidden. Refused: NOT_ACCEPTED, NOT_ACTIVE, WRONG_IMAGE_KIND.
    """
    try:
        image = await images.get_image(caller, image_id, FOR_DISKS)
    except NotFound as error:
        error.otc = "Ecs.0031"
        raise error.at(*where) from None
    share = (await policy.own_shares(caller, [image])).get(image.id)
    if refusal := policy.use_refusal(caller, ImageAction.CREATE_DISK, image, share):
        raise refusal.at(*where)
    disk = await ImageDisk.get(image_id=image_id)
    least = max(image.min_disk_gib, disk.size_gib)
    return Template(image_id=image_id, name=image.name, content_id=disk.content_id, least_gib=least, where=where)


async def check_still_there(caller: Caller, templates: Collection[Template]) -> None:
    """In the transaction that makes disks: images are locked, so that they can neither be deleted nor withdrawn meanwhile.

    Raises: as find_template.
    """
    ids = sorted({template.image_id for template in templates})
    locked = {image.id: image for image in await Image.filter(id__in=ids).order_by("id").select_for_update()}
    for template in templates:
        image = locked.get(template.image_id)
        refusal: ServiceError | None = NotFound("There is no such image.", otc="Ecs.0031")
        if image:
            facts = images.Facts.of(image)
            share = (await policy.own_shares(caller, [facts])).get(facts.id)
            is_visible = facts.is_public or facts.project_id == caller.project_id or share or caller.is_operator
            refusal = policy.use_refusal(caller, ImageAction.CREATE_DISK, facts, share) if is_visible else refusal
        if refusal is None and not await Content.exists(id=template.content_id, state=ContentState.SEALED):
            refusal = Refused(ErrorCode.NOT_ACTIVE, "The image's bytes are not there.", otc="Ecs.0032")
        if refusal:
            raise refusal.at(*template.where)
