"""The service as a process of its own, with the demo's projects, in a folder that goes with it; and a client that waits for jobs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import urlsplit

from websockets.sync.client import connect

from app.engines.qemu.process import find_machines

LIMIT_S = 300.0
IDLE_S = 2.0
"""The service closes a connection that is not used for 5 s."""
WATCH_JOB = "subscription($id: ID!) { jobUpdated(id: $id) { status fault { code message } } }"
LAUNCH = """mutation($input: LaunchEcsInput!) { launchEcs(input: $input) {
  ecsInstances { id uuid } job { id } userErrors { code message } } }"""
DELETE = (
    "mutation($ids: [ID!]!) { deleteEcs(input: {ecsIds: $ids}) { results { job { id } } userErrors { code message } } }"
)
HELLO = '{ images(filter: {name: {eq: "hello"}, visibility: [PUBLIC]}) { nodes { id } } }'


class Failed(Exception):
    """The service did not do what the measurement needs."""


class Client:
    """One connection for requests, kept alive, and one for waiting."""

    def __init__(self, url: str, token: str) -> None:
        self._http = HTTPConnection(urlsplit(url).netloc, timeout=LIMIT_S)
        self._asked_at = time.monotonic()
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._socket = connect(url.replace("http", "ws", 1), subprotocols=["graphql-transport-ws"])  # type: ignore[list-item]
        self._send(type="connection_init", payload={"Authorization": f"Bearer {token}"})
        self._socket.recv(LIMIT_S)
        self._numbers = count(1)
        self._hello: str = self.ask(HELLO)["nodes"][0]["id"]

    def ask(self, query: str, /, **variables: object) -> Any:
        """The value of the only root field.

        Raises: Failed.
        """
        if time.monotonic() - self._asked_at > IDLE_S:
            self._http.close()  # the next request opens it again
        self._http.request("POST", "/graphql", json.dumps({"query": query, "variables": variables}), self._headers)
        answer = json.loads(self._http.getresponse().read())
        self._asked_at = time.monotonic()
        if answer.get("errors"):
            raise Failed(str(answer["errors"]))
        (value,) = answer["data"].values()
        if isinstance(value, dict) and value.get("userErrors"):
            raise Failed(str(value["userErrors"]))
        return value

    def finish(self, job_id: str) -> None:
        """Return as soon as a job has succeeded.

        Raises: Failed: it has not. TimeoutError.
        """
        number = str(next(self._numbers))
        self._send(type="subscribe", id=number, payload={"query": WATCH_JOB, "variables": {"id": job_id}})
        job = None
        while True:
            message = json.loads(self._socket.recv(LIMIT_S))
            if message.get("id") != number:
                continue
            job = message["payload"]["data"]["jobUpdated"] if message["type"] == "next" else job
            if job and job["status"] == "SUCCESS":
                return
            if message["type"] != "next" or job["status"] in ("FAIL", "CANCELLED"):
                raise Failed(str(job or message))

    def launch(self, **wanted: object) -> dict[str, Any]:
        """What launching a machine of the image hello answers, at once."""
        smallest = {"name": "bench", "imageId": self._hello, "flavorId": "t1.nano", "exposePorts": []}
        payload: dict[str, Any] = self.ask(LAUNCH, input=smallest | wanted)
        return payload

    def delete(self, ecs_id: str) -> None:
        """Delete a machine, and wait until it is gone."""
        for result in self.ask(DELETE, ids=[ecs_id])["results"]:
            self.finish(result["job"]["id"])

    def _send(self, **message: object) -> None:
        self._socket.send(json.dumps(message))

    def close(self) -> None:
        """Disconnect."""
        self._http.close()
        self._socket.close()


@contextmanager
def service() -> Iterator[tuple[Client, Path]]:
    """A client of a fresh service, and the engine's folder. At the end, also by Ctrl-C, nothing of it is left.

    Raises: Failed: it did not start.
    """
    folder = Path(mkdtemp(prefix="b"))
    data, log = folder / "data", folder / "log"
    engine = data / "engine"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("DATABASE_URL")}
    command = [sys.executable, "-m", "app", "serve", "--demo", "--no-linux", "--port", "0", "--data", str(data)]
    with log.open("wb") as output:
        # In a session of its own, else Ctrl-C would end it before it has put its machines away.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment | {"IMAGE_SERVICE_LOG_LEVEL": "warning"},
            start_new_session=True,
        )
    try:
        access = _until_ready(process, data / "demo.json", log)
        client = Client(access["url"], access["tokens"]["alice"])
        try:
            yield client, engine
        finally:
            client.close()
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()
        for pid in find_machines(engine.resolve() / "machines").values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _until_ready(process: subprocess.Popen[bytes], file: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + LIMIT_S
    while not file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"the service did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)
    access: dict[str, Any] = json.loads(file.read_bytes())
    return access


def host_load() -> str:
    """How busy this host is, for beside the figures."""
    return f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
