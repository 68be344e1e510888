"""Which of several ways to run a network is the quickest, found in a given time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

from convzoo._engines._job import Run

_FAR_BEHIND: Final = 1.25
"""Who takes this many times the leader's time is not run again."""

_ENOUGH: Final = 7
"""Calls after which one more says little."""

_PAUSE: Final = 0.02
"""Seconds after which an engine's threads have stopped waiting for more work."""


def race(runs: Mapping[str, Run], x: Tensor, budget: float) -> dict[str, float]:
    """The least seconds a call of each, taken in turns: what else runs here only adds to them.

    Args:
        runs: What to run, by name; each has run before.
        x: The input.
        budget: Seconds for all calls together; each is called once in any case.

    Returns:
        Name -> seconds.
    """
    until = time.perf_counter() + budget
    samples: dict[str, list[float]] = {name: [] for name in runs}
    field = list(runs)
    while field:
        for name in list(field):
            done = samples[name]
            over = time.perf_counter() + _PAUSE + sum(done[-1:]) > until
            if done and (over or len(done) == _ENOUGH):
                field.remove(name)
            else:
                time.sleep(_PAUSE)
                samples[name].append(seconds(lambda name=name: runs[name](x)))  # type: ignore[misc]
        best = min(min(taken) for taken in samples.values())
        field = [name for name in field if min(samples[name]) < _FAR_BEHIND * best]
        if len(field) == 1 and len(samples) > 1:
            break
    return {name: min(taken) for name, taken in samples.items()}


def seconds(call: Callable[[], object]) -> float:
    """What a call takes, what it starts on a card included."""
    _finish()
    started = time.perf_counter()
    call()
    _finish()
    return time.perf_counter() - started


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
