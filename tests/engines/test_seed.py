"""The seed, read back as a reader of each kind sees it."""

import io
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pycdlib
import pytest
import yaml

from app.demo.hello import disk_image
from app.engines.qemu.seed import build_seed, write_seed

HASH = "$6$saltsalt$" + "h" * 86


def make_seed(
    *,
    instance_id: str = "i-1",
    hostname: str = "web-1",
    user_data: str | None = None,
    public_keys: Sequence[str] = (),
    password_hash: str | None = None,
    network_config: str | None = None,
) -> bytes:
    return build_seed(
        instance_id=instance_id,
        hostname=hostname,
        user_data=user_data,
        public_keys=public_keys,
        password_hash=password_hash,
        network_config=network_config,
    )


def read_files(seed: bytes, view: str = "rr_path") -> dict[str, str]:
    """Names and texts of the seed's files, by `rr_path` (Linux), `joliet_path` or `iso_path` (hello)."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(seed))
    files = {}
    for _, _, names in iso.walk(**{view: "/"}):
        for name in names:
            target = io.BytesIO()
            iso.get_file_from_iso_fp(target, **{view: f"/{name}"})
            files[name] = target.getvalue().decode()
    iso.close()
    return files


def test_seed_has_cloud_inits_volume_name() -> None:
    seed = make_seed()

    assert seed[32768 + 1 : 32768 + 6] == b"CD001"
    assert seed[32768 + 40 : 32768 + 72] == b"CIDATA".ljust(32)
    assert len(seed) % 2048 == 0


@pytest.mark.parametrize("view", ["rr_path", "joliet_path"])
def test_required_files_are_there_by_their_true_names(view: str) -> None:
    assert read_files(make_seed(), view).keys() == {"meta-data", "user-data"}


def test_all_files_are_there_by_plain_names_too() -> None:
    files = read_files(make_seed(user_data="x", password_hash=HASH, network_config="version: 2\n"), "iso_path")

    assert files.keys() == {"METADATA.;1", "USERDATA.;1", "VENDORDA.;1", "NETWORKC.;1"}
    assert files["NETWORKC.;1"] == "version: 2\n"


def test_meta_data_says_who_the_machine_is() -> None:
    keys = ["ssh-ed25519 AAAA me@home", "ssh-rsa BBBB"]

    text = read_files(make_seed(instance_id="i-2", hostname="db-1", public_keys=keys))["meta-data"]

    assert yaml.safe_load(text) == {"instance-id": "i-2", "local-hostname": "db-1", "public-keys": keys}


@pytest.mark.parametrize(
    "text", ['"; a: b', "a\nb: c", "# no", "{}", "\\", "Käse 😀", "\x7f\x85\u2028\ufeff", "yes", "1e3"]
)
def test_values_cannot_break_out_of_the_yaml(text: str) -> None:
    files = read_files(make_seed(hostname=text, public_keys=[text]))

    meta_data = yaml.safe_load(files["meta-data"])

    assert (meta_data["local-hostname"], meta_data["public-keys"]) == (text, [text])


@pytest.mark.parametrize("user_data", ["", "#!/bin/sh\r\necho 'ü'\n", "x" * 32768])
def test_user_data_is_kept_byte_for_byte(user_data: str) -> None:
    assert read_files(make_seed(user_data=user_data))["user-data"] == user_data


def test_password_is_in_vendor_data_alone() -> None:
    files = read_files(make_seed(password_hash=HASH, user_data="#cloud-config\n"))

    header, _, settings = files.pop("vendor-data").partition("\n")

    assert header == "#cloud-config"
    assert yaml.safe_load(settings) == {"password": HASH, "chpasswd": {"expire": False}, "ssh_pwauth": True}
    assert HASH not in json.dumps(files)


@pytest.mark.parametrize("password", ["", "secret", "$6$salt", "$y$j9T$salt$hash", HASH + "\nusers: []", HASH + ":x"])
def test_what_cloud_init_would_take_for_plain_text_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="hash"):
        make_seed(password_hash=password)


def test_same_input_gives_the_same_bytes_at_any_time_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_seed(user_data="x", password_hash=HASH)

    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        after = make_seed(user_data="x", password_hash=HASH)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert after == before


def test_seed_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    path.write_bytes(b"old")
    path.chmod(0o644)

    write_seed(path, b"new")

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    path.mkdir()

    with pytest.raises(IsADirectoryError):
        write_seed(path, b"new")

    assert list(tmp_path.iterdir()) == [path]


def test_machine_reads_hostname_and_user_data_from_it(tmp_path: Path) -> None:
    qemu = shutil.which("qemu-system-x86_64")
    if not qemu:
        pytest.fail("qemu is missing: apt-get install --no-install-recommends qemu-system-x86 qemu-utils")
    system = tmp_path / "system.raw"
    system.write_bytes(disk_image())
    seed = tmp_path / "seed.iso"
    write_seed(
        seed,
        make_seed(hostname="db-7", user_data="#cloud-config\noff\n", public_keys=["ssh-rsa A"], password_hash=HASH),
    )
    command = [
        qemu,
        "-M",
        "q35",
        "-accel",
        "tcg",
        "-m",
        "64",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
    ]
    for index, disk in enumerate((system, seed), start=1):
        command += ["-drive", f"file={disk},format=raw,if=none,id=disk{index}"]
        command += ["-device", f"virtio-blk-pci,drive=disk{index},bootindex={index}"]

    console = subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout

    assert console.decode().splitlines() == [
        "HELLO boots=1 hostname=db-7",
        "NOTE ",
        "USERDATA #cloud-config",
        "off",
        "> off",
        "BYE",
    ]
