"""Retries: a key that a project gave with a request stands for that request's answer for a day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import cast

import orjson
from tortoise.exceptions import IntegrityError

from app import db
from app.enums import ErrorCode
from app.errors import InvalidInput, Refused
from app.policy import Caller
from app.projects.models import IdempotencyKey

KEPT = timedelta(hours=24)
MAX_KEY = 255

Answer = Mapping[str, object]


async def once(caller: Caller, key: str | None, request: object, work: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer of `work`, in one transaction with it; or, for a key that was given before, the answer of that time.

    `request` is what must be the same on a retry; an answer is ids and words only, so that what they stand for is read anew.
    Of two at a time the second waits for the first, or is rolled back and answered like a retry.

    Raises: InvalidInput: the key is empty or longer than 255. Refused: IDEMPOTENCY_MISMATCH: it was given for another request.
    """
    if key is None:
        async with db.transaction():
            return await work()
    if (known := await recall(caller, key, request)) is not None:
        return known
    digest = _digest(request)
    await IdempotencyKey.filter(created_at__lt=db.now() - KEPT).delete()
    try:
        async with db.transaction():
            row = await IdempotencyKey.create(project_id=caller.project, key=key, request_sha256=digest, answer={})
            answer = await work()
            await IdempotencyKey.filter(id=row.id).update(answer=dict(answer))
            return answer
    except IntegrityError:
        if (known := await _known(caller, key, digest)) is not None:
            return known
        raise


async def in_steps(
    caller: Caller, key: str, request: object, steps: Sequence[Callable[[], Awaitable[Sequence[object]]]]
) -> list[object]:
    """What all steps answer, one after the other, where once would hold its locks for too long: each is a transaction of its own.

    A retry is answered with the steps that were done, and does the others; so is a twin, step by step.

    Raises: as once.
    """
    await recall(caller, key, request)
    await IdempotencyKey.filter(created_at__lt=db.now() - KEPT).delete()
    await _begin(caller, key, _digest(request))
    answers: list[Sequence[object]] = []
    for number, step in enumerate(steps):
        async with db.transaction():
            row = await IdempotencyKey.select_for_update().get(project_id=caller.project, key=key)
            answers = cast("list[Sequence[object]]", row.answer["steps"])
            if number == len(answers):
                answers.append(await step())
                await IdempotencyKey.filter(id=row.id).update(answer={"steps": answers})
    return [value for answer in answers for value in answer]


async def _begin(caller: Caller, key: str, digest: str) -> None:
    try:
        async with db.transaction():
            await IdempotencyKey.create(project_id=caller.project, key=key, request_sha256=digest, answer={"steps": []})
    except IntegrityError:
        if await _known(caller, key, digest) is None:
            raise


async def recall(caller: Caller, key: str | None, request: object) -> Answer | None:
    """The answer that a key was given before, if it was; a retry is answered before anything is checked anew.

    Raises: as once.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY:
        raise InvalidInput(f"An idempotency key has 1 to {MAX_KEY} characters.", field=("input", "idempotency_key"))
    return await _known(caller, key, _digest(request))


def _digest(request: object) -> str:
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    return sha256(orjson.dumps(request, default=str, option=options)).hexdigest()


async def _known(caller: Caller, key: str, digest: str) -> Answer | None:
    row = await IdempotencyKey.get_or_none(project_id=caller.project, key=key)
    if row is None or row.created_at < db.now() - KEPT:
        return None
    if row.request_sha256 != digest:
        message = "This key was given with another request; use a new one for each."
        raise Refused(ErrorCode.IDEMPOTENCY_MISMATCH, message, field=("input", "idempotency_key"))
    return row.answer
