"""Checks of what users hand to the presets, each with a readable message."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, get_args

from ..errors import InputError, UnknownNameError


def describe(value: object) -> str:
    """`value` as an error message names it: its type, and the value itself if that is short."""
    text = repr(value)
    kind = type(value).__name__
    return f"{kind} {text}" if len(text) <= 60 else kind


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def count(name: str, value: object, *, least: int = 1, most: int | None = None) -> None:
    """Refuse what is not a whole number from `least` to `most`."""
    if not (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= least
        and (most is None or value <= most)
    ):
        limits = f">= {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"{name} must be a whole number {limits}, got {describe(value)}")


def size(name: str, value: object) -> int | tuple[int, int]:
    """A side or (height, width), in pixels; equal sides become one number."""
    sides = (value, value) if _is_int(value) else value
    if (
        not isinstance(sides, (tuple, list))
        or len(sides) != 2
        or not all(_is_int(side) and side >= 1 for side in sides)
    ):
        raise InputError(
            f"{name} must be a side or (height, width) in pixels, all >= 1, got {describe(value)}"
        )
    height, width = sides
    return int(height) if height == width else (int(height), int(width))


def choice(name: str, value: object, literal: Any) -> None:
    """Refuse what is not one of a Literal's strings."""
    names: tuple[str, ...] = get_args(literal)
    if not isinstance(value, str):
        raise InputError(f"{name} must be one of {names}, got {describe(value)}")
    if value not in names:
        raise UnknownNameError(name, value, names)


def per_channel(name: str, value: object, channels: int) -> tuple[float, ...]:
    """One finite number a channel, as a tuple of floats."""
    if not isinstance(value, (tuple, list)) or not all(_is_real(v) for v in value):
        raise InputError(
            f"{name} must be a tuple of finite numbers, one a channel, got {describe(value)}"
        )
    if len(value) != channels:
        raise InputError(
            f"{name} must have one number for each of {channels} channels, got {len(value)}: "
            f"{tuple(value)}"
        )
    return tuple(float(v) for v in value)


def real(name: str, value: object, least: float, most: float) -> None:
    """Refuse what is not a number from `least` to `most`."""
    if not (_is_real(value) and least <= value <= most):  # type: ignore[operator] # a number by now
        limits = f">= {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise InputError(f"{name} must be a number {limits}, got {describe(value)}")


def interval(name: str, value: object, least: float, most: float = math.inf) -> None:
    """Refuse what is not a pair (low, high) with least < low <= high <= most."""
    if (
        not isinstance(value, (tuple, list))
        or len(value) != 2
        or not all(_is_real(v) for v in value)
        or not least < value[0] <= value[1] <= most
    ):
        limits = f"{least:g} < low <= high" + ("" if most == math.inf else f" <= {most:g}")
        raise InputError(f"{name} must be (low, high) with {limits}, got {describe(value)}")


def field_message(missing: Sequence[str], unknown: Sequence[object], known: Sequence[str]) -> str:
    """One line that names missing and unknown fields, with the nearest known name of each."""
    parts = []
    if missing:
        parts.append("missing " + ", ".join(repr(name) for name in missing))
    for name in unknown:
        near = difflib.get_close_matches(str(name), known, n=1)
        parts.append(f"unknown {name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    return f"wrong preset fields: {'; '.join(parts)}. The fields are {', '.join(known)}"
