"""The pictures of docs/evidence.md, from the log of evidence.py: means over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]
PLAIN, RESIDUAL = "#c44e52", "#4c72b0"


def of(rows: Sequence[Row], experiment: str, variant: str) -> list[Row]:
    """The runs of one variant, a seed each."""
    return [r for r in rows if (r["experiment"], r["variant"]) == (experiment, variant)]


def mean_course(runs: Sequence[Row], key: str) -> list[float]:
    """Epoch by epoch, the mean over the runs that were still going on."""
    courses = [run["result"]["course"][key] for run in runs]
    longest = max(len(course) for course in courses)
    return [statistics.mean(c[at] for c in courses if at < len(c)) for at in range(longest)]


def quickest(rows: Sequence[Row], experiment: str, start: str) -> str:
    """The variant of those that start so that needed fewest epochs."""
    epochs: dict[str, list[int]] = {}
    for row in rows:
        if row["experiment"] == experiment and row["variant"].startswith(start):
            epochs.setdefault(row["variant"], []).append(row["epochs"])
    return min(epochs, key=lambda variant: statistics.mean(epochs[variant]))


def curve(axes: Axes, runs: Sequence[Row], key: str, label: str, colour: str, line: str) -> None:
    """The mean, and each seed faintly behind it."""
    for run in runs:
        values = run["result"]["course"][key]
        axes.plot(range(1, len(values) + 1), values, color=colour, alpha=0.25, linewidth=0.8)
    mean = mean_course(runs, key)
    axes.plot(range(1, len(mean) + 1), mean, color=colour, linestyle=line, label=label)
    axes.set_xlabel("epoch")
    axes.grid(visible=True, alpha=0.3)


def speed(rows: Sequence[Row]) -> Figure:
    """ReLU against tanh, and batch norm against none, each at its quickest rate."""
    known = {row["experiment"] for row in rows}
    shown = [
        panel
        for panel in (
            ("activation", "error", "training error, %", ("ReLU", "tanh"), (25, 10)),
            (
                "batch-norm",
                "held_out_error",
                "error on held-out images, %",
                ("batch norm", "as it is"),
                (20, 16),
            ),
        )
        if panel[0] in known
    ]
    figure = Figure(figsize=(max(6.0, 4.5 * len(shown)), 3.8), dpi=100, layout="constrained")
    for axes, (experiment, key, title, starts, goals) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        for start, colour, line in zip(starts, (RESIDUAL, PLAIN), ("-", "--"), strict=True):
            variant = quickest(rows, experiment, start)
            curve(axes, of(rows, experiment, variant), key, variant, colour, line)
        for goal in goals:
            axes.axhline(goal, color="grey", linewidth=0.8, linestyle=":")
        axes.set_ylabel(title)
        axes.legend()
    return figure


def early_stopping(rows: Sequence[Row]) -> Figure:
    """The loss of the images it trains on, and of those that it does not."""
    figure = Figure(figsize=(6.0, 3.8), dpi=100, layout="constrained")
    axes = figure.subplots()
    runs = of(rows, "early-stopping", "after 60 epochs")
    curve(axes, runs, "loss", "training", RESIDUAL, "-")
    curve(axes, runs, "held_out_loss", "held-out images", PLAIN, "-")
    for patience in (3, 10):
        stopped = of(rows, "early-stopping", f"patience {patience}")
        epoch = statistics.mean(run["epochs"] for run in stopped)
        axes.axvline(epoch, color="grey", linestyle=":")
        axes.text(epoch + 0.4, 1.4, f"patience {patience}", va="top", rotation=90, fontsize=9)
    axes.set_ylabel("loss")
    axes.legend()
    return figure


def depth(rows: Sequence[Row]) -> Figure:
    """Training error by epoch, and the gradient by layer before and after training."""
    figure = Figure(figsize=(11.0, 3.8), dpi=100, layout="constrained")
    panels = figure.subplots(1, 3)
    panels[2].sharey(panels[1])
    for kind, colour in (("plain", PLAIN), ("residual", RESIDUAL)):
        for layers, line in ((20, "--"), (56, "-")):
            label = f"{kind}, {layers} layers"
            runs = of(rows, "depth", label)
            curve(panels[0], runs, "error", label, colour, line)
            for axes, when in zip(panels[1:], ("before", "after"), strict=True):
                norms = [run["result"]["gradients"][when] for run in runs]
                means = [statistics.geometric_mean(layer) for layer in zip(*norms, strict=True)]
                axes.plot(range(1, len(means) + 1), means, color=colour, linestyle=line)
    panels[0].set_ylabel("training error, %")
    panels[0].legend(fontsize=8)
    for axes, when in zip(panels[1:], ("before training", "after training"), strict=True):
        axes.set_title(f"gradients {when}", fontsize=10)
        axes.set_yscale("log")
        axes.set_xlabel("layer, from the first to the last")
        axes.grid(visible=True, alpha=0.3)
    panels[1].set_ylabel("norm of the gradient")
    return figure


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Write each picture whose runs are there."""
    known = {row["experiment"] for row in rows}
    for name, needs, drawn in (
        ("speed", {"activation"}, speed),
        ("early_stopping", {"early-stopping"}, early_stopping),
        ("depth", {"depth"}, depth),
    ):
        if needs <= known:
            drawn(rows).savefig(folder / f"evidence_{name}.png")
