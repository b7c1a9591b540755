"""Who sees and who does what: the two questions of every request, answered here and nowhere else.

`visible_*` begins every read. `*_refusal` guards every write: it answers why not, with the code that the caller gets, or None; what a
viewer is told it can do is made of the same answers. What one cannot see is NOT_FOUND, so FORBIDDEN never tells that something exists.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from tortoise.expressions import Q, RawSQL, Subquery
from tortoise.queryset import QuerySet

from app import db
from app.backups.models import Backup, BackupDisk
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance, EcsTag, Flavor, KeyPair
from app.enums import (
    BackupAction,
    BackupStatus,
    DiskAction,
    DiskStatus,
    EcsAction,
    EcsStatus,
    ErrorCode,
    ImageAction,
    ImageKind,
    ImageStatus,
    ShareStatus,
    TokenScope,
    UploadStatus,
)
from app.errors import Busy, Forbidden, InvalidState, Refused, ServiceError, Unsupported
from app.exports.models import Export
from app.images.models import Image, ImageDisk, ImageTag
from app.jobs.models import Job, JobDisk, JobEcs
from app.projects.models import Project, Quota
from app.sharing.models import ImageMember
from app.uploads.models import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is calling: a project, by one of its tokens."""

    project_id: str
    scopes: frozenset[TokenScope]
    token_id: str
    token_name: str
    expires_at: datetime | None = None

    @property
    def is_operator(self) -> bool:
        """Whether it runs this installation: it sees every image and keeps the public ones."""
        return TokenScope.OPERATOR in self.scopes

    @property
    def project(self) -> UUID:
        """The project's id, as tables want it."""
        return UUID(self.project_id)


def require(caller: Caller, scope: TokenScope) -> None:
    """Raises: Forbidden: the token has not this scope."""
    if scope not in caller.scopes:
        raise Forbidden(
            f"This needs a token with scope {scope.value}; {caller.token_name!r} has not got it.", otc="IMG.0026"
        )


# ---------------------------------------------------------------- seeing


def visible_images(caller: Caller) -> QuerySet[Image]:
    """Public images, the caller's own, and those shared with it, accepted or not; for an operator all.

    The subquery is correlated: against a list of all shared images it costs a twentieth for one page, and a join would repeat rows.
    """
    if caller.is_operator:
        return Image.all()
    shared = ImageMember.filter(image_id=RawSQL('"image"."id"'), project_id=caller.project_id).values("image_id")
    return Image.filter(Q(is_public=True) | Q(project_id=caller.project_id) | Q(id__in=Subquery(shared)))


def listed_images(caller: Caller) -> QuerySet[Image]:
    """What a list shows unless asked for shares in other states: of the visible ones, not those pending or rejected."""
    return Image.all() if caller.is_operator else Image.filter(may_launch(caller))


def may_launch(caller: Caller) -> Q:
    """Images that the caller may use: public ones, its own, and those whose share it accepted."""
    accepted = Subquery(_accepted(caller, '"image"."id"'))
    return Q(is_public=True) | Q(project_id=caller.project_id) | Q(id__in=accepted)


def _accepted(caller: Caller, image_id: str) -> Any:
    shares = ImageMember.filter(image_id=RawSQL(image_id), project_id=caller.project_id, status=ShareStatus.ACCEPTED)
    return shares.values("image_id")


def visible_tags(caller: Caller) -> QuerySet[ImageTag]:
    """Tags of images that are public, own or accepted: a pending share shows none."""
    if caller.is_operator:
        return ImageTag.all()
    accepted = Q(image_id__in=Subquery(_accepted(caller, '"image_tag"."image_id"')))
    return ImageTag.filter(Q(image__is_public=True) | Q(image__project_id=caller.project_id) | accepted)


def visible_members(caller: Caller) -> QuerySet[ImageMember]:
    """All members of own images; of others the caller's own row."""
    if caller.is_operator:
        return ImageMember.all()
    return ImageMember.filter(Q(image__project_id=caller.project_id) | Q(project_id=caller.project_id))


def own_memberships(caller: Caller) -> QuerySet[ImageMember]:
    """The caller's own shares of other projects' images."""
    return ImageMember.filter(project_id=caller.project_id)


def visible_ecs(caller: Caller) -> QuerySet[EcsInstance]:
    """The caller's own machines; one that is deleted is gone."""
    return EcsInstance.filter(project_id=caller.project_id).exclude(status=EcsStatus.DELETED)


def last_seen_ecs(caller: Caller) -> QuerySet[EcsInstance]:
    """The same and deleted ones too: for the last value of a subscription."""
    return EcsInstance.filter(project_id=caller.project_id)


def visible_evs_disks(caller: Caller) -> QuerySet[EvsDisk]:
    """The caller's own disks."""
    return EvsDisk.filter(project_id=caller.project_id)


def visible_backups(caller: Caller) -> QuerySet[Backup]:
    """The caller's own backups."""
    return Backup.filter(project_id=caller.project_id)


def visible_backup_disks(caller: Caller) -> QuerySet[BackupDisk]:
    """All: only ever reached through a backup that is visible itself."""
    return BackupDisk.all()


def images_of_backups(caller: Caller) -> QuerySet[Image]:
    """Of the visible images those that may be a backup's only one: an image that could not be made is in nobody's way."""
    return visible_images(caller).exclude(status=ImageStatus.KILLED)


def visible_key_pairs(caller: Caller) -> QuerySet[KeyPair]:
    """The caller's own key pairs."""
    return KeyPair.filter(project_id=caller.project_id)


def visible_jobs(caller: Caller) -> QuerySet[Job]:
    """The caller's own jobs."""
    return Job.filter(project_id=caller.project_id)


def visible_uploads(caller: Caller) -> QuerySet[Upload]:
    """The caller's own; one that has expired is gone, unless a job is using it."""
    return Upload.filter(Q(status=UploadStatus.USED) | Q(expires_at__gt=db.now()), project_id=caller.project_id)


def visible_exports(caller: Caller) -> QuerySet[Export]:
    """The caller's own, from when there is a file until it expires."""
    return Export.filter(project_id=caller.project_id, expires_at__gt=db.now())


def visible_job_ecs(caller: Caller) -> QuerySet[JobEcs]:
    """All: only ever reached through a job that is visible itself, and the ECS behind it is looked at anew."""
    return JobEcs.all()


def visible_job_disks(caller: Caller) -> QuerySet[JobDisk]:
    """All: only ever reached through a job that is visible itself, and the disk behind it is looked at anew."""
    return JobDisk.all()


def visible_projects(caller: Caller) -> QuerySet[Project]:
    """All: a project's name is known to whoever shares with it or is shared with. Only ever reached by id or exact name."""
    return Project.all()


def visible_quotas(caller: Caller) -> QuerySet[Quota]:
    """The caller's own."""
    return Quota.filter(project_id=caller.project_id)


def visible_flavors(caller: Caller) -> QuerySet[Flavor]:
    """All."""
    return Flavor.all()


def visible_image_disks(caller: Caller) -> QuerySet[ImageDisk]:
    """All: only ever reached through an image that is visible itself."""
    return ImageDisk.all()


def visible_contents(caller: Caller) -> QuerySet[Content]:
    """All: only ever reached through a disk of an image or a backup that is visible itself."""
    return Content.all()


def visible_ecs_tags(caller: Caller) -> QuerySet[EcsTag]:
    """All: only ever reached through an ECS that is visible itself."""
    return EcsTag.all()


# ---------------------------------------------------------------- doing


class ImageFacts(Protocol):
    """What the rules need to know of an image."""

    @property
    def id(self) -> str: ...
    @property
    def project_id(self) -> str: ...
    @property
    def is_public(self) -> bool: ...
    @property
    def kind(self) -> ImageKind: ...
    @property
    def status(self) -> ImageStatus: ...
    @property
    def protected(self) -> bool: ...
    @property
    def fault_code(self) -> ErrorCode | None: ...


IMAGE_SCOPES = {
    ImageAction.UPDATE: TokenScope.IMAGES,
    ImageAction.TAG: TokenScope.IMAGES,
    ImageAction.DELETE: TokenScope.IMAGES,
    ImageAction.SHARE: TokenScope.SHARING,
    ImageAction.ACCEPT: TokenScope.SHARING,
    ImageAction.REJECT: TokenScope.SHARING,
    ImageAction.EXPORT: TokenScope.IMAGES,
    ImageAction.COPY: TokenScope.IMAGES,
    ImageAction.LAUNCH: TokenScope.ECS,
    ImageAction.CREATE_DISK: TokenScope.STORAGE,
}
USES = {
    ImageAction.LAUNCH: ({ImageKind.SYSTEM_DISK, ImageKind.FULL_ECS}, ErrorCode.WRONG_IMAGE_KIND, "launched"),
    ImageAction.CREATE_DISK: ({ImageKind.DATA_DISK}, ErrorCode.WRONG_IMAGE_KIND, "made a data disk of"),
    ImageAction.COPY: ({ImageKind.SYSTEM_DISK, ImageKind.DATA_DISK}, ErrorCode.NOT_COPYABLE, "copied"),
}
"""What may be done with every image that one has a right to use: with which kinds of images, and how it is refused with others."""
USE_OTC = {
    ErrorCode.NOT_ACCEPTED: ("Ecs.0031", "IMG.0196"),
    ErrorCode.NOT_ACTIVE: ("Ecs.0032", "IMG.0046"),
    ErrorCode.WRONG_IMAGE_KIND: ("Ecs.0007", "IMG.0024"),
    ErrorCode.NOT_COPYABLE: ("IMG.0128", "IMG.0128"),
    ErrorCode.DAMAGED: ("Ecs.0032", "IMG.0046"),
}
"""Codes of ECS, and of IMS where an image is copied."""


DAMAGED = "Bytes of the image are not what they were, so that nothing is made of it; the operator knows."
NOT_EXPORTED = {ImageKind.FULL_ECS: "IMG.0128", ImageKind.ISO: "IMG.0167"}
"""Kinds of images that are not exported, and IMS's codes of the refusals."""
NEVER_IF_PUBLIC = (ImageAction.DELETE, ImageAction.SHARE, ImageAction.EXPORT)
"""What not even the operator does to a public image."""


def image_refusal(
    caller: Caller, action: ImageAction, image: ImageFacts, share: ShareStatus | None
) -> ServiceError | None:
    """Why the caller may not do this to an image that it sees, or None. `share`: the state of its own share of it, if any."""
    scope = IMAGE_SCOPES[action]
    if scope not in caller.scopes:
        return Forbidden(f"This needs a token with scope {scope.value}.", otc="IMG.0026")
    if action in (ImageAction.ACCEPT, ImageAction.REJECT):
        return None if share else Forbidden("This image is not shared with your project.", otc="IMG.0026")
    if action in USES:
        return use_refusal(caller, action, image, share)
    owns = image.project_id == caller.project_id
    if image.is_public and (not owns or not caller.is_operator or action in NEVER_IF_PUBLIC):
        return _public_refusal(action)
    if not owns:
        return Forbidden("Only its owner may do this to an image.", otc="IMG.0092")
    return _state_refusal(action, image)


def use_refusal(
    caller: Caller, action: ImageAction, image: ImageFacts, share: ShareStatus | None
) -> ServiceError | None:
    """Why an image may not be launched, copied or made disks of by whoever has the scope for that, or None."""
    kinds, wrong_kind, done = USES[action]
    if not image.is_public and image.project_id != caller.project_id and share is not ShareStatus.ACCEPTED:
        if share is None:
            return Forbidden("Only its owner and projects that it is shared with may use an image.", otc="IMG.0026")
        return _use(action, ErrorCode.NOT_ACCEPTED, "Accept the share of this image first (acceptShares).")
    if image.status is not ImageStatus.ACTIVE:
        return _use(action, ErrorCode.NOT_ACTIVE, f"The image is {image.status.value}, not ACTIVE.")
    if image.kind not in kinds:
        return _use(action, wrong_kind, f"A {image.kind.value} image cannot be {done}.")
    if image.fault_code is ErrorCode.DAMAGED:
        return _use(action, ErrorCode.DAMAGED, DAMAGED)
    return None


def _use(action: ImageAction, code: ErrorCode, message: str) -> Refused:
    return Refused(code, message, otc=USE_OTC[code][action is ImageAction.COPY])


def _public_refusal(action: ImageAction) -> ServiceError:
    if action is ImageAction.DELETE:
        return Forbidden("A public image cannot be deleted.", otc="IMG.0094")
    if action is ImageAction.SHARE:
        return Refused(ErrorCode.NOT_SHAREABLE, "A public image is everybody's already.", otc="IMG.0089")
    if action is ImageAction.EXPORT:
        return Refused(ErrorCode.NOT_EXPORTABLE, "A public image cannot be exported.", otc="IMG.0077")
    return Forbidden("Only the operator may do this to a public image.", otc="IMG.0026")


def _state_refusal(action: ImageAction, image: ImageFacts) -> ServiceError | None:
    if action is ImageAction.DELETE:
        return _delete_refusal(image)
    if action is ImageAction.EXPORT:
        if otc := NOT_EXPORTED.get(image.kind):
            return Refused(ErrorCode.NOT_EXPORTABLE, f"No image of kind {image.kind.value} can be exported.", otc=otc)
        return _bytes_refusal(image)
    if image.status is ImageStatus.ACTIVE:
        return None
    if action is ImageAction.SHARE:
        return Refused(ErrorCode.NOT_ACTIVE, f"The image is {image.status.value}, not ACTIVE.", otc="IMG.0046")
    return InvalidState(f"The image is {image.status.value}, not ACTIVE.", otc="IMG.0035")


def download_refusal(caller: Caller, image: ImageFacts) -> ServiceError | None:
    """Why the caller may not fetch the file of an image that it sees, or None.

    As it is with exports, but ISO images have a file, too; and who may read may fetch. An operator may fetch every private one.
    """
    if TokenScope.READ not in caller.scopes:
        return Forbidden(f"This needs a token with scope {TokenScope.READ.value}.", otc="IMG.0026")
    if image.is_public:
        return Refused(ErrorCode.NOT_EXPORTABLE, "A public image cannot be downloaded.", otc="IMG.0077")
    if image.project_id != caller.project_id and not caller.is_operator:
        return Forbidden("Only its owner may download an image.", otc="IMG.0092")
    if image.kind is ImageKind.FULL_ECS:
        message = "A full-ECS image is made of layers that it shares with others; it cannot be downloaded."
        return Refused(ErrorCode.NOT_EXPORTABLE, message, otc="IMG.0128")
    return _bytes_refusal(image)


def _bytes_refusal(image: ImageFacts) -> ServiceError | None:
    """Why its bytes may not go out, whoever asks for them."""
    if image.status is not ImageStatus.ACTIVE:
        return Refused(ErrorCode.NOT_ACTIVE, f"The image is {image.status.value}, not ACTIVE.", otc="IMG.0046")
    if image.fault_code is ErrorCode.DAMAGED:
        return Refused(ErrorCode.DAMAGED, DAMAGED, otc="IMG.0046")
    return None


def _delete_refusal(image: ImageFacts) -> ServiceError | None:
    if image.status not in (ImageStatus.ACTIVE, ImageStatus.KILLED):
        return InvalidState("The image is still being made; cancel its job instead (cancelJob).", otc="IMG.0090")
    if image.protected:
        return Refused(
            ErrorCode.PROTECTED, "The image is protected; updateImage(protected: false) first.", otc="IMG.0028"
        )
    return None


async def own_shares(caller: Caller, images: Iterable[ImageFacts]) -> dict[str, ShareStatus]:
    """The state of the caller's own share of each of these images that is shared with it; one statement, or none."""
    others = [image.id for image in images if not image.is_public and image.project_id != caller.project_id]
    if not others:
        return {}
    shares = ImageMember.filter(project_id=caller.project_id, image_id__in=others)
    return {str(image_id): status for image_id, status in await shares.values_list("image_id", "status")}


async def authorize_image(caller: Caller, action: ImageAction, image: ImageFacts) -> None:
    """Raises: what image_refusal answers, with the caller's share as it is now."""
    authorize(image_refusal(caller, action, image, (await own_shares(caller, [image])).get(image.id)))


def image_actions(caller: Caller, image: ImageFacts, share: ShareStatus | None) -> list[ImageAction]:
    """What the caller may do with an image now. A share that is accepted need not be accepted again, nor rejected twice."""
    settled = {ShareStatus.ACCEPTED: ImageAction.ACCEPT, ShareStatus.REJECTED: ImageAction.REJECT}.get(
        share or ShareStatus.PENDING
    )
    return [a for a in ImageAction if a is not settled and image_refusal(caller, a, image, share) is None]


class EcsFacts(Protocol):
    """What the rules need to know of an ECS."""

    @property
    def project_id(self) -> str: ...
    @property
    def status(self) -> EcsStatus: ...
    @property
    def job_id(self) -> str | None: ...


ECS_STATES: dict[EcsAction, set[EcsStatus]] = {
    EcsAction.UPDATE: set(EcsStatus) - {EcsStatus.DELETED},
    EcsAction.READ_CONSOLE: set(EcsStatus) - {EcsStatus.DELETED},
    EcsAction.START: {EcsStatus.SHUTOFF},
    EcsAction.STOP: {EcsStatus.ACTIVE},
    EcsAction.REBOOT: {EcsStatus.ACTIVE},
    EcsAction.DELETE: set(EcsStatus) - {EcsStatus.DELETED},
    EcsAction.CREATE_IMAGE: {EcsStatus.ACTIVE, EcsStatus.SHUTOFF},
    EcsAction.CHANGE_DISKS: {EcsStatus.ACTIVE, EcsStatus.SHUTOFF},
    EcsAction.CREATE_BACKUP: {EcsStatus.ACTIVE, EcsStatus.SHUTOFF},
    EcsAction.RESTORE: {EcsStatus.SHUTOFF},
}
"""The statuses that an action needs (domain rules 2.10 and 2.15)."""

ECS_SCOPES = {
    EcsAction.CREATE_IMAGE: TokenScope.IMAGES,
    EcsAction.CHANGE_DISKS: TokenScope.STORAGE,
    EcsAction.CREATE_BACKUP: TokenScope.STORAGE,
    EcsAction.RESTORE: TokenScope.STORAGE,
    EcsAction.READ_CONSOLE: TokenScope.READ,
}
"""Of actions that are not operations of an ECS."""

JOBLESS = {EcsAction.UPDATE, EcsAction.READ_CONSOLE}
"""What may be done while a job holds the ECS."""


def ecs_refusal(caller: Caller, action: EcsAction, ecs: EcsFacts) -> ServiceError | None:
    """Why the caller may not do this to an ECS that it sees, or None."""
    scope = ECS_SCOPES.get(action, TokenScope.ECS)
    if scope not in caller.scopes:
        return Forbidden(f"This needs a token with scope {scope.value}.")
    if ecs.project_id != caller.project_id:
        return Forbidden("Only its own project may do this to an ECS.")
    imaging = action is EcsAction.CREATE_IMAGE
    if ecs.job_id is not None and action not in JOBLESS:
        return Busy("Another job holds the ECS; wait for it (currentJob).", otc="IMG.0010" if imaging else "Ecs.0100")
    if ecs.status not in ECS_STATES[action]:
        needs = " or ".join(sorted(status.value for status in ECS_STATES[action]))
        return InvalidState(
            f"The ECS is {ecs.status.value}; this needs {needs}.", otc="IMG.0126" if imaging else "Ecs.0100"
        )
    return None


class DiskFacts(Protocol):
    """What the rules need to know of an EVS disk."""

    @property
    def project_id(self) -> str: ...
    @property
    def status(self) -> DiskStatus: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def is_system(self) -> bool: ...


DISK_STATES: dict[DiskAction, set[DiskStatus]] = {
    DiskAction.UPDATE: set(DiskStatus),
    DiskAction.ATTACH: {DiskStatus.AVAILABLE},
    DiskAction.DETACH: {DiskStatus.IN_USE},
    DiskAction.EXTEND: {DiskStatus.AVAILABLE, DiskStatus.IN_USE},
    DiskAction.DELETE: {DiskStatus.AVAILABLE, DiskStatus.ERROR},
    DiskAction.CREATE_IMAGE: {DiskStatus.AVAILABLE, DiskStatus.IN_USE},
}
"""The statuses that an action needs (domain rules 2.17)."""


def disk_refusal(caller: Caller, action: DiskAction, disk: DiskFacts) -> ServiceError | None:
    """Why the caller may not do this to an EVS disk that it sees, or None."""
    imaging = action is DiskAction.CREATE_IMAGE
    scope = TokenScope.IMAGES if imaging else TokenScope.STORAGE
    if scope not in caller.scopes:
        return Forbidden(f"This needs a token with scope {scope.value}.")
    if disk.project_id != caller.project_id:
        return Forbidden("Only its own project may do this to an EVS disk.")
    if action is DiskAction.DETACH and disk.is_system:
        return Unsupported("A system disk cannot be detached.")
    if disk.job_id is not None and action is not DiskAction.UPDATE:
        return Busy("Another job holds the disk; wait for it.", otc="IMG.0010" if imaging else "Ecs.0103")
    if disk.status not in DISK_STATES[action]:
        needs = " or ".join(sorted(status.value for status in DISK_STATES[action]))
        message = f"The disk is {disk.status.value}; this needs {needs}."
        return InvalidState(message, otc="IMG.0006" if imaging else "Ecs.0103")
    return None


class BackupFacts(Protocol):
    """What the rules need to know of a backup."""

    @property
    def project_id(self) -> str: ...
    @property
    def status(self) -> BackupStatus: ...
    @property
    def job_id(self) -> str | None: ...


BACKUP_SCOPES = {BackupAction.CREATE_IMAGE: TokenScope.IMAGES}
"""Of actions that are more than keeping backups."""
BACKUP_HAS_IMAGE = {
    BackupAction.CREATE_IMAGE: "The backup has an image already; it gets no second one.",
    BackupAction.DELETE: "The backup has an image; delete that first, or both at once (deleteImages with deleteBackups).",
}
"""What cannot be done to a backup with an image."""


def backup_refusal(
    caller: Caller, action: BackupAction, backup: BackupFacts, *, has_image: bool
) -> ServiceError | None:
    """Why the caller may not do this to a backup that it sees, or None (domain rules 2.11). `has_image`: one other than it is about."""
    scope = BACKUP_SCOPES.get(action, TokenScope.STORAGE)
    if scope not in caller.scopes:
        return Forbidden(f"This needs a token with scope {scope.value}.")
    if backup.project_id != caller.project_id:
        return Forbidden("Only its own project may do this to a backup.", otc="IMG.0133")
    if backup.job_id is not None:
        return Busy("Another job holds the backup; wait for it.", otc="Ecs.0073")
    if action is not BackupAction.DELETE and backup.status is not BackupStatus.AVAILABLE:
        message = f"The backup is {backup.status.value}, not AVAILABLE."
        otc = "IMG.0132" if action is BackupAction.CREATE_IMAGE else "Ecs.0048"
        return Refused(ErrorCode.BACKUP_UNAVAILABLE, message, otc=otc)
    if has_image and action in BACKUP_HAS_IMAGE:
        return Refused(ErrorCode.BACKUP_HAS_IMAGE, BACKUP_HAS_IMAGE[action], otc="IMG.0029")
    return None


def authorize(refusal: ServiceError | None) -> None:
    """Raises: the refusal, if it is one."""
    if refusal is not None:
        raise refusal
