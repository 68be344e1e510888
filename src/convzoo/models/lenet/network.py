"""LeNet-5: two convolutions, two subsamplings, three fully connected layers.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998,
section II. `lenet5_1998` is the paper's network, with its sparse third layer, trainable
subsampling, scaled tanh and radial basis functions; `lenet5` is what the name means today.

Where `lenet5_1998` departs from the paper:

- The class scores are the *negative* squared distances, so that the largest wins, as everywhere
  else; the paper's smallest output wins. The two losses take the scores as they are.
- The codes, bitmaps of 7 x 12 pixels for each digit, are drawn by us: the paper shows its own in
  a figure only. Like the paper's they are -1 and +1 and fixed.
- The paper does not say how subsampling and biases start. Here they follow the rule of the
  weights, U(-2.4 / F, 2.4 / F), with F the number of inputs of the unit: 4 for subsampling.
- The paper trains by stochastic diagonal Levenberg-Marquardt; any optimiser of torch will do.

Where `lenet5` departs from the paper: every map of the second convolution sees all six maps,
pooling has no parameters, the last layer is linear, tanh is not scaled, and PyTorch initialises.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from convzoo import _tags
from convzoo._build import BuildOptions
from convzoo._checks import check_choice, check_counts, check_flags, check_probability
from convzoo._classifier import Classifier
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.errors import InputError
from convzoo.layers._named import (
    ACTIVATIONS,
    POOLINGS,
    Activation,
    Norm,
    Pooling,
    activation_layer,
    norm_layer,
)
from convzoo.models.lenet.blocks import (
    C3_TABLE,
    CODE_LENGTH,
    RBFOutput,
    ScaledTanh,
    SparseConv2d,
    Subsampling,
    init_uniform_,
)
from convzoo.presets import LENET5_1998, MNIST, Preset
from convzoo.registry import Paper, architecture

LeNetActivation = Activation
LeNetPool = Pooling

# Layer    Maps  Size   Parameters  Connections   (the paper's figure 2, on 32 x 32 pixels)
# C1          6  28 x 28      156      122,304
# S2          6  14 x 14       12        5,880
# C3         16  10 x 10    1,516      151,600
# S4         16   5 x 5        32        2,000
# C5        120   1 x 1    48,120       48,120
# F6         84             10,164       10,164
# output     10                 0          840    (fixed)
# together                  60,000      340,908


class LeNetOptions(BuildOptions, total=False):
    """Options of `lenet5`."""

    activation: Activation
    """`"tanh"` (default), `"sigmoid"`, `"relu"`, `"leaky_relu"`, `"elu"`, `"gelu"` or `"silu"`."""
    slope: float | None
    """Of leaky ReLU below 0, in [0, 1]; None (default) is 0.01."""
    dropout: float
    """Probability of dropping a unit of the two hidden layers, in [0, 1); 0 by default."""
    norm: Norm | None
    """What normalises each convolution's maps: `"batch"`, `"layer"`, `"instance"`, `"group"`."""
    batch_norm: bool
    """The same as `norm="batch"`."""
    pool: Pooling
    """`"avg"` (default) or `"max"`."""
    input_size: Literal[28, 32]
    """Side of the image: 28 (default) is padded to 32 with zeros, 32 is taken as it is."""
    inplace: bool
    """Let activations overwrite their input where they can; tanh and sigmoid never do."""


class LeNet1998Options(BuildOptions, total=False):
    """Options of `lenet5_1998`."""

    trainable_codes: bool
    """Train the codes of the classes too, instead of keeping them fixed."""
    inplace: bool
    """Without effect, for code that gives it to every network: nothing here overwrites."""


class LeNet5(Classifier):
    """LeNet-5 as it is built today, and what a lesson turns of it.

    Args:
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        activation: What follows each layer but the last, by name.
        slope: Of leaky ReLU below 0; None is 0.01.
        dropout: Probability of dropping a unit of the two hidden layers.
        norm: What stands between each convolution and its activation, by name; None is nothing.
        batch_norm: The same as `norm="batch"`.
        pool: `"avg"` or `"max"`.
        input_size: Side of the image, 28 or 32 pixels; it takes no other.
        inplace: Let activations overwrite their input where they can; tanh never does.

    Raises:
        InputError: An argument does not fit.

    Examples:
        >>> import torch, convzoo
        >>> convzoo.lenet5()(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    head_path: ClassVar[str] = "fc3"

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 1,
        activation: Activation = "tanh",
        slope: float | None = None,
        dropout: float = 0.0,
        norm: Norm | None = None,
        batch_norm: bool = False,
        pool: Pooling = "avg",
        input_size: Literal[28, 32] = 28,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_counts(num_classes=num_classes, in_channels=in_channels)
        check_flags(inplace=inplace)
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("pool", pool, tuple(POOLINGS))
        check_probability("dropout", dropout)
        if input_size not in (28, 32):
            raise InputError(f"input_size: expected 28 or 32 pixels, got {input_size!r}")
        subsample = POOLINGS[pool]
        self.conv1: nn.Conv2d = nn.Conv2d(in_channels, 6, 5, padding=(32 - input_size) // 2)
        self.norm1: nn.Module | None = norm_layer(norm, 6, batch_norm=batch_norm)
        self.act1: nn.Module = activation_layer(activation, slope, inplace)
        self.pool1: nn.AvgPool2d | nn.MaxPool2d = subsample()
        self.conv2: nn.Conv2d = nn.Conv2d(6, 16, 5)
        self.norm2: nn.Module | None = norm_layer(norm, 16, batch_norm=batch_norm)
        self.act2: nn.Module = activation_layer(activation, slope, inplace)
        self.pool2: nn.AvgPool2d | nn.MaxPool2d = subsample()
        self.fc1: nn.Linear = nn.Linear(16 * 5 * 5, 120)
        self.act3: nn.Module = activation_layer(activation, slope, inplace)
        self.drop3: nn.Dropout | None = nn.Dropout(dropout) if dropout else None
        self.fc2: nn.Linear = nn.Linear(120, 84)
        self.act4: nn.Module = activation_layer(activation, slope, inplace)
        self.drop4: nn.Dropout | None = nn.Dropout(dropout) if dropout else None
        self.fc3: nn.Linear = nn.Linear(84, num_classes)
        self.in_channels = in_channels
        self.num_features = 16
        self.min_size: int = input_size
        self.max_size: int | None = input_size
        self.stages: tuple[Stage, ...] = (
            Stage("conv1", "act1", 6, 1),
            Stage("pool1", "pool1", 6, 2),
            Stage("conv2", "act2", 16, 2),
            Stage("pool2", "pool2", 16, 4),
        )

    @classmethod
    def preset_for(cls, preset: Preset, options: Mapping[str, Any]) -> Preset:
        """At 32 pixels the digit of 28 stands in the middle."""
        return preset.replace(input_size=options.get("input_size", 28))

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, 28, 28) -> (B, 16, 5, 5)."""
        self._check_input(x)
        # (B, 6, 28, 28) -> (B, 6, 14, 14)
        x = self._run(x, self.conv1, self.norm1, self.act1, self.pool1)
        # (B, 16, 10, 10) -> (B, 16, 5, 5)
        return self._run(x, self.conv2, self.norm2, self.act2, self.pool2)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 16, 5, 5) -> class scores (B, num_classes), or (B, 84)."""
        x = self.act3(self.fc1(torch.flatten(f, 1)))  # (B, 120)
        x = x if self.drop3 is None else self.drop3(x)
        x = self.act4(self.fc2(x))  # (B, 84)
        x = x if self.drop4 is None else self.drop4(x)
        out: Tensor = x if pre_logits else self.fc3(x)
        return out

    def reset_parameters(self) -> None:
        """PyTorch's default initialisation."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear, _NormBase, nn.GroupNorm)):
                module.reset_parameters()


class LeNet1998(Classifier):
    """LeNet-5 as in the paper: 60,000 trainable parameters, 340,908 connections.

    Layers have the paper's names; each but the last is followed by the scaled tanh. Scores are
    negative squared distances: train with [LeNetMSELoss][convzoo.models.LeNetMSELoss] or
    [LeNetMAPLoss][convzoo.models.LeNetMAPLoss] (cross-entropy works as well).

    Args:
        num_classes: Classes to score. The first ten have the digits' bitmaps as codes.
        in_channels: Channels of the input image.
        trainable_codes: Train the codes too.
        inplace: Without effect: nothing here overwrites its input.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo.models import connections
        >>> net = convzoo.lenet5_1998()
        >>> sum(p.numel() for p in net.parameters() if p.requires_grad), connections(net)
        (60000, 340908)
    """

    head_path: ClassVar[str] = "output"
    min_size: int = 32  # digits of 28 x 28 in the middle; C5 sees all of the 5 x 5 maps
    max_size: int | None = 32

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 1,
        trainable_codes: bool = False,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_counts(num_classes=num_classes, in_channels=in_channels)
        check_flags(trainable_codes=trainable_codes, inplace=inplace)
        self.c1: nn.Conv2d = nn.Conv2d(in_channels, 6, 5)
        self.squash1: ScaledTanh = ScaledTanh()
        self.s2: Subsampling = Subsampling(6)
        self.squash2: ScaledTanh = ScaledTanh()
        self.c3: SparseConv2d = SparseConv2d(C3_TABLE, 5)
        self.squash3: ScaledTanh = ScaledTanh()
        self.s4: Subsampling = Subsampling(16)
        self.squash4: ScaledTanh = ScaledTanh()
        self.c5: nn.Conv2d = nn.Conv2d(16, 120, 5)
        self.squash5: ScaledTanh = ScaledTanh()
        self.f6: nn.Linear = nn.Linear(120, CODE_LENGTH)
        self.squash6: ScaledTanh = ScaledTanh()
        self.output: RBFOutput = RBFOutput(num_classes, trainable=trainable_codes)
        self.in_channels = in_channels
        self.num_features = 120
        self.stages: tuple[Stage, ...] = (
            Stage("c1", "squash1", 6, 1),
            Stage("s2", "squash2", 6, 2),
            Stage("c3", "squash3", 16, 2),
            Stage("s4", "squash4", 16, 4),
            Stage("c5", "squash5", 120, 4),
        )
        self.reset_parameters()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, 32, 32) -> (B, 120, 1, 1)."""
        self._check_input(x)
        x = self._run(x, self.c1, self.squash1)  # (B, 6, 28, 28)
        x = self._run(x, self.s2, self.squash2)  # (B, 6, 14, 14)
        x = self._run(x, self.c3, self.squash3)  # (B, 16, 10, 10)
        x = self._run(x, self.s4, self.squash4)  # (B, 16, 5, 5)
        return self._run(x, self.c5, self.squash5)  # (B, 120, 1, 1)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 120, 1, 1) -> negative squared distances (B, num_classes), or (B, 84)."""
        x = self.squash6(self.f6(torch.flatten(f, 1)))  # (B, 84)
        out: Tensor = x if pre_logits else self.output(x)
        return out

    def reset_head(self, num_classes: int, *, dropout: float = 0.0) -> None:
        """Replace the codes by fresh ones, trainable: other classes than digits need others.

        Args:
            num_classes: Classes the new head scores; 0 leaves none, as in every network.
            dropout: Probability of dropping a unit of F6, in [0, 1).
        """
        super().reset_head(num_classes, dropout=dropout)
        if num_classes:
            self.options: Mapping[str, object] = {**self.options, "trainable_codes": True}

    def _last_layer(
        self, path: str, num_classes: int, dropout: float, like: Tensor | None
    ) -> nn.Module:
        if num_classes == 0:
            return super()._last_layer(path, num_classes, dropout, like)
        check_probability("dropout", dropout)
        f6 = self.f6.weight
        with torch.device(f6.device):
            output = RBFOutput(num_classes, trainable=True, dropout=dropout)
        return output.to(f6.dtype).train(self.output.training)

    def reset_parameters(self) -> None:
        """The paper's: U(-2.4 / F, 2.4 / F), with F the number of inputs of the unit."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                init_uniform_(module.weight, module.bias, fan_in=module.weight[0].numel())
            elif isinstance(module, (Subsampling, SparseConv2d, RBFOutput)):
                module.reset_parameters()


_PAPER: Final = Paper(
    "Gradient-Based Learning Applied to Document Recognition",
    1998,
    "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf",
)


@architecture(
    LeNet5,
    _PAPER,
    MNIST,
    family="LeNet",
    departs="second convolution sees all maps, pooling without parameters, plain tanh, linear last "
    "layer, PyTorch's initialisation",
)
def lenet5(*, weights: _tags.Lenet5 | str | None = None, **options: Unpack[LeNetOptions]) -> LeNet5:
    """LeNet-5 as it is built today, for 28 x 28 digits; 61,706 parameters, 0.42 M multiply-adds."""
    return construct(lenet5, weights, options)


@architecture(
    LeNet1998,
    _PAPER,
    LENET5_1998,
    family="LeNet",
    departs="scores are negative distances; the bitmaps of the digits are our own; subsampling and "
    "biases start by the rule of the weights",
)
def lenet5_1998(*, weights: str | None = None, **options: Unpack[LeNet1998Options]) -> LeNet1998:
    """LeNet-5 as in the paper, for digits in a 32 x 32 field; 60,000 parameters."""
    return construct(lenet5_1998, weights, options)
