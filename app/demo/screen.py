"""How the demo shows itself: a line for each step with its time, and on a terminal a bar while it lasts.

Without a terminal there are the lines alone, without control characters.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import structlog
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

log = structlog.get_logger(__name__)

WIDTH = 52
"""Of a step's title, so that the times stand below each other."""


class StepFailed(Exception):
    """A step did not hold; it has been shown."""


class Step:
    """A step that is under way."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress, self._task = progress, progress.add_task(title, total=None, note="")
        self.detail = ""
        """What is shown behind the time."""
        self.seconds = 0.0
        """How long it took, once it is over."""

    def done(self, fraction: float, note: str = "") -> None:
        """Show how far it is: 0.0 to 1.0."""
        self._progress.update(self._task, total=1.0, completed=fraction, note=note)


class Screen:
    """Standard output, or another console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, markup=False, soft_wrap=True)
        can_draw = (self.console.encoding or "").lower().startswith("utf")
        self._good, self._bad = ("✓", "✗") if can_draw else ("ok", "FAILED")

    def say(self, text: str = "") -> None:
        """Print a line as it is."""
        self.console.print(text)

    @contextmanager
    def step(self, title: str, *, expected: tuple[type[Exception], ...] = ()) -> Iterator[Step]:
        """Time what happens inside, and print a line of it.

        Raises: StepFailed: something went wrong; but what is expected passes through as it is.
        """
        progress = Progress(
            SpinnerColumn("line"),
            TextColumn("{task.description}", markup=False),
            BarColumn(24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        begun = time.perf_counter()
        step = Step(progress, title)
        try:
            with progress:
                yield step
        except expected:
            raise
        except Exception as error:
            self._line(self._bad, title, time.perf_counter() - begun, detail="", style="bold red")
            self.say(f"      {type(error).__name__}: {error}")
            log.debug("step failed", exc_info=True)
            raise StepFailed(title) from error
        step.seconds = time.perf_counter() - begun
        self._line(self._good, title, step.seconds, detail=step.detail, style="green")

    def _line(self, mark: str, title: str, seconds: float, *, detail: str, style: str) -> None:
        shown = "".join(char if char.isprintable() else " " for char in detail)  # consoles may say anything
        text = Text.assemble("  ", (mark, style), f" {title:<{WIDTH}} {seconds:7.2f} s   ", (shown, "dim"))
        text.rstrip()
        self.console.print(text)

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print aligned columns."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.say("  " + "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
