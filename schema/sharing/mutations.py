"""Sharing images, and answering shares."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry
from strawberry import Info

from app.enums import ShareOutcome, TokenScope
from app.errors import LimitExceeded
from app.policy import Caller
from app.sharing import service as sharing
from schema.context import caller
from schema.errors import UserError, refusable
from schema.fields import Input, changing
from schema.images.mutations import results_of
from schema.images.types import ImageResults
from schema.payloads import Batch, errors_field, reread, shown
from schema.selection import wanted
from schema.sharing.types import ImageMember

MAX_PAIRS = 1000


@strawberry.type(description="What became of one pair of image and project.")
class ShareResult:
    image_id: strawberry.ID = strawberry.field(description="The argument, as it was written.")
    project_id: strawberry.ID = strawberry.field(description="The argument, as it was written.")
    outcome: ShareOutcome = strawberry.field(description="What became of it.")
    member: ImageMember | None = strawberry.field(
        default=None, description="The share now. Null when it was refused or removed, and in a dry run."
    )
    error: UserError | None = strawberry.field(default=None, description="Why it was refused.")


@strawberry.type
class ShareResults:
    """The payload of mutations on pairs of images and projects."""

    results: list[ShareResult] = strawberry.field(
        default_factory=list,
        description="One for each pair, images outer, projects inner, in the order of the arguments; duplicates are collapsed.",
    )
    user_errors: list[UserError] = errors_field()


@strawberry.input(description="Images, and projects to share each of them with; at most 1000 pairs.")
class ShareImagesInput:
    image_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    project_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="1 to 255 characters, kept for 24 hours: a retry with it gets the first answer. It matters: a late retry "
        "without it could reopen a share that was rejected meanwhile.",
    )
    dry_run: bool = strawberry.field(default=False, description="Only say what would be done.")


@strawberry.type(description="What became of each pair.")
class ShareImagesPayload(ShareResults):
    pass


@strawberry.input(description="Images, and projects to withdraw each of them from; at most 1000 pairs.")
class UnshareImagesInput:
    image_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")
    project_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")


@strawberry.type(description="What became of each pair.")
class UnshareImagesPayload(ShareResults):
    pass


@strawberry.input(description="Images whose shares to accept, rejected ones too.")
class AcceptSharesInput:
    image_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")


@strawberry.type(description="What became of each image.")
class AcceptSharesPayload(ImageResults):
    pass


@strawberry.input(description="Images whose shares to reject, accepted ones too. Machines launched from them run on.")
class RejectSharesInput:
    image_ids: list[strawberry.ID] = strawberry.field(description="At most 100, opaque or plain.")


@strawberry.type(description="What became of each image.")
class RejectSharesPayload(ImageResults):
    pass


@strawberry.type
class SharingMutations:
    @changing("Offer images to projects. Needs scope SHARING.")
    async def share_images(self, info: Info, input: Input[ShareImagesInput]) -> ShareImagesPayload | None:
        return await refusable(ShareImagesPayload, _share(info, input))

    @changing("Withdraw images from projects. Machines launched from them run on. Needs scope SHARING.")
    async def unshare_images(self, info: Info, input: Input[UnshareImagesInput]) -> UnshareImagesPayload | None:
        return await refusable(UnshareImagesPayload, _unshare(info, input))

    @changing("Accept images that are shared with the viewer's project. Needs scope SHARING.")
    async def accept_shares(self, info: Info, input: Input[AcceptSharesInput]) -> AcceptSharesPayload | None:
        return await refusable(AcceptSharesPayload, _accept(info, input))

    @changing("Reject images that are shared with the viewer's project. Needs scope SHARING.")
    async def reject_shares(self, info: Info, input: Input[RejectSharesInput]) -> RejectSharesPayload | None:
        return await refusable(RejectSharesPayload, _reject(info, input))


async def _share(info: Info, input: ShareImagesInput) -> ShareImagesPayload:
    who = caller(info, TokenScope.SHARING)
    images, projects = pairs = _pairs(input.image_ids, input.project_ids)
    key, dry_run = input.idempotency_key, input.dry_run
    results = await sharing.share_images(who, images.ids, projects.ids, idempotency_key=key, dry_run=dry_run)
    members = [] if dry_run else [result.member_id for result in results if result.member_id]
    return shown(ShareImagesPayload, **await _results(info, who, pairs, results, members))


async def _unshare(info: Info, input: UnshareImagesInput) -> UnshareImagesPayload:
    who = caller(info, TokenScope.SHARING)
    images, projects = pairs = _pairs(input.image_ids, input.project_ids)
    results = await sharing.unshare_images(who, images.ids, projects.ids)
    return shown(UnshareImagesPayload, **await _results(info, who, pairs, results, []))


async def _accept(info: Info, input: AcceptSharesInput) -> AcceptSharesPayload:
    who, batch = caller(info, TokenScope.SHARING), Batch.of("Image", image_ids=input.image_ids)
    errors = await sharing.accept_shares(who, batch.ids)
    return shown(AcceptSharesPayload, **await results_of(info, who, batch, errors))


async def _reject(info: Info, input: RejectSharesInput) -> RejectSharesPayload:
    who, batch = caller(info, TokenScope.SHARING), Batch.of("Image", image_ids=input.image_ids)
    errors = await sharing.reject_shares(who, batch.ids)
    return shown(RejectSharesPayload, **await results_of(info, who, batch, errors))


Pairs = tuple[Batch, Batch]
"""Images and projects."""


def _pairs(image_ids: Sequence[str], project_ids: Sequence[str]) -> Pairs:
    """Both arguments.

    Raises: LimitExceeded: more than 100 of one, or more than 1000 pairs.
    """
    images, projects = Batch.of("Image", image_ids=image_ids), Batch.of("Project", project_ids=project_ids)
    pairs = len(images.ids) * len(projects.ids)
    if pairs > MAX_PAIRS:
        raise LimitExceeded(f"At most {MAX_PAIRS} pairs at a time, not {pairs}.", field=("input", "project_ids"))
    return images, projects


async def _results(
    info: Info, who: Caller, pairs: Pairs, results: Sequence[sharing.ShareResult], member_ids: Sequence[str]
) -> dict[str, list[ShareResult] | list[UserError]]:
    rows = await reread(sharing.find_members, who, member_ids, wanted(info).of("results", "member"))
    told = [
        shown(
            ShareResult,
            image_id=pairs[0].texts[result.image_index],
            project_id=pairs[1].texts[result.project_index],
            outcome=result.outcome,
            member=rows.get(result.member_id or ""),
            error=_error(pairs, result),
        )
        for result in results
    ]
    return {"results": told, "user_errors": [each.error for each in told if each.error]}


def _error(pairs: Pairs, result: sharing.ShareResult) -> UserError | None:
    """With the place of the image, or of the project where it is the one to blame."""
    images, projects = pairs
    if result.error and result.error.field == ("input", "project_ids"):
        return projects.error(result.project_index, result.error)
    return images.error(result.image_index, result.error)
