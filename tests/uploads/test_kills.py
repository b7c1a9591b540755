"""The service and the client killed in the middle of a file, and started anew."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
from contextlib import AsyncExitStack

from app.demo.access import FILE
from app.transfer.client import connected
from app.transfer.uploading import upload as send
from tests.command import started

MIB = 1 << 20
SIZE = 80 * MIB


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def test_a_service_that_is_killed_goes_on_with_the_file(scratch, tmp_path):
    data, port = scratch / "killed", free_port()
    path = tmp_path / "disk.raw"
    path.write_bytes(random.randbytes(SIZE))
    kill_at = random.randrange(MIB, SIZE - MIB)
    far_enough = asyncio.Event()

    def watch(done: int, total: int) -> None:
        if done >= kill_at:
            far_enough.set()

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(
            started(
                "serve", "--demo", "--no-linux", "--port", str(port), "--data", data, IMAGE_SERVICE_ACCELERATOR="tcg"
            )
        )
        await first.read_until("Serving", errors=True)
        token = json.loads((data / FILE).read_text())["tokens"]["alice"]
        client = await stack.enter_async_context(connected(f"http://127.0.0.1:{port}", token, pauses_s=[0.1] * 300))
        sending = asyncio.create_task(send(client, path, watch))
        waiting = asyncio.create_task(far_enough.wait())
        await asyncio.wait([sending, waiting], return_when=asyncio.FIRST_COMPLETED)
        first.process.kill()
        await first.process.communicate()
        done_when_killed = next(data.glob("uploads/*.part")).stat().st_size

        second = await stack.enter_async_context(
            started(
                "serve", "--demo", "--no-linux", "--port", str(port), "--data", data, IMAGE_SERVICE_ACCELERATOR="tcg"
            )
        )
        upload = await sending

        assert done_when_killed < SIZE
        assert upload["checksum"]["value"] == hashlib.sha256(path.read_bytes()).hexdigest()
        (shown,) = (await client.ask("{ uploads { nodes { status offsetBytes } } }"))["nodes"]
        assert shown == {"status": "COMPLETE", "offsetBytes": SIZE}
        (part,) = data.glob("uploads/*.part")
        assert part.read_bytes() == path.read_bytes()
        await second.stop()
