"""Files that come in pieces, late, short, changed, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from contextlib import suppress
from pathlib import Path

import pytest

from app.errors import LimitExceeded, ServiceError
from app.fetching import folder
from app.fetching.fetch import Patience, fetch
from app.fetching.web import Web
from tests.fetching.conftest import LOOPBACK
from tests.fetching.mirror import CHANGED, NOW, Mirror, endless, redirect, saying, serving, silent_after

MIB = 1 << 20
LOST = 256 << 10
"""What may have come and not been written down when a connection breaks."""
SHORT = Patience(tries=3, first_wait_s=0.0, silent_s=5.0)


class Stopped(Exception):
    """By whoever wants the file."""


@pytest.fixture
def path(tmp_path) -> Path:
    return folder.path_of(tmp_path, "11111111-1111-1111-1111-111111111111")


async def never(done: int, total: int | None) -> None:
    pass


async def get(web: Web, url: str, path: Path, **more) -> str:
    given = {"max_bytes": 1 << 30, "reserve_bytes": 0, "beat": never, "patience": SHORT}
    return await fetch(web, url, path, **given | more)


async def failure(web: Web, url: str, path: Path, **more) -> tuple[str, str]:
    with pytest.raises(ServiceError) as failed:
        await get(web, url, path, **more)
    return failed.value.code, failed.value.message


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_file_is_fetched_once_and_is_there_when_it_is_asked_for_again(web, mirror, path):
    first = await get(web, mirror.url(), path)
    second = await get(web, mirror.url(), path)

    assert first == second == sha256(mirror.content)
    assert path.read_bytes() == mirror.content
    assert len(mirror.asked) == 1
    headers = mirror.asked[0].headers
    assert headers["accept-encoding"] == "identity"
    assert not headers.keys() & {"cookie", "authorization", "referer", "range"}


async def test_dropped_connections_are_continued_where_they_broke(web, mirror, path):
    cuts = sorted(random.sample(range(LOST, len(mirror.content)), 5))
    mirror.answers = [*(mirror.cut(cut) for cut in cuts), mirror.good]

    fetched = await get(web, mirror.url(), path, patience=Patience(tries=9, first_wait_s=0.0))

    assert fetched == sha256(mirror.content)
    assert path.read_bytes() == mirror.content
    assert all(cut - LOST <= offset <= cut for offset, cut in zip(mirror.offsets, [0, *cuts], strict=True))
    assert all(asked.headers["if-range"] == '"one"' for asked in mirror.asked[1:])


async def test_file_that_changes_meanwhile_is_fetched_from_its_beginning(web, mirror, path):
    async def changed(asked):
        mirror.content, mirror.etag = b"other" * MIB, '"two"'
        await mirror.cut(2 * MIB)(asked)

    mirror.answers = [mirror.cut(2 * MIB), changed, mirror.good]

    fetched = await get(web, mirror.url(), path)

    assert fetched == sha256(b"other" * MIB)
    assert path.read_bytes() == b"other" * MIB
    assert mirror.offsets == [0, 2 * MIB, 2 * MIB]
    assert mirror.asked[2].headers["if-range"] == '"two"'


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": 'W/"weak"'},
        {"ETag": "bare"},
        {"Last-Modified": NOW, "Date": NOW},
        {"Last-Modified": CHANGED},
        {"Last-Modified": "yesterday", "Date": NOW},
    ],
)
async def test_without_a_strong_validator_it_begins_anew(web, mirror, path, headers):
    size = len(mirror.content)

    async def cut(asked):
        await asked.head("200 OK", Content_Length=size, **headers)
        await asked.send(mirror.content[:MIB])

    mirror.answers = [cut, saying("200 OK", mirror.content, **headers)]

    fetched = await get(web, mirror.url(), path)

    assert fetched == sha256(mirror.content)
    assert mirror.offsets == [0, 0]
    assert "if-range" not in mirror.asked[1].headers


async def test_date_of_change_long_before_the_answer_is_a_validator(web, mirror, path):
    size = len(mirror.content)

    async def cut(asked):
        await asked.head("200 OK", Content_Length=size, Last_Modified=CHANGED, Date=NOW)
        await asked.send(mirror.content[:MIB])

    async def rest(asked):
        span = f"bytes {MIB}-{size - 1}/{size}"
        await asked.head("206 Partial", Content_Length=size - MIB, Content_Range=span)
        await asked.send(mirror.content[MIB:])

    mirror.answers = [cut, rest]

    assert await get(web, mirror.url(), path) == sha256(mirror.content)
    assert mirror.asked[1].headers["if-range"] == CHANGED


@pytest.mark.parametrize(
    "answer",
    [
        saying("416 Range Not Satisfiable"),
        saying("206 Partial", b"x" * 10, Content_Range="bytes 5-14/20"),
        saying("206 Partial", b"x" * 10),
        saying("206 Partial", b"x" * 10, Content_Range="lines 1-2/3"),
        saying("206 Partial", b"x", ETag='"two"', Content_Range=f"bytes {MIB}-{MIB}/{MIB + 1}"),
    ],
)
async def test_answer_that_is_not_the_rest_is_thrown_away(web, mirror, path, answer):
    mirror.answers = [mirror.cut(MIB), answer, mirror.good]

    assert await get(web, mirror.url(), path) == sha256(mirror.content)
    assert mirror.offsets == [0, MIB, 0]


async def test_attempt_after_a_kill_goes_on_from_what_was_durable_if_the_file_is_the_same(web, mirror, path):
    async def stop(done, total):
        if done >= MIB:
            raise Stopped

    async def stalled(asked):
        await mirror.cut(MIB)(asked)
        await asked.hang()

    mirror.answers = [stalled, mirror.good]
    with pytest.raises(Stopped):
        await get(web, mirror.url(), path, beat=stop)
    # What a kill leaves: bytes behind those that were noted.
    with path.open("ab") as file:
        file.write(b"never synced")

    fetched = await get(web, mirror.url(), path)

    assert fetched == sha256(mirror.content)
    assert mirror.offsets == [0, MIB]
    assert mirror.asked[1].headers["if-range"] == '"one"'


async def test_attempt_after_a_kill_begins_anew_if_the_file_is_another_or_what_was_noted_is_lost(web, mirror, path):
    path.parent.mkdir()
    path.write_bytes(b"x" * MIB)
    note = path.with_suffix(".json")
    note.write_text(json.dumps({"offset": MIB, "total_bytes": 3 * MIB, "validator": '"old"', "sha256": None}))

    other = await get(web, mirror.url(), path)
    path.write_bytes(b"x" * 10)
    lost = await get(web, mirror.url(), path)
    note.write_text("{")
    path.write_bytes(b"x" * 10)
    unreadable = await get(web, mirror.url(), path)

    assert other == lost == unreadable == sha256(mirror.content)
    assert mirror.offsets == [MIB, 0, 0]


async def test_all_bytes_are_there_but_the_last_note_is_not_and_nothing_is_asked_again(web, mirror, path):
    path.parent.mkdir()
    path.write_bytes(mirror.content)
    note = {"offset": len(mirror.content), "total_bytes": len(mirror.content), "validator": '"one"', "sha256": None}
    path.with_suffix(".json").write_text(json.dumps(note))

    assert await get(web, mirror.url(), path) == sha256(mirror.content)
    assert mirror.asked == []


@pytest.mark.parametrize("status", ["301 a", "302 a", "303 a", "307 a", "308 a"])
async def test_five_redirects_are_followed_and_no_sixth(web, mirror, path, status):
    hops = [redirect(f"/hop?{number}", status) for number in range(5)]
    mirror.answers = [*hops, mirror.good]
    assert await get(web, mirror.url(), path) == sha256(mirror.content)
    mirror.answers = [*hops, redirect("/last", status), mirror.good]

    refused = await failure(web, mirror.url(), path.with_name("other.part"))

    assert refused == ("FETCH_FAILED", "The server redirects more than 5 times.")
    assert len(mirror.asked) == 12
    assert mirror.asked[1].path == "/hop?0"


@pytest.mark.parametrize(
    "to", ["ftp://example.com/", "http://a:b@example.com/", "http://example.com:22/", "http://[", "\x7f"]
)
async def test_redirect_to_what_is_not_fetched_from_is_refused(web, mirror, path, to):
    mirror.answers = [redirect(to)]

    code, message = await failure(web, mirror.url(), path)

    assert code == "FETCH_FAILED"
    assert message.startswith("The server redirects to where files are not fetched from.")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (saying("404 Not Found", b"secret"), "The server answers with status 404."),
        (saying("401 Unauthorized", WWW_Authenticate="Basic"), "The server answers with status 401."),
        (saying("204 No Content"), "The server answers with status 204."),
        (saying("206 Partial", b"x", Content_Range="bytes 0-0/1"), "The server answers with status 206."),
        (saying("304 Not Modified"), "The server answers with status 304."),
        (
            saying("200 OK", b"x", Content_Type="text/html; charset=utf-8"),
            "What the server has at this address is an HTML page and not a file (status 200).",
        ),
        (
            saying("200 OK", b"\n<!DOCTYPE html><p>Log in", Content_Type="application/octet-stream"),
            "What the server has at this address is an HTML page and not a file (status 200).",
        ),
        (
            saying("200 OK", b"\x1f\x8b", Content_Encoding="gzip"),
            "The server sends the file compressed, although it was asked not to.",
        ),
        (saying("200 OK"), "The file at this address is empty."),
    ],
)
async def test_answer_that_is_no_file_fails_at_once(web, mirror, path, answer, message):
    mirror.answers = [answer]

    assert await failure(web, mirror.url("/f?signature=hidden"), path) == ("FETCH_FAILED", message)
    assert len(mirror.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_server_that_is_overloaded_is_asked_again(web, mirror, path, status):
    mirror.answers = [saying(f"{status} Later"), saying(f"{status} Later"), mirror.good]

    assert await get(web, mirror.url(), path) == sha256(mirror.content)


async def test_tries_end_and_say_why(web, mirror, path):
    mirror.answers = [saying("503 Later")]
    overloaded = await failure(web, mirror.url("/f?signature=hidden"), path)
    assert len(mirror.asked) == 3
    mirror.answers = [mirror.cut(0)]
    broken = await failure(web, mirror.url(), path)
    async with serving(Mirror()) as gone:
        url = gone.url()
    absent = await failure(web, url, path)

    assert overloaded == ("FETCH_FAILED", "The server answers with status 503. It was tried 3 times.")
    assert broken == ("FETCH_FAILED", "The connection broke before the file's end. It was tried 3 times.")
    assert absent == ("FETCH_FAILED", "The server cannot be reached. It was tried 3 times.")


async def test_server_that_always_breaks_at_the_same_place_is_given_up(web, mirror, path):
    mirror.etag = None
    mirror.answers = [mirror.cut(2 * MIB)]

    code, _ = await failure(web, mirror.url(), path)

    assert code == "FETCH_FAILED"
    assert mirror.offsets == [0, 0, 0]


async def test_tries_that_bring_it_further_are_not_counted(web, mirror, path):
    mirror.content = random.randbytes(6 * MIB)
    mirror.answers = [*(mirror.cut(cut * 3 * MIB // 2) for cut in (1, 2, 3)), mirror.good]

    assert await get(web, mirror.url(), path, patience=Patience(tries=2, first_wait_s=0.0)) == sha256(mirror.content)
    assert len(mirror.asked) == 4


async def test_file_that_is_too_large_is_refused_by_its_length_or_once_too_much_has_come(web, mirror, path):
    mirror.answers = [silent_after(b"", 9 * MIB)]
    told = await failure(web, mirror.url(), path, max_bytes=8 * MIB)
    mirror.answers = [endless]
    untold = await failure(web, mirror.url(), path, max_bytes=8 * MIB)
    mirror.answers = []
    just = await get(web, mirror.url(), path.with_name("other.part"), max_bytes=len(mirror.content))

    message = f"A file has at most {8 * MIB} bytes; the one at this address has more."
    assert told == untold == (LimitExceeded.code, message)
    assert just == sha256(mirror.content)
    assert path.stat().st_size <= 8 * MIB


async def test_length_that_is_a_lie_is_not_believed(web, mirror, path):
    mirror.answers = [mirror.cut(len(mirror.content), length=len(mirror.content) + 5)]
    more = await failure(web, mirror.url(), path)
    mirror.answers = [mirror.cut(len(mirror.content), length=MIB)]
    cut = await get(web, mirror.url(), path.with_name("less.part"))

    assert more[0] == "FETCH_FAILED"
    assert cut == sha256(mirror.content[:MIB])  # the rest belongs to nothing


async def test_reserve_of_the_disk_is_not_touched(web, mirror, path):
    told = await failure(web, mirror.url(), path, reserve_bytes=1 << 60)
    mirror.answers = [endless]
    untold = await failure(web, mirror.url(), path, reserve_bytes=1 << 60)

    assert told == untold == ("INSUFFICIENT_STORAGE", "The service has no room for the file.")
    assert path.stat().st_size == 0


async def test_server_that_falls_silent_or_drips_is_left(mirror, path):
    web = Web([LOOPBACK], silent_s=0.1)
    mirror.answers = [silent_after(b"x" * 10, 100)]
    silent = await failure(web, mirror.url(), path)

    async def drip(asked):
        await asked.head("200 OK", Content_Length=1000)
        with suppress(ConnectionError):
            while True:
                await asked.send(b"x")
                await asyncio.sleep(0.01)

    mirror.answers = [drip]
    slow = Patience(tries=2, first_wait_s=0.0, slow_s=0.1, slow_bytes=1000)
    dripping = await failure(web, mirror.url(), path, patience=slow)
    mirror.answers = [drip]
    late = await failure(web, mirror.url(), path, patience=Patience(total_s=0.2))

    assert silent == ("FETCH_FAILED", "The server sends nothing any more. It was tried 3 times.")
    assert dripping == ("FETCH_FAILED", "The server sends too slowly. It was tried 2 times.")
    assert late[0] == "TIMED_OUT"


async def test_who_stops_it_need_not_wait_for_the_server_and_finds_it_closed(web, mirror, path):
    async def stop(done, total):
        raise Stopped

    async def deaf(asked):
        await asked.hang()

    mirror.answers = [deaf]
    async with asyncio.timeout(4):
        with pytest.raises(Stopped):
            await get(web, mirror.url(), path, beat=stop)
        await mirror.asked[0].hang()  # we have hung up


async def test_second_writer_of_a_file_is_refused(web, mirror, path):
    seen = asyncio.Event()

    async def deaf(asked):
        seen.set()
        await asked.hang()

    mirror.answers = [deaf]
    first = asyncio.create_task(get(web, mirror.url(), path))
    await seen.wait()

    with pytest.raises(BlockingIOError):
        await get(web, mirror.url(), path)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    mirror.answers = []
    assert await get(web, mirror.url(), path) == sha256(mirror.content)


async def test_proxies_of_the_environment_are_not_used(web, mirror, path, monkeypatch):
    async with serving(Mirror(b"of the proxy")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url("/"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)

        assert await get(web, mirror.url(), path) == sha256(mirror.content)
    assert proxy.asked == []


async def test_cookies_are_neither_kept_nor_sent(web, mirror, path):
    async def setting(asked):
        await asked.head("302 Found", Location="/there", Set_Cookie="a=b", Content_Length=0)

    mirror.answers = [setting, mirror.good]

    await get(web, mirror.url(), path)

    assert "cookie" not in mirror.asked[1].headers


def test_files_and_notes_go_together_and_what_is_no_image_s_is_left_alone(tmp_path):
    path = folder.path_of(tmp_path, "11111111-1111-1111-1111-111111111111")
    path.parent.mkdir()
    for name in (path.name, path.with_suffix(".json").name, path.with_suffix(".json.new").name, "note.txt"):
        (path.parent / name).write_bytes(b"{}")

    assert {str(id_) for id_ in folder.image_ids(tmp_path)} == {path.stem}
    folder.remove(tmp_path, path.stem)
    assert [left.name for left in path.parent.iterdir()] == ["note.txt"]


def test_waits_grow_and_end():
    patience = Patience(first_wait_s=0.5, longest_wait_s=3)

    assert [patience.wait_s(tries) for tries in (1, 2, 3, 4, 60)] == [0.5, 1, 2, 3, 3]
