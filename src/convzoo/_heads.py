"""The last layer of a head: what it scores, and a fresh one in its place."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convzoo._checks import LARGEST, check_count, check_probability
from convzoo.errors import InputError


class DropoutLinear(nn.Linear):
    """A linear layer with dropout on its input, under the state-dict keys of a plain one.

    `replace_head(..., dropout=0.2)` puts it where a plain `nn.Linear` stood, so that a
    checkpoint's keys do not depend on whether the head drops anything.

    Args:
        in_features: Length of an input vector.
        out_features: Length of an output vector.
        p: Probability that an input unit is dropped in training, in [0, 1).
    """

    def __init__(self, in_features: int, out_features: int, p: float) -> None:
        super().__init__(in_features, out_features)
        self.p: float = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop, then multiply: (..., in_features) -> (..., out_features)."""
        return F.linear(F.dropout(x, self.p, self.training), self.weight, self.bias)

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        return f"{super().extra_repr()}, p={self.p}"


class DropoutConv2d(nn.Conv2d):
    """A 1 x 1 convolution with dropout on its input, under the keys of a plain one.

    Args:
        in_channels: Channels of the input map.
        out_channels: Channels of the output map.
        p: Probability that an input value is dropped in training, in [0, 1).
        bias: Whether a bias is added.
    """

    def __init__(self, in_channels: int, out_channels: int, p: float, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)
        self.p: float = p

    def forward(self, x: Tensor) -> Tensor:
        """Drop, then convolve: (B, in_channels, H, W) -> (B, out_channels, H, W)."""
        return super().forward(F.dropout(x, self.p, self.training))

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        plain: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{plain}, p={self.p}"


class NoHead(nn.Identity):
    """What stands where a head's last layer was, `num_classes=0`: its input passes.

    Args:
        in_features: Length of that input, or channels of the map before a 1 x 1 convolution.
        convolution: Whether the layer was a 1 x 1 convolution.
    """

    def __init__(self, in_features: int, *, convolution: bool = False) -> None:
        super().__init__()
        self.in_features: int = in_features
        self.convolution: bool = convolution

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        return str(self.in_features)


def new_head(
    old: nn.Module, num_classes: int, dropout: float = 0.0, like: Tensor | None = None
) -> nn.Module:
    """A fresh layer in place of `old` that scores `num_classes` classes.

    Args:
        old: The head's last layer: linear, or a 1 x 1 convolution, or a sequence that begins
            with one, or a `NoHead`.
        num_classes: Classes the new layer scores, at least 1.
        dropout: Probability of dropping an input of the new layer, in [0, 1).
        like: A tensor of the network, for device and dtype, where `old` has none.

    Returns:
        A layer of the same kind, device, dtype and training mode, with torch's default
        initialisation.

    Raises:
        InputError: `num_classes` or `dropout` is out of range, or `old` is of another kind.
    """
    num_classes = check_count("num_classes", num_classes, most=LARGEST)
    check_probability("dropout", dropout)
    if isinstance(old, nn.Sequential):  # `net.fc = nn.Sequential(nn.Dropout(), nn.Linear(64, 5))`
        old = _first_layer(old) or old
    if isinstance(old, NoHead):
        like = torch.empty(0) if like is None else like
        width, training = old.in_features, old.training
        with torch.device(like.device):
            old = nn.Conv2d(width, 1, 1) if old.convolution else nn.Linear(width, 1)
        old.to(like.dtype).train(training)
    new: nn.Module
    if isinstance(old, nn.Linear):
        # Built inside the old layer's device, so that a head of a meta network stays on meta.
        with torch.device(old.weight.device):
            if dropout:
                new = DropoutLinear(old.in_features, num_classes, dropout)
            else:
                new = nn.Linear(old.in_features, num_classes)
    elif isinstance(old, nn.Conv2d) and old.kernel_size == (1, 1):
        bias = old.bias is not None
        with torch.device(old.weight.device):
            if dropout:
                new = DropoutConv2d(old.in_channels, num_classes, dropout, bias=bias)
            else:
                new = nn.Conv2d(old.in_channels, num_classes, 1, bias=bias)
    else:
        raise InputError(
            f"head: expected a linear layer or a 1 x 1 convolution, got {type(old).__name__}"
        )
    return new.to(old.weight.dtype).train(old.training)


def no_head(old: nn.Module) -> NoHead:
    """What stands for a head that is taken away.

    Args:
        old: The head's last layer, as in `new_head`, or any that says its `in_features`.

    Returns:
        It, in the same training mode.

    Raises:
        InputError: `old` does not say how long its input is.
    """
    layer = _first_layer(old) if isinstance(old, nn.Sequential) else old
    width: Any = getattr(layer, "in_features", None) or getattr(layer, "in_channels", None)
    if not isinstance(width, int):
        raise InputError(
            f"head: expected a layer that says its in_features, got {type(old).__name__}"
        )
    convolution = isinstance(layer, nn.Conv2d) or getattr(layer, "convolution", False)
    return NoHead(width, convolution=convolution).train(old.training)


def score_layer(module: nn.Module | None) -> nn.Linear | nn.Conv2d | None:
    """The linear layer or 1 x 1 convolution that `module` is, or that its sequence ends in."""
    if isinstance(module, nn.Linear):
        return module
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
        return module
    if isinstance(module, nn.Sequential):
        for layer in reversed(module):
            if next(layer.parameters(), None) is not None:
                return score_layer(layer)
    return None


def _first_layer(sequence: nn.Sequential) -> nn.Module | None:
    """The layer of a sequence that its input reaches first, of those that have parameters."""
    for layer in sequence:
        if next(layer.parameters(), None) is not None:
            return _first_layer(layer) if isinstance(layer, nn.Sequential) else layer
    return None


class NoHeadError(InputError, AttributeError):
    """The network scores no classes.

    An `AttributeError` as well, so that `hasattr(net, "num_classes")` is False.
    """


def head_width(layer: nn.Module, path: str = "head") -> int:
    """How many classes a head's last layer scores.

    Args:
        layer: A layer with `out_features` or `out_channels`, or a sequence that ends in a linear
            layer or a 1 x 1 convolution.
        path: Where it stands, for the message.

    Returns:
        The number, 0 for a `NoHead`.

    Raises:
        NoHeadError: It does not say.
    """
    if isinstance(layer, NoHead):
        return 0
    layer = score_layer(layer) or layer
    width: Any = getattr(layer, "out_features", None) or getattr(layer, "out_channels", None)
    if isinstance(width, int):
        return width
    if isinstance(layer, nn.Identity):
        raise NoHeadError(
            f"{path}: an Identity stands where the head was, so the network returns features and "
            f"scores no classes; give it a layer that does: {path} = nn.Linear(width, "
            "num_classes), or say so by net.reset_head(0), with which num_classes is 0"
        )
    raise NoHeadError(f"{path}: {type(layer).__name__} does not say how many classes it scores")


def head_dropout(layer: nn.Module) -> float:
    """The dropout that `replace_head(..., dropout=)` put into the last layer, or 0."""
    return float(getattr(layer, "p", 0.0))  # an RBF output's too
