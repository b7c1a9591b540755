"""How shares are read, and what they add to images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app import policy
from app.enums import ShareStatus
from app.images import service as images
from app.images.filters import CONDITIONS
from app.images.reads import IMAGES, RULE_COLUMNS
from app.policy import Caller
from app.projects.reads import PROJECTS, VIEWER
from app.reading import Child, Noun, Paged, Parent, Row, Wanted
from app.sharing.filters import shares
from app.sharing.models import ImageMember


class MemberRow(Row):
    """A project that an image is shared with."""

    noun = "ImageMember"
    image_id: str
    project_id: str
    status: ShareStatus


MEMBERS = Noun(
    ImageMember,
    MemberRow,
    policy.visible_members,
    relations={"image": Parent(IMAGES, "image_id"), "project": Parent(PROJECTS, "project_id")},
)


OWN_MEMBERSHIPS = Noun(ImageMember, MemberRow, policy.own_memberships, relations=MEMBERS.relations)


class ViewerCan:
    """image.viewerCan: the rules of app.policy, with the viewer's own share of each image; and what an export keeps one from."""

    needs = RULE_COLUMNS

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        shares = await policy.own_shares(caller, rows)
        busy = await images.being_exported([row.id for row in rows])
        return [
            [
                action
                for action in policy.image_actions(caller, row, shares.get(row.id))
                if row.id not in busy or action not in images.NOT_WHILE_EXPORTED
            ]
            for row in rows
        ]


class PendingShares:
    """viewer.pendingShareCount: images that wait for the viewer's answer."""

    needs = ()

    async def load(self, caller: Caller, rows: Sequence[Any], part: Wanted) -> Iterable[object]:
        number = await policy.own_memberships(caller).filter(status=ShareStatus.PENDING).count()
        return [number for _ in rows]


CONDITIONS.append(shares)
VIEWER.relations["pending_share_count"] = PendingShares()
IMAGES.relations.update(
    {
        "members": Paged(MEMBERS, "image_id", filters={"status": "status__in"}),
        "membership": Child(OWN_MEMBERSHIPS, "image_id"),
        "viewer_can": ViewerCan(),
    }
)
