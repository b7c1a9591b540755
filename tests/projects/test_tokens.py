"""Who is calling: good and bad tokens on HTTP and on WebSockets, and what their scopes open."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import uuid4

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app.enums import TokenScope
from app.projects import service as projects
from app.projects.models import ApiToken
from schema import make_schema
from tests.client import Client
from tests.factories import EVERYTHING

VIEWER = "{ viewer { id } }"


async def bad_tokens(good: Client) -> dict[str, str]:
    """Authorization headers that open nothing."""
    assert good.token
    scheme, prefix, secret = good.token.split("_", 2)
    expired = await projects.create_token(await projects.project_named(good.name), "expired", EVERYTHING)
    await ApiToken.filter(prefix=expired.split("_")[1]).update(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    revoked = await projects.create_token(await projects.project_named(good.name), "revoked", EVERYTHING)
    await projects.revoke_token(revoked.split("_")[1])
    return {
        "unknown": f"Bearer img_{uuid4().hex[:8]}_{secret}",
        "another secret": f"Bearer {scheme}_{prefix}_{'x' * len(secret)}",
        "half a secret": f"Bearer {good.token[:-1]}",
        "more than a secret": f"Bearer {good.token}x",
        "in upper case": f"Bearer {good.token.upper()}",
        "expired": f"Bearer {expired}",
        "revoked": f"Bearer {revoked}",
        "no scheme": good.token,
        "another scheme": f"Basic {good.token}",
        "no token": "Bearer",
        "two": f"Bearer {good.token} {good.token}",
        "nonsense": "nonsense",
        "a quote": "Bearer img_' OR 1=1_x",
        "long": "Bearer img_" + "a" * 5000,
    }


async def test_bad_tokens_are_401_and_do_not_say_what_is_wrong(project):
    alice = await project("alice")
    answers = {}

    with capture_logs() as logged:
        for word, header in (await bad_tokens(alice)).items():
            response = await alice.http.post("/graphql", json={"query": VIEWER}, headers={"Authorization": header})
            assert response.status_code == 401, word
            assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
            answers[word] = response.text

    assert len(set(answers.values())) == 1, answers
    assert json.loads(answers["unknown"])["errors"][0]["extensions"] == {"code": "UNAUTHENTICATED"}
    assert [event for event in logged if event["log_level"] in ("error", "critical")] == []


async def test_bad_tokens_close_a_websocket_with_4403(project):
    alice = await project("alice")
    url = alice.url.replace("http", "ws", 1) + "/graphql"

    for word, header in (await bad_tokens(alice)).items():
        async with connect(url, subprotocols=["graphql-transport-ws"]) as socket:  # type: ignore[list-item]
            await socket.send(json.dumps({"type": "connection_init", "payload": {"Authorization": header}}))
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4403, word


async def test_the_schemes_name_may_be_written_in_any_case(project):
    alice = await project("alice")

    for scheme in ("bearer", "BEARER", "Bearer "):
        headers = {"Authorization": f"{scheme} {alice.token}"}
        response = await alice.http.post("/graphql", json={"query": VIEWER}, headers=headers)
        assert response.status_code == 200


async def test_a_token_is_good_until_it_is_revoked(project):
    alice = await project("alice")
    assert alice.token
    await alice.ask(VIEWER)

    await projects.revoke_token(alice.token.split("_")[1])

    assert await alice.codes(VIEWER) == ["UNAUTHENTICATED"]


async def test_without_a_token_one_reads_the_schema_and_nothing_else(project):
    nobody = Client((await project()).url, None)

    assert (await nobody.one("{ __schema { queryType { name } } }"))["queryType"] == {"name": "Query"}
    assert await nobody.ask("{ __typename }") == {"__typename": "Query"}
    for query in (
        VIEWER,
        "{ images { totalCount } }",
        '{ node(id: "x") { id } }',
        '{ project(by: {name: "x"}) { id } }',
    ):
        assert await nobody.codes(query) == ["UNAUTHENTICATED"], query
    query = 'mutation { createKeyPair(input: {name: "x"}) { userErrors { code } } }'
    assert await nobody.codes(query) == ["UNAUTHENTICATED"]
    await nobody.close()


MUTATIONS = {
    "createImage": '{name: "x", source: {ecs: {ecsId: "x"}}}',
    "updateImage": '{imageId: "x", name: "x"}',
    "tagImages": '{imageIds: ["x"], tags: []}',
    "untagImages": '{imageIds: ["x"], keys: []}',
    "deleteImages": '{imageIds: ["x"]}',
    "shareImages": '{imageIds: ["x"], projectIds: ["x"]}',
    "unshareImages": '{imageIds: ["x"], projectIds: ["x"]}',
    "acceptShares": '{imageIds: ["x"]}',
    "rejectShares": '{imageIds: ["x"]}',
    "launchEcs": '{name: "x", imageId: "x", flavorId: "x"}',
    "updateEcs": '{ecsId: "x", name: "x"}',
    "startEcs": '{ecsIds: ["x"]}',
    "stopEcs": '{ecsIds: ["x"]}',
    "rebootEcs": '{ecsIds: ["x"]}',
    "deleteEcs": '{ecsIds: ["x"]}',
    "createEvsDisks": '{name: "x", sizeGib: 10}',
    "updateEvsDisk": '{diskId: "x", name: "x"}',
    "attachEvsDisk": '{diskId: "x", ecsId: "x"}',
    "detachEvsDisk": '{diskId: "x"}',
    "extendEvsDisk": '{diskId: "x", sizeGib: 20}',
    "deleteEvsDisks": '{diskIds: ["x"]}',
    "createBackup": '{ecsId: "x", name: "x"}',
    "restoreBackup": '{backupId: "x", target: {ecsId: "x"}}',
    "deleteBackups": '{backupIds: ["x"]}',
    "createUpload": "{sizeBytes: 1}",
    "exportImage": '{imageId: "x"}',
    "createKeyPair": '{name: "x"}',
    "deleteKeyPair": '{keyPairId: "x"}',
}
BY_ITS_JOB = {"cancelJob"}
"""It needs the scope that the job was begun with."""
MOST_ROOT_FIELDS = 20
"""Of one operation; so mutations are tried in several."""


async def test_a_token_that_only_reads_is_told_so_by_every_mutation(project):
    reader = await project(scopes=[TokenScope.READ])

    answer: dict[str, object] = {}
    left = iter(MUTATIONS.items())
    while some := list(islice(left, MOST_ROOT_FIELDS)):
        document = " ".join(f"{name}(input: {given}) {{ userErrors {{ code }} }}" for name, given in some)
        answer |= await reader.ask(f"mutation {{ {document} }}")

    assert answer == {name: {"userErrors": [{"code": "FORBIDDEN"}]} for name in MUTATIONS}
    mutations = make_schema()._schema.mutation_type
    assert mutations
    assert set(MUTATIONS) | BY_ITS_JOB == set(mutations.fields)


async def test_the_last_use_of_a_token_is_noted(project):
    alice = await project("alice")
    assert alice.token
    rows = ApiToken.filter(prefix=alice.token.split("_")[1])
    assert (await rows.get()).last_used_at is None

    await alice.ask(VIEWER)

    assert (await rows.get()).last_used_at is not None
