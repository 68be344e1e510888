"""`convzoo finetune`: what it does, step by step."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from convzoo import by_name, datasets, hub, transfer, weights
from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo.cli._console import (
    bars_wanted,
    checking,
    columns,
    is_main_process,
    print_json,
    speaker,
    warn,
)
from convzoo.cli._errors import INTERRUPTED, Stop
from convzoo.cli._options import Options
from convzoo.cli._out import CHECKPOINT, HISTORY, METRICS, output_folder
from convzoo.cli._recipe_options import aids, with_recipe
from convzoo.datasets import Splits
from convzoo.datasets._idx import is_idx_folder
from convzoo.datasets._named import NAMED, find
from convzoo.errors import InputError
from convzoo.inference import Predictor
from convzoo.presets import Preset
from convzoo.registry import MODELS, model_info
from convzoo.training import (
    EarlyStopping,
    EpochRecord,
    Evaluation,
    FitOptions,
    History,
    ImageTransform,
    Recipe,
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


_COLOUR = ("cifar10", "cifar100")
_SMALL = ("digits", "mnist", "fashion_mnist", *_COLOUR)
"""Data sets of images that a large network would have to blow up."""


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
        self.every = _often(options.checkpoint_every)
        Trackers(options.trackers, options.out)  # one that is not installed is told at once
        # Said before the training; after it would be a poor time to fail.
        self.pictures = find_spec("matplotlib") is not None
        if not self.pictures:
            warn("no pictures, for want of matplotlib: pip install 'convzoo[plot]'")
        self.data = self._read()
        # With no test part, the validation part has to judge; it also chose the best epoch.
        self.judge = self.data.test or self.data.val
        self.judge_name = "test" if self.data.test else "validation"
        self.histories: list[History] = []
        self.best: _Best | None = None
        self.results: list[tuple[str, Evaluation]] = []

    def __call__(self) -> None:
        options = self.options
        net, origin = self._network()
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
            self._keep(net, done, self.best)
            self.say(f"Interrupted; the best network so far is in {options.out}")
            raise Stop(INTERRUPTED) from None
        if self.best is not None:
            self._keep(net, done, self.best)
            self._report(self.best)

    def _read(self) -> Splits:
        options = self.options
        if options.data is None:
            data = datasets.digits()
            self.say("data: the bundled handwritten digits (UCI, Alpaydin and Kaynak, CC BY 4.0)")
        elif isinstance(self.found, str) or is_idx_folder(self.found):
            self.say(f"data: {options.data}")
            name = self.found
            data = datasets.load(
                f"{NAMED}{name}" if name in datasets.NAMES else name,
                val=options.val_share,
                test=options.test_share,
                seed=options.seed,
                progress=self.bars,
            )
        else:
            with checking(shown=self.bars) as on_check:
                data = datasets.image_folder(
                    self.found,
                    val=options.val_share,
                    test=options.test_share,
                    seed=options.seed,
                    on_error=options.on_error,
                    on_check=on_check,
                )
            self.say(f"data: {options.data}")
        for reason in data.skipped:
            warn(f"left out: {reason}")
        if not len(data.val):
            raise InputError(
                f"--val-share: {options.val_share} of {len(data.train)} images leaves none to "
                "validate with"
            )
        parts = [(len(data.train), "training"), (len(data.val), "validation")]
        parts += [(len(data.test), "test")] if data.test else []
        counts = ", ".join(f"{count:,} {name}" for count, name in parts)
        self.say(f"images: {counts}; {len(data.classes)} classes")
        return data._replace(test=data.test or None)

    def _network(self) -> tuple[Classifier, str]:
        """The network with its new head, and where its weights come from."""
        options = self.options
        name = options.model or ("cifar_resnet20" if self.found in _SMALL else "resnet18")
        check_count("--seed", options.seed, least=-(2**63), most=2**63 - 1)
        torch.manual_seed(options.seed)
        if name not in MODELS and (Path(name).exists() or name.startswith("hf-hub:")):
            if options.weights is not None:
                raise InputError(f"--weights: {name} brings its own, got {options.weights!r}")
            net, origin = by_name.load(name), f"weights of {name}"
        else:
            tag = options.weights
            if tag is None and self.found in _COLOUR and options.model is None:
                tag = "none"  # cifar_resnet20's have learned grey pictures
            elif tag is None:
                tag = _default_tag(name)
            tag = None if tag == "none" else tag
            net = by_name.create_model(name, weights=tag)
            origin = "fresh weights" if tag is None else f"weights {tag}"
        return self._with_head(net), origin

    def _with_head(self, net: Classifier) -> Classifier:
        return transfer.replace_head(net, len(self.data.classes), labels=self.data.classes)

    def _phases(self) -> list[_Phase]:
        options = self.options
        head = _Phase("head only", "backbone", options.head_epochs, self._head_lr())
        if options.freeze == "backbone":
            # There is nothing but the head to train in either phase.
            return [
                _Phase(head.name, "backbone", options.head_epochs + options.epochs, head.lr),
            ]
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
            "train_transform": self._augmentation(net),
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
            "num_workers": self._workers(),
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
                given["train_transform"] = self._augmentation(net, self.recipe)
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

    def _augmentation(self, net: Classifier, recipe: Recipe | None = None) -> ImageTransform | None:
        preset: Preset | None = net.preset
        if recipe is not None and recipe.augment and preset and "augment" not in self.options.typed:
            return recipe.train_transform(preset)
        name = self.options.augment or ("digit" if self.options.data is None else "preset")
        if preset is None or name == "preset":
            return None
        if name == "none":
            return preset.train(crop="eval", hflip=0.0)
        hflip = None if self.options.flips is None else 0.0
        if name == "randaugment" or name == "trivialaugment":  # narrows the type
            return preset.train(auto_augment=name, hflip=hflip)
        return preset.replace(augmentation=name).train(hflip=hflip)

    def _score(self, name: str, net: Classifier) -> None:
        result = evaluate(
            net,
            self.judge,
            batch_size=4 * self.options.batch_size,
            labels=self.data.classes,
            mixed_precision=self.options.mixed_precision,
            num_workers=self._workers(),
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
        phase = _Phase("baseline", "backbone", epochs, self._head_lr())
        self.say(f"baseline, a head on a frozen random network: {_epochs(epochs)}")
        self._train(random, phase, quiet=True)
        self._score("random head on a frozen random network", random)

    def _head_lr(self) -> float:
        if self.options.head_lr is not None:
            return self.options.head_lr
        return 0.1 if self.options.data is None else 0.01

    def _keep(self, net: Classifier, phases: list[str], best: _Best) -> None:
        """Write the best model, records and pictures."""
        options = self.options
        net.load_state_dict(best.weights)
        if not is_main_process():
            return
        name = _after(best.phase)
        result = dict(self.results).get(name)  # none of a phase that was interrupted
        hub.save(
            net,
            options.out,
            dataset=options.data or "Optical Recognition of Handwritten Digits",
            metrics={} if result is None else {f"top1_{self.judge_name}": result.top1},
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

    def _workers(self) -> int:
        if self.options.workers is not None:
            return self.options.workers
        return 0 if self.options.data is None else min(4, os.cpu_count() or 1)


def _after(phase: str) -> str:
    """What the results call the network that a phase left."""
    return f"after training, {phase}"


def _often(text: str) -> int | timedelta | None:
    """What `--checkpoint-every` says: steps, a time, or never."""
    if text == "never":
        return None
    found = re.fullmatch(r"(\d{1,9}) *(s|min|h)?", text)
    if found is None or not int(found[1]):
        raise InputError(
            f"--checkpoint-every: expected steps as in 500, a time as in 30s, 10min or 2h, or "
            f"'never', got {text!r:.80}"
        )
    number, unit = int(found[1]), found[2]
    seconds = {"s": 1, "min": 60, "h": 3600}
    return number if unit is None else timedelta(seconds=number * seconds[unit])


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _some(count: int, wanted: int = 5) -> list[int]:
    """A few places, evenly spread."""
    wanted = min(count, wanted)
    return [count * (2 * i + 1) // (2 * wanted) for i in range(wanted)]


def _default_tag(model: str) -> str | None:
    """The bundled weights of a model, else the most accurate ones with a free licence."""
    model_info(model)
    known = [weights.weights_info(name) for name in weights.list_weights(f"{model}.*")]
    known = [info for info in known if info.commercial and info.num_classes]
    if not known:
        raise InputError(
            f"--weights: there are none for {model} in the catalogue; give a folder or "
            "hf-hub:owner/name, or 'none' to train from scratch"
        )
    return max(known, key=lambda info: (info.bundled, info.top1 or 0.0)).tag
