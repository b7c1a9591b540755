"""What one can do with shares: an owner offers and withdraws them, a recipient accepts and rejects them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from uuid import UUID, uuid4

from app import db, events, policy, states
from app.enums import ErrorCode, EventType, ImageAction, ShareOutcome, ShareStatus, TokenScope
from app.errors import InvalidInput, LimitExceeded, NotFound, Refused, ServiceError
from app.images import service as images
from app.images.models import Image
from app.images.reads import MEMBER_LIMITS, ImageRow
from app.policy import Caller
from app.projects import idempotency
from app.projects.models import Project
from app.reading import Wanted, find
from app.sharing.models import ImageMember
from app.sharing.reads import MEMBERS, MemberRow


@dataclass(frozen=True, slots=True)
class ShareResult:
    """What became of one pair, by its places in the request."""

    image_index: int
    project_index: int
    outcome: ShareOutcome
    member_id: str | None = None
    error: ServiceError | None = None


async def find_members(caller: Caller, ids: Iterable[str], wanted: Wanted) -> dict[str, MemberRow]:
    """Those of the shares that the caller may see, by id."""
    return await find(caller, MEMBERS, ids, wanted)


async def share_images(
    caller: Caller,
    image_ids: Sequence[UUID],
    project_ids: Sequence[UUID],
    *,
    idempotency_key: str | None,
    dry_run: bool,
) -> list[ShareResult]:
    """Offer images to projects, each pair by itself. A pair that is there already stays as it is; a rejected one is offered again.

    Raises: Forbidden: the token has not scope SHARING. Of the key: as app.projects.idempotency.
    """
    policy.require(caller, TokenScope.SHARING)
    request = ("shareImages", list(map(str, image_ids)), list(map(str, project_ids)))
    pairs = await _resolved(caller, image_ids, project_ids)
    if idempotency_key is None or dry_run:
        offer = _Offer(caller, dry_run)
        return [await _done(caller, pair, offer) for pair in pairs]

    async def share(some: Sequence[_Pair]) -> list[object]:
        return [_packed(await _done(caller, pair, _Offer(caller, dry_run=False))) for pair in some]

    # A step an image: so no transaction is long, and none locks two images, which another might lock the other way round.
    steps = [partial(share, list(some)) for _, some in groupby(pairs, lambda pair: pair.image_index)]
    return [_unpacked(values) for values in await idempotency.in_steps(caller, idempotency_key, request, steps)]


def _packed(result: ShareResult) -> list[object]:
    error = result.error and [result.error.code, result.error.message, result.error.field, result.error.otc]
    return [result.image_index, result.project_index, result.outcome, result.member_id, error]


def _unpacked(values: object) -> ShareResult:
    assert isinstance(values, list)
    image, project, outcome, member, error = values
    assert isinstance(image, int)
    assert isinstance(project, int)
    found = None
    if error is not None:
        code, message, field, otc = error
        found = Refused(ErrorCode(code), message, field=field and tuple(field), otc=otc)
    return ShareResult(image, project, ShareOutcome(str(outcome)), str(member) if member else None, found)


async def unshare_images(caller: Caller, image_ids: Sequence[UUID], project_ids: Sequence[UUID]) -> list[ShareResult]:
    """Withdraw images from projects, in whatever state the shares are. Machines launched from them run on.

    Raises: Forbidden: the token has not scope SHARING.
    """
    policy.require(caller, TokenScope.SHARING)
    return [await _done(caller, pair, _withdraw) for pair in await _resolved(caller, image_ids, project_ids)]


@dataclass(frozen=True, slots=True)
class _Pair:
    """An image and a project, as the caller sees them."""

    image_index: int
    project_index: int
    image: ImageRow | None
    project_id: UUID
    is_project: bool


async def _resolved(caller: Caller, image_ids: Sequence[UUID], project_ids: Sequence[UUID]) -> list[_Pair]:
    """Images outer, projects inner."""
    rows = await images.find_images(caller, map(str, image_ids), images.FOR_RULES)
    known = set(await Project.filter(id__in=list(project_ids)).values_list("id", flat=True))
    return [
        _Pair(i, p, rows.get(str(image_id)), project_id, project_id in known)
        for i, image_id in enumerate(image_ids)
        for p, project_id in enumerate(project_ids)
    ]


async def _done(
    caller: Caller, pair: _Pair, work: Callable[[ImageRow, UUID], Awaitable[tuple[ShareOutcome, str | None]]]
) -> ShareResult:
    """What is refused for one pair is done for the others."""
    try:
        outcome, member_id = await work(_shareable(caller, pair), pair.project_id)
    except ServiceError as error:
        return ShareResult(pair.image_index, pair.project_index, ShareOutcome.REFUSED, None, error)
    return ShareResult(pair.image_index, pair.project_index, outcome, member_id)


def _shareable(caller: Caller, pair: _Pair) -> ImageRow:
    if pair.image is None:
        raise NotFound("There is no such image.", field=("input", "image_ids"), otc="IMG.0027")
    refusal = policy.image_refusal(caller, ImageAction.SHARE, pair.image, None)
    if refusal is not None:
        raise refusal.at("input", "image_ids")
    if not pair.is_project:
        raise NotFound("There is no such project.", field=("input", "project_ids"), otc="IMG.0108")
    if str(pair.project_id) == pair.image.project_id:
        raise InvalidInput(
            "An image is not shared with its own project.", field=("input", "project_ids"), otc="IMG.0076"
        )
    return pair.image


@dataclass(frozen=True, slots=True)
class _Offer:
    """Offering one image to one project."""

    caller: Caller
    dry_run: bool
    promised: Counter[UUID] = field(default_factory=Counter)
    """How many members a dry run would have given to each image so far."""

    async def __call__(self, row: ImageRow, project_id: UUID) -> tuple[ShareOutcome, str | None]:
        async with db.transaction():
            image = await Image.filter(id=row.id).select_for_update().get_or_none()
            if image is None:
                raise NotFound("There is no such image.", field=("input", "image_ids"), otc="IMG.0027")
            await policy.authorize_image(self.caller, ImageAction.SHARE, images.Facts.of(image))
            share = await ImageMember.get_or_none(image_id=row.id, project_id=project_id)
            if share is None:
                return await self._first(image, project_id)
            if share.status is not ShareStatus.REJECTED:
                return ShareOutcome.ALREADY_MEMBER, str(share.id)
            if not self.dry_run:
                await states.MEMBER.must_move(share.id, ShareStatus.PENDING, created_at=db.now())
                await _tell(EventType.SHARED, row, project_id)
            return ShareOutcome.SHARED_AGAIN, str(share.id)

    async def _first(self, image: Image, project_id: UUID) -> tuple[ShareOutcome, str | None]:
        most = MEMBER_LIMITS[image.kind]
        if await ImageMember.filter(image_id=image.id).count() + self.promised[image.id] >= most:
            message = f"An image of this kind is shared with at most {most} projects."
            raise LimitExceeded(message, field=("input", "project_ids"), otc="IMG.0088")
        if self.dry_run:
            self.promised[image.id] += 1
            return ShareOutcome.SHARED, None
        share = await ImageMember.create(
            id=uuid4(), image_id=image.id, project_id=project_id, status=ShareStatus.PENDING
        )
        await events.announce("Image", image.id, EventType.SHARED, [image.project_id, project_id], about=project_id)
        return ShareOutcome.SHARED, str(share.id)


async def _withdraw(row: ImageRow, project_id: UUID) -> tuple[ShareOutcome, str | None]:
    async with db.transaction():
        if not await ImageMember.filter(image_id=row.id, project_id=project_id).delete():
            return ShareOutcome.NOT_A_MEMBER, None
        await _tell(EventType.REVOKED, row, project_id)
    return ShareOutcome.REMOVED, None


async def _tell(type_: EventType, row: ImageRow, member: UUID) -> None:
    await events.announce("Image", row.id, type_, [row.project_id, member], about=member)


async def accept_shares(caller: Caller, image_ids: Sequence[UUID]) -> list[ServiceError | None]:
    """Accept the caller's shares of images; one that is accepted already stays so.

    Raises: Forbidden: the token has not scope SHARING.
    """
    return await _answer(caller, image_ids, ShareStatus.ACCEPTED)


async def reject_shares(caller: Caller, image_ids: Sequence[UUID]) -> list[ServiceError | None]:
    """Reject the caller's shares, accepted before or not: the recipient's way out. It can be accepted again while it is offered.

    Raises: Forbidden: the token has not scope SHARING.
    """
    return await _answer(caller, image_ids, ShareStatus.REJECTED)


ANSWERS = {
    ShareStatus.ACCEPTED: (ImageAction.ACCEPT, EventType.ACCEPTED),
    ShareStatus.REJECTED: (ImageAction.REJECT, EventType.REJECTED),
}


async def _answer(caller: Caller, image_ids: Sequence[UUID], to: ShareStatus) -> list[ServiceError | None]:
    policy.require(caller, TokenScope.SHARING)
    rows = await images.find_images(caller, map(str, image_ids), images.FOR_RULES)
    results: list[ServiceError | None] = []
    for image_id in image_ids:
        try:
            await _answer_one(caller, rows.get(str(image_id)), to)
            results.append(None)
        except ServiceError as error:
            results.append(error)
    return results


async def _answer_one(caller: Caller, row: ImageRow | None, to: ShareStatus) -> None:
    action, event = ANSWERS[to]
    if row is None:
        raise NotFound("There is no such image.", otc="IMG.0027")
    await policy.authorize_image(caller, action, row)
    async with db.transaction():
        mine = ImageMember.filter(image_id=row.id, project_id=caller.project)
        share = await mine.select_for_update().get_or_none()  # of two that accept at once the second has nothing to do
        if share is None:
            raise NotFound("There is no such image.", otc="IMG.0027")
        if share.status is not to:
            await states.MEMBER.must_move(share.id, to)
            await _tell(event, row, caller.project)
