# ruff: noqa: N802 - methods are named after the fields that they answer
"""The same answers the obvious way: all rows in memory, each field worked out by itself when it is asked for.

Visibility is written down a second time here, in plain Python. What app keeps as pure functions is used as it is: the rules of app.policy
and app.ecs.rules, and the text of a cursor, which is opaque anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from operator import attrgetter
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLList,
    GraphQLNonNull,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)
from tortoise.models import Model

from app import policy
from app.backups.models import Backup, BackupDisk
from app.backups.service import BackupFilter
from app.contents.models import Content
from app.disks.models import EvsDisk
from app.disks.service import EvsDiskFilter
from app.ecs import flavors
from app.ecs.models import EcsInstance, EcsTag, Flavor, KeyPair
from app.ecs.service import EcsFilter
from app.enums import (
    EcsStatus,
    ErrorCode,
    ImageAction,
    ImageKind,
    ImageStatus,
    ImageVisibility,
    JobStatus,
    JobType,
    ShareStatus,
    UploadStatus,
)
from app.exports.models import Export
from app.images.filters import ImageFilter
from app.images.models import Image, ImageDisk, ImageTag
from app.images.reads import MEMBER_LIMITS
from app.jobs.models import Job, JobDisk, JobEcs
from app.jobs.queue import CANCELLABLE
from app.jobs.service import JobFilter
from app.paging import DEFAULT_ROWS, Keyset
from app.policy import Caller
from app.projects.models import Project, Quota
from app.sharing.models import ImageMember
from app.uploads.models import Upload
from schema.errors import graphql_field
from schema.ids import opaque, parse
from tests.reading.everything import CORE

MODELS = (
    Project,
    Quota,
    Flavor,
    KeyPair,
    Content,
    Image,
    ImageTag,
    ImageDisk,
    ImageMember,
    Job,
    JobEcs,
    EcsInstance,
    EcsTag,
    EvsDisk,
    Backup,
    BackupDisk,
    JobDisk,
    Upload,
    Export,
)
NEWEST = ("-created_at", "-id")
ORDERS = {
    "CREATED_AT": "created_at",
    "UPDATED_AT": "updated_at",
    "NAME": "name",
    "SIZE": "stored_bytes",
    "STATUS": "status",
}
ORDERS["MIN_DISK"] = "min_disk_gib"

Row = SimpleNamespace
Args = Mapping[str, Any]
Tables = Mapping[type[Model], Sequence[Row]]


async def tables() -> Tables:
    """Every row there is; ids as texts."""
    return {model: [row_of(row) for row in await model.all()] for model in MODELS}


def row_of(model: Model) -> Row:
    values = {name: getattr(model, name) for name in model._meta.db_fields}
    texts = {name: str(value) if isinstance(value, UUID) else value for name, value in values.items()}
    return Row(model=type(model), noun=type(model).__name__, **texts)


@dataclass(frozen=True)
class Page:
    """A connection."""

    rows: Sequence[Row]
    keyset: Keyset
    has_next: bool
    has_previous: bool
    total: int

    @classmethod
    def of(cls, rows: Iterable[Row], model: type[Model], order: Sequence[str], filtered_by: object, args: Args) -> Page:
        keyset, every = Keyset(model, order, filtered_by), in_order(rows, order)
        begin, end = 0, len(every)
        for index, row in enumerate(every if args.get("after") or args.get("before") else ()):
            begin = index + 1 if keyset.cursor(row) == args.get("after") else begin
            end = index if keyset.cursor(row) == args.get("before") else end
        some = every[begin:end]
        if args.get("last") is not None or args.get("before"):
            size = args.get("last") or DEFAULT_ROWS
            return cls(some[-size:], keyset, bool(args.get("before")), len(some) > size, len(every))
        size = args.get("first") or DEFAULT_ROWS
        return cls(some[:size], keyset, len(some) > size, bool(args.get("after")), len(every))


def in_order(rows: Iterable[Row], order: Sequence[str]) -> list[Row]:
    """Sorted by the last column first: sorting is stable."""
    found = list(rows)
    for name in reversed(order):
        found.sort(key=attrgetter(name.removeprefix("-")), reverse=name.startswith("-"))
    return found


class Naive:
    """The answers to one caller."""

    def __init__(self, rows: Tables, caller: Caller) -> None:
        self.rows, self.caller, self.me = rows, caller, caller.project_id

    # ------------------------------------------------------------ what the caller sees

    def share(self, image: Row) -> ShareStatus | None:
        found = (m.status for m in self.rows[ImageMember] if (m.image_id, m.project_id) == (image.id, self.me))
        return next(found, None)

    def is_own(self, image: Row) -> bool:
        return bool(image.project_id == self.me or self.caller.is_operator)

    def sees(self, row: Row | None) -> bool:
        if row is None:
            return False
        if row.model is Image:
            return row.is_public or self.is_own(row) or self.share(row) is not None
        if row.model is ImageMember:
            return row.project_id == self.me or self.is_own(self.by_id[row.image_id])
        if row.model in (Project, Flavor):
            return True
        return bool(row.project_id == self.me and not self.is_gone(row))

    def is_gone(self, row: Row) -> bool:
        """Whether a row is there for nobody."""
        if row.model is Upload:
            return row.status is not UploadStatus.USED and row.expires_at <= datetime.now(UTC)
        if row.model is Export:
            return row.expires_at is None or row.expires_at <= datetime.now(UTC)
        return getattr(row, "status", None) is EcsStatus.DELETED

    @cached_property
    def by_id(self) -> dict[str, Row]:
        return {row.id: row for rows in self.rows.values() for row in rows}

    def one(self, id_: str | None) -> Row | None:
        row = self.by_id.get(id_ or "")
        return row if self.sees(row) else None

    def all(self, model: type[Model], **columns: object) -> list[Row]:
        return [r for r in self.rows[model] if self.sees(r) and all(getattr(r, c) == v for c, v in columns.items())]

    def kind(self, value: Any) -> str:
        """The GraphQL type of a row."""
        if isinstance(value, dict):
            return str(value["__typename"])
        if value.noun != "Image":
            return str(value.noun)
        return {"PUBLIC": "PublicImage", "PRIVATE": "PrivateImage", "SHARED": "SharedImage"}[self.visibility(value)]

    def visibility(self, image: Row) -> ImageVisibility:
        if image.is_public:
            return ImageVisibility.PUBLIC
        return ImageVisibility.PRIVATE if self.is_own(image) else ImageVisibility.SHARED

    # ------------------------------------------------------------ fields

    def resolve(self, noun: str, name: str, row: Any, args: Args) -> Any:
        """A field: by a method of this class where there is one for it, else a key or a column."""
        for known in (f"{noun}_{name}", f"any_{name}"):
            if method := getattr(self, known, None):
                return method(row, args)
        column = re.sub("(?<!^)(?=[A-Z])", "_", name).lower()
        return row[name] if isinstance(row, dict) else getattr(row, column)

    def any_id(self, row: Row, args: Args) -> str:
        return opaque(row.noun, row.id)

    def any_uuid(self, row: Row, args: Args) -> str:
        return str(row.id)

    def any_fault(self, row: Row, args: Args) -> Any:
        if row.fault_code is None or (row.noun == "Image" and not self.is_own(row)):
            return None
        return {"code": row.fault_code, "otcCode": None, "message": row.fault_message, "at": row.fault_at}

    def any_owner(self, row: Row, args: Args) -> Any:
        return self.by_id[row.project_id]

    any_project = any_owner

    def Image_visibility(self, row: Row, args: Args) -> Any:
        return self.visibility(row)

    def Image_os(self, row: Row, args: Args) -> Any:
        platform = row.os_platform or (row.os_type and row.os_type.value.capitalize())
        return row.os_type and {
            "type": row.os_type,
            "platform": platform,
            "version": row.os_version,
            "bits": row.os_bits,
        }

    def Image_sizeBytes(self, row: Row, args: Args) -> Any:
        return row.stored_bytes or None

    def Image_downloadUrl(self, row: Row, args: Args) -> Any:
        whole = row.status is ImageStatus.ACTIVE and row.fault_code is not ErrorCode.DAMAGED
        may = self.is_own(row) and not row.is_public and whole and row.kind is not ImageKind.FULL_ECS
        return f"/images/{row.id}/file" if may else None

    def Image_disks(self, row: Row, args: Args) -> Any:
        return in_order([d for d in self.rows[ImageDisk] if d.image_id == row.id], ("boot_index", "id"))

    def Image_tags(self, row: Row, args: Args) -> Any:
        if not (row.is_public or self.is_own(row) or self.share(row) is ShareStatus.ACCEPTED):
            return []
        return self.tags(ImageTag, row, "image_id")

    def EcsInstance_tags(self, row: Row, args: Args) -> Any:
        return self.tags(EcsTag, row, "ecs_id")

    def tags(self, model: type[Model], row: Row, key: str) -> list[dict[str, Any]]:
        found = in_order([t for t in self.rows[model] if getattr(t, key) == row.id], ("key", "id"))
        return [{"__typename": "Tag", "key": tag.key, "value": tag.value} for tag in found]

    def Image_viewerCan(self, row: Row, args: Args) -> Any:
        actions = policy.image_actions(self.caller, row, self.share_for_rules(row))
        going_on = (JobStatus.INIT, JobStatus.RUNNING)
        jobs = [job for job in self.rows[Job] if job.image_id == row.id and job.type is JobType.EXPORT_IMAGE]
        if row.project_id == self.me and any(job.status in going_on for job in jobs):
            return [action for action in actions if action not in (ImageAction.EXPORT, ImageAction.DELETE)]
        return actions

    def share_for_rules(self, image: Row) -> ShareStatus | None:
        return None if image.is_public or image.project_id == self.me else self.share(image)

    def Image_launchability(self, row: Row, args: Args) -> Any:
        return self.launchability(row, self.flavor(args["flavorId"]))

    def Flavor_launchability(self, row: Row, args: Args) -> Any:
        return self.launchability(self.by_id[id_in(args["imageId"])], row)

    def flavor(self, text: str) -> Row:
        return next(f for f in self.rows[Flavor] if text in (f.id, f.name, opaque("Flavor", f.id)))

    def launchability(self, image: Row, flavor: Row) -> Any:
        answer = flavors.launchability(self.caller, image, flavor, self.share_for_rules(image))  # type: ignore[arg-type]
        reasons = [
            {"code": e.code, "otcCode": e.otc, "message": e.message, "field": e.field and graphql_field(e.field)}
            for e in answer.reasons
        ]
        warnings = [
            {"code": w.code, "message": w.message, "field": w.field and graphql_field(w.field)} for w in answer.warnings
        ]
        return {"ok": not reasons, "reasons": reasons, "warnings": warnings}

    def Image_ecsInstances(self, row: Row, args: Args) -> Page:
        return Page.of(self.all(EcsInstance, image_id=row.id), EcsInstance, NEWEST, {}, args)

    def Image_jobs(self, row: Row, args: Args) -> Page:
        return Page.of(self.all(Job, image_id=row.id), Job, NEWEST, {}, args)

    def Image_members(self, row: Row, args: Args) -> Page:
        found, given = self.all(ImageMember, image_id=row.id), {}
        if args.get("status") is not None:
            given = {"status": [ShareStatus(text) for text in args["status"]]}
            found = [member for member in found if member.status in given["status"]]
        return Page.of(found, ImageMember, ("created_at", "id"), given, args)

    def Image_memberLimit(self, row: Row, args: Args) -> int:
        return MEMBER_LIMITS[row.kind]

    def Image_membership(self, row: Row, args: Args) -> Any:
        return next(m for m in self.rows[ImageMember] if (m.image_id, m.project_id) == (row.id, self.me))

    def Image_source(self, row: Row, args: Args) -> Any:
        return {
            "kind": row.source_kind,
            "image": self.remembered(row.source_image_id, row.source_image_name),
            "ecs": self.remembered_ecs(row.source_ecs_id, row.source_ecs_name),
            "diskId": row.source_disk_id and opaque("EvsDisk", row.source_disk_id),
            "backupId": row.source_backup_id and opaque("Backup", row.source_backup_id),
            "fileName": row.source_file_name,
            "format": row.source_format,
        }

    def remembered_ecs(self, ecs_id: str | None, name: str | None) -> Any:
        return ecs_id and {"ecsId": opaque("EcsInstance", ecs_id), "name": name, "ecsInstance": self.one(ecs_id)}

    def remembered(self, image_id: str | None, name: str | None) -> Any:
        return image_id and {"imageId": opaque("Image", image_id), "name": name, "image": self.one(image_id)}

    def ImageMember_image(self, row: Row, args: Args) -> Any:
        return self.one(row.image_id)

    Job_image = ImageMember_image

    def EcsInstance_image(self, row: Row, args: Args) -> Any:
        return self.remembered(row.image_id, row.image_name)

    EvsDisk_image = EcsInstance_image

    def EcsInstance_currentJob(self, row: Row, args: Args) -> Any:
        return self.one(row.job_id)

    def EcsInstance_flavor(self, row: Row, args: Args) -> Any:
        return self.by_id[row.flavor_id]

    def EcsInstance_disks(self, row: Row, args: Args) -> Any:
        return in_order(self.all(EvsDisk, ecs_id=row.id), ("boot_index", "id"))

    def EcsInstance_endpoints(self, row: Row, args: Args) -> Any:
        return [
            {"guestPort": each["guest_port"], "host": each["host"], "port": each["port"], "protocol": "TCP"}
            for each in row.endpoints
        ]

    def EvsDisk_ecsInstance(self, row: Row, args: Args) -> Any:
        return self.one(row.ecs_id)

    def Job_cancellable(self, row: Row, args: Args) -> bool:
        going_on = row.status in (JobStatus.INIT, JobStatus.RUNNING) and row.type in CANCELLABLE
        return going_on and not row.cancel_requested and row.fault_code is None

    def Job_ecsInstances(self, row: Row, args: Args) -> Any:
        links = in_order([link for link in self.rows[JobEcs] if link.job_id == row.id], ("id",))
        return [ecs for link in links if (ecs := self.one(link.ecs_id))]

    def Job_evsDisks(self, row: Row, args: Args) -> Any:
        links = in_order([link for link in self.rows[JobDisk] if link.job_id == row.id], ("id",))
        return [disk for link in links if (disk := self.one(link.disk_id))]

    def Job_backup(self, row: Row, args: Args) -> Any:
        return self.one(row.backup_id)

    def Job_export(self, row: Row, args: Args) -> Any:
        return next(iter(self.all(Export, job_id=row.id)), None)

    def EcsInstance_backups(self, row: Row, args: Args) -> Page:
        return Page.of(self.all(Backup, ecs_id=row.id), Backup, NEWEST, {}, args)

    def Backup_ecs(self, row: Row, args: Args) -> Any:
        return self.remembered_ecs(row.ecs_id, row.ecs_name)

    def Backup_disks(self, row: Row, args: Args) -> Any:
        return in_order([d for d in self.rows[BackupDisk] if d.backup_id == row.id], ("boot_index", "id"))

    def BackupDisk_id(self, row: Row, args: Args) -> str:
        return opaque("ImageDisk", row.id)

    def Backup_image(self, row: Row, args: Args) -> Any:
        found = [i for i in self.all(Image, source_backup_id=row.id) if i.status is not ImageStatus.KILLED]
        assert len(found) <= 1
        return found[0] if found else None

    def Upload_protocol(self, row: Row, args: Args) -> str:
        return "TUS"

    def Upload_url(self, row: Row, args: Args) -> str:
        return f"/uploads/{row.id}"

    def Export_url(self, row: Row, args: Args) -> str:
        return f"/exports/{row.id}"

    def Upload_checksum(self, row: Row, args: Args) -> Any:
        return row.sha256 and {"algorithm": "SHA256", "value": row.sha256}

    Export_checksum = Image_checksum = Upload_checksum

    def ImageDisk_checksum(self, row: Row, args: Args) -> Any:
        return self.Upload_checksum(self.by_id[row.content_id], args)

    BackupDisk_checksum = ImageDisk_checksum

    def Viewer_project(self, row: Row, args: Args) -> Any:
        return self.by_id[self.me]

    def Viewer_quotas(self, row: Row, args: Args) -> Any:
        found = in_order([q for q in self.rows[Quota] if q.project_id == self.me], ("resource",))
        return [{"resource": q.resource, "used": q.used, "limit": q.limit} for q in found]

    def Viewer_pendingShareCount(self, row: Row, args: Args) -> int:
        mine = [m for m in self.rows[ImageMember] if m.project_id == self.me]
        return sum(m.status is ShareStatus.PENDING for m in mine)

    # ------------------------------------------------------------ connections

    def page_edges(self, page: Page, args: Args) -> Any:
        return [{"cursor": page.keyset.cursor(row), "node": row} for row in page.rows]

    def page_nodes(self, page: Page, args: Args) -> Any:
        return page.rows

    def page_pageInfo(self, page: Page, args: Args) -> Any:
        cursors = [page.keyset.cursor(row) for row in page.rows] or [None]
        ends = {"startCursor": cursors[0], "endCursor": cursors[-1]}
        return {"hasNextPage": page.has_next, "hasPreviousPage": page.has_previous, **ends}

    def page_totalCount(self, page: Page, args: Args) -> int:
        return page.total

    # ------------------------------------------------------------ roots

    def Query_viewer(self, root: Any, args: Args) -> Any:
        who = self.caller
        values = {"token_name": who.token_name, "scopes": sorted(who.scopes), "is_operator": who.is_operator}
        return Row(noun="Viewer", id=self.me, **values)

    def Query_node(self, root: Any, args: Args) -> Any:
        ref = parse(args["id"])
        row = self.one(ref and ref.id)
        return row if ref and row and row.noun == ref.noun else None

    def Query_nodes(self, root: Any, args: Args) -> Any:
        return [self.Query_node(root, {"id": id_}) for id_ in args["ids"]]

    def Query_image(self, root: Any, args: Args) -> Any:
        return self.one(id_in(args["id"]))

    Query_ecsInstance = Query_job = Query_evsDisk = Query_backup = Query_image

    def Query_project(self, root: Any, args: Args) -> Any:
        return self.one(id_in(args["by"]["id"]))

    def Query_images(self, root: Any, args: Args) -> Page:
        given = args.get("filter") or {}
        where = ImageFilter(
            visibility=given.get("visibility") and [ImageVisibility(text) for text in given["visibility"]],
            status=given.get("status") and [ImageStatus(text) for text in given["status"]],
            protected=given.get("protected"),
        )
        found = [i for i in self.all(Image) if i.is_public or self.is_own(i) or self.share(i) is ShareStatus.ACCEPTED]
        if where.visibility is not None:
            found = [image for image in found if self.visibility(image) in where.visibility]
        if where.status is not None:
            found = [image for image in found if image.status in where.status]
        if where.protected is not None:
            found = [image for image in found if image.protected is where.protected]
        signs = [("-" if o.get("direction") == "DESC" else "", ORDERS[o["field"]]) for o in args.get("orderBy") or ()]
        order = [sign + column for sign, column in signs] + [f"{sign}id" for sign, _ in signs[-1:]]
        return Page.of(found, Image, order or NEWEST, where, args)

    def Query_ecsInstances(self, root: Any, args: Args) -> Page:
        return Page.of(self.all(EcsInstance), EcsInstance, NEWEST, EcsFilter(), args)

    def Query_evsDisks(self, root: Any, args: Args) -> Page:
        return Page.of(self.all(EvsDisk), EvsDisk, NEWEST, EvsDiskFilter(), args)

    def Query_backups(self, root: Any, args: Args) -> Page:
        return Page.of(self.all(Backup), Backup, NEWEST, BackupFilter(), args)

    def Query_uploads(self, root: Any, args: Args) -> Page:
        return Page.of(self.all(Upload), Upload, NEWEST, None, args)

    def Query_jobs(self, root: Any, args: Args) -> Page:
        return Page.of(self.all(Job), Job, NEWEST, JobFilter(), args)

    def Query_keyPairs(self, root: Any, args: Args) -> Page:
        return Page.of(self.all(KeyPair), KeyPair, NEWEST, None, args)

    def Query_flavors(self, root: Any, args: Args) -> Page:
        order = ("ram_mib", "vcpus", "name", "id")
        return Page.of(self.rows[Flavor], Flavor, order, flavors.FlavorFilter(), args)


def id_in(text: str) -> str:
    ref = parse(text)
    assert ref
    return ref.id


class Interpreter:
    """GraphQL's algorithm, field by field, for one document that is valid."""

    def __init__(self, document: DocumentNode, variables: Args, naive: Naive) -> None:
        definitions = document.definitions
        self.fragments = {d.name.value: d for d in definitions if isinstance(d, FragmentDefinitionNode)}
        self.operation = next(d for d in definitions if isinstance(d, OperationDefinitionNode))
        self.variables, self.naive = variables, naive

    def answer(self) -> Any:
        return self.object("Query", [self.operation.selection_set], None)

    def object(self, type_name: str, sets: Sequence[SelectionSetNode | None], value: Any) -> dict[str, Any]:
        groups: dict[str, list[FieldNode]] = {}
        for each in sets:
            for node in self.fields(type_name, each):
                groups.setdefault(node.alias.value if node.alias else node.name.value, []).append(node)
        return {key: self.field(type_name, nodes, value) for key, nodes in groups.items()}

    def fields(self, type_name: str, selections: SelectionSetNode | None) -> Iterator[FieldNode]:
        for node in selections.selections if selections else ():
            if not self.included(node):
                continue
            if isinstance(node, FieldNode):
                yield node
                continue
            fragment: Any = self.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
            on = fragment.type_condition and fragment.type_condition.name.value
            interfaces = {each.name for each in getattr(CORE.type_map[type_name], "interfaces", ())}
            if on is None or on == type_name or on in interfaces:
                yield from self.fields(type_name, fragment.selection_set)

    def included(self, node: FieldNode | FragmentSpreadNode | InlineFragmentNode | Any) -> bool:
        return all(
            self.value(directive.arguments[0].value) is (directive.name.value == "include")
            for directive in node.directives or ()
        )

    def value(self, node: Any) -> Any:
        return value_from_ast_untyped(node, dict(self.variables))

    def field(self, type_name: str, nodes: Sequence[FieldNode], value: Any) -> Any:
        name = nodes[0].name.value
        if name == "__typename":
            return type_name
        field: Any = CORE.type_map[type_name].fields[name]  # type: ignore[attr-defined]
        given = {
            argument.name.value: self.value(argument.value)
            for argument in nodes[0].arguments or ()
            if not (isinstance(argument.value, VariableNode) and argument.value.name.value not in self.variables)
        }
        noun = "page" if isinstance(value, Page) else getattr(value, "noun", type_name)
        found = self.naive.resolve(noun, name, value, given)
        return self.complete(field.type, nodes, found)

    def complete(self, type_: Any, nodes: Sequence[FieldNode], value: Any) -> Any:
        if isinstance(type_, GraphQLNonNull):
            assert value is not None, nodes[0].name.value
            return self.complete(type_.of_type, nodes, value)
        if value is None:
            return None
        if isinstance(type_, GraphQLList):
            return [self.complete(type_.of_type, nodes, each) for each in value]
        if is_leaf_type(type_):
            return shown(value)
        concrete = get_named_type(type_).name
        if concrete in ("Node", "Image"):
            concrete = self.naive.kind(value)
        return self.object(concrete, [node.selection_set for node in nodes], value)


def shown(value: Any) -> Any:
    """A leaf as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return getattr(value, "value", value)
