"""Files by HTTP: from public addresses only, without credentials, cookies or proxies, and without following anybody anywhere."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network, ip_address

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from app.enums import ErrorCode
from app.errors import InvalidInput, Refused
from app.fetching.addresses import NUMERIC, Guard, NotPublic
from app.fetching.base import Dropped, Stream

CONNECT_S, SILENT_S = 10.0, 30.0
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
OPEN_PORTS = frozenset({80, 443})
"""And from 1024 on; the others are other protocols' (mail, SSH), which a request for a file must not be made to speak with."""
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""What a server says that may have it later."""
WITHOUT_THE_REST = frozenset({HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE})
"""What a server says that has another file by now, or counts its bytes in another way."""
READ_BYTES = 64 << 10
"""Twice as much is lost at most when a connection breaks: what aiohttp has read and not handed out."""
HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "image-service"}
PLAIN = re.compile(r"[!-\[\]-~]+")
"""Visible ASCII without the backslash, which some take for a slash."""
NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?")
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
PAGES = ("text/html", "application/xhtml+xml")
PAGE_BEGINS = (b"<!doctype html", b"<html")
UNREACHABLE = "The address's host is not known, or is not a public one."
"""One answer for every host that is not asked: who asks cannot find out by it which ones there are."""


class Web:
    """Reads http:// and https://."""

    def __init__(
        self,
        networks: Sequence[IPv4Network | IPv6Network] = (),
        *,
        resolver: AbstractResolver | None = None,
        connect_s: float = CONNECT_S,
        silent_s: float = SILENT_S,
    ) -> None:
        """`networks`: private ones that may be asked, too. `connect_s`: to find the host and connect; `silent_s`: between bytes."""
        self._guard = Guard(networks, resolver)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s, sock_read=silent_s)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Certificates have to be good, and the host's."""
        return ssl.create_default_context()

    def check(self, url: str) -> None:
        """Raises: InvalidInput: it is not well-formed, names a user, a port of another protocol, or an address that is not public."""
        self._parse(url)

    def _parse(self, text: str, base: URL | None = None) -> URL:
        """What is asked is what was checked: there is no second reading of the text."""
        try:
            url = URL(text, encoded=text.isascii())
            url = base.join(url) if base else url
            host, port = url.raw_host or "", url.port
        except ValueError:
            raise _wrong("The address is not a well-formed URL.") from None
        if url.scheme not in ("http", "https") or not PLAIN.fullmatch(str(url)):
            raise _wrong(
                "The address is not a well-formed URL; other characters than visible ASCII are written as %XX."
            )
        if url.raw_user is not None or url.raw_password is not None:
            raise _wrong("The address must not hold a user name or password.")
        if port is None or not (port in OPEN_PORTS or 1024 <= port <= 65535):
            raise _wrong("Files are fetched from ports 80, 443 and 1024 to 65535.")
        self._check_host(host)
        return url.with_fragment(None)

    def _check_host(self, host: str) -> None:
        try:
            ip_address(host)
        except ValueError:
            if NAME.fullmatch(host) and not NUMERIC.fullmatch(host):
                return
            raise _wrong("The address is not a well-formed URL: its host is no name and no address.") from None
        if not self._guard.allows(host):
            raise _wrong(UNREACHABLE)

    @asynccontextmanager
    async def open(self, url: str, *, offset: int = 0, validator: str | None = None) -> AsyncGenerator[Stream]:
        """As Opener."""
        async with AsyncExitStack() as stack:
            connector = aiohttp.TCPConnector(
                resolver=self._guard,
                socket_factory=self._guard.make_socket,
                use_dns_cache=False,
                force_close=True,
            )
            session = await stack.enter_async_context(
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=self._timeout,
                    headers=HEADERS,
                    auto_decompress=False,
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    read_bufsize=READ_BYTES,
                )
            )
            go_on = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
            response = await self._follow(session, stack, self._parse(url), go_on)
            if go_on and not _continues(response, offset, validator):
                go_on = {}
                if response.status in WITHOUT_THE_REST:
                    response = await self._follow(session, stack, self._parse(url), {})
            _check(response, partial=bool(go_on))
            total = _total(response)
            begin = offset if go_on else 0
            async with aclosing(_chunks(response, is_first=begin == 0)) as chunks:
                yield Stream(begin, total, _validator(response), chunks)

    async def _follow(
        self, session: aiohttp.ClientSession, stack: AsyncExitStack, url: URL, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        """The answer at the end of the redirects, each of which is checked like the first address."""
        for _ in range(MAX_REDIRECTS + 1):
            response = await _ask(session, url, headers, self._tls if url.scheme == "https" else True)
            stack.callback(response.close)
            if response.status not in REDIRECTS:
                return response
            response.close()
            url = self._next(url, response.headers.get("Location", ""))
        raise _failed(f"The server redirects more than {MAX_REDIRECTS} times.")

    def _next(self, url: URL, location: str) -> URL:
        try:
            target = self._parse(location, url)
        except InvalidInput as error:
            raise _failed(f"The server redirects to where files are not fetched from. {error.message}") from None
        if url.scheme == "https" and target.scheme == "http":
            raise _failed("The server redirects from https to http.")
        return target


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(message, field=("url",))


def _failed(message: str) -> Refused:
    return Refused(ErrorCode.FETCH_FAILED, message)


async def _ask(
    session: aiohttp.ClientSession, url: URL, headers: Mapping[str, str], tls: ssl.SSLContext | bool
) -> aiohttp.ClientResponse:
    try:
        return await session.get(url, headers=headers, allow_redirects=False, ssl=tls)
    except aiohttp.ClientConnectorCertificateError:
        raise _failed("The server's certificate is not valid for its name.") from None
    except aiohttp.ClientSSLError:
        raise Dropped("The server does not speak TLS as it should.") from None
    except aiohttp.ClientConnectorDNSError as error:
        if error.os_error.errno == socket.EAI_AGAIN:
            raise Dropped(UNREACHABLE) from None
        raise _failed(UNREACHABLE) from None
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, NotPublic):
            raise _failed(UNREACHABLE) from None
        raise Dropped("The server cannot be reached.") from None
    except aiohttp.InvalidURL:
        raise _failed("The address is not a well-formed URL.") from None
    except TimeoutError:
        raise Dropped("The server does not answer in time.") from None
    except (aiohttp.ClientError, OSError):
        raise Dropped("The server broke the connection before it answered.") from None


def _continues(response: aiohttp.ClientResponse, offset: int, validator: str | None) -> bool:
    """Whether the answer is the rest that was asked for, of the same file."""
    match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    is_rest = response.status == HTTPStatus.PARTIAL_CONTENT and match is not None and int(match[1]) == offset
    return is_rest and _validator(response) in (None, validator)


def _check(response: aiohttp.ClientResponse, *, partial: bool) -> None:
    """Raises: Dropped, Refused."""
    status = response.status
    if status in LATER:
        raise Dropped(f"The server answers with status {status}.")
    if status != (HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK):
        raise _failed(f"The server answers with status {status}.")
    if response.content_type in PAGES:
        raise _failed("What the server has at this address is an HTML page and not a file (status 200).")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _failed("The server sends the file compressed, although it was asked not to.")


def _total(response: aiohttp.ClientResponse) -> int | None:
    match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match:
        return None if match[2] == "*" else int(match[2])
    return response.content_length


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """A strong entity tag, or a date of change that is one (RFC 9110 8.8.2.2): at least a second before the answer."""
    tag = response.headers.get("ETag", "")
    if tag:
        return tag if tag.startswith('"') and PLAIN.fullmatch(tag) else None
    changed = response.headers.get("Last-Modified", "")
    try:
        apart = parsedate_to_datetime(response.headers.get("Date", "")) - parsedate_to_datetime(changed)
    except (TypeError, ValueError):
        return None
    return changed if apart.total_seconds() >= 1 else None


async def _chunks(response: aiohttp.ClientResponse, *, is_first: bool) -> AsyncGenerator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            if is_first and chunk.lstrip()[:16].lower().startswith(PAGE_BEGINS):
                raise _failed("What the server has at this address is an HTML page and not a file (status 200).")
            is_first = False
            yield chunk
    except TimeoutError:
        raise Dropped("The server sends nothing any more.") from None
    except (aiohttp.ClientError, OSError):
        raise Dropped("The connection broke before the file's end.") from None
