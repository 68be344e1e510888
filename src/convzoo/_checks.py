"""Checks of arguments that several modules share, each with a readable message."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from typing import SupportsIndex, TypeGuard

from convzoo.errors import InputError


def check_count(name: str, value: object, *, least: int = 1) -> int:
    """A whole number of at least `least`, of any integer type (numpy's too).

    Args:
        name: The argument, for the message.
        value: What came.
        least: The smallest that will do.

    Returns:
        The number as an `int`.

    Raises:
        InputError: It is not one.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        count = operator.index(value)
        if count >= least:
            return count
    raise InputError(f"{name}: expected an integer of at least {least}, got {value!r}")


def check_number(name: str, value: object, *, least: float = 0.0) -> float:
    """A finite number of at least `least`.

    Args:
        name: The argument, for the message.
        value: What came.
        least: The smallest that will do.

    Returns:
        The number as a `float`.

    Raises:
        InputError: It is not one.
    """
    if _is_number(value) and least <= value < math.inf:
        return float(value)
    raise InputError(f"{name}: expected a finite number of at least {least:g}, got {value!r}")


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
    if _is_number(value) and 0.0 <= value < 1.0:
        return float(value)
    raise InputError(f"{name}: expected a probability in [0, 1), got {value!r}")


def check_fraction(name: str, value: object) -> float:
    """A number in [0, 1], both ends included.

    Args:
        name: The argument, for the message.
        value: What came.

    Returns:
        The number as a `float`.

    Raises:
        InputError: It is not one.
    """
    if _is_number(value) and 0.0 <= value <= 1.0:
        return float(value)
    raise InputError(f"{name}: expected a number in [0, 1], got {value!r}")


def _is_number(value: object) -> TypeGuard[float]:
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
