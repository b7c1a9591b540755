"""The service as an ASGI application: its routes, and what lives as long as it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from app import db, events, migrating, object_storage, reserve
from app.auth import authenticate
from app.downloads import REQUEST_HEADERS as DOWNLOAD_REQUEST_HEADERS
from app.downloads import RESPONSE_HEADERS as DOWNLOAD_RESPONSE_HEADERS
from app.downloads import Downloads, open_export, open_image
from app.ecs.flavors import install_flavors
from app.errors import StartupError
from app.exports import janitor as exports
from app.exports import shelf
from app.exports.service import delete_export
from app.fetching import schemes
from app.settings import Settings
from app.tus import REQUEST_HEADERS, RESPONSE_HEADERS, Tus
from app.uploads import intake, janitor
from app.worker import introduce, make_engine, owning, working
from schema import make_schema
from schema.limits import Limits
from schema.playground import CONTENT_SECURITY_POLICY, INDEX, routes
from schema.requests import base_url
from schema.view import Doorway, Page, View


def create_app(settings: Settings, *, work: bool = True) -> Starlette:
    """The service. `work`: run the engine and the jobs in this process too; on SQLite there is no other to do it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(settings, work=work):
            app.state.ready = True
            yield
            app.state.ready = False

    page = Page(html=INDEX, content_security_policy=CONTENT_SECURITY_POLICY)
    doorway = Doorway(allowed_origins=settings.allowed_origins)
    reached = partial(base_url, public_url=settings.public_url)
    graphql = View(
        make_schema(Limits(time_s=settings.operation_timeout_s)),
        authenticate=authenticate,
        page=page,
        doorway=doorway,
        base_url=reached,
    )
    tus = Tus(authenticate=authenticate, base_url=reached)
    downloads = [
        Route("/images/{id}/file", Downloads(open_image, authenticate=authenticate)),
        Route("/exports/{id}", Downloads(open_export, authenticate=authenticate, delete=delete_export)),
    ]
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_methods=["GET", "POST", "HEAD", "PATCH", "DELETE", "OPTIONS"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "GraphQL-Require-Preflight",
            "X-Request-Id",
            *REQUEST_HEADERS,
            *DOWNLOAD_REQUEST_HEADERS,
        ],
        expose_headers=[*RESPONSE_HEADERS, *DOWNLOAD_RESPONSE_HEADERS],
        max_age=600,
    )
    app = Starlette(
        routes=[*_routes(graphql, tus), *downloads, *routes()],
        middleware=[cors] if settings.allowed_origins else [],
        lifespan=lifespan,
    )
    app.state.ready = False
    return app


def _routes(graphql: View, tus: Tus) -> list[BaseRoute]:
    return [
        Route("/graphql", graphql),
        WebSocketRoute("/graphql", graphql),
        Route("/uploads", tus),
        Route("/uploads/{id}", tus),
        Route("/", home),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
    ]


@asynccontextmanager
async def running(settings: Settings, *, work: bool) -> AsyncIterator[None]:
    """The database, its events, and the work behind the requests.

    Raises: StartupError: with the remedy.
    """
    url = settings.database_url.get_secret_value() if settings.database_url else None
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(object_storage.opened(settings))
        db.make_folder(settings.data_dir)
        if work:
            await stack.enter_async_context(reserve.kept(settings.data_dir, settings.records_reserve_bytes))
        engine = make_engine(settings)
        introduce(engine)
        shelf.use(shelf.Shelf(settings.data_dir, timedelta(hours=settings.export_kept_h)))
        schemes.use(settings)
        if work and url is None:  # first: the file is not brought up to date under another version that works on it
            await stack.enter_async_context(owning(engine))
        await db.connect(url, settings.data_dir)
        stack.push_async_callback(db.disconnect)
        if url is None:
            await migrating.migrate()
        elif behind := await migrating.pending():
            raise StartupError(f"The database lacks {len(behind)} migrations; run `python -m app migrate` first.")
        await stack.enter_async_context(events.relay(url))
        await install_flavors()
        if work and url is not None:
            await stack.enter_async_context(owning(engine))
        await stack.enter_async_context(intake.opened(settings))
        if work:
            await stack.enter_async_context(janitor.tidying())
            await stack.enter_async_context(exports.tidying(settings.data_dir))
            await stack.enter_async_context(working(settings, engine))
        yield


async def home(request: Request) -> Response:
    """The playground is the front page."""
    return RedirectResponse("/graphql")


async def healthz(request: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """The service is open, and the database answers."""
    if not request.app.state.ready:
        return JSONResponse({"status": "starting"}, status_code=503)
    try:
        await db.execute("SELECT 1")
    except Exception as error:  # noqa: BLE001 - each driver fails in its own way
        return JSONResponse({"status": "database", "detail": type(error).__name__}, status_code=503)
    return JSONResponse({"status": "ready"})
