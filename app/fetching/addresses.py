"""Which addresses may be dialled: public ones, and those of networks that the operator allows.

Whoever says what is to be fetched must not reach through this host what he cannot reach himself: its own services, its neighbours, the
metadata service of its cloud. The check is of the address that is dialled, not of the name: a name may answer otherwise next time.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

UNICAST = ip_network("2000::/3")
"""All of IPv6 that has been given out (RFC 4291 2.4)."""
NAT64 = ip_network("64:ff9b::/96")
"""RFC 6052: an IPv4 address at its end, which is what is dialled. Where there is no IPv4, all of it is reached like this."""
NOT_REACHED = [
    ip_network(text)
    for text in (
        "168.63.129.16/32",  # a cloud's host, for every machine on it (Azure): public by its number only
        "192.0.0.0/24",  # protocols' own (RFC 6890), one of them another cloud's metadata; Python 3.11 has it as global
        "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
        "2002::/16",  # 6to4 itself: an IPv4 address within
        "3fff::/20",  # documentation (RFC 9637)
    )
]
"""Global by their numbers, as ipaddress knows them, and no place for files."""
NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")
"""A host that somebody takes for a number (URL Standard, 3.5): 2130706433, 0x7f.1, 127.1, 0177.0.0.1."""


class NotPublic(OSError):
    """Not to be dialled."""

    def __init__(self) -> None:
        super().__init__(errno.EACCES, "Not a public address")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether everybody can reach it. IPv6 that stands for IPv4 (mapped, 6to4, Teredo) is not, but what NAT64 makes of a public one is."""
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if isinstance(address, IPv6Address) and address not in UNICAST:
        return False
    unreached = any(address in network for network in NOT_REACHED)
    return address.is_global and not address.is_multicast and not unreached


def is_own(address: IPv4Address | IPv6Address) -> bool:
    """Whether packets to it stay on this host, whose public addresses may have doors that only neighbours are meant to find."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))  # sends nothing: it only looks for the way
        except OSError:
            return False
        return bool(ip_address(probe.getsockname()[0]) == address)


class Guard(AbstractResolver):
    """Answers with addresses that may be dialled, and makes sockets for no others."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network], resolver: AbstractResolver | None = None) -> None:
        """`networks` may be dialled besides."""
        self._networks = tuple(networks)
        self._resolver = resolver

    def allows(self, host: str) -> bool:
        """Whether this address, in its usual spelling, may be dialled."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if any(address in network for network in self._networks):
            return True
        return is_public(address) and not is_own(address)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Those addresses of a host that may be dialled.

        Raises: NotPublic: there are none. OSError.
        """
        resolver = self._resolver or ThreadedResolver()
        answers = await resolver.resolve(host, port, family)
        if not (allowed := [answer for answer in answers if self.allows(answer["host"])]):
            raise NotPublic
        return allowed

    def make_socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for what is dialled in the end, by whatever way it has come here: a number in a URL is never resolved.

        Raises: NotPublic.
        """
        family, type_, protocol, _, address = info
        if not self.allows(str(address[0])):
            raise NotPublic
        return socket.socket(family, type_, protocol)

    async def close(self) -> None:
        """Nothing is open."""
