"""Serial consoles: the end of the output, and the output as it comes."""

import asyncio

import pytest

from tests.client import DEADLINE_S, Refusal
from tests.ecs.looking import operate

LOG = "query($id: ID!, $n: Int!) { ecsInstance(id: $id) { consoleLog(tailBytes: $n) { text startOffset endOffset } } }"
FOLLOW = (
    "subscription($id: ID!, $from: BigInt) { ecsConsole(id: $id, fromOffset: $from) { text startOffset endOffset } }"
)


async def test_console_log_is_the_end_of_the_output(project):
    alice = await project("alice")
    machine_id = (await alice.launch(userData="note wörd\n"))["id"]
    await alice.console(machine_id, until="READY")

    whole = (await alice.one(LOG, id=machine_id, n=65536))["consoleLog"]
    end = (await alice.one(LOG, id=machine_id, n=7))["consoleLog"]
    last = (await alice.one(LOG, id=machine_id, n=1))["consoleLog"]

    size = len(whole["text"].encode())
    assert (whole["startOffset"], whole["endOffset"]) == (0, size)
    assert "wörd" in whole["text"]
    assert end == {"text": "READY\r\n", "startOffset": size - 7, "endOffset": size}
    assert last == {"text": "\n", "startOffset": size - 1, "endOffset": size}


async def test_consoles_are_refused_outside_their_range_below_a_list_and_to_others(project):
    alice, bob = await project("alice"), await project("bob")
    begun = await alice.launch(count=2)

    for tail_bytes in (0, -1, 65537):
        answer = await alice.answer(LOG, id=begun["id"], n=tail_bytes)
        extensions = answer["errors"][0]["extensions"]
        assert (extensions["code"], extensions["field"]) == ("INVALID_INPUT", ["tailBytes"])
        assert answer["data"] == {"ecsInstance": {"consoleLog": None}}
    assert await alice.codes("{ ecsInstances { nodes { consoleLog { text } } } }") == ["INVALID_INPUT"] * 2
    with pytest.raises(Refusal, match="INVALID_INPUT"):
        async with alice.subscribe(FOLLOW, id=begun["id"], **{"from": -1}) as values:
            await anext(values)
    with pytest.raises(Refusal, match="NOT_FOUND"):
        async with bob.subscribe(FOLLOW, id=begun["id"], **{"from": 0}) as values:
            await anext(values)
    assert await bob.one(LOG, id=begun["id"], n=100) is None


async def test_console_goes_on_from_an_offset_and_ends_with_the_machine(project):
    alice = await project("alice")
    machine_id = (await alice.launch(userData="note " + "€" * 150 + "\n"))["id"]
    chunks = []

    async with asyncio.timeout(DEADLINE_S):
        async with alice.subscribe(FOLLOW, id=machine_id, **{"from": 0}) as values:
            async for value in values:
                chunks.append(value["ecsConsole"])
                if "READY\r\n" in "".join(chunk["text"] for chunk in chunks):
                    break
        offset = chunks[-1]["endOffset"]
        async with alice.subscribe(FOLLOW, id=machine_id, **{"from": offset - 7}) as values:
            again = (await anext(values))["ecsConsole"]
            await operate(alice, "stopEcs", machine_id)
            rest = (await anext(values))["ecsConsole"]
            await operate(alice, "deleteEcs", machine_id)
            left = [value async for value in values]

    text = "".join(chunk["text"] for chunk in chunks)
    assert "€" * 150 in text
    assert "\N{REPLACEMENT CHARACTER}" not in text
    assert chunks[0]["startOffset"] == 0
    assert [one["endOffset"] for one in chunks[:-1]] == [one["startOffset"] for one in chunks[1:]]
    assert offset == len(text.encode())
    assert again == {"text": "READY\r\n", "startOffset": offset - 7, "endOffset": offset}
    assert rest["startOffset"] == offset
    assert "BYE" in rest["text"] + "".join(value["ecsConsole"]["text"] for value in left)
