"""Certificates have to be good, and the host's; what began encrypted stays so."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from app.errors import Refused
from app.fetching.web import Web
from tests.fetching.mirror import Mirror, redirect, serving
from tests.fetching.test_addresses import Answers

NAME = "mirror.example"
NO_GOOD = "The server's certificate is not valid for its name."


def certify(folder: Path, name: str = NAME) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that has signed itself, which is also left in `folder` for those who trust it."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    certificate = (
        builder.not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "trusted.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "server.pem").write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


@pytest.fixture
async def secure(tmp_path, monkeypatch) -> AsyncIterator[Mirror]:
    """A mirror with TLS, trusted as an operator would have it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    async with serving(Mirror(b"signed", tls=certify(tmp_path), host=NAME)) as mirror:
        yield mirror


def web(answers: int = 1) -> Web:
    return Web([ip_network("127.0.0.0/8")], resolver=Answers(*[["127.0.0.1"]] * answers))


async def read(web: Web, url: str) -> bytes:
    async with web.open(url) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


async def test_certificate_that_is_trusted_and_the_host_s_is_taken(secure):
    assert await read(web(), secure.url()) == b"signed"


async def test_certificate_of_another_name_is_refused_before_anything_is_asked(secure):
    with pytest.raises(Refused) as by_name:
        await read(web(), secure.url().replace(NAME, "other.example"))
    with pytest.raises(Refused) as by_address:
        await read(web(), secure.url().replace(NAME, "127.0.0.1"))

    for refused in (by_name, by_address):
        assert (refused.value.code, refused.value.message) == ("FETCH_FAILED", NO_GOOD)
    assert secure.asked == []


async def test_certificate_that_nobody_vouches_for_is_refused_before_anything_is_asked(secure, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(Refused) as refused:
        await read(web(), secure.url())

    assert (refused.value.code, refused.value.message) == ("FETCH_FAILED", NO_GOOD)
    assert secure.asked == []


async def test_redirect_may_lead_into_tls_and_never_out_of_it(secure):
    async with serving(Mirror(b"plain")) as plain:
        plain.answers = [redirect(secure.url()), plain.good]
        inwards = await read(web(2), plain.url())
        secure.answers = [redirect(plain.url())]
        with pytest.raises(Refused) as refused:
            await read(web(2), secure.url())

    assert inwards == b"signed"
    assert (refused.value.code, refused.value.message) == ("FETCH_FAILED", "The server redirects from https to http.")
    assert len(plain.asked) == 1
