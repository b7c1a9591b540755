"""Jobs as their project sees them: read, listed, followed and cancelled."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

from app import db
from app.enums import JobType, TokenScope
from app.jobs.models import Job
from tests.client import DEADLINE_S, Client
from tests.ecs.looking import each, unchanged, until
from tests.factories import make_client

ONE = """query($id: ID!) { job(id: $id) { id uuid type status progress phase cancellable fault { code } image { id } ecsInstances { id }
  createdAt startedAt finishedAt } }"""
LIST = """query($where: JobFilter, $first: Int, $after: String) { jobs(filter: $where, first: $first, after: $after) {
  totalCount nodes { id type } pageInfo { hasNextPage endCursor } } }"""
CANCEL = (
    "mutation($id: ID!) { cancelJob(input: {jobId: $id}) { job { id status cancellable } userErrors { code field } } }"
)
UPDATED = "subscription($id: ID!) { jobUpdated(id: $id) { status progress } }"
EVENTS = """subscription($after: String) { jobEvents(after: $after) {
  cursor type jobId job { id type status } at } }"""


async def test_jobs_tell_what_they_are_about_and_are_listed_newest_first(project):
    alice, bob = await project("alice"), await project("bob")
    begun = await alice.launch(count=2)
    kept, gone = [machine["id"] for machine in begun["all"]]
    image = await alice.make_image(kept)
    await alice.delete(gone)

    async def types(client=alice, **where):
        return [job["type"] for job in (await client.one(LIST, where=where))["nodes"]]

    job = await alice.one(ONE, id=begun["jobId"])
    first = await alice.one(LIST, first=2)
    second = await alice.one(LIST, first=2, after=first["pageInfo"]["endCursor"])

    assert (job["type"], job["status"], job["progress"]) == ("LAUNCH_ECS", "SUCCESS", 1.0)
    assert (job["fault"], job["cancellable"]) == (None, False)
    assert job["image"] == {"id": await alice.hello()}
    assert job["ecsInstances"] == [{"id": kept}], "without the one that is deleted"
    assert job["createdAt"] <= job["startedAt"] <= job["finishedAt"]
    assert await alice.one(ONE, id=job["uuid"]) == job
    assert await bob.one(ONE, id=job["id"]) is None
    assert [job["type"] for job in first["nodes"]] == ["DELETE_ECS", "CREATE_IMAGE"]
    assert [job["type"] for job in second["nodes"]] == ["LAUNCH_ECS"]
    assert (first["totalCount"], second["pageInfo"]["hasNextPage"]) == (3, False)
    assert await types(type=["LAUNCH_ECS", "START_ECS"]) == ["LAUNCH_ECS"]
    assert await types(status=["FAIL", "CANCELLED"]) == []
    assert await types(imageIds=[image["id"]]) == ["CREATE_IMAGE"]
    assert await types(ecsIds=[gone]) == ["DELETE_ECS", "LAUNCH_ECS"]
    assert await types(ecsIds=[kept], type=["CREATE_IMAGE"]) == ["CREATE_IMAGE"]
    assert await types(ids=[image["jobId"], begun["jobId"]]) == ["CREATE_IMAGE", "LAUNCH_ECS"]
    assert await types(bob) == []
    assert await types(bob, ids=[image["jobId"]]) == []
    await refuses_to_cancel(alice, bob, begun)


async def refuses_to_cancel(alice: Client, bob: Client, begun: dict[str, Any]) -> None:
    (stop,) = (await each(alice, "stopEcs", begun["id"], force=True))["results"]
    await alice.done(stop["job"]["id"])

    async def refusal(client: Client, job_id: str) -> object:
        payload = await client.one(CANCEL, id=job_id)
        assert payload["job"] is None
        return payload["userErrors"]

    async with unchanged(alice):
        not_there = [
            await refusal(bob, begun["jobId"]),
            await refusal(alice, begun["id"]),
            await refusal(alice, "no id"),
        ]
        ended = [await refusal(alice, begun["jobId"]), await refusal(alice, stop["job"]["id"])]

    assert not_there == [[{"code": "NOT_FOUND", "field": ["input", "jobId"]}]] * 3
    assert ended == [[{"code": "INVALID_STATE", "field": ["input", "jobId"]}]] * 2


async def test_job_is_cancelled_by_tokens_that_could_have_begun_it(project, service):
    alice = await project("alice")
    job = {"project_id": UUID(alice.project_id), "input": {}, "run_at": db.now(), "status": "SUCCESS"}
    jobs = {type_: await Job.create(id=uuid4(), type=type_, **job) for type_ in JobType}
    begin = [
        TokenScope.IMAGES,
        TokenScope.ECS,
        TokenScope.STORAGE,
        TokenScope.SHARING,
    ]  # with READ, as a payload shows something
    tokens = {
        scope: await make_client(service.url, project_id=alice.project_id, scopes=[TokenScope.READ, scope])
        for scope in begin
    }

    may = {
        scope: {type_ for type_, row in jobs.items() if await code(token, row) == "INVALID_STATE"}
        for scope, token in tokens.items()
    }
    rest = {
        await code(token, row)
        for scope, token in tokens.items()
        for type_, row in jobs.items()
        if type_ not in may[scope]
    }

    def ending(*nouns: str) -> set[JobType]:
        return {type_ for type_ in JobType if type_.endswith(nouns)}

    assert may == {
        TokenScope.IMAGES: ending("_IMAGE"),
        TokenScope.ECS: ending("_ECS"),
        TokenScope.STORAGE: ending("_DISK", "_BACKUP"),
        TokenScope.SHARING: set(),
    }
    assert rest == {"FORBIDDEN"}
    for token in tokens.values():
        await token.close()


async def code(client: Client, job: Job) -> str:
    """Why a job that has ended is not cancelled."""
    (error,) = (await client.one(CANCEL, id=str(job.id)))["userErrors"]
    said: str = error["code"]
    return said


async def test_job_is_followed_to_its_end(project):
    alice = await project("alice")
    begun = await alice.launch(wait=False)

    async with asyncio.timeout(DEADLINE_S), alice.subscribe(UPDATED, id=begun["jobId"]) as values:
        seen = [value["jobUpdated"] async for value in values]
    async with asyncio.timeout(DEADLINE_S), alice.subscribe(UPDATED, id=begun["jobId"]) as values:
        late = [value["jobUpdated"] async for value in values]

    statuses, fractions = [job["status"] for job in seen], [job["progress"] for job in seen]
    assert statuses[-1] == "SUCCESS"
    assert set(statuses[:-1]) <= {"INIT", "RUNNING"}
    assert fractions == sorted(fractions)
    assert late == [{"status": "SUCCESS", "progress": 1.0}]


async def test_job_events_go_on_behind_a_cursor(project):
    alice, bob = await project("alice"), await project("bob")

    async with asyncio.timeout(DEADLINE_S):
        async with alice.subscribe(EVENTS) as values:
            start = (await anext(values))["jobEvents"]
            begun = await alice.launch(wait=False)
            created = (await anext(values))["jobEvents"]
        await alice.done(begun["jobId"])
        await bob.launch()
        missed = []
        async with alice.subscribe(EVENTS, after=created["cursor"]) as values:
            async for value in values:
                missed.append(value["jobEvents"])
                if missed[-1]["job"]["status"] == "SUCCESS":
                    break
        async with alice.subscribe(EVENTS, after="old.1") as values:
            lost = (await anext(values))["jobEvents"]

    assert (start["type"], start["jobId"], start["job"]) == ("RESYNC", None, None)
    assert (created["type"], created["jobId"], created["job"]["type"]) == ("CREATED", begun["jobId"], "LAUNCH_ECS")
    assert {(event["type"], event["jobId"]) for event in missed} == {("UPDATED", begun["jobId"])}
    assert lost["type"] == "RESYNC"


async def test_cancelled_launch_leaves_machines_that_say_so(project):
    alice = await project("alice")
    begun = await alice.launch(wait=False, count=4)

    asked = await alice.one(CANCEL, id=begun["jobId"])
    job = await alice.wait(begun["jobId"])
    machines = [await until(alice, machine["id"], "ERROR") for machine in begun["all"]]
    viewer = await alice.one("{ viewer { quotas { resource used } } }")

    assert asked["userErrors"] == []
    assert (asked["job"]["cancellable"], job["status"], job["fault"]["code"]) == (False, "CANCELLED", "CANCELLED")
    assert {machine["fault"]["code"] for machine in machines} == {"CANCELLED"}
    assert [disk for machine in machines for disk in machine["disks"]] == []
    assert {quota["used"] for quota in viewer["quotas"]} == {0}
