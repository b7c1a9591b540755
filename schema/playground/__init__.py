"""The playground: GraphiQL as the service serves it itself, with no CDN and under a strict content policy.

`source/` holds what was written here, `dist/` what `./build` makes of it; both are committed, so that
installing the service needs no Node. The page talks to `/graphql` on its own origin, by HTTP and WebSocket.
It takes a token from the fragment of its address, `/graphql#token=img_...`, which no browser sends to a
server, and a document from the query string, `/graphql?query=...`: the view has to answer a browser's GET
(`Accept: text/html`) with the page even then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIST: Final = Path(__file__).parent / "dist"

EXAMPLES: Final = Path(__file__).parent / "source" / "examples"
"""The documents of the example tabs: one `.graphql` file each, some with a `.variables.json` beside it."""

INDEX: Final[bytes] = (DIST / "index.html").read_bytes()
"""The HTML page, UTF-8. Goes out with CONTENT_SECURITY_POLICY and uncached: it names the current assets."""

# Monaco puts <style> elements into the page, and its icons and GraphiQL's fonts are data: URLs.
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; "
    "style-src 'self' 'unsafe-inline'; "
    "font-src 'self' data:; "
    "img-src 'self' data:; "
    "worker-src 'self' blob:; "
    # These three do not fall back to default-src.
    "base-uri 'none'; "
    "form-action 'none'; "
    "frame-ancestors 'none'"
)

# `base` in source/vite.config.js: the page asks for its assets here.
_URL_PREFIX: Final = "/static/graphiql"
# A year stands for ever; `immutable` (RFC 8246) also spares the question on a reload.
_FOREVER: Final = "public, max-age=31536000, immutable"


def routes() -> list[BaseRoute]:
    """Routes of the files that the page loads, all below `/static/graphiql`."""
    return [Mount(_URL_PREFIX, app=_PlaygroundFiles(directory=DIST), name="graphiql")]


class _PlaygroundFiles(StaticFiles):
    """Static files that a browser keeps for good where their name holds a hash of their content."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        is_hashed = Path(full_path).parent.name == "assets"
        response.headers["Cache-Control"] = _FOREVER if is_hashed else "no-cache"
        response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
