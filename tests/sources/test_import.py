"""Images of files that users have sent: converted and removed, or refused without a trace."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.contents.models import Content
from app.engines.qemu import reading
from app.images.models import ImageDisk
from app.jobs.models import Job
from app.uploads.models import Upload
from tests.client import Client
from tests.disks.acting import create, image_of, image_refusal
from tests.ecs.looking import unchanged, used
from tests.sources.corpus import FOUND_LATE, HOSTILE, disc, good, qemu_img
from tests.sources.systems import ESP, LINUX_DATA, fat, gpt, linux
from tests.uploads.conftest import Sender, plain_id

SHOWN = """query($id: ID!) { image(id: $id) { kind status minDiskGib sizeBytes virtualSizeBytes os { type platform version bits }
  architecture firmware fault { code message } disks { sizeGib isSystem }
  ... on PrivateImage { source { kind fileName format } } } }"""


LAUNCH = "mutation($input: LaunchEcsInput!) { launchEcs(input: $input) { userErrors { code otcCode field } } }"
DISKS = "mutation($input: CreateEvsDisksInput!) { createEvsDisks(input: $input) { userErrors { code otcCode field } } }"
EXPORT = "mutation($id: ID!) { exportImage(input: {imageId: $id, format: RAW}) { userErrors { code otcCode field } } }"


@pytest.fixture
async def alice(project) -> Client:
    return await project("alice")


@pytest.fixture
def sender(alice, service) -> Sender:
    return Sender(alice, service.settings.data_dir)


async def sent(sender: Sender, path: Path) -> dict[str, Any]:
    """A complete upload of a file."""
    content = await asyncio.to_thread(path.read_bytes)
    upload = await sender.begin(len(content), fileName=path.name)
    assert (await sender.patch(upload["url"], 0, content)).status_code == 204
    return upload


def of(upload: dict[str, Any], **more: object) -> dict[str, object]:
    return {"upload": {"uploadId": upload["id"]} | more}


@pytest.mark.parametrize("format", ["RAW", "QCOW2", "VMDK", "VDI", "QED", "QCOW"])
async def test_uploaded_disk_boots(alice, sender, tmp_path, format):
    path = good(format, tmp_path)
    upload = await sent(sender, path)
    os = {"type": "OTHER", "platform": "hello", "version": None, "bits": None}

    image = await image_of(alice, of(upload, format=format, os=os, architecture="X86_64", firmware="BIOS"))
    shown = await alice.one(SHOWN, id=image["id"])
    machine = await alice.launch(image["id"])
    console = await alice.console(machine["id"], until="HELLO")

    assert "HELLO" in console
    assert image["warnings"] == []
    assert (shown["kind"], shown["status"], shown["minDiskGib"]) == ("SYSTEM_DISK", "ACTIVE", 1)
    assert (shown["os"], shown["architecture"], shown["firmware"]) == (os, "X86_64", "BIOS")
    assert shown["disks"] == [{"sizeGib": 1, "isSystem": True}]
    assert shown["source"] == {"kind": "UPLOAD", "fileName": path.name, "format": format}
    assert 0 < shown["sizeBytes"] < 64 << 20
    assert await sender.state(upload) is None
    assert not sender.file(upload).exists()
    held = await used(alice)
    assert (held["IMAGES"], "IMAGE_JOBS" in held, "UPLOADS" in held) == (1, False, False)


@pytest.mark.parametrize("sort", ["VHD-fixed", "VHDX"])
async def test_other_formats_are_found_out_and_a_system_that_is_not_said_is_warned_of(alice, sender, tmp_path, sort):
    upload = await sent(sender, good(sort, tmp_path))

    image = await image_of(alice, of(upload), minDiskGib=3)
    shown = await alice.one(SHOWN, id=image["id"])

    assert image["warnings"] == ["OS_NOT_DETECTED"]
    assert (shown["status"], shown["os"], shown["minDiskGib"]) == ("ACTIVE", None, 3)
    assert shown["source"]["format"] == sort.partition("-")[0]


async def test_data_disk_image_of_a_file_makes_disks_and_its_size_is_rounded_up(alice, sender, tmp_path):
    path = tmp_path / "data"
    qemu_img("create", "-q", "-f", "qcow2", path, 2147991552)
    upload = await sent(sender, path)

    small = await image_of(alice, of(upload, kind="DATA_DISK"), minDiskGib=2, wait=False)
    failed = await alice.wait(small["jobId"])
    image = await image_of(alice, of(upload, kind="DATA_DISK"))
    shown = await alice.one(SHOWN, id=image["id"])
    (disk,) = await create(alice, imageId=image["id"], sizeGib=10)

    assert (failed["status"], failed["fault"]["code"]) == ("FAIL", "DISK_TOO_SMALL")
    assert (shown["kind"], shown["minDiskGib"], shown["virtualSizeBytes"]) == ("DATA_DISK", 3, 2147991552)
    assert shown["disks"] == [{"sizeGib": 3, "isSystem": False}]
    assert (disk["sizeGib"], disk["image"]["name"]) == (10, "data")


async def test_system_is_found_on_the_disk_where_the_user_leaves_it_open(alice, sender, tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(gpt((ESP, fat("EFI/BOOT/BOOTX64.EFI")), (LINUX_DATA, linux(tmp_path))))
    upload, again = [await sent(sender, path) for _ in range(2)]

    image = await image_of(alice, of(upload, format="RAW"))
    said = await image_of(alice, of(again, os={"type": "OTHER"}, architecture="ARM64"))
    found, kept = [await alice.one(SHOWN, id=one["id"]) for one in (image, said)]

    assert (image["warnings"], said["warnings"]) == (["OS_NOT_DETECTED"], [])
    assert found["os"] == {"type": "LINUX", "platform": "Debian GNU/Linux", "version": "13", "bits": 64}
    assert (found["architecture"], found["firmware"]) == ("X86_64", "UEFI")
    assert kept["os"] == {"type": "OTHER", "platform": "Other", "version": None, "bits": None}
    assert (kept["architecture"], kept["firmware"]) == ("ARM64", None)


@pytest.mark.parametrize("format", [None, "ISO"])
async def test_disc_is_kept_and_neither_launched_nor_copied_nor_exported(alice, sender, service, tmp_path, format):
    path = disc(tmp_path / "setup.iso", is_hybrid=format is None)
    upload = await sent(sender, path)
    os = {"type": "LINUX", "platform": "Debian", "version": None, "bits": None}

    image = await image_of(alice, of(upload, kind="ISO", format=format, os={"type": "LINUX", "platform": "Debian"}))
    shown = await alice.one(SHOWN, id=image["id"])
    content_id = (await ImageDisk.get(image_id=UUID(image["uuid"]))).content_id
    root = service.settings.data_dir / "engine"
    layer = json.loads((root / "contents" / f"{content_id}.json").read_bytes())["layer"]
    kept = reading.read([root / "layers" / f"{layer}.qcow2"], 0, path.stat().st_size)
    launch = await alice.one(LAUNCH, input={"name": "vm", "imageId": image["id"], "flavorId": "t1.nano"})
    disks = await alice.one(DISKS, input={"name": "disk", "imageId": image["id"]})
    copy = await image_refusal(alice, {"image": {"imageId": image["id"]}})
    export = await alice.one(EXPORT, id=image["id"])

    assert image["warnings"] == []
    assert (shown["kind"], shown["status"], shown["os"]) == ("ISO", "ACTIVE", os)
    assert shown["disks"] == [{"sizeGib": 1, "isSystem": False}]
    assert shown["source"] == {"kind": "UPLOAD", "fileName": "setup.iso", "format": "ISO"}
    assert kept == path.read_bytes()
    refusals = [payload["userErrors"][0] for payload in (launch, disks, export)]
    assert [(error["code"], error["otcCode"]) for error in refusals] == [
        ("WRONG_IMAGE_KIND", "Ecs.0007"),
        ("WRONG_IMAGE_KIND", "Ecs.0007"),
        ("NOT_EXPORTABLE", "IMG.0167"),
    ]
    assert copy == ("NOT_COPYABLE", ["input", "source", "image", "imageId"], "IMG.0128")
    assert await sender.state(upload) is None
    assert not sender.file(upload).exists()


@pytest.mark.parametrize(("kind", "make"), [("SYSTEM_DISK", disc), ("ISO", lambda path: path.write_bytes(b"x" * 512))])
async def test_disc_that_is_none_and_disk_that_is_one_can_be_tried_again(alice, sender, tmp_path, kind, make):
    path = tmp_path / "file"
    make(path)
    upload = await sent(sender, path)

    image = await image_of(alice, of(upload, kind=kind, os={"type": "LINUX"}), wait=False)
    job = await alice.wait(image["jobId"])
    again = await image_of(
        alice, of(upload, kind="ISO" if kind == "SYSTEM_DISK" else "SYSTEM_DISK", os={"type": "LINUX"})
    )

    assert (job["status"], job["fault"]["code"]) == ("FAIL", "FORMAT_MISMATCH")
    assert (await alice.one(SHOWN, id=again["id"]))["status"] == "ACTIVE"


FAILING = {
    name: HOSTILE[name]
    for name in ("backing file", "qcow2 said to be raw", "truncated qcow2", "size bomb", "QED on another")
}
FAILING |= {name: ("QCOW2", "UNSAFE_FILE", make) for name, make in FOUND_LATE.items()}


@pytest.mark.parametrize("name", FAILING)
async def test_hostile_file_leaves_nothing(alice, sender, service, tmp_path, name):
    declared, code, make = FAILING[name]
    path, layers = tmp_path / "file", service.settings.data_dir / "engine" / "layers"
    before = set(layers.iterdir())
    make(path)
    upload = await sent(sender, path)

    image = await image_of(alice, of(upload, format=declared), wait=False)
    job = await alice.wait(image["jobId"])
    shown = await alice.one(SHOWN, id=image["id"])
    state = await sender.state(upload)
    row = await Job.get(image_id=UUID(image["uuid"]))

    assert (job["status"], job["fault"]["code"]) == ("FAIL", code)
    assert (shown["status"], shown["fault"]["code"], shown["disks"]) == ("KILLED", code, [])
    assert str(tmp_path) not in shown["fault"]["message"]
    is_to_blame = code != "FORMAT_MISMATCH"
    assert state["status"] == ("FAILED" if is_to_blame else "COMPLETE")
    assert (state["fault"] or {}).get("code") == (code if is_to_blame else None)
    assert sender.file(upload).exists() is not is_to_blame
    assert not await Content.exists(id=row.input["content_id"])
    assert not await ImageDisk.exists(image_id=UUID(image["uuid"]))
    assert not list((service.settings.data_dir / "engine").glob(f"*/{row.input['content_id']}*"))
    assert set(layers.iterdir()) <= before
    assert (await sender.call("DELETE", upload["url"])).status_code == 204
    assert not sender.file(upload).exists()
    assert await used(alice) == {"IMAGES": 1}


async def test_upload_source_is_refused_for_each_rule(project, alice, sender, service, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 512)
    upload, begun = await sent(sender, path), await sender.begin(2)
    theirs = await sent(Sender(await project("bob"), service.settings.data_dir), path)
    at = ["input", "source", "upload"]
    system = {"type": "LINUX"}

    async with unchanged(alice):
        assert await image_refusal(alice, of({"id": str(uuid4())})) == ("NOT_FOUND", [*at, "uploadId"], None)
        assert await image_refusal(alice, of(theirs)) == ("NOT_FOUND", [*at, "uploadId"], None)
        assert await image_refusal(alice, of(begun)) == ("UPLOAD_INCOMPLETE", [*at, "uploadId"], None)
        whole = await image_refusal(alice, of(upload, kind="FULL_ECS"))
        data = await image_refusal(alice, of(upload, kind="DATA_DISK", os=system))
        no_os = await image_refusal(alice, of(upload, kind="ISO"))
        no_disc = await image_refusal(alice, of(upload, kind="ISO", os=system, format="RAW"))
        no_disk = await image_refusal(alice, of(upload, os=system, format="ISO"))
        bits = await image_refusal(alice, of(upload, os=system | {"bits": 16}))
        await Upload.filter(id=plain_id(upload)).update(status="USED")
        assert await image_refusal(alice, of(upload)) == ("BUSY", [*at, "uploadId"], None)
    assert whole == ("INVALID_INPUT", [*at, "kind"], "IMG.0024")
    assert no_os == ("INVALID_INPUT", [*at, "os"], "IMG.0166")
    assert no_disc == no_disk == ("INVALID_INPUT", [*at, "format"], "IMG.0024")
    assert data == ("INVALID_INPUT", [*at, "os"], "IMG.0024")
    assert bits == ("INVALID_INPUT", [*at, "os", "bits"], "IMG.0122")
