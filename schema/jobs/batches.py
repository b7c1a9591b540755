"""Results of mutations that begin a job for each of many things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from strawberry import Info

from app.errors import ServiceError
from app.jobs import service as jobs
from app.policy import Caller
from app.reading import Row
from schema.errors import UserError
from schema.payloads import Batch, Find, reread, shown
from schema.selection import wanted


class Outcome(Protocol):
    """What was begun for one thing, or why not."""

    @property
    def job_id(self) -> str | None: ...
    @property
    def error(self) -> ServiceError | None: ...


class Result(Protocol):
    """What a payload says of one thing."""

    error: UserError | None


R = TypeVar("R", bound=Result)
Shown = TypeVar("Shown", bound=Row)


async def results_of(
    info: Info,
    who: Caller,
    batch: Batch,
    outcomes: Sequence[Outcome],
    *,
    find: Find[Shown],
    name: str,
    make: Callable[..., R],
) -> dict[str, list[R] | list[UserError]]:
    """The fields of such a payload: each thing as it is now and its job, or why it was refused.

    `name`: of the thing in a result, as in `batch`'s argument; `find` reads it, `make` makes the result.
    """
    done, part = batch.done([outcome.error for outcome in outcomes]), wanted(info).of("results")
    rows = await reread(find, who, done, part.of(name))
    begun = await reread(
        jobs.find_jobs, who, [outcome.job_id for outcome in outcomes if outcome.job_id], part.of("job")
    )
    results = [
        shown(
            make,
            **{batch.argument.removesuffix("s"): text, name: rows.get(str(id_))},
            job=begun.get(outcome.job_id or ""),
            error=batch.error(index, outcome.error),
        )
        for index, (text, id_, outcome) in enumerate(zip(batch.texts, batch.ids, outcomes, strict=True))
    ]
    return {"results": results, "user_errors": [result.error for result in results if result.error]}
