"""The quickest way to run a network on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from convzoo._checks import check_choice, check_number
from convzoo._engines import _compile, _onnxruntime, _openvino, _torch
from convzoo._engines._accelerated import Accelerated, AccelerationReport
from convzoo._engines._available import check_available, unavailable
from convzoo._engines._folded import folded
from convzoo._engines._job import EngineName, Job, Precision, Run, Setting
from convzoo._engines._processor import has_bf16
from convzoo._engines._quantised import (
    Calibration,
    Quantised,
    calibrated,
    quantised,
)
from convzoo._engines._race import race, seconds
from convzoo._engines._remembered import note, question, recall
from convzoo._engines._runnable import channels_of, check_example, check_runnable
from convzoo._engines._threads import calling_modules, tracing
from convzoo._modes import evaluation
from convzoo.errors import ConvzooError, InputError

EngineChoice = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
PrecisionChoice = Literal["auto", "fp32", "bf16", "int8"]

_ENGINES: Final = {
    "torch": _torch.settings,
    "onnxruntime": _onnxruntime.settings,
    "openvino": _openvino.settings,
    "compile": _compile.settings,
}

_BUDGET: Final = 2.0
"""Seconds for timing."""

_ROUNDING: Final = 1e-3
"""An engine that is further off than this in fp32 computes something else."""

_SAMPLE: Final = 8
"""Images that are compared in fp32, where rounding is all that differs."""


def accelerate(
    net: nn.Module,
    example: Tensor | None = None,
    *,
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "fp32",
    calibration: Iterable[Tensor | tuple[Tensor, Tensor]] | None = None,
    max_drop: float = 0.01,
) -> Accelerated:
    """A network as quick as this machine can run it, for evaluation.

    Args:
        net: The network. It is left as it is, and need not be in evaluation mode.
        example: Images like those to come, (B, C, H, W): their number and size are what the
            engine is chosen for, and the result is compared to the plain network on them. None
            takes one image of noise of the network's own size.
        engine: What runs the network. `"auto"` times what is installed for at most two seconds,
            and remembers what was the quickest; `"compile"`, which takes a minute to get ready,
            has to be asked for.
        precision: The numbers it runs in. `"auto"` is bf16 where the processor or the card has
            it, else fp32.
        calibration: For `"int8"`: some hundred images, batch by batch or one by one, with their
            classes (then top-1 is measured by them) or without (then by the plain network's).
        max_drop: For `"int8"`: how much of the top-1 on `calibration` may be lost, in [0, 1].
            Layers that cost most are left in fp32 until no more is.

    Returns:
        A module that takes what the network takes, and returns what it returns. `print` its
        `report` to see what was chosen and why.

    Raises:
        InputError: The network cannot be run so, or an argument is out of range.
        MissingExtraError: What the engine needs is not installed.

    Examples:
        >>> import torch, convzoo
        >>> net = convzoo.cifar_resnet20(num_classes=3)
        >>> fast = convzoo.accelerate(net, torch.rand(2, 3, 32, 32), engine="torch")
        >>> fast(torch.rand(5, 3, 32, 32)).shape
        torch.Size([5, 3])
        >>> fast.engine, fast.precision
        ('torch', 'fp32')
    """
    started = time.perf_counter()
    check_choice("engine", engine, get_args(EngineChoice))
    check_choice("precision", precision, get_args(PrecisionChoice))
    max_drop = check_number("max_drop", max_drop, least=0, most=1)
    device = check_runnable(net)
    example = check_example(net, example, device)
    numbers, numbers_why = _precision(precision, device)
    if (calibration is None) == (numbers == "int8"):
        raise InputError(
            "calibration: expected some hundred images, which int8 needs to be made with"
            if numbers == "int8"
            else f"calibration: only int8 is made with images, and this is {numbers}; pass "
            "precision='int8', or no calibration"
        )
    names, skipped = _engines(engine, numbers, device)
    plain = _plain(net, example if numbers != "fp32" else example[:_SAMPLE])
    copy, folding = folded(net)
    job = Job(copy, example, numbers, torch.get_num_threads())

    quantising = None
    if calibration is not None:
        quantising = _Quantising(calibrated(copy, calibration, example), max_drop)
    contest = _Contest(job, plain, skipped)
    settings = [
        setting
        for name in names
        for setting in (
            _openvino.settings(job, quantising.change)
            if quantising is not None
            else _ENGINES[name](job)
        )
    ]
    with tracing():  # and nobody else is timed
        winner = contest.winner(settings, engine)
    notes = (folding,) if quantising is None else (folding, quantising.kept())
    report = AccelerationReport(
        engine=winner.setting.engine,
        setting=winner.setting.name,
        precision=numbers,
        why="; ".join(why for why in (winner.why, numbers_why) if why),
        notes=notes,
        images=contest.images,
        plain_seconds=plain.seconds,
        timings=contest.timings,
        skipped=contest.skipped,
        setup_seconds=time.perf_counter() - started,
        difference=winner.difference,
        agreement=winner.agreement if getattr(net, "num_classes", None) != 0 else None,
        accuracy=None if quantising is None else quantising.accuracy(),
    )
    return Accelerated(winner.run, net, report, channels_of(net), plain.scores)


def _precision(choice: PrecisionChoice, device: torch.device) -> tuple[Precision, str]:
    """The numbers to take, and why."""
    if choice in ("fp32", "int8"):
        return choice, ""
    here = "card" if device.type == "cuda" else "processor"
    if has_bf16(device):
        return "bf16", f"the {here} has bf16"
    if choice == "auto":
        return "fp32", f"fp32, since the {here} has no bf16 instructions"
    raise InputError(
        f"precision: this {here} has no bf16 instructions that torch knows of; they would be "
        "imitated, and slower than fp32; pass precision='fp32'"
    )


def _engines(
    choice: EngineChoice, precision: Precision, device: torch.device
) -> tuple[list[EngineName], dict[str, str]]:
    """Who may run it; and who not, and why."""
    if choice != "auto":
        check_available(choice, precision, device)
        return [choice], {}
    reasons = {name: unavailable(name, precision, device) for name in get_args(EngineName)}
    if device.type == "cpu" and not reasons["compile"]:
        reasons["compile"] = "it takes a minute to get ready; pass engine='compile'"
    names = [name for name in get_args(EngineName) if not reasons[name]]
    if not names:
        check_available("openvino", precision, device)
    return names, {name: reason for name, reason in reasons.items() if reason}


class _Plain(NamedTuple):
    """What the plain network makes of images, and how long it takes for one."""

    images: Tensor
    scores: Tensor
    seconds: float


def _plain(net: nn.Module, images: Tensor) -> _Plain:
    with evaluation(net), torch.inference_mode(), calling_modules():
        scores: object = net(images)
        taken = seconds(lambda: net(images[:_SAMPLE]))
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"net: expected one that returns scores (B, classes), got {got}")
    if not bool(scores.isfinite().all()):
        raise InputError(
            "net: its scores of the example are not finite, so that no engine can be compared to "
            "it; pass real images as `example`, or load weights"
        )
    return _Plain(images, scores, taken / len(images[:_SAMPLE]))


class _Quantising:
    """What is done to the model for int8, and what came of it."""

    def __init__(self, calibration: Calibration, max_drop: float) -> None:
        self._calibration = calibration
        self._max_drop = max_drop
        self._done: Quantised | None = None

    def change(self, model: object) -> object:
        """Quantise a model, the first one that comes."""
        if self._done is not None:
            size = tuple(self._calibration.images[0].shape[1:])
            raise InputError(f"x: the network was quantised for images of {size}; resize these")
        self._done = quantised(model, self._calibration, self._max_drop)
        return self._done.model

    def accuracy(self) -> tuple[float, float] | None:
        """Top-1 before and after."""
        return None if self._done is None else (self._calibration.before, self._done.after)

    def kept(self) -> str:
        """The layers that were left out."""
        layers = () if self._done is None else self._done.kept
        source = "the classes given" if self._calibration.is_truth else "the plain network's labels"
        left = ", ".join(layers) or "no layer"
        return f"top-1 on {len(self._calibration.images)} images, by {source}; left in fp32: {left}"


class _Winner(NamedTuple):
    setting: Setting
    run: Run
    why: str
    difference: float
    agreement: float


class _Contest:
    """Builds settings, compares them to the plain network, and times them."""

    def __init__(self, job: Job, plain: _Plain, skipped: dict[str, str]) -> None:
        self._job = job
        self._plain = plain
        self.skipped: dict[str, str] = skipped
        self.timings: dict[str, float] = {}
        self.images: int = 0

    def winner(self, settings: list[Setting], engine: EngineChoice) -> _Winner:
        """The quickest, from memory if it is known."""
        if len(settings) == 1:
            only = f"the only one here that runs {self._job.precision}"
            why = "asked for" if engine != "auto" else only
            return self._built(settings[0], why)
        asked = question(self._job, [str(setting) for setting in settings])
        known = recall(asked)
        for setting in settings:
            if str(setting) == known:
                return self._built(setting, "the quickest when it was timed before")
        built: dict[str, _Winner] = {}
        for setting in settings:
            try:
                built[str(setting)] = self._built(setting, "")
            except ConvzooError as error:
                self.skipped[str(setting)] = str(error)
                if len(settings) == len(self.skipped):
                    raise
        best, why = self._race(built)
        note(asked, best)
        return built[best]._replace(why=why)

    def _race(self, built: dict[str, _Winner]) -> tuple[str, str]:
        # Each runs once, and those that may win again: half the time for the first round.
        fitting = int(_BUDGET / (2 * len(built) * max(self._plain.seconds, 1e-6)))
        images = self._job.example[: max(1, fitting)]
        self.images = len(images)
        with torch.inference_mode():
            taken = race({name: entry.run for name, entry in built.items()}, images, _BUDGET)
        self.timings = {name: time / len(images) for name, time in taken.items()}
        first, *others = sorted(self.timings.items(), key=lambda item: item[1])
        why = f"the quickest with {len(images)} image(s) and {self._job.threads} thread(s)"
        if others:
            why += f", {others[0][1] / first[1]:.2f} times as quick as {others[0][0]}"
        return first[0], why

    def _built(self, setting: Setting, why: str) -> _Winner:
        run = setting.build()
        expected = self._plain.scores
        with torch.inference_mode():
            found = torch.cat([run(part) for part in torch.split(self._plain.images, _SAMPLE)])
        largest = expected.abs().max().clamp(min=1e-12)
        difference = float((found - expected).abs().max() / largest)
        if self._job.precision == "fp32" and not difference < _ROUNDING:
            raise InputError(
                f"{setting}: its scores are off the network's by {difference:.1e} of the largest; "
                "pass another engine, or see whether the network scores an image alike twice"
            )
        same = (found.argmax(1) == expected.argmax(1)).float().mean()
        return _Winner(setting, run, why, difference, float(same))
