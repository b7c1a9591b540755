"""A client of the service over real HTTP and WebSockets, as short as tests want it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import httpx2
from websockets.asyncio.client import connect

WATCH_JOB = """subscription($id: ID!) { jobUpdated(id: $id) { id type status progress phase fault { code message }
  image { id status } ecsInstances { id status fault { code message } } } }"""
ENDED = ("SUCCESS", "FAIL", "CANCELLED")
DEADLINE_S = 60.0


class Refusal(AssertionError):
    """The service answered with top-level errors, and the test did not expect any."""


class Client:
    """One project's token at one service."""

    def __init__(self, url: str, token: str | None, *, project_id: str = "", name: str = "") -> None:
        self.url, self.token, self.project_id, self.name = url, token, project_id, name
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # no TLS here: loading the certificates that would verify it takes 40 ms for each client
        self.http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=DEADLINE_S, verify=False)
        self._numbers = count(1)

    async def close(self) -> None:
        await self.http.aclose()

    async def answer(self, query: str, /, **variables: object) -> dict[str, Any]:
        """The whole answer: data and errors."""
        body = {"query": query, "variables": variables}
        response = await self.http.post("/graphql", json=body)
        result: dict[str, Any] = response.json()
        return result

    async def ask(self, query: str, /, **variables: object) -> dict[str, Any]:
        """The data of an answer without errors."""
        result = await self.answer(query, **variables)
        if result.get("errors"):
            raise Refusal(json.dumps(result["errors"], indent=1))
        data: dict[str, Any] = result["data"]
        return data

    async def one(self, query: str, /, **variables: object) -> Any:
        """The only root field of an answer without errors."""
        (value,) = (await self.ask(query, **variables)).values()
        return value

    async def codes(self, query: str, /, **variables: object) -> list[str]:
        """The codes of an answer's top-level errors."""
        return [error["extensions"]["code"] for error in (await self.answer(query, **variables)).get("errors", [])]

    async def wait(self, job_id: str) -> dict[str, Any]:
        """A job once it has ended, by watching it."""
        async with (
            asyncio.timeout(DEADLINE_S),
            self.subscribe(WATCH_JOB, id=job_id) as values,
        ):
            async for value in values:
                job: dict[str, Any] = value["jobUpdated"]
        assert job["status"] in ENDED, job
        return job

    async def done(self, job_id: str) -> dict[str, Any]:
        """The same, of a job that has to succeed."""
        job = await self.wait(job_id)
        assert job["status"] == "SUCCESS", job
        return job

    @asynccontextmanager
    async def subscribe(self, query: str, /, **variables: object) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The data of each value of a subscription; it ends when the service says that it is complete."""
        url = self.url.replace("http", "ws", 1) + "/graphql"
        async with connect(url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
            payload = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            await socket.send(json.dumps({"type": "connection_init", "payload": payload}))
            assert json.loads(await socket.recv())["type"] == "connection_ack"
            begin = {"type": "subscribe", "id": "1", "payload": {"query": query, "variables": variables}}
            await socket.send(json.dumps(begin))

            async def values() -> AsyncIterator[dict[str, Any]]:
                while True:
                    message = json.loads(await socket.recv())
                    match message["type"]:
                        case "next" if message["payload"].get("errors"):
                            raise Refusal(json.dumps(message["payload"]["errors"]))
                        case "next":
                            yield message["payload"]["data"]
                        case "error":
                            raise Refusal(json.dumps(message["payload"]))
                        case "complete":
                            return
                        case "ping":
                            await socket.send('{"type": "pong"}')

            yield values()

    # ------------------------------------------------------------ what tests do all the time

    async def hello(self) -> str:
        """The id of the public image that every machine boots."""
        images = await self.one('{ images(filter: {name: {eq: "hello"}, visibility: [PUBLIC]}) { nodes { id } } }')
        image_id: str = images["nodes"][0]["id"]
        return image_id

    async def launch(self, image_id: str | None = None, *, wait: bool = True, **more: object) -> dict[str, Any]:
        """A machine that runs (its own payload entry), on the smallest flavor unless told otherwise."""
        chosen = {
            "name": f"vm-{next(self._numbers)}",
            "imageId": image_id or await self.hello(),
            "flavorId": "t1.nano",
            "exposePorts": [],
        }
        payload = await self.one(LAUNCH, input=chosen | more)
        assert payload["userErrors"] == [], payload
        if wait:
            await self.done(payload["job"]["id"])
        ecs: dict[str, Any] = payload["ecsInstances"][0]
        return ecs | {"jobId": payload["job"]["id"], "all": payload["ecsInstances"]}

    async def make_image(self, ecs_id: str, *, full: bool = False, wait: bool = True, **more: object) -> dict[str, Any]:
        """An image of a machine: a system disk image, or a full-ECS image."""
        source = {"fullEcs" if full else "ecs": {"ecsId": ecs_id}}
        payload = await self.one(CREATE_IMAGE, input={"name": f"image-{uuid4().hex[:8]}", "source": source} | more)
        assert payload["userErrors"] == [], payload
        if wait:
            await self.done(payload["job"]["id"])
        image: dict[str, Any] = payload["image"]
        return image | {"jobId": payload["job"]["id"]}

    async def console(self, ecs_id: str, *, until: str) -> str:
        """A machine's output once it holds a text."""
        query = "subscription($id: ID!) { ecsConsole(id: $id, fromOffset: 0) { text } }"
        text = ""
        async with asyncio.timeout(DEADLINE_S), self.subscribe(query, id=ecs_id) as values:
            async for value in values:
                text += value["ecsConsole"]["text"]
                if until in text:
                    return text
        raise AssertionError(text)

    async def share(self, image_id: str, other: Client, *, accept: bool = True) -> None:
        """Share an image with another client's project, which accepts."""
        result = await self.one(SHARE, images=[image_id], projects=[other.project_id])
        assert result["userErrors"] == [], result
        if accept:
            result = await other.one(
                "mutation($i: [ID!]!) { acceptShares(input: {imageIds: $i}) { userErrors { code } } }", i=[image_id]
            )
            assert result["userErrors"] == [], result

    async def delete(self, *ecs_ids: str) -> None:
        """Delete machines, and wait until they are gone."""
        payload = await self.one(DELETE_ECS, i=list(ecs_ids))
        assert payload["userErrors"] == [], payload
        for result in payload["results"]:
            await self.done(result["job"]["id"])

    async def clean_up(self) -> None:
        """Leave no machine running behind a test."""
        machines = await self.answer("{ ecsInstances(first: 100) { nodes { id currentJob { id } } } }")
        nodes = ((machines.get("data") or {}).get("ecsInstances") or {}).get("nodes", [])
        for node in nodes:
            if node["currentJob"]:
                await self.wait(node["currentJob"]["id"])
        if nodes:
            await self.delete(*(node["id"] for node in nodes))


LAUNCH = """mutation($input: LaunchEcsInput!) { launchEcs(input: $input) {
  ecsInstances { id uuid name status } job { id status } warnings { code } userErrors { code otcCode field message } } }"""
CREATE_IMAGE = """mutation($input: CreateImageInput!) { createImage(input: $input) {
  image { id uuid name status kind } job { id status } warnings { code } userErrors { code otcCode field message } } }"""
SHARE = """mutation($images: [ID!]!, $projects: [ID!]!) { shareImages(input: {imageIds: $images, projectIds: $projects}) {
  results { imageId projectId outcome member { id status } error { code otcCode field } } userErrors { code field } } }"""
DELETE_ECS = """mutation($i: [ID!]!) { deleteEcs(input: {ecsIds: $i, deleteDataDisks: true}) {
  results { job { id } } userErrors { code message } } }"""
