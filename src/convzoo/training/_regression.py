"""Scoring a network that gives numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from convzoo.errors import InputError
from convzoo.training._recipe import check_numbers


@dataclass(frozen=True)
class NumberResult:
    """How close a network comes to one of the numbers that it gives.

    Attributes:
        label: What the number is, or its place as text where that is not known.
        mse: Mean squared error.
        mae: Mean absolute error.
        r2: Share of the variance that is explained: 1 is perfect, 0 as good as to say the mean,
            less is worse. None where the truth does not vary.
    """

    label: str
    mse: float
    mae: float
    r2: float | None


@dataclass(frozen=True)
class RegressionEvaluation:
    """How close a network comes to the numbers of labelled images; prints as a table.

    Attributes:
        samples: Images scored, each once.
        mse: Mean squared error over all images and numbers.
        mae: Mean absolute error.
        r2: Share of the variance that is explained, the mean over the numbers; None where one of
            them does not vary.
        per_number: One result for each number that the network gives, in order.
        predictions: What the network gave, float32 (N, k), in the order of the data.
        targets: What the labels say, float32 (N, k).
    """

    samples: int
    mse: float
    mae: float
    r2: float | None
    per_number: tuple[NumberResult, ...]
    predictions: Tensor = field(repr=False, compare=False)
    targets: Tensor = field(repr=False, compare=False)

    @property
    def loss(self) -> float:
        """The mean squared error, by the name that evaluations of classes have for theirs."""
        return self.mse

    def __str__(self) -> str:
        width = max(len("number"), *(len(one.label) for one in self.per_number))
        lines = [f"{self.samples} images", f"{'number':<{width}}         MSE         MAE        R2"]
        every = NumberResult("all", self.mse, self.mae, self.r2)
        for one in (*self.per_number, every) if len(self.per_number) > 1 else self.per_number:
            r2 = "-" if one.r2 is None else f"{one.r2:.4f}"
            lines.append(f"{one.label:<{width}}  {one.mse:10.5g}  {one.mae:10.5g}  {r2:>8}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """The figures as plain JSON values, without what was said of every image."""
        figures = {name: getattr(self, name) for name in ("samples", "mse", "mae", "r2")}
        return {**figures, "per_number": [asdict(one) for one in self.per_number]}


class RegressionTally:
    """An evaluation of numbers in the making."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def update(self, numbers: Tensor, targets: Tensor) -> None:
        """Add a batch: numbers and targets (B, k)."""
        check_numbers(numbers, targets)
        self._pairs.append((numbers.float(), targets.float()))

    def evaluation(
        self,
        labels: Sequence[str] | None,
        read: Callable[[int], Any] | None = None,  # noqa: ARG002 # of images that classes have
    ) -> RegressionEvaluation:
        """The result; `labels` says what the numbers are."""
        if not self._pairs:
            raise InputError("data: the data set is empty")
        found, truth = (torch.cat(parts).cpu() for parts in zip(*self._pairs, strict=True))
        off = found.double() - truth  # (N, k)
        mse, mae = off.square().mean(0), off.abs().mean(0)
        variance = truth.double().var(0, correction=0)
        if labels is None or len(labels) != len(mse):
            labels = [str(i) for i in range(len(mse))]
        rows = tuple(
            NumberResult(label, m, a, 1 - m / v if v > 0 else None)
            for label, m, a, v in zip(
                labels, mse.tolist(), mae.tolist(), variance.tolist(), strict=True
            )
        )
        explained = [one.r2 for one in rows if one.r2 is not None]
        return RegressionEvaluation(
            samples=len(found),
            mse=float(mse.mean()),
            mae=float(mae.mean()),
            r2=sum(explained) / len(rows) if len(explained) == len(rows) else None,
            per_number=rows,
            predictions=found,
            targets=truth,
        )
