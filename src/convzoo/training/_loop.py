"""The training loop: epochs, the best of them, and what is kept to go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from convzoo.errors import CheckpointError, ConvzooError
from convzoo.layers import DropBlockSchedule
from convzoo.training import _checkpoint
from convzoo.training._accelerator import seed_all
from convzoo.training._data import EpochSampler, LoaderEpochs
from convzoo.training._early_stopping import EarlyStopping
from convzoo.training._evaluate import main_scores, progress_bar, score
from convzoo.training._processes import lost_processes_told
from convzoo.training._recipe import Loss
from convzoo.training._records import EpochRecord, Evaluation, History, StopReason
from convzoo.training._replica import Replica

Monitor = Literal["accuracy", "loss"]
"""What of the validation chooses the best epoch."""


class TrainingDivergedError(ConvzooError, RuntimeError):
    """The training loss became NaN or infinite."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C during `fit`, after the best weights so far were put back into the network.

    Attributes:
        history: The epochs that were finished.
    """

    def __init__(self, history: History) -> None:
        super().__init__("training was interrupted")
        self.history: History = history


@dataclass
class Run:
    """One call of `fit`, set up."""

    acc: Any
    replica: Replica
    model: nn.Module
    optimizer: Any
    scheduler: LRScheduler
    loader: Any
    val_loader: Any
    sampler: EpochSampler | LoaderEpochs
    loss: Loss
    epochs: int
    seed: int
    monitor: Monitor
    early_stopping: EarlyStopping | None
    checkpoint: Path | None
    max_grad_norm: float | None
    drop_block: DropBlockSchedule | None
    progress: bool
    on_epoch: Callable[[EpochRecord], None] | None
    settings: dict[str, object]

    records: list[EpochRecord] = field(default_factory=list)
    best_epoch: int | None = None
    best_key: tuple[float, float] = (-math.inf, -math.inf)
    best_weights: dict[str, Tensor] | None = None
    stopped: StopReason = "finished"

    def __call__(self, *, resume: bool) -> History:
        if self.early_stopping is not None:
            self.early_stopping.reset()
        if resume:
            self._load()
        try:
            with lost_processes_told(self.checkpoint):
                while len(self.records) < self.epochs and self.stopped == "finished":
                    self._epoch(len(self.records) + 1)
        except KeyboardInterrupt:
            self.stopped = "interrupted"
            self._restore_best()
            raise TrainingInterrupted(self._history()) from None
        except TrainingDivergedError:
            self._restore_best()
            raise
        self._restore_best()
        return self._history()

    def _history(self) -> History:
        return History(tuple(self.records), self.best_epoch, self.stopped)

    def _epoch(self, epoch: int) -> None:
        began = time.perf_counter()
        # Every epoch starts from a seed of its own, so that a resumed run draws what the
        # uninterrupted one would have drawn. The ranks augment differently.
        seed_all(((self.seed << 24) + (epoch << 8) + self.acc.process_index) % 2**63)
        self.sampler.start_epoch(epoch)
        train_loss, train_accuracy, lr = self._train(epoch)
        self.replica.pull()
        result = None
        if self.val_loader is not None:
            result = score(
                self.acc, self.model, self.val_loader, labels=None, progress=self.progress
            )
        record = EpochRecord(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=None if result is None else result.loss,
            val_accuracy=None if result is None else result.top1,
            lr=lr,
            seconds=time.perf_counter() - began,
        )
        self.records.append(record)
        if result is not None:
            self._judge(epoch, result)
        self._save()
        if self.on_epoch is not None:
            self.on_epoch(record)

    def _train(self, epoch: int) -> tuple[float, float | None, float]:
        """One pass over the training images: mean loss, accuracy, last learning rate."""
        from torchmetrics import MeanMetric
        from torchmetrics.classification import MulticlassAccuracy

        acc = self.acc
        mean_loss = MeanMetric().to(acc.device)
        accuracy: MulticlassAccuracy | None = None
        lr = 0.0
        self.model.train()
        bar = progress_bar(
            self.loader,
            f"epoch {epoch}/{self.epochs}",
            shown=self.progress and acc.is_main_process,
        )
        for images, targets in bar:
            with acc.accumulate(self.model):
                self.replica.sync_gradients(acc.sync_gradients)
                output = self.model(images)
                # A network over several devices may end on another than the images came by.
                targets = targets.to(main_scores(output).device)
                loss = self.loss(output, targets)
                # Of all processes: they have to give up together, or some would wait for others.
                value = float(acc.reduce(loss.detach().to(acc.device), reduction="mean"))
                if not math.isfinite(value):
                    raise TrainingDivergedError(
                        f"the training loss became {value} in epoch {epoch}; "
                        "try a lower learning rate, or max_grad_norm"
                    )
                acc.backward(loss)
                if self.max_grad_norm is not None and acc.sync_gradients:
                    acc.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
                lr = self.optimizer.param_groups[0]["lr"]
                self.optimizer.step()
                self.optimizer.zero_grad()
            if acc.sync_gradients and not acc.optimizer_step_was_skipped:
                self.scheduler.step()
                if self.drop_block is not None:
                    self.drop_block.step()
            mean_loss.update(loss.detach())
            if targets.ndim == 1 and not targets.is_floating_point():
                scores = main_scores(output).detach()
                if accuracy is None:
                    accuracy = MulticlassAccuracy(
                        scores.shape[1], average="micro", validate_args=False
                    ).to(acc.device)
                scores, targets = scores.to(acc.device), targets.to(acc.device)
                accuracy.update(scores.argmax(dim=1), targets)
        return (
            float(mean_loss.compute()),
            None if accuracy is None else float(accuracy.compute()),
            lr,
        )

    def _judge(self, epoch: int, result: Evaluation) -> None:
        """Keep the weights if they are the best so far; see whether to stop."""
        loss = -result.loss if math.isfinite(result.loss) else -math.inf
        key = (result.top1, loss) if self.monitor == "accuracy" else (loss, result.top1)
        if self.best_weights is None or key > self.best_key:
            self.best_epoch, self.best_key = epoch, key
            self.best_weights = {
                name: value.detach().to("cpu", copy=True)
                for name, value in self.replica.net.state_dict().items()
            }
            if self.checkpoint is not None and self.acc.is_main_process:
                _checkpoint.save_best(self.replica.net, self.checkpoint)
        if self.early_stopping is not None and self.early_stopping.step(key[0]):
            self.stopped = "early"

    def _restore_best(self) -> None:
        if self.best_weights is not None:
            self.replica.net.load_state_dict(self.best_weights)

    def _save(self) -> None:
        if self.checkpoint is None:
            return
        optimizer = self.replica.optimizer_state(self.optimizer)
        if self.acc.is_main_process:
            scaler = self.acc.scaler
            _checkpoint.save_last(
                {
                    "settings": self.settings,
                    "history": self._history().to_dict(),
                    "best_key": list(self.best_key),
                    "best": self.best_weights,
                    "net": self.replica.net.state_dict(),
                    "optimizer": optimizer,
                    "scheduler": _plain(self.scheduler.state_dict()),
                    "drop_block": None
                    if self.drop_block is None
                    else dict(self.drop_block.state_dict()),
                    "scaler": None if scaler is None else scaler.state_dict(),
                    "early_stopping": None
                    if self.early_stopping is None
                    else dict(self.early_stopping.state_dict()),
                },
                self.checkpoint,
            )
        self.acc.wait_for_everyone()

    def _load(self) -> None:
        if self.checkpoint is None:
            return
        state, refused = None, None
        try:
            state = _checkpoint.load_last(self.checkpoint, self.settings)
        except CheckpointError as error:  # raised when the others have been told
            refused = error
        done = -1 if refused else 0 if state is None else len(state["history"]["epochs"])
        found = self.acc.gather(torch.tensor([done], device=self.acc.device)).tolist()
        if len(set(found)) > 1:
            epochs = ", ".join("of another run" if n < 0 else str(n) for n in found)
            raise CheckpointError(
                f"{self.checkpoint}: the processes found states of different epochs, [{epochs}]; "
                "the folder has to be on a disk that all of them share"
            ) from refused
        if refused is not None:
            raise refused
        if state is None:
            return
        history = History.from_dict(state["history"])
        self.records = list(history.epochs)
        self.best_epoch, self.stopped = history.best_epoch, history.stopped
        self.best_key = (state["best_key"][0], state["best_key"][1])
        self.best_weights = state["best"]
        self.replica.net.load_state_dict(state["net"])
        self.replica.push()
        self.replica.load_optimizer_state(self.optimizer, state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.drop_block is not None and state["drop_block"] is not None:
            self.drop_block.load_state_dict(state["drop_block"])
        if self.acc.scaler is not None and state["scaler"]:
            self.acc.scaler.load_state_dict(state["scaler"])
        if self.early_stopping is not None and state["early_stopping"] is not None:
            self.early_stopping.load_state_dict(state["early_stopping"])


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's state without what it does not need: its functions, which do not unpickle."""
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, (int, float, str, bool, list, type(None))) and name != "lr_lambdas"
    }
