"""The seed: a small read-only disk from which a machine learns its name, its keys and its user data at first boot.

The format is cloud-init's NoCloud (docs.cloud-init.io, reference/datasources/nocloud; DataSourceNoCloud in its source):

- A file system (here ISO 9660, ECMA-119) labelled CIDATA. Linux shows the true names by Rock Ridge, others by Joliet, and a program that
  knows neither finds METADATA, USERDATA, VENDORDA and NETWORKC in the plain directory.
- `meta-data` and `user-data` are required, even if empty, or the seed is refused; `vendor-data` and `network-config` are optional.
- `meta-data` is YAML: `instance-id` (what runs once per instance runs again when it changes), `local-hostname`, `public-keys` (a list;
  they go to the image's default user).
- `user-data` is the caller's, byte for byte. What it sets overrides `vendor-data`, and it may refuse that file altogether.
- Without `network-config`, cloud-init asks for an address by DHCP on the first network card, which is what our machines have.
"""

import io
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pycdlib

_BLOCK_BYTES = 2048
_FIRST_DESCRIPTOR = 16
_TERMINATOR = 255

# 2000-01-01 00:00:00 UTC, as a directory has it (ECMA-119 9.1.5) and as a volume descriptor has it (8.4.26.1).
_RECORD_DATE = bytes([100, 1, 1, 0, 0, 0, 0])
_VOLUME_DATE = b"2000010100000000\0"
_NO_DATE = b"0" * 16 + b"\0"

# What cloud-init takes for a hash (cc_set_passwords, all its versions); it would set anything else as a password in plain text.
_HASH = re.compile(r"\$(1|2a|2y|5|6)(\$[^$:\s]+){2,3}")


def build_seed(
    *,
    instance_id: str,
    hostname: str,
    user_data: str | None,
    public_keys: Sequence[str],
    password_hash: str | None,
    network_config: str | None = None,
) -> bytes:
    """Return the seed as a raw disk, a whole number of 2048-byte blocks; the same input gives the same bytes.

    `public_keys` are lines of OpenSSH's public key format. `password_hash` is crypt(3)'s, SHA-256 (`$5$`) or better SHA-512 (`$6$`): it
    lets the image's default user log in, by SSH too, and goes to vendor-data, never to where user data or meta-data are shown.
    `network_config` is YAML of version 1 or 2.

    Raises:
        ValueError: cloud-init would not know `password_hash` for a hash.
    """
    meta_data = {"instance-id": instance_id, "local-hostname": hostname, "public-keys": list(public_keys)}
    files = {"meta-data": _to_yaml(meta_data), "user-data": user_data or ""}
    if password_hash is not None:
        if not _HASH.fullmatch(password_hash):
            raise ValueError("the password is not a crypt(3) hash that cloud-init knows")
        # The name of the default user is the image's affair: `password` sets it, whatever it is, hashed or not.
        settings = {"password": password_hash, "chpasswd": {"expire": False}, "ssh_pwauth": True}
        files["vendor-data"] = "#cloud-config\n" + _to_yaml(settings)
    if network_config is not None:
        files["network-config"] = network_config
    return _build_iso({name: text.encode() for name, text in files.items()})


def write_seed(path: Path, data: bytes) -> None:
    """Write the seed to `path` so that it is there whole, for its owner alone, or not at all; a former one is replaced.

    The bytes and the name are on the disk when this returns.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600 from the start
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _to_yaml(mapping: Mapping[str, object]) -> str:
    """Return YAML with one key a line and JSON for values, all ASCII.

    Every JSON value is YAML, with one exception: a pair of surrogates, which stands for one character in JSON and for two that are
    none in YAML. So what is not printable ASCII is written by YAML's own eight-digit escape.
    """
    text = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in mapping.items())
    return re.sub(r"[^\n -~]", lambda found: f"\\U{ord(found[0]):08x}", text)


def _build_iso(files: dict[str, bytes]) -> bytes:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=1, vol_ident="CIDATA", joliet=3, rock_ridge="1.09")
    for name, data in files.items():
        plain = name.replace("-", "").upper()[:8]
        iso.add_fp(
            io.BytesIO(data), len(data), f"/{plain}.;1", rr_name=name, joliet_path=f"/{name}", file_mode=0o100400
        )
    target = io.BytesIO()
    iso.write_fp(target)
    iso.close()
    image = bytearray(target.getvalue())
    _set_dates(image)
    return bytes(image)


def _set_dates(image: bytearray) -> None:
    """Replace the time of the build, for which the library has no setting, in volume descriptors and root directories."""
    block = _FIRST_DESCRIPTOR
    while image[block * _BLOCK_BYTES] != _TERMINATOR:
        at = block * _BLOCK_BYTES
        image[at + 813 : at + 881] = (
            _VOLUME_DATE + _VOLUME_DATE + _NO_DATE + _VOLUME_DATE
        )  # made, changed, expires, holds
        image[at + 156 + 18 : at + 156 + 25] = _RECORD_DATE  # of the root directory's record (8.4.18)
        start = int.from_bytes(image[at + 158 : at + 162], "little") * _BLOCK_BYTES
        length = int.from_bytes(image[at + 166 : at + 170], "little")
        _set_record_dates(image, start, start + length)
        block += 1


def _set_record_dates(image: bytearray, start: int, end: int) -> None:
    """Do the same for each record of a directory (ECMA-119 9.1), and for the Rock Ridge times (RRIP 4.1.6) behind its name."""
    at = start
    while at < end and image[at]:
        image[at + 18 : at + 25] = _RECORD_DATE
        behind = at + image[at]
        entry = at + 33 + image[at + 32]
        entry += (entry - at) % 2
        while entry + 4 <= behind and image[entry + 2]:
            if image[entry : entry + 2] == b"TF":
                times = (image[entry + 2] - 5) // len(_RECORD_DATE)
                image[entry + 5 : entry + 5 + times * len(_RECORD_DATE)] = _RECORD_DATE * times
            entry += image[entry + 2]
        at = behind
