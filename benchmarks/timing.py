"""Timing on a noisy machine: candidates take turns, medians are compared, ratios are printed."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    rounds: int = 7,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each candidate by a clock; all of them run once in every round."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        # Every other round backwards: who follows whom must not matter.
        for name, call in list(candidates.items())[:: 1 if turn % 2 else -1]:
            gc.collect()
            started = clock()
            call()
            seconds = clock() - started
            if turn >= warmup:
                samples[name].append(seconds)
    return {name: statistics.median(values) for name, values in samples.items()}


def python(code: str) -> Callable[[], object]:
    """A candidate that runs `code` in a fresh interpreter."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def report(title: str, medians: Mapping[str, float], reference: str) -> None:
    """Print the medians and how many times the reference each of them takes."""
    print(f"\n{title}\n\n| | median | ratio to {reference} |\n|---|---:|---:|")
    for name, seconds in medians.items():
        print(f"| {name} | {1000 * seconds:,.1f} ms | {seconds / medians[reference]:.2f} |")
