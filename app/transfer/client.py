"""One token at one service: what is asked of it, and how long one keeps trying."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp

PAUSES_S = (0.2, 0.4, 0.8, 1.6, 3.0, 5.0, 10.0, 10.0, 10.0)
"""Before each new attempt, of those in a row that get nothing across."""
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=600)
"""The answer to the last byte may take as long as hashing what was sent before a restart of the service."""
PASSING = {HTTPStatus.CONFLICT, HTTPStatus.LOCKED, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}

POLL_S = 0.5
"""Between two looks at a job."""

Answer = dict[str, Any]
Progress = Callable[[int, int], None]
"""Called with what is done, and all that is to do: bytes, unless it is said otherwise."""

IMAGES = """query ($after: String) { images(first: 100, after: $after) {
  nodes { id name kind status visibility sizeBytes owner { name } } pageInfo { hasNextPage endCursor } } }"""
JOB = """query ($id: ID!) { job(id: $id) { status progress fault { message }
  image { id } export { url format checksum { value } } } }"""


class TransferFailed(Exception):
    """Why it did not work, and what to do about it, in one sentence."""


class Again(Exception):
    """Something passing was in the way."""


class Client:
    """One token at one service."""

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        *,
        strangers: aiohttp.ClientSession,
        pauses_s: Sequence[float],
    ) -> None:
        self._url, self.session, self._strangers, self.pauses_s = url, session, strangers, pauses_s

    def session_for(self, url: str) -> aiohttp.ClientSession:
        """What asks for an address: one that is signed is an object storage's, which is not told the token."""
        return self._strangers if urlsplit(url).query else self.session

    async def ask(self, document: str, /, **variables: object) -> Any:
        """The value of the only root field.

        Raises: TransferFailed: the service is not there, or refused it.
        """
        body = {"query": document, "variables": variables}
        try:
            async with self.session.post(f"{self._url}/graphql", json=body) as response:
                result = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TransferFailed(f"Nothing of an image service answers at {self._url} ({error}); see --url.") from error
        errors = result.get("errors") or []
        value = None if errors else next(iter(result["data"].values()))
        if isinstance(value, dict):
            errors = value.get("userErrors") or []
        if errors:
            raise TransferFailed("The service refused: " + "; ".join(error["message"] for error in errors))
        return value

    async def images(self) -> AsyncIterator[Answer]:
        """All images that the token can see."""
        after = None
        while True:
            page = await self.ask(IMAGES, after=after)
            for node in page["nodes"]:
                yield node
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    async def finish(self, job_id: str, on_progress: Progress) -> Answer:
        """A job that has succeeded, by asking for it again and again; progress is in per cent.

        Raises: TransferFailed: it has failed, or was cancelled.
        """
        while True:
            job: Answer | None = await self.ask(JOB, id=job_id)
            if job is None:
                raise TransferFailed("The job is gone; run the command again.")
            on_progress(int(job["progress"] * 100), 100)
            if job["status"] == "SUCCESS":
                return job
            if job["status"] in ("FAIL", "CANCELLED"):
                reason = (job["fault"] or {}).get("message") or "it was cancelled"
                raise TransferFailed(f"The job has failed: {reason}")
            await asyncio.sleep(POLL_S)


class Patience:
    """When to try once more: a pause before each new attempt, until so many in a row got nothing across."""

    def __init__(self, pauses_s: Sequence[float], what: str) -> None:
        """`what` it is that does not get on."""
        self._pauses_s, self._what = pauses_s, what
        self._furthest, self._failures = -1, 0

    def got_to(self, offset: int) -> None:
        """So many bytes are across."""
        if offset > self._furthest:
            self._furthest, self._failures = offset, 0

    async def pause(self, error: Exception) -> None:
        """Raises: TransferFailed: often enough."""
        if self._failures == len(self._pauses_s):
            message = f"The {self._what} does not get on ({error}); the same command goes on where it is."
            raise TransferFailed(message) from error
        await asyncio.sleep(self._pauses_s[self._failures])
        self._failures += 1


async def check(response: aiohttp.ClientResponse, *, gone: str) -> None:
    """`gone`: what is not there any more. Raises: Again: it may work in a moment. TransferFailed: it will not."""
    if response.ok:
        return
    message = (await response.text()).strip() or str(response.reason)
    if response.status in PASSING or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Again(message)
    if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise TransferFailed(f"{gone} is gone ({message}); run the command again to begin anew.")
    raise TransferFailed(f"The service refused ({response.status}): {message}")


@asynccontextmanager
async def connected(url: str, token: str, *, pauses_s: Sequence[float] = PAUSES_S) -> AsyncIterator[Client]:
    """A client of the service at this address, with or without /graphql at its end."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session,
        aiohttp.ClientSession(timeout=TIMEOUT) as strangers,
    ):
        yield Client(url.rstrip("/").removesuffix("/graphql"), session, strangers=strangers, pauses_s=pauses_s)
