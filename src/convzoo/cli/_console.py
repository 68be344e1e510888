"""What the commands say, and where."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def is_main_process() -> bool:
    """Whether this is the one process of a distributed run that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def bars_wanted(quiet: bool) -> bool:
    """Whether progress bars would be seen: on a terminal only, so that a log has plain lines."""
    seen = sys.stderr is not None and sys.stderr.isatty()  # None where it was closed
    return not quiet and seen and is_main_process()


def echo(text: str, *, err: bool = False) -> None:
    """Print what may hold names of files and classes.

    Control characters, which could move the cursor or rename the window, bytes of a file's name
    that are not UTF-8, and letters that the terminal's encoding lacks come as escapes.
    """
    stream = sys.stderr if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    plain = _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)
    click.echo(plain.encode(encoding, "backslashreplace").decode(encoding), err=err)


JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, not text.")


def print_json(value: object) -> None:
    """Print the one JSON document of a command."""
    echo(json.dumps(value, indent=2))


def complain(text: str) -> None:
    """Print on standard error; where nobody can hear it, the exit status has to do."""
    with suppress(OSError):
        echo(text, err=True)


def speaker(quiet: bool) -> Callable[[str], None]:
    """A function that prints a line, from one process only, and not when quiet."""

    def say(text: str) -> None:
        if not quiet and is_main_process():
            try:
                echo(text)  # flushes: a log is read while it grows
            except OSError:  # a training goes on when its reader has gone, or the log is full
                let_go_of_stdout()

    return say


@contextmanager
def checking(*, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar for `image_folder(on_check=...)`, or None where none is to be shown."""
    if not shown:
        yield None
        return
    from tqdm import tqdm

    with tqdm(desc="checking images", unit="image", leave=False) as bar:

        def on_check(done: int, count: int) -> None:
            bar.total, bar.n = count, done
            bar.refresh()

        yield on_check


def warn(text: str) -> None:
    """Print a line on standard error, whether quiet or not."""
    if is_main_process():
        complain(f"Warning: {text}")


def let_go_of_stdout() -> None:
    """Send the rest of the output nowhere; Python would complain once more at exit."""
    if sys.stdout is not None:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as a table with aligned columns."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
