"""Eight bits: static quantisation after training, by NNCF, which is OpenVINO's own library for it.

It quantises weights channel by channel, and puts layers back into floating point, those that cost
most accuracy first, until the loss is small enough.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from convzoo._checks import check_tensor
from convzoo._engines._exported import quietly
from convzoo._engines._openvino import core
from convzoo._engines._processor import adds_int8_exactly
from convzoo._engines._threads import calling_modules
from convzoo.errors import InputError

_EXACT: Final = {"INFERENCE_PRECISION_HINT": "f32"}
_PASSING: Final = ("MaxPool", "Relu", "Reshape", "Squeeze", "Transpose")


@dataclass(frozen=True)
class Calibration:
    """Images to quantise with, and what they should be taken for.

    Attributes:
        images: One batch of one image after the other.
        labels: The class of each, as it should be, or as the plain network has it.
        before: The plain network's top-1; 1 where it is what it is compared to.
        is_truth: Whether the classes were given.
    """

    images: list[Tensor]
    labels: list[int]
    before: float
    is_truth: bool


def calibrated(
    net: nn.Module, data: Iterable[Tensor | tuple[Tensor, Tensor]], example: Tensor
) -> Calibration:
    """Read the images, and score them with the plain network.

    Args:
        net: The network in evaluation mode.
        data: Batches, or single images, with or without classes.
        example: One that fits.

    Returns:
        All of it.

    Raises:
        InputError: There are none, or they do not fit.
    """
    images: list[Tensor] = []
    truth: list[int] = []
    own: list[int] = []
    for x, y in _batches(data):
        if x.shape[1:] != example.shape[1:]:
            raise InputError(
                f"calibration: expected images of {tuple(example.shape[1:])}, as the example has "
                f"them, got {tuple(x.shape[1:])}"
            )
        with torch.inference_mode(), calling_modules():
            own += net(x.to(example)).argmax(1).tolist()
        truth += [] if y is None else y
        images += [image[None] for image in x.float()]
    if not images:
        raise InputError("calibration: expected some hundred images, got none")
    if truth and len(truth) != len(images):
        raise InputError(
            f"calibration: expected a class for each of the {len(images)} images, or none, got "
            f"{len(truth)}"
        )
    right = sum(a == b for a, b in zip(own, truth, strict=False))
    before = right / len(images) if truth else 1.0
    return Calibration(images, truth or own, before, bool(truth))


def _batches(data: Iterable[Any]) -> Iterator[tuple[Tensor, list[int] | None]]:
    try:
        items = iter([data] if isinstance(data, Tensor) else data)
    except TypeError:
        raise InputError(f"calibration: expected batches of images, got {data!r:.80}") from None
    for item in items:
        x, y = item if isinstance(item, (tuple, list)) and len(item) == 2 else (item, None)
        check_tensor("calibration", x)
        x = x[None] if x.ndim == 3 else x
        if x.ndim != 4 or not x.is_floating_point():
            raise InputError(
                f"calibration: expected floating-point images (B, C, H, W), got {x.dtype} of shape "
                f"{tuple(x.shape)}"
            )
        try:
            yield x, None if y is None else torch.as_tensor(y).reshape(-1).long().tolist()
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"calibration: expected classes, got {y!r:.80}") from None


@dataclass
class Quantised:
    """A quantised model, and what it scores.

    Attributes:
        model: An `openvino.Model`.
        after: Its top-1 on the images, by the labels of the calibration.
        kept: Layers that were left in floating point.
    """

    model: Any
    after: float
    kept: tuple[str, ...]


def quantised(model: Any, calibration: Calibration, max_drop: float) -> Quantised:
    """Quantise a model.

    Args:
        model: An `openvino.Model`.
        calibration: What to quantise with.
        max_drop: How much top-1 may be lost.

    Returns:
        The quantised model.

    """
    with quietly():
        import nncf
        from nncf.quantization.advanced_parameters import OverflowFix

    core()  # before NNCF makes those of its own
    inputs = nncf.Dataset([x.numpy() for x in calibration.images])
    labelled = nncf.Dataset(list(zip(calibration.images, calibration.labels, strict=True)))
    fix = OverflowFix.DISABLE if adds_int8_exactly() else OverflowFix.ENABLE
    # It draws bars.
    with quietly(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        made = nncf.quantize_with_accuracy_control(
            model,
            inputs,
            labelled,
            validation_fn=_top1,
            max_drop=max_drop,
            subset_size=len(calibration.images),
            advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
        )
        after, _ = _top1(core().compile_model(made, "CPU", _EXACT), labelled.get_data())
    return Quantised(made, after, tuple(_left_out(made)))


def _left_out(model: Any) -> Iterator[str]:
    """Layers with weights whose input is not quantised."""
    for layer in model.get_ordered_ops():
        if layer.get_type_name() in ("Convolution", "GroupConvolution", "MatMul"):
            source = layer.input_value(0).get_node()
            while source.get_type_name() in _PASSING:
                source = source.input_value(0).get_node()
            if source.get_type_name() != "FakeQuantize":
                yield layer.get_friendly_name().partition("/")[0]


def _top1(model: Any, data: Iterable[tuple[Tensor, int]]) -> tuple[float, list[float]]:
    right = [float(model(x.numpy())[0].argmax() == label) for x, label in data]
    return sum(right) / len(right), right
