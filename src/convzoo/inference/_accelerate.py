"""The quickest way to run a network on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from convzoo._checks import check_choice, check_number
from convzoo._modes import evaluation
from convzoo.errors import ConvzooError, InputError
from convzoo.inference._accelerated import Accelerated, AccelerationReport
from convzoo.inference._engines import _torch
from convzoo.inference._engines._folded import folded
from convzoo.inference._engines._job import Job, Run, Setting
from convzoo.inference._engines._race import race, seconds
from convzoo.inference._engines._runnable import channels_of, check_example, check_runnable

EngineChoice = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
PrecisionChoice = Literal["auto", "fp32", "bf16", "int8"]

_BUDGET: Final = 2.0
"""Seconds for timing."""

_ROUNDING: Final = 1e-3
"""An engine that is further off than this in fp32 computes something else."""


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
        engine: What runs the network; `"auto"` times what is installed for two seconds.
        precision: The numbers it runs in.
        calibration: For `"int8"`: some hundred images, batch by batch, with their classes (the
            accuracy before and after is measured on them) or without.
        max_drop: For `"int8"`: how much of the top-1 on `calibration` may be lost, in [0, 1].

    Returns:
        A module that takes what the network takes, and returns what it returns. `print` its
        `report` to see what was chosen and why.

    Raises:
        InputError: The network cannot be run so, or an argument is out of range.
        ConvzooError: What the engine needs is not installed.

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
    if engine not in ("auto", "torch") or precision not in ("auto", "fp32"):
        raise ConvzooError(f"engine: {engine} in {precision} is not there yet")
    plain = _plain(net, example)
    copy, note = folded(net)
    job = Job(copy, example, "fp32", torch.get_num_threads())
    runs, timings = {}, {}
    for setting in _torch.settings(job):
        runs[str(setting)] = setting, _checked(setting, example, plain.scores)
    timings = race({name: run for name, (_, (run, _)) in runs.items()}, example, _BUDGET)
    best = min(timings, key=timings.__getitem__)
    setting, (run, difference) = runs[best]
    report = AccelerationReport(
        setting.engine,
        setting.name,
        "fp32",
        f"the quickest of {len(timings)} that were timed",
        (note,),
        len(example),
        plain.seconds,
        timings,
        {},
        time.perf_counter() - started,
        difference,
        None,
        None,
    )
    return Accelerated(run, net, report, channels_of(net), plain.scores)


class _Plain(NamedTuple):
    """What the plain network makes of the example, and how long it takes."""

    scores: Tensor
    seconds: float


def _plain(net: nn.Module, example: Tensor) -> _Plain:
    with evaluation(net), torch.inference_mode():
        scores: object = net(example)
        taken = seconds(lambda: net(example))
    if not isinstance(scores, Tensor) or scores.ndim != 2:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"net: expected one that returns scores (B, classes), got {got}")
    if not bool(scores.isfinite().all()):
        raise InputError(
            "net: its scores of the example are not finite, so that no engine can be compared to "
            "it; pass real images as `example`, or load weights"
        )
    return _Plain(scores, taken)


def _checked(setting: Setting, example: Tensor, expected: Tensor) -> tuple[Run, float]:
    run = setting.build()
    with torch.inference_mode():
        found = run(example)
    if found.shape != expected.shape:
        raise InputError(
            f"{setting}: it returns {tuple(found.shape)}, the network {tuple(expected.shape)}"
        )
    difference = float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    if not difference < _ROUNDING:
        raise InputError(
            f"{setting}: its scores are {difference:.1e} off the network's (of the largest); "
            "take another engine"
        )
    return run, difference
