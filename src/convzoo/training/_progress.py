"""What a training shows while it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class Progress:
    """Bars on standard error and a line an epoch on standard output.

    Args:
        wanted: Whether to show them; None does where somebody looks on, at a terminal or in a
            notebook.
        main: Whether this process is the one that speaks.

    Attributes:
        bars: Whether bars are shown.
    """

    def __init__(self, wanted: bool | None, *, main: bool) -> None:
        seen = _notebook()
        self.bars: bool = main and (seen or _terminal(sys.stderr) if wanted is None else wanted)
        self._lines = main and (seen or _terminal(sys.stdout) if wanted is None else wanted)

    def bar(self, items: Iterable[T], title: str, *, done: int, total: int) -> Iterable[T]:
        """The items themselves, or behind a bar."""
        if not self.bars:
            return items
        from tqdm import tqdm

        bar: Iterable[T] = tqdm(
            items, desc=title, leave=False, unit="step", initial=done, total=total
        )
        return bar

    def line(self, text: str) -> None:
        """Say something that stays."""
        if self._lines:
            print(text, flush=True)  # noqa: T201 # it is what was asked for


def _terminal(stream: object) -> bool:
    asked = getattr(stream, "isatty", None)  # the stream is None where it was closed
    return asked is not None and bool(asked())


def _notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
