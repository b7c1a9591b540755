"""Which addresses may be dialled, in whatever spelling, and by whatever way they come."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver

from app.errors import InvalidInput, Refused
from app.fetching.addresses import Guard, NotPublic, is_own, is_public
from app.fetching.web import UNREACHABLE, Web
from tests.fetching.mirror import Mirror, redirect, serving

PUBLIC = ["8.8.8.8", "1.1.1.1", "193.99.144.80", "2606:4700::1111", "2a00:1450:4001::8a", "64:ff9b::8.8.8.8"]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0x7F.0.0.0x1",
    "017700000001",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "localhost",
    "LOCALHOST.",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[fe80::1%25lo]",
    "%31%32%37.0.0.1",
    "①②⑦.⓪.⓪.①",
    "127。0。0。1",
    "0",
    "[::]",
    "[fd00:ec2::254]",
    "169.254.169.254",
    "[::ffff:a9fe:a9fe]",
]


class Answers(AbstractResolver):
    """A name server that answers each time with the next of its answers."""

    def __init__(self, *answers: list[str]) -> None:
        self.left = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": flags,
            }
            for address in self.left.pop(0)
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_may_be_dialled(address):
    assert is_public(ip_address(address))
    assert Guard([]).allows(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_other_address_may_not_be_dialled_unless_the_operator_says_so(address):
    guard = Guard([])

    assert not is_public(ip_address(address))
    assert not guard.allows(address)
    assert Guard([ip_network(address)]).allows(address)
    with pytest.raises(NotPublic):
        guard.make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_public_address_of_this_host_is_known_as_its_own():
    assert is_own(ip_address("127.0.0.1"))
    assert not is_own(ip_address("192.0.2.1"))


async def test_only_those_answers_are_given_that_may_be_dialled():
    guard = Guard([], Answers(["10.0.0.1", "8.8.8.8", "::1"], ["10.0.0.1"], []))

    (allowed,) = await guard.resolve("mixed.example", 80)

    assert allowed["host"] == "8.8.8.8"
    for _ in range(2):
        with pytest.raises(NotPublic):
            await guard.resolve("mixed.example", 80)


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_a_private_address_is_asked(host):
    async with serving(Mirror(b"secret"), "127.0.0.1") as inside:
        with pytest.raises((InvalidInput, Refused)) as refused:
            async with Web().open(f"http://{host}:{inside.port}/latest/meta-data"):
                pass

    assert inside.asked == []
    assert host not in refused.value.message
    if isinstance(refused.value, InvalidInput):
        assert refused.value.field == ("url",)
    else:
        assert (refused.value.code, refused.value.message) == ("FETCH_FAILED", UNREACHABLE)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::1]", "nothing.invalid"])
async def test_redirect_to_a_private_address_is_not_followed_and_says_nothing_of_it(host):
    async with serving(Mirror(), "127.0.0.2") as outside, serving(Mirror(b"secret")) as inside:
        outside.answers = [redirect(f"http://{host}:{inside.port}/key?token=hidden")]
        web = Web([ip_network("127.0.0.2/32")], resolver=Answers(["127.0.0.2"], ["127.0.0.1"]))
        with pytest.raises(Refused) as refused:
            async with web.open(f"http://mirror.example:{outside.port}/f"):
                pass

    assert refused.value.code == "FETCH_FAILED"
    assert "hidden" not in refused.value.message
    assert host not in refused.value.message
    assert len(outside.asked) == 1
    assert inside.asked == []


async def test_name_that_answers_otherwise_the_second_time_is_dialled_at_the_first_answer_or_not_at_all():
    async with serving(Mirror(b"for everybody"), "127.0.0.2") as outside, serving(Mirror(b"secret")) as inside:
        networks = [ip_network("127.0.0.2/32")]
        names = Answers(["127.0.0.2"], ["127.0.0.1"])
        web = Web(networks, resolver=names)
        async with web.open(f"http://rebinds.example:{outside.port}/f") as stream:
            content = b"".join([chunk async for chunk in stream.chunks])
        with pytest.raises(Refused) as refused:
            async with web.open(f"http://rebinds.example:{inside.port}/f"):
                pass

    assert content == b"for everybody"
    assert names.left == []  # it was asked once for each connection, and what it said is what was dialled
    assert (refused.value.code, refused.value.message) == ("FETCH_FAILED", UNREACHABLE)
    assert inside.asked == []


async def test_numbers_are_not_asked_of_a_name_server_and_checked_all_the_same():
    class Never(ThreadedResolver):
        async def resolve(self, *_, **__):
            raise AssertionError("a number was resolved")

    async with serving(Mirror(b"abc")) as mirror:
        web = Web([ip_network("127.0.0.1/32")], resolver=Never())
        async with web.open(mirror.url()) as stream:
            assert b"".join([chunk async for chunk in stream.chunks]) == b"abc"
        with pytest.raises(InvalidInput):
            async with Web(resolver=Never()).open(mirror.url()):
                pass
    assert len(mirror.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://a@example.com/f",
        "http://a:b@example.com/f",
        "https://:b@example.com/f",
        "http://example.com:22/f",
        "http://example.com:25/f",
        "http://example.com:0/f",
        "http://example.com:99999/f",
        "http://example.com:x/f",
        "http:///f",
        "http:f",
        "http://",
        "http://[::1/f",
        "http://exam ple.com/f",
        "http://example.com/f\r\nX: y",
        "http://example.com\\@127.0.0.1/f",
        "http://example..com/f",
        "http://ex_ample.com:80:80/f",
        "ftp://example.com/f",
        "file:///etc/passwd",
        "//example.com/f",
        "",
    ],
)
def test_malformed_address_is_refused_without_asking_anybody(url):
    with pytest.raises(InvalidInput) as refused:
        Web().check(url)

    assert refused.value.field == ("url",)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "https://example.com:443/a/b?c=%2F&d=e+f#g",
        "https://EXAMPLE.com.:8443/x",
        "http://8.8.8.8:1024/x",
        "https://[2606:4700::1111]/x",
        "https://xn--bcher-kva.example/ü",
        "https://bücher.example/x",
    ],
)
def test_good_address_is_taken(url):
    Web().check(url)
