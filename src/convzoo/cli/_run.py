"""`convzoo finetune`: what it does, step by step."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor

from convzoo import by_name, hub, transfer
from convzoo._classifier import Classifier
from convzoo.cli._console import bars_wanted, columns, is_main_process, print_json, speaker, warn
from convzoo.cli._errors import INTERRUPTED, Stop
from convzoo.cli._material import augmentation, network, often, read_data
from convzoo.cli._options import Options
from convzoo.cli._out import CHECKPOINT, HISTORY, METRICS, output_folder
from convzoo.cli._recipe_options import aids, with_recipe
from convzoo.datasets._named import find
from convzoo.errors import InputError
from convzoo.inference import TTA, Predictor, Views
from convzoo.training import (
    EarlyStopping,
    EpochRecord,
    Evaluation,
    FitOptions,
    History,
    TrainingInterrupted,
    evaluate,
    fit,
    tune_allocator,
)
from convzoo.training._accelerator import sharding_asked_for
from convzoo.training._records import joined
from convzoo.training._trackers import Trackers
from convzoo.visualize import confusion_matrix, learning_curve


def run(options: Options) -> None:
    """Do the whole job: data, network, two phases of training, report, folder."""
    found = "digits" if options.data is None else find(options.data)
    if found == "digits":
        options = replace(options, data=None)
    with output_folder(options.out, found if isinstance(found, Path) else None):
        _Job(options, found)()


@dataclass(frozen=True)
class _Phase:
    """One call of `fit`."""

    name: str
    freeze: str | None
    epochs: int
    lr: float


@dataclass(frozen=True)
class _Best:
    """The network of the phase that validated best, as its best epoch left it."""

    phase: str
    accuracy: float
    loss: float
    weights: dict[str, Tensor]


class _Job:
    """One run of `convzoo finetune`."""

    def __init__(self, options: Options, found: str | Path) -> None:
        self.options, self.recipe = with_recipe(options)
        options = self.options
        self.found = found
        self.say = speaker(options.quiet or options.as_json)
        self.bars = bars_wanted(options.quiet)
        usual_lr = 0.1 if options.data is None else 0.01
        self.head_lr = usual_lr if options.head_lr is None else options.head_lr
        usual = 0 if options.data is None else min(4, os.cpu_count() or 1)
        self.workers = usual if options.workers is None else options.workers
        self.every = often(options.checkpoint_every)
        Trackers(options.trackers, options.out)  # one that is not installed is told at once
        # Said before the training; after it would be a poor time to fail.
        self.pictures = find_spec("matplotlib") is not None
        if not self.pictures:
            warn("no pictures, for want of matplotlib: pip install 'convzoo[plot]'")
        self.data = read_data(options, found, self.say, shown=self.bars)
        # With no test part, the validation part has to judge; it also chose the best epoch.
        self.judge = self.data.test or self.data.val
        self.judge_name = "test" if self.data.test else "validation"
        self.histories: list[History] = []
        self.best: _Best | None = None
        self.tta: TTA | None = None
        self.results: list[tuple[str, Evaluation]] = []

    def __call__(self) -> None:
        options = self.options
        net, origin = network(options, self.found)
        net = self._with_head(net)
        self.say(f"network: {net.architecture}, {origin}")
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        if processes > 1:
            form = "share" if sharding_asked_for(options.sharded) else "copy"
            self.say(f"processes: {processes}, each with a {form} of the network")
        if tune_allocator():
            self.say("allocator: glibc keeps freed memory for the next step (mallopt)")
        phases = self._phases()
        for phase in phases:  # a stage that does not exist is told before the first phase trains
            transfer.freeze(net, phase.freeze or "backbone")
            transfer.unfreeze(net)
        if not options.resume:
            for folder in (CHECKPOINT, METRICS):
                shutil.rmtree(options.out / folder, ignore_errors=True)
        self.tta = self._views(net)
        self._score("new head, untrained", net)
        if options.baseline if options.baseline is not None else options.data is None:
            self._baseline(net)
        done: list[str] = []
        try:
            for phase in phases:
                self.say(f"training, {phase.name}: {_epochs(phase.epochs)}")
                done.append(phase.name)
                self._train(net, phase)
                self._score(_after(phase.name), net)
        except TrainingInterrupted as interrupted:
            self._judge(net, done[-1], interrupted.history)
            if self.best is None:
                self.say("Interrupted before the first epoch was done; nothing to keep.")
                raise Stop(INTERRUPTED) from None
            net.load_state_dict(self.best.weights)
            self._keep(net, done, self.best)
            self.say(f"Interrupted; the best network so far is in {options.out}")
            raise Stop(INTERRUPTED) from None
        if self.best is not None:
            net.load_state_dict(self.best.weights)
            if self.tta is not None:
                self._score(f"{_after(self.best.phase)}, {self.tta}", net, self.tta)
            self._keep(net, done, self.best)
            self._report(self.best)

    def _with_head(self, net: Classifier) -> Classifier:
        return transfer.replace_head(net, len(self.data.classes), labels=self.data.classes)

    def _phases(self) -> list[_Phase]:
        options = self.options
        head = _Phase("head only", "backbone", options.head_epochs, self.head_lr)
        if options.freeze == "backbone":  # there is nothing but the head to train in either phase
            return [replace(head, epochs=options.head_epochs + options.epochs)]
        part = None if options.freeze == "none" else options.freeze
        name = "whole network" if part is None else f"all but {part}"
        phases = [head, _Phase(name, part, options.epochs, options.lr)]
        phases = [phase for phase in phases if phase.epochs]
        if not phases:
            raise InputError("--epochs, --head-epochs: both are 0, which leaves nothing to do")
        return phases

    def _train(self, net: Classifier, phase: _Phase, *, quiet: bool = False) -> None:
        options = self.options
        transfer.unfreeze(net)
        if phase.freeze is not None:
            transfer.freeze(net, phase.freeze)
        number = str(len(self.histories) + 1)

        def told(record: EpochRecord) -> None:
            if not quiet:
                self.say(f"  {record}")

        given: FitOptions = {
            "epochs": phase.epochs,
            "batch_size": options.batch_size,
            "lr": phase.lr,
            "weight_decay": options.weight_decay,
            "optimizer": options.optimizer,
            "schedule": options.schedule,
            "warmup": options.warmup,
            "label_smoothing": options.label_smoothing,
            "train_transform": augmentation(options, net.preset),
            "early_stopping": None if options.patience is None else EarlyStopping(options.patience),
            "checkpoint": None if quiet else options.out / CHECKPOINT / number,
            "checkpoint_every": self.every,
            "resume": options.resume and not quiet,
            "mixed_precision": options.mixed_precision,
            "channels_last": options.channels_last,
            "compile": options.compile,
            "gradient_accumulation": options.gradient_accumulation,
            "sharded": options.sharded,
            "sync_batch_norm": options.sync_batch_norm,
            "seed": options.seed,
            "num_workers": self.workers,
            "cpu": options.cpu,
            "progress": self.bars,
            "on_epoch": told,
            "trackers": () if quiet else options.trackers,
            "logging_dir": options.out / METRICS / number,
        }
        if not quiet:
            head_only = phase.freeze == "backbone"
            given.update(aids(options, self.recipe, head_only=head_only))
            if not head_only and self.recipe is not None:
                given["train_transform"] = augmentation(options, net.preset, self.recipe)
        history = fit(net, self.data.train, self.data.val, **given)
        if not quiet:
            self._judge(net, phase.name, history)

    def _judge(self, net: Classifier, phase: str, history: History) -> None:
        """Take note of a phase, and hold on to its network if none before validated better."""
        self.histories.append(history)
        record = history.best
        score = None if record is None else record.better
        if score is None:
            return
        best, (accuracy, loss) = self.best, score
        if best is None or (accuracy, -loss) > (best.accuracy, -best.loss):
            state = {
                key: value.detach().to("cpu", copy=True) for key, value in net.state_dict().items()
            }
            self.best = _Best(phase, accuracy, loss, state)

    def _views(self, net: Classifier) -> TTA | None:
        """How the recipe scores what it trained, if the network's preset leaves room for that."""
        tta = None if self.recipe is None else self.recipe.tta
        if tta is not None and net.preset is not None:
            try:
                Views(net.preset, tta)
            except InputError as error:
                warn(f"the recipe's {tta} is left out: {error}")
                return None
        return tta

    def _score(self, name: str, net: Classifier, tta: TTA | None = None) -> None:
        result = evaluate(
            net,
            self.judge,
            batch_size=4 * self.options.batch_size,
            labels=self.data.classes,
            tta=tta,
            mixed_precision=self.options.mixed_precision,
            num_workers=self.workers,
            cpu=self.options.cpu,
            progress=self.bars,
        )
        self.results.append((name, result))
        self.say(
            f"  accuracy, {name}: {result.top1:.2%} of {result.samples} {self.judge_name} images"
        )

    def _baseline(self, net: Classifier) -> None:
        """What the same head learns on a network that knows nothing."""
        options: dict[str, object] = {**net.options, "in_channels": net.in_channels}
        name = net.architecture or ""
        random = self._with_head(by_name.create_model(name, weights=None, **options))
        random.preset = net.preset
        epochs = self.options.head_epochs or self.options.epochs
        phase = _Phase("baseline", "backbone", epochs, self.head_lr)
        self.say(f"baseline, a head on a frozen random network: {_epochs(epochs)}")
        self._train(random, phase, quiet=True)
        self._score("random head on a frozen random network", random)

    def _keep(self, net: Classifier, phases: list[str], best: _Best) -> None:
        """Write the best model, records and pictures."""
        options = self.options
        if not is_main_process():
            return
        name = _after(best.phase)
        found = dict(self.results)
        result = found.get(name)  # none of a phase that was interrupted
        rows = {f"top1_{self.judge_name}": name}
        rows[f"top1_{self.judge_name}_{self.tta}"] = f"{name}, {self.tta}"
        hub.save(
            net,
            options.out,
            dataset=options.data or "Optical Recognition of Handwritten Digits",
            metrics={key: found[row].top1 for key, row in rows.items() if row in found},
        )
        lengths = [len(history.epochs) for history in self.histories]
        records = {
            **joined(self.histories, phases.index(best.phase)).to_dict(),
            "kept": best.phase,
            "phases": dict(zip(phases, lengths, strict=True)),
            "results": {name: result.to_dict() for name, result in self.results},
        }
        # Before the pictures: by it the next run knows them.
        (options.out / HISTORY).write_text(json.dumps(records, indent=2) + "\n", "utf-8")
        if options.as_json:
            print_json({"out": str(options.out), **records})
        if self.pictures:
            learning_curve(self.histories, options.out / "learning_curve.png", phases=phases)
            if result is not None:
                title = f"{name}: {result.top1:.2%}"
                confusion_matrix(result, options.out / "confusion_matrix.png", title=title)

    def _report(self, best: _Best) -> None:
        options = self.options
        if not is_main_process():
            return
        shutil.rmtree(options.out / CHECKPOINT, ignore_errors=True)
        result = dict(self.results)[_after(best.phase)]
        rows = [(name, f"{scored.top1:8.2%}") for name, scored in self.results]
        self.say(f"\naccuracy on {result.samples} {self.judge_name} images\n{columns(rows)}\n")
        self.say(f"kept: {best.phase}, {best.accuracy:.2%} of the validation images")
        self.say(str(result))
        self.say(f"\nsaved: {options.out}; loaded back, it says")
        predictor = Predictor(str(options.out), top_k=1)
        images = self.judge.subset(_some(len(self.judge)))
        for (_, target), (guess,) in zip(
            images, predictor.batch(image for image, _ in images), strict=True
        ):
            truth = images.classes[target]
            mark = "" if guess.label == truth else "   (wrong)"
            self.say(f"  a {truth!r} is a {guess.label!r} with {guess.probability:.1%}{mark}")
        self.say(f"try: convzoo predict {options.out} IMAGE")


def _after(phase: str) -> str:
    """What the results call the network that a phase left."""
    return f"after training, {phase}"


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _some(count: int, wanted: int = 5) -> list[int]:
    """A few places, evenly spread."""
    wanted = min(count, wanted)
    return [count * (2 * i + 1) // (2 * wanted) for i in range(wanted)]
