"""The command line: `python -m app --help`. What is heavy to import is imported by the command that needs it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.commands import image
from app.commands.printing import moment, say, show
from app.enums import TokenScope
from app.errors import ServiceError, StartupError

if TYPE_CHECKING:
    from app.settings import Settings

T = TypeVar("T")

HELP = {"help_option_names": ["-h", "--help"]}
cli = typer.Typer(
    help="An image service: make, share and launch images of real machines. Settings come from the environment and .env "
    "(IMAGE_SERVICE_DATA_DIR, IMAGE_SERVICE_PORT, DATABASE_URL, …); options win over them.",
    context_settings=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they show local variables, which hold secrets
)
tokens = typer.Typer(help="API tokens: making, listing and revoking them.", no_args_is_help=True)
projects_ = typer.Typer(help="Projects, the tenants: making and listing them.", no_args_is_help=True)
cli.add_typer(image.cli, name="image")
cli.add_typer(tokens, name="token")
cli.add_typer(projects_, name="project")

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of everything the service keeps.", show_default=".data"),
]
Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Linux = Annotated[
    bool,
    typer.Option(help="With Tiny Linux, a public image that is built from Debian's packages where that can be done."),
]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0: any free one.", show_default="8000")]


@cli.command()
def demo(
    *,
    data: Data = None,
    host: Host = None,
    port: Port = None,
    written: Annotated[
        int, typer.Option(metavar="MIB", min=1, max=1000, help="How much alice's machine writes to its disk.")
    ] = 128,
    linux: Linux = True,
    exit: Annotated[bool, typer.Option("--exit", help="Then remove the demo's machines and stop.")] = False,
) -> None:
    """Start the service on SQLite, walk through its main job as a client, and keep serving.

    Exit status 0 only if every step held. A second run works on what is there.
    """
    # The projects and machines of a demo are not for a database that others use.
    settings = load_settings(data_dir=data, host=host, port=port).model_copy(update={"database_url": None})
    if not run(settings, lambda: _demo(settings, written_mib=written, linux=linux, leave=exit), level="warning"):
        raise typer.Exit(1)


async def _demo(settings: Settings, *, written_mib: int, linux: bool, leave: bool) -> bool:
    from app import serving
    from app.demo import access, walk
    from app.demo import linux as with_linux
    from app.demo.screen import Screen, StepFailed

    serving.stop_on_sigterm()
    screen = Screen()
    with serving.listen(settings.host, settings.port) as listener:
        here = f"{serving.address_of(listener)}/graphql"
        url = serving.endpoint(settings, listener)
        try:
            async with AsyncExitStack() as stack:
                with screen.step("the service starts", expected=(StartupError,)) as step:
                    await stack.enter_async_context(serving.serving(settings, listener))
                    step.detail = url
                with screen.step("projects, tokens and public images are there") as step:
                    given = await access.provide(settings.data_dir, url)
                    step.detail = ", ".join(given.projects)
                if leave:
                    stack.push_async_callback(walk.remove_machines, screen, here, given.tokens)
                await walk.walk(screen, here, given.tokens, written_mib=written_mib)
                login = await with_linux.walk(screen, here, given.tokens["alice"], settings.data_dir) if linux else None
                if not leave:
                    walk.invite(screen, url, given.tokens, settings.data_dir / access.FILE, login=login)
                    await serving.until_stopped()
        except StepFailed:
            return False
    return True


@cli.command()
def serve(
    *,
    data: Data = None,
    host: Host = None,
    port: Port = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="With the demo's projects, tokens (in DATA/demo.json) and public images.")
    ] = False,
    linux: Linux = True,
    work: Annotated[
        bool, typer.Option(help="Run the jobs and the machines, too. Without: PostgreSQL only, beside a `worker`.")
    ] = True,
) -> None:
    """Run the service until Ctrl-C or SIGTERM; machines run on and are found again."""
    settings = load_settings(data_dir=data, host=host, port=port)
    if settings.is_sqlite and not work:
        raise StartupError("With SQLite the service does its work itself; leave --no-work out, or set DATABASE_URL.")
    run(settings, lambda: _serve(settings, demo=demo, linux=linux, work=work))


async def _serve(settings: Settings, *, demo: bool, linux: bool, work: bool) -> None:
    from app import serving

    serving.stop_on_sigterm()
    listener = serving.listen(settings.host, settings.port)
    url = serving.endpoint(settings, listener)
    with listener:
        async with serving.serving(settings, listener, work=work):
            if demo:
                from app.demo import access

                await access.provide(settings.data_dir, url)
            say(f"Serving at {url}; Ctrl-C ends it, machines run on.")
            building = asyncio.create_task(_bring_linux(settings)) if demo and linux else None
            await serving.until_stopped()
            if building is not None:
                building.cancel()
                await asyncio.gather(building, return_exceptions=True)


async def _bring_linux(settings: Settings) -> None:
    """See that there is Tiny Linux, and say so, or why not; meanwhile the service is there."""
    from app.demo.catalogue import install_tiny
    from app.demo.tiny.running import Unavailable

    try:
        said = await install_tiny(settings.data_dir, lambda _done, _note: None)
    except (Unavailable, ServiceError) as error:
        say(f"Tiny Linux is left out: {str(error).rstrip('.')}.")
    else:
        say(f"Tiny Linux is a public image: {said}.")


@cli.command()
def worker(*, data: Data = None) -> None:
    """Run the jobs and the machines alone, beside processes of `serve --no-work`; needs PostgreSQL."""
    settings = load_settings(data_dir=data)
    if settings.is_sqlite:
        raise StartupError("With SQLite the service does its work itself (serve); a worker needs DATABASE_URL.")
    run(settings, lambda: _work(settings))


async def _work(settings: Settings) -> None:
    from app import asgi, serving

    serving.stop_on_sigterm()
    async with asgi.running(settings, work=True):
        say("Working; Ctrl-C ends it, machines run on.")
        await serving.until_stopped()


@cli.command()
def migrate(*, data: Data = None) -> None:
    """Bring the database up to date; on SQLite `serve` does it by itself."""
    settings = load_settings(data_dir=data)
    names = run(settings, lambda: in_database(settings, _migrate, fresh=True))
    print("\n".join(names) if names else "The database is up to date.")


async def _migrate() -> list[str]:
    from app import migrating

    return await migrating.migrate()


@cli.command()
def schema() -> None:
    """Print the GraphQL schema in its own language."""
    from schema import print_sdl

    print(print_sdl(), end="")


@projects_.command("create")
def create_project(name: Annotated[str, typer.Argument(help="1 to 64 characters.")], *, data: Data = None) -> None:
    """Make a project with the default quotas, and print its id."""
    from app.projects import service as projects

    settings = load_settings(data_dir=data)
    print(run(settings, lambda: in_database(settings, lambda: projects.create_project(name))))


@projects_.command("list")
def list_projects(*, data: Data = None) -> None:
    """List the projects."""
    from app.projects import service as projects

    settings = load_settings(data_dir=data)
    rows = run(settings, lambda: in_database(settings, projects.list_projects))
    show(["ID", "NAME", "CREATED"], [[str(row.id), row.name, moment(row.created_at)] for row in rows])


@tokens.command("create")
def create_token(
    *,
    project: Annotated[str, typer.Option(help="The project's name.")],
    scope: Annotated[list[TokenScope], typer.Option(help="What it may be used for; once for each.")],
    name: Annotated[str, typer.Option(help="To tell tokens apart; 1 to 64 characters.")],
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long it is good for: 90m, 12h, 30d, 4w.", show_default="for ever"),
    ] = None,
    data: Data = None,
) -> None:
    """Make a token and print it: this is the only time that it is shown."""
    from app.projects import service as projects

    settings = load_settings(data_dir=data)
    expires_at = None if expires is None else datetime.now(UTC) + duration(expires)

    async def create() -> str:
        project_id = await projects.project_named(project)
        return await projects.create_token(project_id, name, scope, expires_at=expires_at)

    print(run(settings, lambda: in_database(settings, create)))


@tokens.command("list")
def list_tokens(
    *, project: Annotated[str | None, typer.Option(help="Only of this project, by name.")] = None, data: Data = None
) -> None:
    """List tokens, newest first; their secrets are not kept."""
    from app.projects import service as projects

    settings = load_settings(data_dir=data)

    async def find() -> list[Any]:
        return await projects.list_tokens(None if project is None else await projects.project_named(project))

    rows = run(settings, lambda: in_database(settings, find))
    times = ("created_at", "last_used_at", "expires_at", "revoked_at")
    show(
        ["PREFIX", "PROJECT", "NAME", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "REVOKED"],
        [
            [row.prefix, row.project.name, row.name, ",".join(row.scopes), *(moment(getattr(row, t)) for t in times)]
            for row in rows
        ],
    )


@tokens.command("revoke")
def revoke_token(
    prefix: Annotated[str, typer.Argument(help="As `token list` shows it.")], *, data: Data = None
) -> None:
    """Revoke a token: requests fail from now on, open WebSockets within a minute."""
    from app.projects import service as projects

    settings = load_settings(data_dir=data)
    run(settings, lambda: in_database(settings, lambda: projects.revoke_token(prefix)))
    print(f"Revoked {prefix}.")


@cli.command()
def storage(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON object, all numbers are bytes.")
    ] = False,
    data: Data = None,
) -> None:
    """Say what images, backups, disks and the rest take of the storage, and whose it is; the service may run."""
    from rich.console import Console

    from app import storage as storages
    from app.commands import storage as printed
    from app.worker import make_engine

    settings = load_settings(data_dir=data)
    seen = run(settings, lambda: in_database(settings, lambda: storages.look(settings, make_engine(settings).files)))
    if as_json:
        print(printed.as_json(seen))
    else:
        printed.show(seen, Console())


# ---------------------------------------------------------------- what the commands share


def load_settings(**options: object) -> Settings:
    """The settings, with those options that were given.

    Raises: StartupError: one of them is not what it has to be.
    """
    from pydantic import ValidationError

    from app.settings import Settings

    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        name = str(wrong["loc"][0]).upper()
        variable = name if name.endswith("DATABASE_URL") else f"IMAGE_SERVICE_{name}"
        raise StartupError(f"The setting {variable} is wrong: {wrong['msg']}.") from None


def run(settings: Settings, work: Callable[[], Coroutine[Any, Any, T]], *, level: str | None = None) -> T:
    """What the work answers. Ctrl-C ends it without a word."""
    from app import logs

    logs.configure(level or settings.log_level, settings.log_format)
    try:
        return asyncio.run(work())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None


async def in_database(settings: Settings, work: Callable[[], Awaitable[T]], *, fresh: bool = False) -> T:
    """What the work answers, with the database open. `fresh`: it may lack migrations, or be made just now.

    Raises: StartupError: it cannot be opened, is not there, or lacks migrations.
    """
    from app import db, migrating

    if settings.is_sqlite and not fresh and not (settings.data_dir / "service.sqlite").exists():
        raise StartupError(
            f"There is no database in {settings.data_dir}; give the service's folder (--data), or `migrate` first."
        )
    url = settings.database_url.get_secret_value() if settings.database_url else None
    if fresh:
        db.make_folder(settings.data_dir)
    await db.connect(url, settings.data_dir)
    try:
        if not fresh and await migrating.pending():
            raise StartupError("The database is of an earlier version; run `python -m app migrate` first.")
        return await work()
    finally:
        await db.disconnect()


def duration(text: str) -> timedelta:
    """30d as a time.

    Raises: typer.BadParameter.
    """
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None or not int(match[1]):
        raise typer.BadParameter(f"{text!r} is not a number and a unit: 90m, 12h, 30d, 4w.", param_hint="--expires")
    unit = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def main() -> None:
    """Run a command; what it refuses is one sentence, and exit status 1."""
    try:
        cli(prog_name="python -m app")
    except (StartupError, ServiceError) as error:
        say(str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
