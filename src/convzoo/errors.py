"""What can go wrong, by name.

Every error that convzoo raises on purpose derives from [ConvzooError][convzoo.ConvzooError],
so that one `except` catches them all. Those that report a bad argument are `ValueError`s too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConvzooError(Exception):
    """The root of every error that convzoo raises on purpose."""


class InputError(ConvzooError, ValueError):
    """An argument or an input tensor is not what the call expects."""


class UnknownNameError(InputError):
    """A name (of a model, a set of weights, a stage, an option) that does not exist.

    Args:
        kind: What the name should have named, e.g. `"model"`.
        name: What came.
        known: The names that exist; the nearest ones are suggested.
    """

    kind: str
    name: str
    suggestions: tuple[str, ...]

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        names = sorted(known)
        text = name if isinstance(name, str) else repr(name)
        near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
        if not isinstance(name, str):  # typed callers cannot, others do
            hint = f"expected a string, such as {names[0]!r}" if names else "expected a string"
        elif near:
            hint = "did you mean " + " or ".join(repr(n) for n in near) + "?"
        elif len(names) <= 12:
            hint = "expected " + (", ".join(repr(n) for n in names) or "none: there are none")
        else:
            hint = f"expected one of {len(names)} names, such as {names[0]!r} or {names[-1]!r}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")
        self.kind = kind
        self.name = text
        self.suggestions = tuple(near)

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle by calling the class with `args` (the message alone); worker
        # processes send these across, so say how to rebuild one.
        return (_rebuild_unknown_name, (self.args, self.kind, self.name, self.suggestions))


def _rebuild_unknown_name(
    args: tuple[object, ...], kind: str, name: str, suggestions: tuple[str, ...]
) -> UnknownNameError:
    error = UnknownNameError.__new__(UnknownNameError)
    error.args = args
    error.kind, error.name, error.suggestions = kind, name, suggestions
    return error


class CheckpointError(ConvzooError, RuntimeError):
    """A checkpoint does not fit the network, or a saved folder is not whole.

    The message holds missing, unexpected and wrongly shaped keys together.
    """


class WeightsError(ConvzooError, RuntimeError):
    """Weights could not be found, fetched or read."""


class CorruptWeightsError(WeightsError):
    """A weights file is not the one that was published: its sha256 differs."""


class DataError(ConvzooError, RuntimeError):
    """An image or a data folder cannot be used; the message names the file."""


class MissingExtraError(ConvzooError, ImportError):
    """An optional dependency is not installed; the message says what to install."""
