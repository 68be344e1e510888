"""DropConnect: dropout of weights instead of activations, with masks for each example.

Paper: Wan, Zeiler, Zhang, LeCun, Fergus, *Regularization of Neural Networks using
DropConnect*, 2013.

What other libraries call "drop connect" drops whole residual branches; that is stochastic
depth. In the paper p is the probability of keeping a weight; here, as everywhere in PyTorch, it
is the probability of dropping one. As in the paper biases are masked too, nothing is rescaled
in training, and inference accounts for it; `rescale=True` divides by the kept fraction in
training instead, as `torch.nn.Dropout` does. The paper has fully connected layers only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, cast, get_args

import torch
import torch.fx
from torch import Tensor, nn

from convzoo._checks import check_count, check_flags, check_probability
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers._dropconnect_ops import drop_connect
from convzoo.layers._rng import draw_seed, uniform

Per = Literal["example", "batch"]
"""Who shares a mask: `"example"`: nobody (the paper); `"batch"`: all examples of a batch."""

Inference = Literal["mean", "gaussian", "monte_carlo"]
"""`"mean"`: the mean over masks, exact before the activation. `"gaussian"` (the paper): the
mean of the activation over samples of a Gaussian with the mean and variance over masks.
`"monte_carlo"`: its mean over sampled masks."""

Activation = Callable[[Tensor], Tensor]

_AT_ONCE = 1 << 22  # sampled values at a time: 16 MB


class DropConnectOptions(TypedDict, total=False):
    """What every DropConnect layer takes besides `p` and `activation`.

    Attributes:
        per: `"example"`, the default, or `"batch"` for one mask for all: cheaper, and weaker.
        inference: `"mean"`, the default, `"gaussian"` or `"monte_carlo"`, what evaluation does.
            The latter two average the `activation`'s output, so they need one to differ from
            the mean.
        samples: How many, for the latter two; 1000 in the paper and by default.
        rescale: Divide by `1 - p` in training instead of multiplying by it in evaluation.
        generator: Source of the random numbers, instead of PyTorch's global one; on the device
            of the input.
    """

    per: Per
    inference: Inference
    samples: int
    rescale: bool
    generator: torch.Generator | None


class _DropConnect(nn.Module):
    """What the layers share. A subclass is also the plain layer, which initialises both."""

    p: float
    activation: Activation | None
    per: Per
    inference: Inference
    samples: int
    rescale: bool
    generator: torch.Generator | None

    def _configure(
        self,
        p: float,
        activation: Activation | None = None,
        *,
        per: Per = "example",
        inference: Inference = "mean",
        samples: int = 1000,
        rescale: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        if per not in get_args(Per):
            raise UnknownNameError("per", per, get_args(Per))
        if inference not in get_args(Inference):
            raise UnknownNameError("inference", inference, get_args(Inference))
        self.p = check_probability("p", p)
        self.activation = activation
        self.per = per
        self.inference = inference
        self.samples = check_count("samples", samples)
        check_flags(rescale=rescale)
        self.rescale = rescale
        self.generator = generator

    @property
    def _weights(self) -> tuple[Tensor, Tensor | None]:
        return cast("Tensor", self.weight), cast("Tensor | None", self.bias)

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The plain layer with other parameters."""
        raise NotImplementedError

    def _map_masked(self, x: Tensor, seed: Tensor) -> Tensor:
        """The plain layer without bias, its weight masked for each example."""
        raise NotImplementedError

    def _keep(self, shape: torch.Size, like: Tensor) -> Tensor:
        return uniform(shape, like.device, self.generator) >= self.p

    def _sample(self, x: Tensor) -> Tensor:
        """The layer before its activation, with masks drawn now."""
        weight, bias = self._weights
        if self.per == "batch":
            weight = torch.where(self._keep(weight.shape, x), weight, 0.0)
            if bias is not None:
                bias = torch.where(self._keep(bias.shape, x), bias, 0.0)
            return self._map(x, weight, bias)
        y = self._map_masked(x, draw_seed(self.generator))
        if bias is None:
            return y
        around = weight.dim() - 2  # axes of a map, which share a mask: none, or two
        rows = y.shape[: y.dim() - around]
        kept = torch.where(self._keep(rows, y), bias.to(y.dtype), 0.0)
        return y + kept.view(*rows, *[1] * around)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance over masks of the output before the activation, exactly.

        Args:
            x: What `forward` takes.

        Returns:
            `(1-p) (W x + b)` and `p (1-p) (W**2 x**2 + b**2)`, each of the output's shape; with
            `rescale=True` divided by `1-p` and its square.
        """
        keep = 1.0 - self.p
        weight, bias = self._weights
        mean = self._map(x, weight, bias) * keep
        squares = self._map(x * x, weight**2, None if bias is None else bias**2)
        variance = squares * (self.p * keep)
        return (mean / keep, variance / keep**2) if self.rescale else (mean, variance)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the plain layers' name
        """Apply the layer: with masks in training, by the `inference` method in evaluation."""
        return _drop_connect(self, input)

    def _forward(self, x: Tensor) -> Tensor:
        keep = 1.0 - self.p
        if self.p == 0:
            return self._activate(self._map(x, *self._weights))
        if self.training:
            y = self._sample(x)
            return self._activate(y / keep if self.rescale else y)
        # Without an activation the average of the samples tends to the mean: take that.
        if self.inference == "mean" or (self.inference == "gaussian" and self.activation is None):
            y = self._map(x, *self._weights)
            return self._activate(y if self.rescale else y * keep)
        if self.inference == "gaussian":
            return self._average_gaussian(x)
        return self._average_masks(x)

    def _average_masks(self, x: Tensor) -> Tensor:
        scale = 1.0 / (1.0 - self.p) if self.rescale else 1.0
        total = self._activate(self._sample(x) * scale)
        for _ in range(self.samples - 1):
            total = total + self._activate(self._sample(x) * scale)
        return total / self.samples

    def _average_gaussian(self, x: Tensor) -> Tensor:
        mean, variance = self.moments(x)
        deviation = variance.sqrt()
        total = torch.zeros_like(mean)
        at_once = max(1, min(self.samples, _AT_ONCE // max(mean.numel(), 1)))
        for start in range(0, self.samples, at_once):
            count = min(at_once, self.samples - start)
            noise = torch.randn(
                [count, *mean.shape],
                dtype=mean.dtype,
                device=mean.device,
                generator=self.generator,
            )
            # (count, B, ...) -> (count * B, ...): the activation sees a batch
            u = (mean + deviation * noise).flatten(0, 1)
            total = total + self._activate(u).view(count, *mean.shape).sum(0)
        return total / self.samples

    def _activate(self, y: Tensor) -> Tensor:
        return y if self.activation is None else self.activation(y)

    def extra_repr(self) -> str:
        """The arguments, for `print(net)`."""
        parts = [super().extra_repr(), f"p={self.p}"]
        if self.per != "example":
            parts.append(f"per={self.per!r}")
        if self.inference != "mean":
            parts.append(f"inference={self.inference!r}, samples={self.samples}")
        if self.rescale:
            parts.append("rescale=True")
        return ", ".join(parts)

    if TYPE_CHECKING:

        def __call__(self, input: Tensor) -> Tensor: ...  # noqa: A002


def _drop_connect(layer: _DropConnect, x: Tensor) -> Tensor:
    return layer._forward(x)


torch.fx.wrap("_drop_connect")  # one call, of which the layer is an argument, as in DropBlock


class DropConnectLinear(_DropConnect, nn.Linear):  # pyright: ignore[reportUnsafeMultipleInheritance]
    """A fully connected layer whose weights are dropped: `(..., I) -> (..., O)`.

    In training every row of the input meets a mask of its own. The masks are never stored: on
    CPU extra memory stays at a few megabytes, where the obvious way takes B times the weights.
    Parameters and state-dict keys are those of `torch.nn.Linear`.

    Args:
        in_features: Inputs I.
        out_features: Outputs O.
        bias: Whether there is a bias; it is masked as well.
        p: Probability of dropping a weight, in [0, 1). The paper's p is one minus it.
        activation: What follows the layer, e.g. `torch.relu`; applied in training too.
        device: Where to put the parameters.
        dtype: Their type.
        **options: `per`, `inference`, `samples`, `rescale` and `generator`:
            [DropConnectOptions][convzoo.layers.DropConnectOptions].

    Raises:
        InputError: An argument is out of range.

    Examples:
        >>> import torch
        >>> from convzoo.layers import DropConnectLinear
        >>> layer = DropConnectLinear(800, 10, p=0.5)
        >>> x = torch.randn(32, 800)
        >>> layer(x).shape
        torch.Size([32, 10])
        >>> mean = torch.nn.functional.linear(x, layer.weight, layer.bias) / 2
        >>> bool(torch.allclose(layer.eval()(x), mean, atol=1e-6))
        True
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        p: float = 0.5,
        activation: Activation | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[DropConnectOptions],
    ) -> None:
        check_flags(bias=bias)
        try:
            nn.Linear.__init__(self, in_features, out_features, bias, device=device, dtype=dtype)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"DropConnectLinear: {error}") from error
        self._configure(p, activation, **options)

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(x, weight, bias)

    def _map_masked(self, x: Tensor, seed: Tensor) -> Tensor:
        y = drop_connect(x.reshape(-1, x.shape[-1]), self.weight, seed, self.p)
        return y.view(*x.shape[:-1], self.out_features)


class DropConnectConv2d(_DropConnect, nn.Conv2d):  # pyright: ignore[reportUnsafeMultipleInheritance]
    """A convolution whose weights are dropped: `(B, C, H, W) -> (B, O, H', W')`.

    Every example meets kernels with a mask of its own, the same at all positions. The paper
    has no such layer; this is its rule applied to kernels. Parameters and state-dict keys are
    those of `torch.nn.Conv2d`.

    Args:
        in_channels: Channels C.
        out_channels: Channels O.
        kernel_size: Side of the kernel, or `(height, width)`.
        stride: As in `torch.nn.Conv2d`.
        padding: As in `torch.nn.Conv2d`: cells, or `"same"` or `"valid"`.
        dilation: As in `torch.nn.Conv2d`.
        groups: As in `torch.nn.Conv2d`.
        bias: Whether there is a bias; it is masked as well.
        p: Probability of dropping a weight, in [0, 1).
        activation: What follows the layer; applied in training too.
        padding_mode: As in `torch.nn.Conv2d`.
        device: Where to put the parameters.
        dtype: Their type.
        **options: As in [DropConnectLinear][convzoo.layers.DropConnectLinear].

    Raises:
        InputError: An argument is out of range, or the input is not `(B, C, H, W)`.

    Examples:
        >>> import torch
        >>> from convzoo.layers import DropConnectConv2d
        >>> DropConnectConv2d(3, 8, 3, padding=1, p=0.2)(torch.randn(2, 3, 9, 9)).shape
        torch.Size([2, 8, 9, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        p: float = 0.5,
        activation: Activation | None = None,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[DropConnectOptions],
    ) -> None:
        window = (kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        check_flags(bias=bias)
        try:
            nn.Conv2d.__init__(self, in_channels, out_channels, *window, device=device, dtype=dtype)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"DropConnectConv2d: {error}") from error
        self._configure(p, activation, **options)

    def _map(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = self._conv_forward(x, weight, bias)
        return y

    def _map_masked(self, x: Tensor, seed: Tensor) -> Tensor:
        if x.dim() != 4:
            raise InputError(f"x: expected (B, C, H, W), got shape {tuple(x.shape)}")
        # torch.nn.Conv2d works this out for every kind of padding, "same" included.
        padding = self._reversed_padding_repeated_twice
        if any(padding):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x = nn.functional.pad(x, padding, mode)
        geometry = [*self.stride, *self.dilation, self.groups]
        return drop_connect(x, self.weight, seed, self.p, geometry)
