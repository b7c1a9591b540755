"""What private images count against their project's IMAGE_BYTES: the bytes of their disks as a machine sees them.

Each image remembers what it was charged, so that what is tried again, or cut short, counts once. All of it happens in the caller's
transaction; public images are charged nothing.
"""

from __future__ import annotations

from uuid import UUID

from app.contents.models import Content
from app.enums import ContentState, ImageStatus
from app.images.models import Image, ImageDisk
from app.projects import quotas

UNFINISHED = (ImageStatus.QUEUED, ImageStatus.SAVING, ImageStatus.IMPORTING)
GIB = 1 << 30


async def charge(image_id: UUID, size_bytes: int) -> None:
    """Charge an image that is being made so much; one whose making has ended stays as it is.

    Raises: QuotaExceeded.
    """
    image = await Image.filter(id=image_id, status__in=UNFINISHED).select_for_update().get_or_none()
    if image is None or image.is_public:
        return
    if size_bytes > image.charged_bytes:
        await quotas.take(image.project_id, image_bytes=size_bytes - image.charged_bytes)
    else:
        await quotas.give_back(image.project_id, image_bytes=image.charged_bytes - size_bytes)
    await Image.filter(id=image_id).update(charged_bytes=size_bytes)


async def charge_for_disks(image_id: UUID) -> None:
    """Charge an image for the disks that its source has given it; nothing yet for those whose size is not known.

    Raises: QuotaExceeded.
    """
    disks = await ImageDisk.filter(image_id=image_id)
    contents = Content.filter(id__in=[disk.content_id for disk in disks], state=ContentState.SEALED)
    sealed = {content.id: content.virtual_bytes for content in await contents}
    await charge(image_id, sum(sealed.get(disk.content_id, disk.size_gib * GIB) for disk in disks))


async def correct(image_id: UUID, size_bytes: int) -> None:
    """Charge an image that is there, or is no more, what it turned out to be: whatever the limit, for its bytes are what they are."""
    image = await Image.filter(id=image_id, is_public=False).select_for_update().get_or_none()
    if image is not None and image.charged_bytes != size_bytes:
        await quotas.give_back(image.project_id, image_bytes=image.charged_bytes - size_bytes)
        await Image.filter(id=image_id).update(charged_bytes=size_bytes)
