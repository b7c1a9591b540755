"""The service killed in the middle of an upload to the bucket, and started anew."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import AsyncExitStack

import httpx2

from app.demo.access import FILE
from tests.client import Client
from tests.command import Running, started
from tests.exports.test_exports import JOB, begin
from tests.object_storage.conftest import BUCKET, MIB, make_data_image
from tests.uploads.test_kills import free_port


async def test_a_service_that_is_killed_leaves_no_part_of_an_export_in_the_bucket(scratch, storage, wire):
    data, port = scratch / "killed-export", free_port()
    given = storage.settings(s3_endpoint=f"http://127.0.0.1:{wire.port}", s3_prefix="killed/")
    environment = {f"IMAGE_SERVICE_{name.upper()}": str(value) for name, value in given.items()}
    before = storage.unfinished()

    async with AsyncExitStack() as stack:

        async def start() -> Running:
            serve = ("serve", "--demo", "--no-linux", "--port", str(port), "--data", data)
            running = await stack.enter_async_context(started(*serve, IMAGE_SERVICE_ACCELERATOR="tcg", **environment))
            await running.read_until("Serving", errors=True)
            return running

        first = await start()
        token = json.loads((data / FILE).read_text())["tokens"]["alice"]
        alice = Client(f"http://127.0.0.1:{port}", token)
        stack.push_async_callback(alice.close)
        image = await make_data_image(alice, data)
        wire.stall_after(12 * MIB)
        job = await begin(alice, image["id"], format="RAW")
        async with asyncio.timeout(30):
            await wire.stalled.wait()
        first.process.kill()
        await first.process.communicate()
        wire.go_on()
        left = storage.unfinished() - before

        second = await start()
        ended = await alice.wait(job["id"])
        export = (await alice.one(JOB, id=job["id"]))["export"]
        async with httpx2.AsyncClient(verify=False) as anybody:
            fetched = await anybody.get(export["url"])
        await second.stop()

    assert len(left) == 1
    assert ended["status"] == "SUCCESS"
    assert storage.unfinished() == before
    assert hashlib.sha256(fetched.content).hexdigest() == export["checksum"]["value"]
    (kept,) = (storage.folder / BUCKET / "killed" / "exports").glob("*.raw")
    assert kept.stat().st_size == export["sizeBytes"] == 24 * MIB
    assert list((data / "exports").iterdir()) == []
