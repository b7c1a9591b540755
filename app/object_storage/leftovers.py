"""Uploads in parts that nobody finished: a bucket keeps their bytes, unseen, until they are aborted.

obstore begins and finishes such uploads but cannot list or abort them, so these two requests are signed here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree as ET

import aiohttp
from pydantic import SecretStr
from yarl import URL

ALGORITHM = "AWS4-HMAC-SHA256"
VALID_S = 60
TIMEOUT = aiohttp.ClientTimeout(total=30)
ROUNDS = 5
"""A part that was on its way may come after its upload was aborted, so one looks again; then the next time has to do."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to one bucket in their query (Signature Version 4). `root`: the bucket's URL, without a slash at its end."""

    root: str
    region: str
    access_key_id: str
    secret_access_key: SecretStr

    def url(self, method: str, name: str, query: Mapping[str, str], *, at: datetime) -> str:
        """Where a request may be sent for a minute. `name`: of the object; empty for the bucket itself."""
        root = urlsplit(self.root)
        path = quote(f"{root.path}/{name}")
        day, moment = f"{at:%Y%m%d}", f"{at:%Y%m%dT%H%M%SZ}"
        scope = f"{day}/{self.region}/s3/aws4_request"
        signed = {
            **query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.access_key_id}/{scope}",
            "X-Amz-Date": moment,
            "X-Amz-Expires": str(VALID_S),
            "X-Amz-SignedHeaders": "host",
        }
        text = urlencode(sorted(signed.items()), quote_via=quote, safe="")
        request = f"{method}\n{path}\n{text}\nhost:{root.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
        to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_access_key.get_secret_value()}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        return f"{root.scheme}://{root.netloc}{path}?{text}&X-Amz-Signature={signature}"


async def abort(signer: Signer, key: str) -> int:
    """Abort all unfinished uploads of an object; how many there were.

    Raises: aiohttp.ClientError, TimeoutError.
    """
    aborted = 0
    async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=True) as session:
        for _ in range(ROUNDS):
            ids = await _unfinished(session, signer, key)
            if not ids:
                break
            for upload_id in ids:
                url = signer.url("DELETE", key, {"uploadId": upload_id}, at=datetime.now(UTC))
                async with session.delete(URL(url, encoded=True)) as response:
                    if response.status != 404:  # else somebody was faster
                        response.raise_for_status()
                aborted += 1
    return aborted


async def _unfinished(session: aiohttp.ClientSession, signer: Signer, key: str) -> list[str]:
    url = signer.url("GET", "", {"uploads": "", "prefix": key}, at=datetime.now(UTC))
    async with session.get(URL(url, encoded=True)) as response:
        response.raise_for_status()
        answer = ET.fromstring(await response.text())  # noqa: S314 - of the operator's own storage
    uploads = answer.iterfind("{*}Upload")
    return [upload.findtext("{*}UploadId", "") for upload in uploads if upload.findtext("{*}Key") == key]
