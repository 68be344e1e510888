"""A network behind an engine, and what was found out when it was put there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Self

import torch
from torch import Tensor, nn

from convzoo._checks import check_flags, check_images
from convzoo._engines._job import EngineName, Precision, Run
from convzoo._engines._threads import calling_modules
from convzoo.errors import InputError

if TYPE_CHECKING:
    from convzoo.presets import Preset


@dataclass(frozen=True)
class AccelerationReport:
    """What was chosen, why, and how it compares to the plain network. Printed, it says all that.

    Attributes:
        engine: What runs the network.
        setting: How: the engine's layout or its streams; empty where there is no choice.
        precision: The numbers it runs in.
        why: Why this engine and this precision, in a sentence.
        notes: What else is worth to know: layers that were folded or left out.
        images: How many images were timed at once; 0 where nothing was timed.
        plain_seconds: What the plain network takes for an image, in seconds.
        timings: What each setting takes for an image, in seconds.
        skipped: What could not be tried, and why.
        setup_seconds: From the call to the finished engine.
        difference: The largest difference to the plain network's scores on the example, relative
            to the largest of these.
        agreement: The share of the images given that get the plain network's label; None without
            a head.
        accuracy: Top-1 before and after, in [0, 1], where `calibration` brought targets.
    """

    engine: EngineName
    setting: str
    precision: Precision
    why: str
    notes: tuple[str, ...]
    images: int
    plain_seconds: float
    timings: Mapping[str, float]
    skipped: Mapping[str, str]
    setup_seconds: float
    difference: float
    agreement: float | None
    accuracy: tuple[float, float] | None

    def __str__(self) -> str:
        lines = [f"{self.engine} in {self.precision}: {self.why}"]
        for name, taken in sorted(self.timings.items(), key=lambda item: item[1]):
            times = self.plain_seconds / taken
            lines.append(f"  {name}: {1000 * taken:.2f} ms an image, {times:.2f} x plain")
        lines += [f"  {name}: not tried, {reason}" for name, reason in self.skipped.items()]
        lines.append(f"  relative difference to the plain network {self.difference:.1e}")
        if self.agreement is not None:
            lines.append(f"  same label as the plain network: {100 * self.agreement:.2f} %")
        if self.accuracy is not None:
            before, after = self.accuracy
            lines.append(f"  top-1 {100 * before:.2f} % before, {100 * after:.2f} % after")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


class Accelerated(nn.Module):
    """A network run by an engine: the same inputs and outputs, evaluation only.

    [accelerate][convzoo.accelerate] makes one. It has no parameters, and cannot be trained,
    copied or pickled: make it where it is used.

    Attributes:
        report: What was chosen, and why.
        preset: The network's, or None.
        labels: The network's, or None.
        architecture: The network's, or None.
        num_classes: How many classes it scores; 0 without a head.
        num_features: The network's, or None.
        in_channels: Channels of the images.
        min_size: The smallest side in pixels.
        max_size: The largest, or None.
        device: Where it runs; images come from anywhere.
    """

    preset: Preset | None
    labels: tuple[str, ...] | None
    architecture: str | None

    def __init__(
        self,
        run: Run,
        net: nn.Module,
        report: AccelerationReport,
        in_channels: int,
        scores: Tensor,
    ) -> None:
        super().__init__()
        self._run = run
        self._width = scores.shape[1]
        self.report: AccelerationReport = report
        self.preset = getattr(net, "preset", None)
        self.labels = getattr(net, "labels", None)
        self.architecture = getattr(net, "architecture", None)
        self.num_classes: int = getattr(net, "num_classes", self._width)
        self.num_features: int | None = getattr(net, "num_features", None)
        self.in_channels: int = in_channels
        self.min_size: int = getattr(net, "min_size", 1)
        self.max_size: int | None = getattr(net, "max_size", None)
        self.device: torch.device = scores.device
        self._name: str = self.architecture or type(net).__name__
        super().train(False)

    @property
    def engine(self) -> EngineName:
        """What runs the network."""
        return self.report.engine

    @property
    def precision(self) -> Precision:
        """The numbers it runs in."""
        return self.report.precision

    @property
    def why(self) -> str:
        """Why this engine and this precision."""
        return self.report.why

    def forward(self, x: Tensor) -> Tensor:
        """Score images.

        Args:
            x: Images, (B, in_channels, H, W), float32, of any number and of the sizes that the
                network takes. The first batch of another size takes the engine a while.

        Returns:
            The class scores, (B, num_classes), without gradients.

        Raises:
            InputError: The images are none, of another size or type, or want gradients.
        """
        check_images(x, self.in_channels, self.min_size, self.max_size, self._name)
        if x.dtype is not torch.float32:
            raise InputError(f"x: expected float32 images, got {x.dtype}; x.float()")
        if x.requires_grad and torch.is_grad_enabled():
            raise InputError(
                "x: expected images without gradients: no engine computes any; x.detach()"
            )
        if len(x) == 0:
            return x.new_zeros(0, self._width, device=self.device)
        with torch.inference_mode(), calling_modules():
            scores = self._run(x.to(self.device))
        # What comes out of inference mode could be changed in place by nobody.
        return scores.clone() if scores.is_inference() else scores

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor:
            """Images (B, in_channels, H, W) -> class scores (B, num_classes)."""
            ...

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode.

        Args:
            mode: False.

        Returns:
            This module.

        Raises:
            InputError: It should be trained.
        """
        check_flags(mode=mode)
        if mode:
            raise InputError("mode: an engine only evaluates; train the network it was made from")
        return self

    def extra_repr(self) -> str:
        """The network, the engine and the precision."""
        return f"{self._name}, engine={self.engine!r}, precision={self.precision!r}"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "an accelerated network cannot be copied or pickled; send the network, and call "
            "accelerate where it is used"
        )
