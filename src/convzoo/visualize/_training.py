"""Pictures of training: how it went, and which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from convzoo.errors import InputError
from convzoo.training import Evaluation, History, LRCurve
from convzoo.visualize._drawing import Path, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LABELS = 40  # beyond it, a confusion matrix's labels would overlap


def learning_curve(
    history: History | Sequence[History],
    path: Path = None,
    *,
    phases: Sequence[str] = (),
) -> Figure:
    """Loss and accuracy by epoch, of one run or of several phases one after the other.

    The epoch that each run kept is marked, where a validation set chose it.

    Args:
        history: What `fit` returned; several are drawn one after the other, with a line between.
        path: Where to write the picture; the suffix says in which format. None does not.
        phases: Names of the phases, for the picture.

    Returns:
        The figure, 900 x 400 pixels when written as PNG.

    Raises:
        InputError: There is no epoch to draw.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> from convzoo.training import EpochRecord, History
        >>> from convzoo.visualize import learning_curve
        >>> epochs = [EpochRecord(n, 1 / n, 0.8, 1.2 / n, 0.7, 0.01, 2.0) for n in (1, 2, 3)]
        >>> figure = learning_curve(History(tuple(epochs), 3, "finished"), "curve.png")
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['loss', 'accuracy']
    """
    histories = [history] if isinstance(history, History) else list(history)
    if not all(isinstance(one, History) for one in histories):
        raise InputError(f"history: expected one or several of fit's, got {history!r:.80}")
    records = [record for one in histories for record in one.epochs]
    if not records:
        raise InputError("history: has no epoch to draw")
    figure = new_figure(9.0, 4.0)
    loss, accuracy = figure.subplots(1, 2)
    epochs = range(1, len(records) + 1)
    _line(loss, epochs, [r.train_loss for r in records], "training")
    _line(loss, epochs, [r.val_loss for r in records], "validation")
    _line(accuracy, epochs, [r.train_accuracy for r in records], "training")
    _line(accuracy, epochs, [r.val_accuracy for r in records], "validation")
    _line(loss, epochs, [r.ema_val_loss for r in records], "of averaged weights")
    _line(accuracy, epochs, [r.ema_val_accuracy for r in records], "of averaged weights")
    for axes, label in ((loss, "loss"), (accuracy, "accuracy")):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        # Half an epoch to each side: room for one epoch alone, and for the names of the phases.
        axes.set_xlim(0.5, len(records) + 0.5)
        axes.grid(visible=True, alpha=0.3)
        if phases:
            axes.set_title(" ", fontsize="small")  # room above the axes for their names
        start = 0
        for number, one in enumerate(histories):
            if start:
                axes.axvline(start + 0.5, color="grey", linestyle=":")
            if number < len(phases) and one.epochs:
                # The last one stands at the right, so that the edge does not cut it off.
                last = 0 < number == len(histories) - 1
                name = axes.annotate(
                    phases[number],
                    (len(records) + 0.5 if last else start + 0.6, 1.01),
                    xycoords=("data", "axes fraction"),
                    fontsize="small",
                    color="grey",
                    ha="right" if last else "left",
                )
                name.set_in_layout(False)
            if one.best is not None and one.best.better is not None:
                value = one.best.better[1 if axes is loss else 0]
                place = start + 1 + one.epochs.index(one.best)
                label = f"kept: epoch {place}"
                axes.scatter([place], [value], marker="*", s=110, color="C1", zorder=3, label=label)
            start += len(one.epochs)
        if axes.lines:
            axes.legend()
    return save(figure, path)


def confusion_matrix(result: Evaluation, path: Path = None, *, title: str | None = None) -> Figure:
    """Which classes are taken for which: one row a true class, shares of the row as shades.

    Args:
        result: What `evaluate` returned.
        path: Where to write the picture; the suffix says in which format. None does not.
        title: Above the picture; None states the accuracy.

    Returns:
        The figure. Up to 20 classes the counts stand in the cells.

    Raises:
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> from convzoo.training import Evaluation
        >>> from convzoo.visualize import confusion_matrix
        >>> result = Evaluation(10, 0.3, 0.9, None, ((5, 0), (1, 4)), ("cat", "dog"))
        >>> confusion_matrix(result, "confusion.png").axes[0].get_xlabel()
        'predicted'
    """
    n = len(result.labels)
    side = min(max(0.45 * n, 3.5), 14.0)
    figure = new_figure(side + 1.5, side + 0.8)
    axes = figure.subplots()
    shares = torch.zeros(n, n)
    for i, (row, whole) in enumerate(zip(result.counts, result.per_class, strict=True)):
        for j, count in row:
            shares[i, j] = count / whole.samples
            if n <= 20:
                shade = "white" if shares[i, j] > 0.5 else "black"
                axes.text(j, i, str(count), ha="center", va="center", color=shade, size=8)
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046)
    step = -(-n // _MOST_LABELS)
    ticks = list(range(0, n, step))
    names = [result.labels[i] for i in ticks]
    upright = max((len(name) for name in names), default=0) > 2
    axes.set_xticks(ticks, names, rotation=90 if upright else 0)
    axes.set_yticks(ticks, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"top-1 {result.top1:.2%}" if title is None else title)
    return save(figure, path)


def draw_lr_curve(curve: LRCurve, path: Path = None) -> Figure:
    """The loss against the learning rate, with what it suggests.

    Args:
        curve: What [lr_find][convzoo.training.lr_find] returned.
        path: Where to write the picture; the suffix says in which format. None does not.

    Returns:
        The figure, 600 x 400 pixels when written as PNG.

    Raises:
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> from convzoo.training import LRCurve
        >>> from convzoo.visualize import draw_lr_curve
        >>> lrs, losses = tuple(10.0**-n for n in range(30, 0, -1)), tuple(range(30, 0, -1))
        >>> draw_lr_curve(LRCurve(lrs, losses, losses, "finished")).axes[0].get_xscale()
        'log'
    """
    figure = new_figure(6.0, 4.0)
    axes = figure.subplots()
    axes.plot(curve.lrs, curve.losses, color="C0", alpha=0.3, label="each batch")
    axes.plot(curve.lrs, curve.smoothed, color="C0", label="smoothed")
    for name, lr, color in (("valley", curve.valley, "C1"), ("steepest", curve.steepest, "C2")):
        if lr is not None:
            loss = curve.smoothed[curve.lrs.index(lr)]
            axes.plot([lr], [loss], "o", color=color, markersize=9, label=f"{name}: {lr:.2g}")
    axes.set_xscale("log")
    # Losses beyond all others, at the end, would leave the rest a flat line.
    low, high = min(curve.losses), max(curve.smoothed[: -(len(curve.smoothed) // 20) or None])
    axes.set_ylim(low - 0.1 * (high - low) - 1e-3, high + 0.2 * (high - low) + 1e-3)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    return save(figure, path)


def _line(axes: Axes, epochs: Sequence[int], values: Sequence[float | None], label: str) -> None:
    points = [(x, y) for x, y in zip(epochs, values, strict=True) if y is not None]
    if points:
        axes.plot([x for x, _ in points], [y for _, y in points], marker=".", label=label)
