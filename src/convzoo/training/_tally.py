"""An evaluation in the making, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convzoo.errors import InputError
from convzoo.training._certainty import calibrate
from convzoo.training._evaluation import Evaluation
from convzoo.training._image_scores import ImageScores


class Tally:
    """An evaluation in the making: what is kept of a batch is a few numbers an image.

    Nothing is fetched from the device before the end.
    """

    def __init__(self) -> None:
        self.num_classes = 0
        self.rows: list[Tensor] = []  # truth, prediction, and whether it is among the best five
        self.values: list[Tensor] = []  # loss and confidence

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """Add a batch: scores (B, num_classes), targets (B,)."""
        self.num_classes = scores.shape[1]
        if int(targets.max()) >= self.num_classes:  # on a GPU, an index out of range is fatal
            raise InputError(
                f"data: has label {int(targets.max())}, the network scores {self.num_classes} "
                f"classes (0 to {self.num_classes - 1}); give it a new head with "
                "replace_head(net, num_classes)"
            )
        logs = scores.float().log_softmax(1)
        best = scores.argmax(1)
        among = targets.new_zeros(len(targets), dtype=torch.bool)
        if self.num_classes > 5:
            among = (scores.topk(5).indices == targets[:, None]).any(1)
        self.rows.append(torch.stack([targets, best, among.to(targets.dtype)]).int())
        chosen = logs.gather(1, torch.stack([targets, best], 1))  # (B, 2)
        self.values.append(torch.stack([-chosen[:, 0], chosen[:, 1].exp()]))

    def evaluation(
        self, labels: Sequence[str] | None, read: Callable[[int], Any] | None = None
    ) -> Evaluation:
        """The result; `read` is what reads an image again."""
        if not self.rows:
            raise InputError("data: the data set is empty")
        n = self.num_classes
        truth, prediction, among = torch.cat(self.rows, 1).cpu()
        loss, confidence = torch.cat(self.values, 1).cpu()
        right = truth == prediction
        # Only the cells that have images: the whole matrix of 10,000 classes takes a gigabyte.
        cells, counts = torch.unique(truth.long() * n + prediction, return_counts=True)
        rows: list[list[tuple[int, int]]] = [[] for _ in range(n)]
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            rows[cell // n].append((cell % n, count))
        if labels is None or len(labels) != n:
            labels = [str(i) for i in range(n)]
        samples = len(truth)
        return Evaluation(
            samples=samples,
            loss=float(loss.double().mean()),
            top1=int(right.sum()) / samples,
            top5=None if n <= 5 else int(among.sum()) / samples,
            counts=tuple(tuple(row) for row in rows),
            labels=tuple(labels),
            calibration=calibrate(confidence, right),
            images=ImageScores(truth, prediction, loss, confidence, read),
        )
