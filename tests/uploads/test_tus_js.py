"""tus-js-client, the client of browsers, under Node: only with --node, as it takes npm and a package registry."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.uploads.conftest import MIB, Sender, cutting

pytestmark = pytest.mark.node
SOURCE = Path(__file__).parent / "tus-js"


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client with its packages, outside of the checkout."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.fail("--node needs Node 18 or newer with npm: install them, or leave --node out")
    folder = tmp_path_factory.mktemp("tus-js") / "client"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules"))
    subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True
    )
    return folder / "upload.mjs"


async def send(script: Path, sender: Sender, file: Path, url: str, *more: object) -> tuple[int, str]:
    """How the client ends, and what it says."""

    arguments = [file, f"{url}/uploads", sender.client.token, file.with_suffix(".memory"), *more]
    process = await asyncio.create_subprocess_exec(
        "node", script, *map(str, arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_a_file_gets_across_a_network_that_breaks(script, sender, service, chance, tmp_path):
    file = tmp_path / "disk.raw"
    file.write_bytes(chance.randbytes(6 * MIB))

    async with cutting(service.url, [chance.randrange(2000, MIB) for _ in range(4)]) as url:
        status, said = await send(script, sender, file, url)

    uploads = (await sender.client.one("{ uploads { nodes { status fileName checksum { value } } } }"))["nodes"]
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert status == 0, said
    complete = [upload for upload in uploads if upload["status"] == "COMPLETE"]
    assert complete == [{"status": "COMPLETE", "fileName": "from-js.raw", "checksum": {"value": checksum}}]


async def test_a_client_that_died_goes_on_where_it_was(script, sender, service, tmp_path):
    file = tmp_path / "disk.raw"
    file.write_bytes(random.randbytes(8 * MIB))

    died, _ = await send(script, sender, file, service.url, 3 * MIB)
    status, said = await send(script, sender, file, service.url)

    (upload,) = (await sender.client.one("{ uploads { nodes { url status checksum { value } } } }"))["nodes"]
    assert (died, status) == (9, 0), said
    assert (upload["url"], upload["status"]) == (said.strip(), "COMPLETE")
    assert upload["checksum"]["value"] == hashlib.sha256(file.read_bytes()).hexdigest()
