"""Inception-v3: large kernels factorised, batch normalisation, one auxiliary head.

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture for Computer
Vision", 2015 (arXiv:1512.00567).

The network is the one its authors released, with torchvision's keys. It departs from the paper:

- Table 1 prints another stem (3x3/1 to 80, 3x3/2 to 192 without a second pooling, 3x3/1 to 288)
  and 288 channels after each of the three first modules; the released network has 1x1 to 80, 3x3
  to 192, a pooling, and 256, 288 and 288.
- The average pooling at the end is over whatever map arrives, so that any size of image will do.
- The auxiliary head pools 5x5 with stride 3, which must leave 5x5 for the convolution that
  follows: images of at least 299 pixels. Smaller ones are pooled adaptively to 5x5; torchvision
  raises an error there.
- Weights start normal with standard deviation 0.1 (0.01 and 0.001 in the auxiliary head), as in
  torchvision, which truncates at 20 standard deviations or more: the same but slower.

torchvision scales ImageNet-normalised images to [-1, 1] inside the network when it comes with its
weights (`transform_input`). Here the preset `INCEPTION` has those numbers, and `fold_preset`
folds another preset's into the first convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Unpack, overload

import torch
from torch import Tensor, nn

from convzoo import _tags
from convzoo._build import BuildOptions
from convzoo._checks import check_counts, check_flags, check_probability
from convzoo._classifier import Classifier
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.models.inception.auxiliary import (
    INCEPTION_V3_AUX_WEIGHT,
    InceptionV3Aux,
    InceptionV3Output,
)
from convzoo.models.inception.blocks import (
    ConvUnit,
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)
from convzoo.presets import INCEPTION
from convzoo.registry import Paper, architecture


class InceptionV3Options(BuildOptions, total=False):
    """Options that the Inception-v3 builder takes.

    Besides these there is `aux_heads`: True for an `InceptionV3WithAux`.
    """

    dropout: float
    """Probability of dropping an input of the last layer, 0.5 unless given."""
    inplace: bool
    """Let ReLU overwrite its input; False for hooks that look at it."""


class InceptionV3(Classifier):
    """Inception-v3 without its auxiliary head: its output is always a tensor.

    Args:
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        dropout: Probability of dropping an input of the last layer.
        inplace: Let ReLU overwrite its input.
    """

    head_path: ClassVar[str] = "fc"
    # Named here, so that a checkpoint may hold it where the network does not.
    aux_head_paths: ClassVar[tuple[str, ...]] = ("AuxLogits.fc",)
    aux_weight: ClassVar[float] = INCEPTION_V3_AUX_WEIGHT

    # The convolutions that stride pad nothing: 75 -> 37 -> 35 -> 17 -> 15 -> 7 -> 3 -> 1.
    min_size = 75

    def __init__(
        self,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        dropout: float = 0.5,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_counts(num_classes=num_classes, in_channels=in_channels)
        check_flags(inplace=inplace)
        check_probability("dropout", dropout)
        # The names are those of the authors' TensorFlow code.
        self.Conv2d_1a_3x3: ConvUnit = ConvUnit(in_channels, 32, 3, stride=2, inplace=inplace)
        self.Conv2d_2a_3x3: ConvUnit = ConvUnit(32, 32, 3, inplace=inplace)
        self.Conv2d_2b_3x3: ConvUnit = ConvUnit(32, 64, 3, padding=1, inplace=inplace)
        self.maxpool1: nn.MaxPool2d = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1: ConvUnit = ConvUnit(64, 80, 1, inplace=inplace)
        self.Conv2d_4a_3x3: ConvUnit = ConvUnit(80, 192, 3, inplace=inplace)
        self.maxpool2: nn.MaxPool2d = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b: InceptionA = InceptionA(192, pool_features=32, inplace=inplace)
        self.Mixed_5c: InceptionA = InceptionA(256, pool_features=64, inplace=inplace)
        self.Mixed_5d: InceptionA = InceptionA(288, pool_features=64, inplace=inplace)
        self.Mixed_6a: InceptionB = InceptionB(288, inplace=inplace)
        self.Mixed_6b: InceptionC = InceptionC(768, channels_7x7=128, inplace=inplace)
        self.Mixed_6c: InceptionC = InceptionC(768, channels_7x7=160, inplace=inplace)
        self.Mixed_6d: InceptionC = InceptionC(768, channels_7x7=160, inplace=inplace)
        self.Mixed_6e: InceptionC = InceptionC(768, channels_7x7=192, inplace=inplace)
        self._make_aux_head(num_classes, inplace)
        self.Mixed_7a: InceptionD = InceptionD(768, inplace=inplace)
        self.Mixed_7b: InceptionE = InceptionE(1280, inplace=inplace)
        self.Mixed_7c: InceptionE = InceptionE(2048, inplace=inplace)
        self.avgpool: nn.AdaptiveAvgPool2d = nn.AdaptiveAvgPool2d(1)
        self.dropout: nn.Dropout = nn.Dropout(dropout)
        self.fc: nn.Linear = nn.Linear(2048, num_classes)

        self.in_channels = in_channels
        self.num_features = 2048
        self.stages: tuple[Stage, ...] = (
            Stage("Conv2d_2b_3x3", "Conv2d_2b_3x3", 64, 2),
            Stage("Conv2d_4a_3x3", "Conv2d_4a_3x3", 192, 4),
            Stage("Mixed_5d", "Mixed_5d", 288, 8),
            Stage("Mixed_6e", "Mixed_6e", 768, 16),
            Stage("Mixed_7c", "Mixed_7c", 2048, 32),
        )
        self.reset_parameters()

    def _make_aux_head(self, num_classes: int, inplace: bool) -> None:
        """Register the auxiliary head; here there is none."""

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 2048, h, w), with h = 8 from 299 pixels."""
        return self._to_7c(self._to_6e(x))

    def _to_6e(self, x: Tensor) -> Tensor:
        self._check_input(x)  # sides are those of an image of 299 pixels
        x = self._run(x, self.Conv2d_1a_3x3, self.Conv2d_2a_3x3)  # (B, 32, 147, 147)
        x = self._run(x, self.Conv2d_2b_3x3, self.maxpool1)  # (B, 64, 73, 73)
        x = self._run(x, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3)  # (B, 192, 71, 71)
        x = self._run(x, self.maxpool2, self.Mixed_5b)  # (B, 256, 35, 35)
        x = self._run(x, self.Mixed_5c, self.Mixed_5d)  # (B, 288, 35, 35)
        x = self._run(x, self.Mixed_6a)  # (B, 768, 17, 17)
        return self._run(x, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e)

    def _to_7c(self, x: Tensor) -> Tensor:
        # -> (B, 1280, 8, 8) -> (B, 2048, 8, 8)
        return self._run(x, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 2048, h, w) -> class scores (B, num_classes), or (B, 2048)."""
        x: Tensor = self.dropout(torch.flatten(self.avgpool(f), 1))
        if not pre_logits:
            x = self.fc(x)
        return x

    def reset_parameters(self) -> None:
        """As torchvision does; batch normalisation starts as the identity."""
        for name, module in self.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                # torchvision means 0.01 for AuxLogits.conv1 too, but sets it where it is not read.
                nn.init.normal_(module.weight, std=0.001 if name == "AuxLogits.fc" else 0.1)
                if module.bias is not None:  # torch's default for a linear layer
                    bound = module.weight[0].numel() ** -0.5
                    nn.init.uniform_(module.bias, -bound, bound)


class InceptionV3WithAux(InceptionV3):
    """Inception-v3 with its auxiliary head: in training mode it returns both scores.

    `loss_with_aux` takes whatever it returns. In evaluation, or once the head is dropped, it
    returns a tensor like any other network.

    The arguments are those of `InceptionV3`.
    """

    AuxLogits: InceptionV3Aux | None

    def _make_aux_head(self, num_classes: int, inplace: bool) -> None:
        self.AuxLogits = InceptionV3Aux(768, num_classes, inplace=inplace)

    def drop_aux_heads(self) -> InceptionV3:
        """Remove the auxiliary head for good, in place.

        Returns:
            The same network, typed as what it now is: one that always returns a tensor.
        """
        self._drop_aux_heads()
        return self

    # More than a tensor, because its caller asked for it: what mypy is told to overlook.
    def forward(self, x: Tensor) -> Tensor | InceptionV3Output:  # type: ignore[override]
        """Images (B, in_channels, H, W) -> scores (B, num_classes), in training of both heads."""
        if not self.training or self.AuxLogits is None:
            return super().forward(x)
        x = self._to_6e(x)
        aux = self.AuxLogits(x)
        return InceptionV3Output(self.forward_head(self._to_7c(x)), aux)

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor | InceptionV3Output:  # type: ignore[override]
            """Images (B, in_channels, H, W) -> scores, in training of both heads."""
            ...


@overload
def inception_v3(
    *,
    weights: _tags.InceptionV3 | str | None = None,
    aux_heads: Literal[False] = False,
    **options: Unpack[InceptionV3Options],
) -> InceptionV3: ...
@overload
def inception_v3(
    *,
    weights: _tags.InceptionV3 | str | None = None,
    aux_heads: Literal[True],
    **options: Unpack[InceptionV3Options],
) -> InceptionV3WithAux: ...
@overload
def inception_v3(
    *,
    weights: _tags.InceptionV3 | str | None = None,
    aux_heads: bool,
    **options: Unpack[InceptionV3Options],
) -> InceptionV3 | InceptionV3WithAux: ...
@architecture(
    InceptionV3,
    Paper(
        "Rethinking the Inception Architecture for Computer Vision",
        2015,
        "https://arxiv.org/abs/1512.00567",
    ),
    INCEPTION,
    family="Inception-v3",
    departs="the network the authors released, whose stem is not that of the paper's Table 1; "
    "initialised as torchvision does; adaptive pooling in the auxiliary head under 299 pixels",
    with_aux=InceptionV3WithAux,
)
def inception_v3(
    *,
    weights: _tags.InceptionV3 | str | None = None,
    aux_heads: bool = False,
    **options: Unpack[InceptionV3Options],
) -> InceptionV3:
    """Inception-v3 as released; 23,834,568 parameters, 5.71 G multiply-adds."""
    return construct(inception_v3, weights, {**options, "aux_heads": aux_heads})
