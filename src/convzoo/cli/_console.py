"""What the commands say, and where."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import click


def is_main_process() -> bool:
    """Whether this is the one process of a distributed run that speaks and writes."""
    return os.environ.get("RANK", "0") == "0"


def bars_wanted(quiet: bool) -> bool:
    """Whether progress bars would be seen: on a terminal only, so that a log has plain lines."""
    return not quiet and sys.stderr.isatty() and is_main_process()


def speaker(quiet: bool) -> Callable[[str], None]:
    """A function that prints a line, from one process only, and not when quiet."""

    def say(text: str) -> None:
        if not quiet and is_main_process():
            click.echo(text)
            sys.stdout.flush()  # a log is read while it grows

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
        click.echo(f"Warning: {text}", err=True)


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as a table with aligned columns."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
