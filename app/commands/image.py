"""`python -m app image`: a client of a service that may run anywhere. What is heavy to import is imported by the command that needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from app.commands.printing import say, show

if TYPE_CHECKING:
    from app.transfer.client import Client, Progress

T = TypeVar("T")

cli = typer.Typer(help="Images of a running service, as a client of its API.", no_args_is_help=True)
Url = Annotated[str, typer.Option(envvar="IMAGE_SERVICE_URL", help="Where the service answers.")]
Token = Annotated[str, typer.Option(envvar="IMAGE_SERVICE_TOKEN", help="A token of your project: img_…")]
LOCAL = "http://127.0.0.1:8000"


@cli.command("upload")
def upload_image(
    file: Annotated[Path, typer.Argument(help="The file to send, of any size that the service takes.")],
    *,
    token: Token,
    url: Url = LOCAL,
) -> None:
    """Send a file to the service and print its upload's id, of which images are made.

    After an interruption the same command goes on where it was.
    """
    print(as_client(url, token, lambda client: _upload(client, file)))


async def _upload(client: Client, file: Path) -> str:
    from app.transfer.uploading import upload

    with bar(file.name) as progress:
        sent = await upload(client, file, progress)
    say(f"{file.name} has arrived, SHA-256 {sent['checksum']['value']}.")
    return str(sent["id"])


@cli.command("list")
def list_images(*, token: Token, url: Url = LOCAL) -> None:
    """List the images that your project can use."""
    rows = as_client(url, token, _images)
    header = ["ID", "NAME", "KIND", "STATUS", "VISIBILITY", "OWNER", "MIB"]
    show(header, rows)


async def _images(client: Client) -> list[list[str]]:
    return [
        [
            *(image[name] for name in ("id", "name", "kind", "status", "visibility")),
            image["owner"]["name"],
            "-" if image["sizeBytes"] is None else str(-(-image["sizeBytes"] >> 20)),
        ]
        async for image in client.images()
    ]


# ---------------------------------------------------------------- what the commands share


def as_client(url: str, token: str, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
    """What the work answers with a client of a service. What does not work is one sentence, and exit status 1."""
    from app.transfer.client import TransferFailed, connected

    async def answer() -> T:
        async with connected(url, token) as client:
            return await work(client)

    try:
        return asyncio.run(answer())
    except TransferFailed as error:
        say(str(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def bar(name: str) -> Iterator[Progress]:
    """A bar of bytes on a terminal, which goes when it is done; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    title = TextColumn("{task.description}", markup=False)
    with Progress(title, *columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
