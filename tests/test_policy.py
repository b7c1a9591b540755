"""Who may do what: tables of every action against every kind of caller; each cell is tried, and viewerCan has to agree."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from app import db, policy
from app.backups.models import Backup
from app.disks.models import EvsDisk
from app.ecs.models import EcsInstance
from app.enums import EcsAction, EcsStatus, ErrorCode, ImageAction, ImageKind, ImageStatus, ShareStatus, TokenScope
from app.errors import ServiceError
from app.images.models import Image, ImageTag
from app.policy import Caller
from app.projects import service as projects
from app.sharing.models import ImageMember
from tests.client import CREATE_IMAGE, LAUNCH, Client
from tests.factories import EVERYTHING, make_image, make_member

OPERATOR = [*EVERYTHING, TokenScope.OPERATOR]

PRIVATE = """
                owner      accepted   pending       rejected      stranger   operator   reader     expired
    see         yes        yes        yes           yes           no         yes        yes        UNAUTHENTICATED
    list        yes        yes        no            no            no         yes        yes        UNAUTHENTICATED
    tags        yes        yes        no            no            no         yes        yes        UNAUTHENTICATED
    find by tag yes        yes        no            no            no         yes        yes        UNAUTHENTICATED
    members     yes        no         no            no            no         yes        yes        UNAUTHENTICATED
    download    yes        no         no            no            no         yes        yes        UNAUTHENTICATED
    UPDATE      OK         FORBIDDEN  FORBIDDEN     FORBIDDEN     NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    TAG         OK         FORBIDDEN  FORBIDDEN     FORBIDDEN     NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    DELETE      OK         FORBIDDEN  FORBIDDEN     FORBIDDEN     NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    SHARE       OK         FORBIDDEN  FORBIDDEN     FORBIDDEN     NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    EXPORT      OK         FORBIDDEN  FORBIDDEN     FORBIDDEN     NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    COPY        OK         OK         NOT_ACCEPTED  NOT_ACCEPTED  NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    LAUNCH      OK         OK         NOT_ACCEPTED  NOT_ACCEPTED  NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    CREATE_DISK OK         OK         NOT_ACCEPTED  NOT_ACCEPTED  NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    ACCEPT      FORBIDDEN  OK         OK            OK            NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
    REJECT      FORBIDDEN  OK         OK            OK            NOT_FOUND  FORBIDDEN  FORBIDDEN  UNAUTHENTICATED
"""

SETTLED = {("ACCEPT", "accepted"), ("REJECT", "rejected")}
"""What may be asked for again, but is not offered again."""

PUBLIC = """
                owner          keeper         operator       anyone         reader
    see         yes            yes            yes            yes            yes
    list        yes            yes            yes            yes            yes
    tags        yes            yes            yes            yes            yes
    find by tag yes            yes            yes            yes            yes
    download    no             no             no             no             no
    UPDATE      FORBIDDEN      OK             FORBIDDEN      FORBIDDEN      FORBIDDEN
    TAG         FORBIDDEN      OK             FORBIDDEN      FORBIDDEN      FORBIDDEN
    DELETE      FORBIDDEN      FORBIDDEN      FORBIDDEN      FORBIDDEN      FORBIDDEN
    SHARE       NOT_SHAREABLE  NOT_SHAREABLE  NOT_SHAREABLE  NOT_SHAREABLE  FORBIDDEN
    EXPORT      NOT_EXPORTABLE NOT_EXPORTABLE NOT_EXPORTABLE NOT_EXPORTABLE FORBIDDEN
    COPY        OK             OK             OK             OK             FORBIDDEN
    LAUNCH      OK             OK             OK             OK             FORBIDDEN
    CREATE_DISK OK             OK             OK             OK             FORBIDDEN
    ACCEPT      FORBIDDEN      FORBIDDEN      FORBIDDEN      FORBIDDEN      FORBIDDEN
    REJECT      FORBIDDEN      FORBIDDEN      FORBIDDEN      FORBIDDEN      FORBIDDEN
"""
"""A keeper's token is of the image's project and has scope OPERATOR."""

STATES = """
                QUEUED         SAVING         IMPORTING      ACTIVE         KILLED         damaged
    UPDATE      INVALID_STATE  INVALID_STATE  INVALID_STATE  OK             INVALID_STATE  OK
    TAG         INVALID_STATE  INVALID_STATE  INVALID_STATE  OK             INVALID_STATE  OK
    DELETE      INVALID_STATE  INVALID_STATE  INVALID_STATE  OK             OK             OK
    SHARE       NOT_ACTIVE     NOT_ACTIVE     NOT_ACTIVE     OK             NOT_ACTIVE     OK
    EXPORT      NOT_ACTIVE     NOT_ACTIVE     NOT_ACTIVE     OK             NOT_ACTIVE     DAMAGED
    COPY        NOT_ACTIVE     NOT_ACTIVE     NOT_ACTIVE     OK             NOT_ACTIVE     DAMAGED
    LAUNCH      NOT_ACTIVE     NOT_ACTIVE     NOT_ACTIVE     OK             NOT_ACTIVE     DAMAGED
    CREATE_DISK NOT_ACTIVE     NOT_ACTIVE     NOT_ACTIVE     OK             NOT_ACTIVE     DAMAGED
"""
"""Of an own image; `damaged` is ACTIVE with a fault."""

KINDS = """
                SYSTEM_DISK       DATA_DISK         FULL_ECS          ISO
    UPDATE      OK                OK                OK                OK
    TAG         OK                OK                OK                OK
    SHARE       OK                OK                OK                OK
    EXPORT      OK                OK                NOT_EXPORTABLE    NOT_EXPORTABLE
    COPY        OK                OK                NOT_COPYABLE      NOT_COPYABLE
    LAUNCH      OK                WRONG_IMAGE_KIND  OK                WRONG_IMAGE_KIND
    CREATE_DISK WRONG_IMAGE_KIND  OK                WRONG_IMAGE_KIND  WRONG_IMAGE_KIND
    DELETE      OK                OK                OK                OK
"""
"""Of an own image."""

ECS = """
                 owner  member     stranger   operator   reader     expired
    see          yes    no         no         no         yes        UNAUTHENTICATED
    UPDATE       OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    READ_CONSOLE yes    no         no         no         yes        UNAUTHENTICATED
    CREATE_IMAGE OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    CREATE_BACKUP OK    NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    STOP         OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    RESTORE      OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    START        OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    CHANGE_DISKS OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    REBOOT       OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
    DELETE       OK     NOT_FOUND  NOT_FOUND  NOT_FOUND  FORBIDDEN  UNAUTHENTICATED
"""
"""On one real machine, from top to bottom; its owner comes last in each line. The member has accepted the machine's image."""

ECS_STATES = """
                 BUILD          ACTIVE         SHUTOFF        REBOOT         HARD_REBOOT    ERROR          held
    UPDATE       OK             OK             OK             OK             OK             OK             OK
    READ_CONSOLE OK             OK             OK             OK             OK             OK             OK
    CREATE_IMAGE INVALID_STATE  OK             OK             INVALID_STATE  INVALID_STATE  INVALID_STATE  BUSY
    CHANGE_DISKS INVALID_STATE  OK             OK             INVALID_STATE  INVALID_STATE  INVALID_STATE  BUSY
    CREATE_BACKUP INVALID_STATE OK             OK             INVALID_STATE  INVALID_STATE  INVALID_STATE  BUSY
    RESTORE      INVALID_STATE  INVALID_STATE  OK             INVALID_STATE  INVALID_STATE  INVALID_STATE  BUSY
    STOP         INVALID_STATE  OK             INVALID_STATE  INVALID_STATE  INVALID_STATE  INVALID_STATE  BUSY
    START        INVALID_STATE  INVALID_STATE  OK             INVALID_STATE  INVALID_STATE  INVALID_STATE  BUSY
    REBOOT       INVALID_STATE  OK             INVALID_STATE  INVALID_STATE  INVALID_STATE  INVALID_STATE  BUSY
    DELETE       OK             OK             OK             OK             OK             OK             BUSY
"""
"""Of an own machine; `held` is ACTIVE with a job."""


def cells(table: str) -> Iterator[tuple[str, str, str]]:
    """What is tried, by whom, and what should come of it."""
    heading, *lines = table.strip("\n").splitlines()
    columns = heading.split()
    for line in lines:
        (*words,) = line.split()
        action = " ".join(words[: -len(columns)])
        yield from ((action, column, outcome) for column, outcome in zip(columns, words[-len(columns) :], strict=True))


IMAGE = "query($id: ID!) { image(id: $id) { id viewerCan tags { key } ... on PrivateImage { members { totalCount } downloadUrl } } }"
RESULTS = "{ userErrors { code field } }"
DO = {
    "UPDATE": f'mutation($id: ID!) {{ updateImage(input: {{imageId: $id, name: "new"}}) {RESULTS} }}',
    "TAG": f'mutation($id: ID!) {{ tagImages(input: {{imageIds: [$id], tags: [{{key: "new"}}]}}) {RESULTS} }}',
    "DELETE": f"mutation($id: ID!) {{ deleteImages(input: {{imageIds: [$id]}}) {RESULTS} }}",
    "EXPORT": "mutation($id: ID!) { exportImage(input: {imageId: $id}) { job { id } userErrors { code field } } }",
    "SHARE": f"mutation($id: ID!, $to: ID!) {{ shareImages(input: {{imageIds: [$id], projectIds: [$to]}}) {RESULTS} }}",
    "ACCEPT": f"mutation($id: ID!) {{ acceptShares(input: {{imageIds: [$id]}}) {RESULTS} }}",
    "REJECT": f"mutation($id: ID!) {{ rejectShares(input: {{imageIds: [$id]}}) {RESULTS} }}",
}
COPY = "mutation($input: CreateImageInput!) { createImage(input: $input) { userErrors { code field } } }"
CREATE_DISK = "mutation($input: CreateEvsDisksInput!) { createEvsDisks(input: $input) { userErrors { code field } } }"
WHERE = {
    "UPDATE": ["input", "imageId"],
    "EXPORT": ["input", "imageId"],
    "COPY": ["input", "source", "image", "imageId"],
    "LAUNCH": ["input", "imageId"],
    "CREATE_DISK": ["input", "imageId"],
}
"""The field that a refusal names, if the token has the scope; of batches it is the image's place."""


def kind_for(action: str) -> ImageKind:
    """A kind of image with which the action can be done."""
    return ImageKind.DATA_DISK if action == "CREATE_DISK" else ImageKind.SYSTEM_DISK


async def attempt(client: Client, action: str, image: Image) -> tuple[str, object]:
    """What comes of an action on an image: OK or a code, and the field of the refusal."""
    if action in ("see", "tags", "members", "download", "list", "find by tag"):
        return await read(client, action, image), None
    if action == "LAUNCH":
        given = {"name": "vm", "imageId": str(image.id), "flavorId": "t1.nano", "dryRun": True}
        return outcome(await client.answer(LAUNCH, input=given))
    if action == "COPY":
        given = {"name": "copy", "source": {"image": {"imageId": str(image.id)}}, "dryRun": True}
        return outcome(await client.answer(COPY, input=given))
    if action == "CREATE_DISK":
        given = {"name": "disk", "imageId": str(image.id), "dryRun": True}
        return outcome(await client.answer(CREATE_DISK, input=given))
    more = {"to": str(await projects.create_project(f"to-{uuid4().hex}"))} if action == "SHARE" else {}
    return outcome(await client.answer(DO[action], id=str(image.id), **more))


def outcome(answer: dict[str, Any]) -> tuple[str, object]:
    if "errors" in answer:
        return answer["errors"][0]["extensions"]["code"], None
    (payload,) = answer["data"].values()
    return next(((error["code"], error["field"]) for error in payload["userErrors"]), ("OK", None))


async def read(client: Client, action: str, image: Image) -> str:
    if action in ("list", "find by tag"):
        where: dict[str, object] = {"ids": [str(image.id)]}
        if action == "find by tag":
            where |= {"tags": {"all": [{"key": "colour"}]}}
            seen = await client.answer("query($f: ImageFilter) { images(filter: $f) { nodes { id } } }", f=where)
            if not (seen.get("data") or {"images": {"nodes": [1]}})["images"]["nodes"]:
                where |= {"shareStatus": ["PENDING", "ACCEPTED", "REJECTED"]}
        answer = await client.answer("query($f: ImageFilter) { images(filter: $f) { nodes { id } } }", f=where)
        return outcome_of_read(answer, lambda data: data["images"]["nodes"])
    wanted = {
        "see": lambda i: i,
        "tags": lambda i: i["tags"],
        "members": lambda i: i.get("members"),
        "download": lambda i: i.get("downloadUrl"),
    }[action]
    return outcome_of_read(
        await client.answer(IMAGE, id=str(image.id)), lambda data: data["image"] and wanted(data["image"])
    )


def outcome_of_read(answer: dict[str, Any], what: Any) -> str:
    if "errors" in answer:
        return str(answer["errors"][0]["extensions"]["code"])
    return "yes" if what(answer["data"]) else "no"


async def snapshot(image: Image) -> list[object]:
    """All that an action could change of an image."""
    tables = (Image.filter(id=image.id), ImageTag.filter(image_id=image.id), ImageMember.filter(image_id=image.id))
    return [list(await rows.order_by("id").values()) for rows in tables]


async def check(client: Client, action: str, image: Image, expected: str, *, settled: bool = False) -> str | None:
    """Try a cell; what is wrong with it, if anything is."""
    before = await snapshot(image)
    offered = await client.answer("query($id: ID!) { image(id: $id) { viewerCan } }", id=str(image.id))
    got, field = await attempt(client, action, image)
    if got != expected:
        return f"is {got}"
    if got not in ("OK", "yes") and await snapshot(image) != before:
        return "was refused but changed something"
    if got not in ("OK", "yes", "no", "UNAUTHENTICATED") and field not in (
        WHERE.get(action, ["input", "imageIds", "0"]),
        None,
    ):
        return f"names {field}"
    seen = (offered.get("data") or {}).get("image")
    if action in set(ImageAction) and seen and (action in seen["viewerCan"]) != (got == "OK" and not settled):
        return f"is {got}, but viewerCan is {seen['viewerCan']}"
    return None


async def test_every_action_on_a_private_image(project):
    owner, stranger = await project("owner"), await project("stranger")
    members = {word: await project(word) for word in ("accepted", "pending", "rejected")}
    past = db.now() - timedelta(seconds=1)
    callers = {
        "owner": owner,
        **members,
        "stranger": stranger,
        "operator": await project("operator", scopes=OPERATOR),
        "reader": await project(project_id=owner.project_id, scopes=[TokenScope.READ]),
        "expired": await project(project_id=owner.project_id, expires_at=past),
    }
    wrong = {}

    image = None

    with capture_logs() as logged:
        for action, who, expected in cells(PRIVATE):
            if image is None or image.kind is not kind_for(action):
                image = await make_image(owner.project_id, tags={"colour": "red"}, kind=kind_for(action))
                for word, client in members.items():
                    await make_member(image, client.project_id, ShareStatus[word.upper()])
            if problem := await check(callers[who], action, image, expected, settled=(action, who) in SETTLED):
                wrong[action, who] = problem
            image = None if expected == "OK" else image

    assert not wrong
    assert {action for action, _, _ in cells(PRIVATE)} >= set(ImageAction)
    assert [event for event in logged if event["log_level"] in ("error", "critical")] == []


async def test_every_action_on_a_public_image(project):
    owner = await project("owner")
    callers = {
        "owner": owner,
        "keeper": await project(project_id=owner.project_id, scopes=OPERATOR),
        "operator": await project("operator", scopes=OPERATOR),
        "anyone": await project("anyone"),
        "reader": await project("reader", scopes=[TokenScope.READ]),
    }
    wrong = {}

    images = {
        kind: await make_image(owner.project_id, is_public=True, tags={"colour": "red"}, kind=kind)
        for kind in (ImageKind.SYSTEM_DISK, ImageKind.DATA_DISK)
    }
    for action, who, expected in cells(PUBLIC):
        if problem := await check(callers[who], action, images[kind_for(action)], expected):
            wrong[action, who] = problem
    await Image.filter(id__in=[image.id for image in images.values()]).delete()

    assert not wrong
    assert {action for action, _, _ in cells(PUBLIC)} >= set(ImageAction)


async def test_every_action_on_an_own_image_in_every_state(project):
    owner = await project("owner")
    wrong = {}

    for action, state, expected in cells(STATES):
        is_damaged = {
            "status": ImageStatus.ACTIVE,
            "fault_code": ErrorCode.DAMAGED,
            "fault_message": "",
            "fault_at": db.now(),
        }
        columns = is_damaged if state == "damaged" else {"status": ImageStatus[state]}
        image = await make_image(owner.project_id, kind=kind_for(action), **columns)
        if problem := await check(owner, action, image, expected):
            wrong[action, state] = problem

    assert not wrong
    assert {state for _, state, _ in cells(STATES)} == {*ImageStatus, "damaged"}
    assert {action for action, _, _ in cells(STATES)} == set(ImageAction) - {ImageAction.ACCEPT, ImageAction.REJECT}


async def test_every_action_on_an_own_image_of_every_kind(project):
    owner = await project("owner")
    wrong = {}

    for action, kind, expected in cells(KINDS):
        image = await make_image(owner.project_id, kind=ImageKind[kind])
        if problem := await check(owner, action, image, expected):
            wrong[action, kind] = problem

    assert not wrong
    assert {kind for _, kind, _ in cells(KINDS)} == set(ImageKind)
    assert {action for action, _, _ in cells(KINDS)} == set(ImageAction) - {ImageAction.ACCEPT, ImageAction.REJECT}


ECS_DO = {
    "see": "query($id: ID!) { ecsInstance(id: $id) { id } }",
    "READ_CONSOLE": "query($id: ID!) { ecsInstance(id: $id) { consoleLog { text } } }",
    "UPDATE": f'mutation($id: ID!) {{ updateEcs(input: {{ecsId: $id, description: "new"}}) {RESULTS} }}',
    "CREATE_IMAGE": CREATE_IMAGE,
    "CHANGE_DISKS": """mutation($id: ID!, $disk: ID!) { attachEvsDisk(input: {diskId: $disk, ecsId: $id}) {
      job { id } userErrors { code field } } }""",
    "CREATE_BACKUP": 'mutation($id: ID!) { createBackup(input: {ecsId: $id, name: "made"}) { job { id } userErrors { code field } } }',
    "RESTORE": """mutation($id: ID!, $backup: ID!) { restoreBackup(input: {backupId: $backup, target: {ecsId: $id}}) {
      job { id } userErrors { code field } } }""",
    "STOP": "mutation($id: ID!) { stopEcs(input: {ecsIds: [$id], force: true}) { results { job { id } } userErrors { code field } } }",
    "START": "mutation($id: ID!) { startEcs(input: {ecsIds: [$id]}) { results { job { id } } userErrors { code field } } }",
    "REBOOT": "mutation($id: ID!) { rebootEcs(input: {ecsIds: [$id], force: true}) { results { job { id } } userErrors { code field } } }",
    "DELETE": "mutation($id: ID!) { deleteEcs(input: {ecsIds: [$id]}) { results { job { id } } userErrors { code field } } }",
}
ECS_WHERE = {
    "UPDATE": ["input", "ecsId"],
    "CHANGE_DISKS": ["input", "ecsId"],
    "CREATE_BACKUP": ["input", "ecsId"],
    "RESTORE": ["input", "backupId"],
    "CREATE_IMAGE": ["input", "source", "fullEcs", "ecsId"],
}


async def try_ecs(client: Client, action: str, ecs_id: str) -> str:
    """What comes of an action on a machine; its job, if there is one, is done."""
    given: dict[str, object] = {"id": ecs_id}
    if action == "CREATE_IMAGE":
        given = {"input": {"name": "made", "source": {"fullEcs": {"ecsId": ecs_id}}}}
    if action == "CHANGE_DISKS":
        machine = await EcsInstance.get(id=UUID(b64decode(ecs_id).decode().partition(":")[2]))
        given["disk"] = str((await EvsDisk.get(project_id=machine.project_id, is_system=False)).id)
    if action == "RESTORE":
        given["backup"] = str((await Backup.get(ecs_id=UUID(b64decode(ecs_id).decode().partition(":")[2]))).id)
    answer = await client.answer(ECS_DO[action], **given)
    if action in ("see", "READ_CONSOLE"):
        return outcome_of_read(answer, lambda data: data["ecsInstance"])
    code, field = outcome(answer)
    if code in ("NOT_FOUND", "FORBIDDEN") and field not in (ECS_WHERE.get(action, ["input", "ecsIds", "0"]), None):
        return f"{code} about {field}"
    if code == "OK" and action != "UPDATE":
        (payload,) = answer["data"].values()
        await client.done((payload["job"] if "job" in payload else payload["results"][0]["job"])["id"])
    return code


MAKE_DISK = 'mutation { createEvsDisks(input: {name: "disk", sizeGib: 10}) { job { id } userErrors { code } } }'


async def test_every_action_on_a_machine(project):
    owner, member = await project("owner"), await project("member")
    machine = await owner.launch()
    await owner.share((await owner.make_image(machine["id"], full=True))["id"], member)
    await owner.done((await owner.one(MAKE_DISK))["job"]["id"])
    callers = {
        "owner": owner,
        "member": member,
        "stranger": await project("stranger"),
        "operator": await project("operator", scopes=OPERATOR),
        "reader": await project(project_id=owner.project_id, scopes=[TokenScope.READ]),
        "expired": await project(project_id=owner.project_id, expires_at=db.now() - timedelta(seconds=1)),
    }
    wrong = {}

    for action, who, expected in sorted(cells(ECS), key=lambda cell: (ORDER.index(cell[0]), cell[1] == "owner")):
        if (got := await try_ecs(callers[who], action, machine["id"])) != expected:
            wrong[action, who] = got

    assert not wrong
    assert {action for action, _, _ in cells(ECS)} >= set(EcsAction)


ORDER = list(dict.fromkeys(action for action, _, _ in cells(ECS)))


@dataclass
class Machine:
    """What the rules need to know of one."""

    project_id: str
    status: EcsStatus
    job_id: str | None


def test_every_action_on_an_own_machine_in_every_state():
    caller = Caller(project_id=str(UUID(int=1)), scopes=frozenset(EVERYTHING), token_id="", token_name="")
    wrong = {}

    for action, state, expected in cells(ECS_STATES):
        held = state == "held"
        machine = Machine(caller.project_id, EcsStatus.ACTIVE if held else EcsStatus[state], "job" if held else None)
        refusal: ServiceError | None = policy.ecs_refusal(caller, EcsAction[action], machine)
        if (got := str(refusal.code) if refusal else "OK") != expected:
            wrong[action, state] = got

    assert not wrong
    assert {action for action, _, _ in cells(ECS_STATES)} == set(EcsAction)
    assert {state for _, state, _ in cells(ECS_STATES)} == {*EcsStatus, "held"} - {EcsStatus.DELETED}


@pytest.mark.parametrize("scope", [TokenScope.IMAGES, TokenScope.SHARING, TokenScope.ECS, TokenScope.STORAGE])
async def test_a_token_does_what_its_scope_says_and_nothing_else(project, scope):
    owner = await project("owner")
    kind = ImageKind.DATA_DISK if scope is TokenScope.STORAGE else ImageKind.SYSTEM_DISK
    image = await make_image(owner.project_id, kind=kind)
    client = await project(project_id=owner.project_id, scopes=[TokenScope.READ, scope])
    allowed = {
        TokenScope.IMAGES: {"UPDATE", "TAG", "EXPORT", "COPY", "DELETE"},
        TokenScope.SHARING: {"SHARE"},
        TokenScope.ECS: {"LAUNCH"},
        TokenScope.STORAGE: {"CREATE_DISK"},
    }[scope]

    viewer_can = (await client.one(IMAGE, id=str(image.id)))["viewerCan"]
    got = {
        action: (await attempt(client, action, image))[0]
        for action in ("UPDATE", "TAG", "SHARE", "COPY", "LAUNCH", "CREATE_DISK", "DELETE")
    }

    assert set(viewer_can) == allowed
    assert got == {action: "OK" if action in allowed else "FORBIDDEN" for action in got}


async def test_a_token_without_read_reads_nothing(project):
    owner = await project("owner")
    image = await make_image(owner.project_id)
    client = await project(project_id=owner.project_id, scopes=[TokenScope.IMAGES])

    codes = await client.codes("query($id: ID!) { image(id: $id) { id } }", id=str(image.id))

    assert codes == ["FORBIDDEN"]


async def test_a_protected_image_is_not_deleted_until_it_is_no_more(project):
    owner = await project("owner")
    image = await make_image(owner.project_id, protected=True)

    assert await check(owner, "DELETE", image, "PROTECTED") is None
    await owner.ask(
        "mutation($id: ID!) { updateImage(input: {imageId: $id, protected: false}) { image { id } } }", id=str(image.id)
    )
    assert await check(owner, "DELETE", image, "OK") is None
