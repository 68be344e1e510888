"""Checks of arguments that several modules share, each with a readable message."""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, SupportsIndex, TypeGuard

from torch import Tensor
from torch.fx import Proxy

from convzoo.errors import InputError, UnknownNameError

LARGEST: Final = 1 << 20
"""More classes or units than any layer of a published network has."""

MOST_CHANNELS: Final = 1 << 16
"""More channels than any image has."""


def check_count(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """A whole number from `least` to `most`, of any integer type (numpy's too).

    Args:
        name: The argument, for the message.
        value: What came.
        least: The smallest number allowed.
        most: The largest; None sets no limit.

    Returns:
        The number as an `int`.

    Raises:
        InputError: It is not one.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        count = operator.index(value)
        if least <= count and (most is None or count <= most):
            return count
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise InputError(f"{name}: expected an integer {limits}, got {value!r:.80}")


def check_counts(**sizes: object) -> None:
    """Refuse what is no number of classes, channels or units, or too large for one.

    Args:
        **sizes: Values by the names of their arguments.

    Raises:
        InputError: One is out of range.
    """
    for name, size in sizes.items():
        check_count(name, size, most=MOST_CHANNELS if name == "in_channels" else LARGEST)


def check_flags(**flags: object) -> None:
    """Refuse what is neither True nor False: `"no"` would count as true.

    Args:
        **flags: Values by the names of their arguments.

    Raises:
        InputError: One is something else.
    """
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise InputError(f"{name}: expected True or False, got {flag!r:.80}")


def check_path(name: str, value: str | os.PathLike[str]) -> Path:
    """A place on this machine, where there need not be anything yet.

    Args:
        name: The argument, for the message.
        value: What came; a leading `~` is the home folder.

    Returns:
        The path.

    Raises:
        InputError: No file can have this name: it is empty, too long, holds NUL, or is in the home
            of nobody.
    """
    path = Path(value)
    if value == "":
        raise InputError(f"{name}: expected a path, got an empty string")
    try:
        path = path.expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:
        wrong = getattr(error, "strerror", None) or error
        text = f"{os.fspath(value)!r:.80}"
        raise InputError(f"{name}: expected a path, got {text}: {wrong}") from None
    return path


def check_tensor(name: str, value: object) -> None:
    """Refuse what is no tensor; what `torch.fx` traces with passes.

    Args:
        name: The argument, for the message.
        value: What came.

    Raises:
        InputError: It is none.
    """
    if not isinstance(value, (Tensor, Proxy)):
        raise InputError(f"{name}: expected a tensor, got {value!r:.80}")


def check_images(
    x: Tensor, in_channels: int, min_size: int, max_size: int | None, name: str
) -> None:
    """Refuse what is no batch of images that a network takes; what `torch.fx` traces with passes.

    Args:
        x: What came.
        in_channels: Channels that the network takes.
        min_size: The smallest side in pixels that it takes.
        max_size: The largest; None sets no limit.
        name: The network's, for the message.

    Raises:
        InputError: It is none.
    """
    if isinstance(x, Proxy):  # torch.fx traces without shapes
        return
    check_tensor("x", x)
    if x.ndim != 4:
        raise InputError(
            f"x: expected a batch of images (B, {in_channels}, H, W), "
            f"got {x.ndim} dimensions, shape {tuple(x.shape)}"
        )
    if not x.is_floating_point():
        raise InputError(
            f"x: expected floating-point images, got {x.dtype}; a preset's transform scales "
            "and normalises them: net.preset.eval()"
        )
    if x.shape[1] != in_channels and x.shape[3] == in_channels:
        raise InputError(
            f"x: expected (B, {in_channels}, H, W), got {tuple(x.shape)}, which looks "
            "like channels last: x.permute(0, 3, 1, 2)"
        )
    if x.shape[1] != in_channels:
        raise InputError(
            f"x: expected {in_channels} channel(s), got {x.shape[1]} "
            f"(shape {tuple(x.shape)}); build the network with in_channels={x.shape[1]}, "
            "or convert the images with its preset"
        )
    height, width = x.shape[2], x.shape[3]
    if height < min_size or width < min_size:
        raise InputError(
            f"x: {name} needs images of at least {min_size} x {min_size} "
            f"pixels, got {height} x {width}"
        )
    if max_size is not None and (height > max_size or width > max_size):
        raise InputError(
            f"x: {name} needs images of at most {max_size} x {max_size} "
            f"pixels, got {height} x {width}"
        )


def check_number(
    name: str, value: object, least: float = -math.inf, most: float = math.inf
) -> float:
    """A finite number from `least` to `most`.

    Args:
        name: The argument, for the message.
        value: What came.
        least: The smallest number allowed.
        most: The largest.

    Returns:
        The number as a `float`.

    Raises:
        InputError: It is not one.
    """
    if _is_real(value):
        with contextlib.suppress(OverflowError):  # an int beyond all floats
            number = float(value)
            if math.isfinite(number) and least <= number <= most:
                return number
    if most < math.inf:
        limits = f"number from {least:g} to {most:g}"
    else:
        limits = "finite number" + (f" of at least {least:g}" if least > -math.inf else "")
    raise InputError(f"{name}: expected a {limits}, got {value!r:.80}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of some words.

    Args:
        name: The argument, for the message.
        value: What came.
        choices: The words, as `typing.get_args` lists those of a `Literal`.

    Raises:
        UnknownNameError: It is none; the nearest words are suggested.
    """
    if value not in choices:
        raise UnknownNameError(name, value, choices)


def check_probability(name: str, value: object) -> float:
    """A number in [0, 1).

    Args:
        name: The argument, for the message.
        value: What came.

    Returns:
        The number as a `float`.

    Raises:
        InputError: It is not one.
    """
    if _is_real(value) and 0.0 <= value < 1.0:
        return float(value)
    raise InputError(f"{name}: expected a probability in [0, 1), got {value!r}")


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)  # numpy's too


def check_labels(
    labels: Sequence[str] | None, num_classes: int, *, unique: bool = False
) -> tuple[str, ...] | None:
    """Names of classes, one for each.

    Args:
        labels: The names, in the order of the scores; None where they are not known.
        num_classes: Classes that the network scores.
        unique: Whether a name may come only once. Published sets repeat some: ImageNet has two
            classes called "crane".

    Returns:
        The names as a tuple, or None.

    Raises:
        InputError: They are not strings, too few or too many, or not unique.
    """
    if labels is None:
        return None
    if isinstance(labels, str):
        raise InputError(f"labels: expected a sequence of names, got the string {labels!r}")
    if not isinstance(labels, Sequence):
        raise InputError(f"labels: expected a sequence of names, got {labels!r:.80}")
    for index, name in enumerate(labels):
        if not isinstance(name, str):
            raise InputError(f"labels: expected strings, got {name!r:.80} for class {index}")
    if len(labels) != num_classes:
        raise InputError(
            f"labels: expected one name for each of the {num_classes} classes, got {len(labels)}"
        )
    if unique and len(set(labels)) != len(labels):
        twice = next(name for name in labels if list(labels).count(name) > 1)
        raise InputError(f"labels: expected a name of its own for each class, got {twice!r} twice")
    return tuple(labels)
