"""What training reports: typed records that go to JSON and back."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from convzoo._checks import check_path
from convzoo.errors import InputError

StopReason = Literal["finished", "early", "interrupted"]
"""Why training ended: all epochs done, early stopping, or Ctrl-C."""


@dataclass(frozen=True, eq=False)
class StepRecord:
    """One step of training, as `on_step` gets it.

    Attributes:
        step: Its number, from 1 over all epochs.
        epoch: The epoch it belongs to, from 1.
        loss: Mean loss of this process's images, a scalar on the device. To read it
            (`float(record.loss)`) waits for a GPU; every so many steps is enough.
        lr: Learning rate of the first parameter group at this step.
    """

    step: int
    epoch: int
    loss: Tensor
    lr: float


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of training.

    Attributes:
        epoch: Its number, from 1.
        train_loss: Mean training loss over the epoch, with augmentation, dropout and label
            smoothing as trained.
        train_accuracy: Share of training images scored right, measured the same way while the
            weights move, in [0, 1]; None where the targets are not class indices or images were
            mixed, on which accuracy cannot be compared with any other.
        val_loss: Mean cross-entropy on the validation images after the epoch, with `loss="mse"`
            the mean squared error, or None.
        val_accuracy: Share of them scored right, in [0, 1]; None without any, and of numbers.
        lr: Learning rate of the first parameter group at the epoch's last step.
        seconds: How long the epoch took, validation included.
        ema_val_loss: Like `val_loss`, of the moving average of the weights; None without one.
        ema_val_accuracy: Likewise.
        mixed: Whether images were mixed, so that the training loss is not that of whole ones.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float
    ema_val_loss: float | None = None
    ema_val_accuracy: float | None = None
    mixed: bool = False

    @property
    def better(self) -> tuple[float, float] | None:
        """Validation accuracy and loss of the weights or of their average, the better ones."""
        both = (
            (self.val_accuracy, self.val_loss),
            (self.ema_val_accuracy, self.ema_val_loss),
        )
        found = [(top1, loss) for top1, loss in both if top1 is not None and loss is not None]
        return max(found, key=lambda score: (score[0], -score[1]), default=None)

    def __str__(self) -> str:
        text = f"epoch {self.epoch}: train loss {self.train_loss:.4f}"
        if self.train_accuracy is not None:
            text += f", accuracy {self.train_accuracy:.2%}"
        elif self.mixed:
            text += " on mixed images"
        if self.val_loss is not None:
            text += f"; val loss {self.val_loss:.4f}"
        if self.val_accuracy is not None:
            text += f", accuracy {self.val_accuracy:.2%}"
        if self.ema_val_loss is not None:
            text += f", averaged {self.ema_val_loss:.4f}"
        if self.ema_val_accuracy is not None:
            text += f", {self.ema_val_accuracy:.2%}"
        return f"{text} ({self.seconds:.1f} s)"


@dataclass(frozen=True)
class History:
    """What `fit` did, epoch by epoch.

    Attributes:
        epochs: One record an epoch, in order.
        best_epoch: Number of the epoch whose weights the network now has, where a validation set
            chose it, else None.
        stopped: Why training ended.
    """

    epochs: tuple[EpochRecord, ...]
    best_epoch: int | None
    stopped: StopReason

    @property
    def best(self) -> EpochRecord | None:
        """The record of the best epoch, where there is one."""
        return next((record for record in self.epochs if record.epoch == self.best_epoch), None)

    def __str__(self) -> str:
        lines = [f"{e}{'  best' if e.epoch == self.best_epoch else ''}" for e in self.epochs]
        return "\n".join([*lines, f"stopped: {self.stopped}"])

    def to_dict(self) -> dict[str, object]:
        """The record as plain JSON values; `from_dict` takes it back."""
        return {
            "epochs": [dataclasses.asdict(record) for record in self.epochs],
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> History:
        """A history from what `to_dict` gave, also after a way through JSON.

        Args:
            fields: The fields by name.

        Returns:
            The history.

        Raises:
            InputError: A field is missing or unknown.
        """
        try:
            epochs = tuple(EpochRecord(**record) for record in fields["epochs"])
            return cls(**{**fields, "epochs": epochs})
        except (KeyError, TypeError) as error:
            raise InputError(f"fields: not those of a History: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the history as a JSON file.

        Args:
            path: The file; it is replaced if it is there.

        Raises:
            InputError: It cannot be written.
        """
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        try:
            check_path("path", path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"path: {path} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote, or the `history.json` of `convzoo finetune`.

        Args:
            path: The file.

        Returns:
            The history; of the command's, its phases one after the other.

        Raises:
            InputError: There is no such file, or it holds something else.
        """
        try:
            fields: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            own = {field.name: fields[field.name] for field in dataclasses.fields(cls)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"path: {path} holds no History: {error}") from None
        return cls.from_dict(own)


def joined(histories: Sequence[History], best: int) -> History:
    """Trainings of one network, one after the other, as one with epochs numbered through.

    Args:
        histories: The trainings.
        best: Which of them left the network that was kept.
    """
    records = [record for history in histories for record in history.epochs]
    before = sum(len(history.epochs) for history in histories[:best])
    best_epoch = histories[best].best_epoch
    return History(
        tuple(dataclasses.replace(record, epoch=i) for i, record in enumerate(records, start=1)),
        None if best_epoch is None else before + best_epoch,
        histories[-1].stopped,
    )
