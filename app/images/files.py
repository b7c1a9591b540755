"""Files of images: what an image of one disk can be fetched as."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app import policy
from app.errors import NotFound
from app.images.models import ImageDisk
from app.images.reads import RULE_COLUMNS
from app.images.service import get_image
from app.policy import Caller
from app.reading import Wanted


@dataclass(frozen=True, slots=True)
class ImageFile:
    """The content whose file it is, and what the image is called."""

    content_id: UUID
    image_name: str


async def find_file(caller: Caller, image_id: UUID) -> ImageFile:
    """The file of an image that the caller may download.

    Raises: NotFound, Forbidden; Refused: NOT_EXPORTABLE, NOT_ACTIVE, DAMAGED.
    """
    row = await get_image(caller, image_id, Wanted.naming(*RULE_COLUMNS, "name"))
    policy.authorize(policy.download_refusal(caller, row))
    disk = await ImageDisk.get_or_none(image_id=image_id)
    if disk is None:
        raise NotFound("There is no such image.", otc="IMG.0027")
    return ImageFile(disk.content_id, row.name)
