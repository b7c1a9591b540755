"""Conditions of image lists that are about shares."""

from __future__ import annotations

from tortoise.expressions import Q, RawSQL, Subquery

from app import filters
from app.enums import ImageVisibility
from app.images.filters import ImageFilter, is_visibility
from app.policy import Caller
from app.sharing.models import ImageMember

OF_IMAGE = RawSQL('"image"."id"')


async def shares(caller: Caller, where: ImageFilter) -> Q:
    """shareStatus: shared with me, so; sharedOut and sharedWithProjectIds: own ones, shared so."""
    condition = Q()
    if where.share_status is not None:
        mine = ImageMember.filter(image_id=OF_IMAGE, project_id=caller.project_id)
        mine = mine.filter(filters.one_of("status", where.share_status))
        condition &= Q(id__in=Subquery(mine.values("image_id"))) & ~Q(project_id=caller.project_id)
    if where.shared_out is not None:
        some = Q(id__in=Subquery(ImageMember.filter(image_id=OF_IMAGE).values("image_id")))
        condition &= (some if where.shared_out else ~some) & is_visibility(caller, ImageVisibility.PRIVATE)
    if where.shared_with_project_ids is not None:
        so = ImageMember.filter(image_id=OF_IMAGE).filter(filters.one_of("project_id", where.shared_with_project_ids))
        condition &= Q(id__in=Subquery(so.values("image_id"))) & is_visibility(caller, ImageVisibility.PRIVATE)
    return condition
