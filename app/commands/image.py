"""`python -m app image`: a client of a service that may run anywhere. What is heavy to import is imported by the command that needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import unquote, urlsplit

import typer

from app.commands.printing import say, show
from app.enums import DiskFormat, ExportFormat, ImageKind, OsType

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
    name: Annotated[
        str | None, typer.Option(help="Make an image of it with this name, and print the image's id.")
    ] = None,
    kind: Annotated[
        ImageKind, typer.Option(case_sensitive=False, help="What the image is to hold.")
    ] = ImageKind.SYSTEM_DISK,
    format: Annotated[
        DiskFormat | None,
        typer.Option(case_sensitive=False, help="What the file has to be.", show_default="as it turns out"),
    ] = None,
    os: Annotated[
        OsType | None, typer.Option(case_sensitive=False, help="What it boots.", show_default="what is found out")
    ] = None,
    token: Token,
    url: Url = LOCAL,
) -> None:
    """Send a file to the service and print its upload's id, of which images are made.

    After an interruption the same command goes on where it was.
    """
    source = {
        "kind": kind.value,
        "format": format.value if format else None,
        "os": {"type": os.value} if os else None,
    }
    print(as_client(url, token, lambda client: _upload(client, file, name, source)))


async def _upload(client: Client, file: Path, name: str | None, source: dict[str, Any]) -> str:
    from app.transfer.uploading import make_image, upload

    with bar(file.name) as progress:
        sent = await upload(client, file, progress)
    say(f"{file.name} has arrived, SHA-256 {sent['checksum']['value']}.")
    if name is None:
        return str(sent["id"])
    with bar(name, in_bytes=False) as progress:
        return await make_image(client, name, {"upload": source | {"uploadId": sent["id"]}}, progress)


@cli.command("import")
def import_image(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="https://, http://, or s3:// in the service's storage.")
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="What to call the image.", show_default="the last part of ADDRESS")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="What the file's SHA-256 has to be.")] = None,
    kind: Annotated[ImageKind, typer.Option(help="What the image is to hold.")] = ImageKind.SYSTEM_DISK,
    format: Annotated[
        DiskFormat | None, typer.Option(help="What the file has to be.", show_default="as it turns out")
    ] = None,
    os: Annotated[OsType | None, typer.Option(help="What it boots.", show_default="what is found out")] = None,
    token: Token,
    url: Url = LOCAL,
) -> None:
    """Have the service fetch a file and make an image of it, and print the image's id.

    The service goes on when this command is interrupted.
    """
    source = {
        "url": address,
        "sha256": sha256,
        "kind": kind.value,
        "format": format.value if format else None,
        "os": {"type": os.value} if os else None,
    }
    called = name or unquote(urlsplit(address).path).rpartition("/")[2]
    print(as_client(url, token, lambda client: _import(client, called, source)))


async def _import(client: Client, name: str, source: dict[str, Any]) -> str:
    from app.transfer.uploading import make_image

    with bar(name, in_bytes=False) as progress:
        return await make_image(client, name, {"url": source}, progress)


@cli.command("download")
def download_image(
    image: Annotated[str, typer.Argument(help="Its name, or its id.")],
    file: Annotated[
        Path | None, typer.Argument(help="Where to put it: a file or a folder.", show_default="NAME.FORMAT here")
    ] = None,
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The same.")] = None,
    format: Annotated[
        ExportFormat | None,
        typer.Option(case_sensitive=False, help="Have the service convert it first.", show_default="as it is kept"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    token: Token,
    url: Url = LOCAL,
) -> None:
    """Fetch an image as a disk file, and print the file's name.

    After an interruption the same command goes on where it was. What has arrived is compared with the service's checksum.
    """
    if file and output:
        raise typer.BadParameter("give the file once, as FILE or with --output.", param_hint="--output")
    print(as_client(url, token, lambda client: _download(client, image, file or output, format, force=force)))


async def _download(client: Client, image: str, to: Path | None, format: ExportFormat | None, *, force: bool) -> str:
    from app.transfer.client import TransferFailed
    from app.transfer.downloading import download, export, find_image

    found = await find_image(client, image)
    suffix = (format.value if format else found["diskFormat"]).lower()
    path = to or Path()
    if path.is_dir():
        path /= Path(f"{found['name']}.{suffix}").name
    if path.exists() and not force:
        raise TransferFailed(f"{path} is there already; give another FILE, or --force.")
    file = {"url": found["downloadUrl"], "checksum": found["checksum"]}
    if format:
        with bar(f"{found['name']} as {format.value}", in_bytes=False) as progress:
            file = await export(client, found["id"], format.value, progress)
    expected = file["checksum"] and file["checksum"]["value"]
    with bar(path.name) as progress:
        sha256 = await download(client, file["url"], path, sha256=expected, on_progress=progress)
    compared = "as it is in the service" if expected else "which the service has not worked out yet"
    say(f"{path.name} is here, SHA-256 {sha256}, {compared}.")
    return str(path)


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
def bar(name: str, *, in_bytes: bool = True) -> Iterator[Progress]:
    """A bar of bytes, or of per cent, on a terminal, which goes when it is done; elsewhere nothing."""
    from rich import progress as columns
    from rich.console import Console

    console = Console(stderr=True)
    title, left = columns.TextColumn("{task.description}", markup=False), columns.TimeRemainingColumn()
    numbers = [columns.DownloadColumn(), columns.TransferSpeedColumn()] if in_bytes else [columns.TaskProgressColumn()]
    shown = (title, columns.BarColumn(), *numbers, left)
    with columns.Progress(*shown, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
