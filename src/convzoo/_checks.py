"""Checks of arguments that several networks share, each with a readable message."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from convzoo.errors import InputError


def check_count(name: str, value: object) -> int:
    """A whole number of at least 1, of any integer type (numpy's too).

    Args:
        name: The argument, for the message.
        value: What came.

    Returns:
        The number as an `int`.

    Raises:
        InputError: It is not one.
    """
    count = 0
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        count = operator.index(value)
    if count < 1:
        raise InputError(f"{name}: expected an integer of at least 1, got {value!r}")
    return count


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
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0.0 <= value < 1.0:
        return float(value)
    raise InputError(f"{name}: expected a probability in [0, 1), got {value!r}")
