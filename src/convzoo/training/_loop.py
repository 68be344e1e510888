"""The training loop: epochs, the best of them, and what is kept to go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from convzoo.errors import CheckpointError, ConvzooError
from convzoo.training import _checkpoint
from convzoo.training._accelerator import seed_all
from convzoo.training._data import Steps, seed_of
from convzoo.training._early_stopping import EarlyStopping
from convzoo.training._evaluate import score
from convzoo.training._evaluation import Evaluation
from convzoo.training._processes import lost_processes_told
from convzoo.training._progress import Progress
from convzoo.training._records import EpochRecord, History, StepRecord, StopReason
from convzoo.training._regression import RegressionEvaluation, RegressionTally
from convzoo.training._step import LOOK, NotFiniteError, Stepper, Sums
from convzoo.training._tally import Tally
from convzoo.training._trackers import Trackers

Scored = Evaluation | RegressionEvaluation

Monitor = Literal["accuracy", "loss"]
"""What of the validation chooses the best epoch."""


class TrainingDivergedError(ConvzooError, RuntimeError):
    """The training loss became NaN or infinite.

    Attributes:
        epoch: In which epoch, from 1.
        step: At which of its steps, from 1.
        images: Places in the training set of what that step learned from; empty where a DataLoader
            drew them.
    """

    epoch: int = 0
    step: int = 0
    images: tuple[int, ...] = ()


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

    stepper: Stepper
    steps: Steps
    train: object
    val_loader: Any
    epochs: int
    seed: int
    monitor: Monitor
    early_stopping: EarlyStopping | None
    checkpoint: Path | None
    checkpoint_every: int | timedelta | None
    progress: Progress
    on_step: Callable[[StepRecord], None] | None
    on_epoch: Callable[[EpochRecord], None] | None
    trackers: Trackers
    settings: dict[str, object]
    regression: bool = False  # whether numbers are learned, not classes

    records: list[EpochRecord] = field(default_factory=list)
    done: int = 0  # steps of the current epoch
    seconds: float = 0.0  # of the current epoch, before a resumption
    lr: float = 0.0  # of the last step
    best_epoch: int | None = None
    best_key: tuple[float, float] = (-math.inf, -math.inf)
    best_weights: dict[str, Tensor] | None = None
    stopped: StopReason = "finished"

    def __post_init__(self) -> None:
        self.acc = self.stepper.acc
        self.replica = self.stepper.replica
        self.aids = self.stepper.aids
        self.saved_at = time.monotonic()

    def __call__(self, *, resume: bool) -> History:
        if self.early_stopping is not None:
            self.early_stopping.reset()
        if resume:
            self._load()
        if self.acc.is_main_process:
            self.trackers.start(self._chosen(), self._step())
        try:
            with lost_processes_told(self.checkpoint):
                while len(self.records) < self.epochs and self.stopped == "finished":
                    self._epoch(len(self.records) + 1)
        except KeyboardInterrupt:
            self.stopped = "interrupted"
            self._restore_best()
            raise TrainingInterrupted(self._history()) from None
        except NotFiniteError as error:
            self._restore_best()
            raise self._diverged(error) from None
        finally:
            self.trackers.finish()
        self._restore_best()
        return self._history()

    def _step(self) -> int:
        """How many steps are done, over all epochs."""
        return len(self.records) * self.steps.per_epoch + self.done

    def _chosen(self) -> dict[str, object]:
        """What a tracker notes of the settings: not the shapes of all tensors."""
        long = ("tensors", "trained parameters", "classes")
        return {name: value for name, value in self.settings.items() if name not in long}

    def _history(self) -> History:
        return History(tuple(self.records), self.best_epoch, self.stopped)

    def _epoch(self, epoch: int) -> None:
        began = time.perf_counter() - self.seconds
        self._train(epoch, began)
        train_loss, train_accuracy = self.stepper.counted()
        # What an evaluation draws of its generators is no part of the training.
        seed_all(seed_of("evaluation", self.seed, epoch, self.acc.process_index))
        results = self._evaluate(epoch)
        result = results[-1] if results else None
        averaged = results[0] if len(results) > 1 else None
        record = EpochRecord(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=None if result is None else result.loss,
            val_accuracy=_accuracy(result),
            lr=self.lr,
            seconds=time.perf_counter() - began,
            ema_val_loss=None if averaged is None else averaged.loss,
            ema_val_accuracy=_accuracy(averaged),
            mixed=any(aid.name == "mixing" for aid in self.aids),
        )
        figures = {name: value for name, value in asdict(record).items() if name != "mixed"}
        self.trackers.log(epoch * self.steps.per_epoch, **figures)
        self.records.append(record)
        if self.early_stopping is not None and results:
            best = max(self._key(one)[0] for one in results)
            if self.early_stopping.step(best):
                self.stopped = "early"
        for aid in self.aids:
            aid.end_epoch(record)
        self.done, self.seconds, self.stepper.sums = 0, 0.0, Sums()
        self._save()
        if self.on_epoch is None:
            self.progress.line(str(record))
        else:
            self.on_epoch(record)

    def _train(self, epoch: int, began: float) -> None:
        """One pass over the training images, or the rest of one."""
        stepper, per_epoch = self.stepper, self.steps.per_epoch
        optimizer = stepper.optimizer
        stepper.model.train()
        for aid in self.aids:
            aid.start_epoch(epoch)
        batches = self.steps.epoch(epoch, self.done)
        title = f"epoch {epoch}/{self.epochs}"
        for batch in self.progress.bar(batches, title, done=self.done, total=per_epoch):
            step = self._step() + 1
            # Every step starts from a seed of its own, so that a resumed run draws what the
            # uninterrupted one would have drawn. The ranks augment and drop differently.
            seed_all(seed_of("network", self.seed, step, self.acc.process_index))
            self.lr = float(optimizer.param_groups[0]["lr"])
            loss, _ = stepper(step, batch)
            self.done += 1
            if self.trackers.names and step % LOOK == 0:
                stepper.look()
                losses = stepper.latest
                self.trackers.log(step, epoch=epoch, loss=sum(losses) / len(losses), lr=self.lr)
            if self._due(step):
                stepper.look()
                self.seconds = time.perf_counter() - began
                self._save()
            if self.on_step is not None:
                self.on_step(StepRecord(step, epoch, loss, self.lr))

    def _evaluate(self, epoch: int) -> list[Scored]:
        """Scores of the weights that the aids offer, and last of those that train."""
        offered = (aid.averaged() for aid in self.aids)
        weights: list[AbstractContextManager[None]] = [one for one in offered if one is not None]
        weights.append(nullcontext())
        results = []
        for context in weights:
            with context:
                self.replica.pull()
                if self.val_loader is None:
                    continue
                tally = RegressionTally() if self.regression else Tally()
                bars = self.progress.bars
                score(self.acc, self.stepper.model, self.val_loader, tally, progress=bars)
                result = tally.evaluation(None)
                results.append(result)
                self._judge(epoch, result)
        return results

    def _key(self, result: Scored) -> tuple[float, float]:
        """What has to be higher for a result to be better."""
        loss = -result.loss if math.isfinite(result.loss) else -math.inf
        accuracy = _accuracy(result) or 0.0
        return (accuracy, loss) if self.monitor == "accuracy" else (loss, accuracy)

    def _judge(self, epoch: int, result: Scored) -> None:
        """Keep the weights if they are the best so far."""
        key = self._key(result)
        if self.best_weights is not None and key <= self.best_key:
            return
        self.best_epoch, self.best_key = epoch, key
        self.best_weights = {
            name: value.detach().to("cpu", copy=True)
            for name, value in self.replica.net.state_dict().items()
        }
        if self.checkpoint is not None and self.acc.is_main_process:
            _checkpoint.save_best(self.replica.net, self.checkpoint)

    def _restore_best(self) -> None:
        if self.best_weights is not None:
            self.replica.net.load_state_dict(self.best_weights)

    def _diverged(self, error: NotFiniteError) -> TrainingDivergedError:
        epoch, step = divmod(error.step - 1, self.steps.per_epoch)
        epoch, step = epoch + 1, step + 1
        images = self.steps.images(epoch, step)
        text = (
            f"the training loss became {error.value} in epoch {epoch}, step {step} of "
            f"{self.steps.per_epoch}"
        )
        if images is not None:
            text += f", on the images {_listed(self.train, images)}"
        told = TrainingDivergedError(f"{text}; try a lower learning rate, or max_grad_norm")
        told.epoch, told.step, told.images = epoch, step, tuple(images or ())
        return told

    def _due(self, step: int) -> bool:
        """Whether the state is to be written after this step; all processes say the same."""
        every = self.checkpoint_every
        if self.checkpoint is None or every is None:
            return False
        if isinstance(every, int):
            return step % every == 0
        due = time.monotonic() - self.saved_at >= every.total_seconds()
        if self.acc.num_processes == 1:
            return due
        if step % LOOK:  # asking the others takes time
            return False
        asked = torch.tensor([float(due)], device=self.acc.device)
        return bool(self.acc.reduce(asked, reduction="sum").item())

    def _save(self) -> None:
        self.saved_at = time.monotonic()
        if self.checkpoint is None:
            return
        if self.done:
            self.replica.pull()
        optimizer = self.replica.optimizer_state(self.stepper.optimizer)
        sums = self.stepper.sums
        correct = sums.correct
        if correct is not None:
            correct = self.acc.reduce(correct.to(self.acc.device), reduction="sum")
        # All processes have to ask: an aid may keep shares.
        aids = {aid.name: aid.state_dict() for aid in self.aids}
        if self.acc.is_main_process:
            scaler = self.acc.scaler
            _checkpoint.save_last(
                {
                    "settings": self.settings,
                    "history": self._history().to_dict(),
                    "done": self.done,
                    "seconds": self.seconds,
                    "lr": self.lr,
                    "sums": {
                        **asdict(sums),
                        "correct": None if correct is None else int(correct),
                        "scored": sums.scored * self.acc.num_processes,
                    },
                    "parts": self.stepper.parts,
                    "best_key": list(self.best_key),
                    "best": self.best_weights,
                    "net": self.replica.net.state_dict(),
                    "optimizer": optimizer,
                    "aids": aids,
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
        inside = 0 if state is None else state["done"]
        found = self.acc.gather(torch.tensor([[done, inside]], device=self.acc.device)).tolist()
        if any(one != found[0] for one in found):
            epochs = ", ".join("of another run" if n < 0 else str(n) for n, _ in found)
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
        stepper = self.stepper
        self.replica.load_optimizer_state(stepper.optimizer, state["optimizer"])
        self.done, self.seconds, self.lr = state["done"], state["seconds"], state["lr"]
        stepper.parts = max(stepper.parts, state["parts"])
        stepper.sums = sums = Sums(**state["sums"])
        if sums.correct is not None:  # of all processes: the first one has them
            first = self.acc.is_main_process
            sums.scored = sums.scored if first else 0
            sums.correct = torch.tensor(state["sums"]["correct"] if first else 0)
            sums.correct = sums.correct.to(self.acc.device)
        for aid in self.aids:
            aid.load_state_dict(state["aids"][aid.name])
        if self.acc.scaler is not None and state["scaler"]:
            self.acc.scaler.load_state_dict(state["scaler"])
        if self.early_stopping is not None and state["early_stopping"] is not None:
            self.early_stopping.load_state_dict(state["early_stopping"])


def _accuracy(result: Scored | None) -> float | None:
    return result.top1 if isinstance(result, Evaluation) else None


def _listed(data: object, places: Sequence[int], most: int = 8) -> str:
    """Places in a data set, with the paths of the files where it knows them."""
    known = getattr(data, "images", None) or getattr(data, "samples", None)
    listed = []
    for place in places[:most]:
        entry = known[place] if isinstance(known, (list, tuple)) else None
        path = entry[0] if isinstance(entry, tuple) else entry
        listed.append(f"{place} ({path})" if isinstance(path, (str, Path)) else str(place))
    more = len(places) - most
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")
