"""GoogLeNet: nine Inception modules, 22 layers, global average pooling, one linear layer.

Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich, "Going Deeper with
Convolutions", 2014 (arXiv:1409.4842).

`googlenet_2014` is the paper's network: true 5x5 convolutions, local response normalisation,
biases, no batch normalisation. Where the paper is silent or departed from:

- LRN has the numbers of Caffe's replication (window 5, alpha 1e-4 over the window's mean, beta
  0.75, k 1); the paper gives none.
- Initialisation is Caffe's too: uniform with variance 1 / fan-in, biases 0.2, those of the three
  classifiers 0. With it the network trains without batch normalisation.
- An auxiliary head pools 5x5 with stride 3 where that gives the 4x4 it needs (maps of 14 to 16,
  images of 209 to 256 pixels), and elsewhere adaptively to 4x4, so that any size trains.

`googlenet` is torchvision's network, for its weights; it departs from the paper in that

- batch normalisation (eps 1e-3) follows every convolution, in place of its bias; there is no LRN;
- the "5x5" branch of every module is a 3x3 (github.com/pytorch/vision/issues/906);
- the last max pooling is 2x2 instead of 3x3;
- dropout is 0.2 instead of 0.4 (0.7 in the auxiliary heads, as in the paper);
- the auxiliary heads pool adaptively to 4x4 at every size;
- weights start normal with standard deviation 0.01. (torchvision truncates at 200 standard
  deviations, which is the normal distribution but slower.)

torchvision scales ImageNet-normalised images to [-1, 1] inside the network when it comes with its
weights (`transform_input`). Here that is the preset's affair: see `fold_input_affine`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Unpack, get_args, overload

import torch
from torch import Tensor, nn

from convzoo import _tags
from convzoo._build import BuildOptions
from convzoo._checks import check_choice, check_counts, check_flags, check_probability
from convzoo._classifier import Classifier
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.layers import LocalResponseNorm
from convzoo.models.inception.auxiliary import GOOGLENET_AUX_WEIGHT, GoogLeNetAux, GoogLeNetOutput
from convzoo.models.inception.blocks import ConvUnit, InceptionReduced, same_conv
from convzoo.presets import IMAGENET, Preset
from convzoo.registry import Paper, architecture

GoogLeNetStem = Literal["imagenet", "small"]
"""`"imagenet"`: 7x7 convolution with stride 2 and two poolings with stride 2 before the first
module. `"small"`: a 3x3 convolution and no stride at all, for images of 28 to 64 pixels: at 28
the modules see the same maps (28, 14 and 7) as in the paper at 224."""


class GoogLeNetOptions(BuildOptions, total=False):
    """Options that the GoogLeNet builders take.

    Besides these there is `aux_heads`: True for a `GoogLeNetWithAux`.
    """

    stem: GoogLeNetStem
    """How the image enters, `"imagenet"` or `"small"`."""
    dropout: float
    """Probability of dropping an input of the last layer, 0.2 (`googlenet`) or 0.4 (paper)."""
    dropout_aux: float
    """The same in the auxiliary heads, 0.7; without them it changes nothing."""
    inplace: bool
    """Let ReLU overwrite its input; False for hooks that look at it."""


# The paper's Table 1.
#   name: (#1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj)
_MODULES: Final[dict[str, tuple[int, int, int, int, int, int]]] = {
    "inception3a": (64, 96, 128, 16, 32, 32),  # 256 channels out
    "inception3b": (128, 128, 192, 32, 96, 64),  # 480
    "inception4a": (192, 96, 208, 16, 48, 64),  # 512
    "inception4b": (160, 112, 224, 24, 64, 64),  # 512
    "inception4c": (128, 128, 256, 24, 64, 64),  # 512
    "inception4d": (112, 144, 288, 32, 64, 64),  # 528
    "inception4e": (256, 160, 320, 32, 128, 128),  # 832
    "inception5a": (256, 160, 320, 32, 128, 128),  # 832
    "inception5b": (384, 192, 384, 48, 128, 128),  # 1024
}


class GoogLeNet(Classifier):
    """GoogLeNet without auxiliary heads: its output is always a tensor.

    Args:
        batch_norm: Batch normalisation after every convolution; False for biases and LRN.
        kernel5: Side of the kernel in the modules' third branch, 5 or torchvision's 3.
        pool4: Side of the last max pooling, 3 or torchvision's 2.
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        stem: `"imagenet"`, or `"small"` for images of 28 to 64 pixels.
        dropout: Probability of dropping an input of the last layer.
        dropout_aux: The same in the auxiliary heads, where there are any.
        inplace: Let ReLU overwrite its input.
    """

    head_path: ClassVar[str] = "fc"
    # Named here, so that a checkpoint may hold them where the network does not.
    aux_head_paths: ClassVar[tuple[str, ...]] = ("aux1.fc2", "aux2.fc2")
    aux_weight: ClassVar[float] = GOOGLENET_AUX_WEIGHT

    def __init__(
        self,
        *,
        batch_norm: bool = False,
        kernel5: Literal[3, 5] = 5,
        pool4: Literal[2, 3] = 3,
        num_classes: int = 1000,
        in_channels: int = 3,
        stem: GoogLeNetStem = "imagenet",
        dropout: float = 0.4,
        dropout_aux: float = 0.7,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_counts(num_classes=num_classes, in_channels=in_channels)
        check_flags(batch_norm=batch_norm, inplace=inplace)
        check_probability("dropout", dropout)
        check_probability("dropout_aux", dropout_aux)
        check_choice("stem", stem, get_args(GoogLeNetStem))
        conv = functools.partial(same_conv, batch_norm=batch_norm, inplace=inplace)

        def halve() -> nn.MaxPool2d:
            # Without padding but with the last window kept: 112 -> 56 -> 28 -> 14 -> 7.
            return nn.MaxPool2d(3, stride=2, ceil_mode=True)

        def norm() -> LocalResponseNorm | None:
            return None if batch_norm else LocalResponseNorm(5, 1e-4, 0.75, 1.0, alpha_mode="mean")

        def inception(channels: int, name: str) -> InceptionReduced:
            return InceptionReduced(
                channels, *_MODULES[name], batch_norm=batch_norm, kernel5=kernel5, inplace=inplace
            )

        large = stem == "imagenet"
        self.conv1: ConvUnit = conv(in_channels, 64, 7, 2) if large else conv(in_channels, 64, 3)
        self.maxpool1: nn.MaxPool2d | None = halve() if large else None
        self.norm1: LocalResponseNorm | None = norm()
        self.conv2: ConvUnit = conv(64, 64, 1)
        self.conv3: ConvUnit = conv(64, 192, 3)
        self.norm2: LocalResponseNorm | None = norm()
        self.maxpool2: nn.MaxPool2d | None = halve() if large else None
        self.inception3a: InceptionReduced = inception(192, "inception3a")
        self.inception3b: InceptionReduced = inception(256, "inception3b")
        self.maxpool3: nn.MaxPool2d = halve()
        self.inception4a: InceptionReduced = inception(480, "inception4a")
        self.inception4b: InceptionReduced = inception(512, "inception4b")
        self.inception4c: InceptionReduced = inception(512, "inception4c")
        self.inception4d: InceptionReduced = inception(512, "inception4d")
        self.inception4e: InceptionReduced = inception(528, "inception4e")
        self.maxpool4: nn.MaxPool2d = nn.MaxPool2d(pool4, stride=2, ceil_mode=True)
        self.inception5a: InceptionReduced = inception(832, "inception5a")
        self.inception5b: InceptionReduced = inception(832, "inception5b")
        self._make_aux_heads(num_classes, batch_norm, dropout_aux, inplace)
        self.avgpool: nn.AdaptiveAvgPool2d = nn.AdaptiveAvgPool2d(1)
        self.dropout: nn.Dropout = nn.Dropout(dropout)
        self.fc: nn.Linear = nn.Linear(1024, num_classes)

        self.batch_norm: bool = batch_norm
        self.in_channels: int = in_channels
        self.num_features: int = 1024
        # Every pooling must keep one full step: 2 pixels before the last 3x3, counted back.
        self.min_size = (15 if large else 2) if pool4 == 2 else (31 if large else 4)
        stride = 8 if large else 1  # of the first module
        self.stages: tuple[Stage, ...] = (
            Stage("conv1", "conv1", 64, 2 if large else 1),
            Stage("conv3", "conv3", 192, 4 if large else 1),
            Stage("inception3b", "inception3b", 480, stride),
            Stage("inception4e", "inception4e", 832, 2 * stride),
            Stage("inception5b", "inception5b", 1024, 4 * stride),
        )
        self.reset_parameters()

    def _make_aux_heads(
        self, num_classes: int, batch_norm: bool, dropout: float, inplace: bool
    ) -> None:
        """Register the auxiliary heads; here there are none."""

    @classmethod
    def preset_for(cls, preset: Preset, options: Mapping[str, Any]) -> Preset:
        """With the small stem, images of 32 pixels; otherwise the usual ones."""
        return preset.small_images() if options.get("stem") == "small" else preset

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 1024, H / 32, W / 32) with the usual stem."""
        return self._to_5b(self._to_4d(self._to_4a(x)))

    # Sizes are those of the usual stem; with the small one they are eight times as large.
    def _to_4a(self, x: Tensor) -> Tensor:
        self._check_input(x)
        x = self._run(x, self.conv1, self.maxpool1, self.norm1)  # (B, 64, H / 4, W / 4)
        x = self._run(x, self.conv2, self.conv3)  # (B, 192, H / 4, W / 4)
        x = self._run(x, self.norm2, self.maxpool2)  # (B, 192, H / 8, W / 8)
        x = self._run(x, self.inception3a, self.inception3b)  # (B, 480, H / 8, W / 8)
        return self._run(x, self.maxpool3, self.inception4a)  # (B, 512, H / 16, W / 16)

    def _to_4d(self, x: Tensor) -> Tensor:  # -> (B, 528, H / 16, W / 16)
        return self._run(x, self.inception4b, self.inception4c, self.inception4d)

    def _to_5b(self, x: Tensor) -> Tensor:
        x = self._run(x, self.inception4e, self.maxpool4)  # (B, 832, H / 32, W / 32)
        return self._run(x, self.inception5a, self.inception5b)  # (B, 1024, H / 32, W / 32)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, 1024, h, w) -> class scores (B, num_classes), or (B, 1024)."""
        x: Tensor = self.dropout(torch.flatten(self.avgpool(f), 1))
        if not pre_logits:
            x = self.fc(x)
        return x

    def reset_parameters(self) -> None:
        """As torchvision with batch normalisation, as Caffe's replication without."""
        classifiers = set(self.head_paths())
        for name, module in self.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, (nn.Conv2d, nn.Linear)):
                fan_in = module.weight[0].numel()
                if self.batch_norm:
                    nn.init.normal_(module.weight, std=0.01)
                    if module.bias is not None:  # torch's default for a linear layer
                        nn.init.uniform_(module.bias, -(fan_in**-0.5), fan_in**-0.5)
                else:
                    bound = math.sqrt(3 / fan_in)
                    nn.init.uniform_(module.weight, -bound, bound)
                    if module.bias is not None:
                        nn.init.constant_(module.bias, 0.0 if name in classifiers else 0.2)


class GoogLeNetWithAux(GoogLeNet):
    """GoogLeNet with its auxiliary heads: in training mode it returns all three scores.

    `loss_with_aux` takes whatever it returns. In evaluation, or once the heads are dropped, it
    returns a tensor like any other network. The arguments are those of `GoogLeNet`.

    Examples:
        >>> import torch
        >>> from convzoo.models import googlenet
        >>> net = googlenet(num_classes=10, aux_heads=True, stem="small")
        >>> [tuple(scores.shape) for scores in net(torch.zeros(2, 3, 28, 28))]
        [(2, 10), (2, 10), (2, 10)]
        >>> net.eval()(torch.zeros(2, 3, 28, 28)).shape
        torch.Size([2, 10])
    """

    aux1: GoogLeNetAux | None
    aux2: GoogLeNetAux | None

    def _make_aux_heads(
        self, num_classes: int, batch_norm: bool, dropout: float, inplace: bool
    ) -> None:
        def head(channels: int) -> GoogLeNetAux:
            return GoogLeNetAux(
                channels, num_classes, batch_norm=batch_norm, dropout=dropout, inplace=inplace
            )

        self.aux1 = head(512)
        self.aux2 = head(528)

    def drop_aux_heads(self) -> GoogLeNet:
        """Remove the auxiliary heads for good, in place.

        Returns:
            The same network, typed as what it now is: one that always returns a tensor.
        """
        self._drop_aux_heads()
        return self

    # More than a tensor, because its caller asked for it: what mypy is told to overlook.
    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutput:  # type: ignore[override]
        """Images (B, in_channels, H, W) -> scores (B, num_classes), in training of every head."""
        if not self.training or self.aux1 is None or self.aux2 is None:
            return super().forward(x)
        x = self._to_4a(x)
        aux1 = self.aux1(x)
        x = self._to_4d(x)
        aux2 = self.aux2(x)
        return GoogLeNetOutput(self.forward_head(self._to_5b(x)), aux2, aux1)

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor | GoogLeNetOutput:  # type: ignore[override]
            """Images (B, in_channels, H, W) -> scores, in training of every head."""
            ...


_PAPER: Final = Paper("Going Deeper with Convolutions", 2014, "https://arxiv.org/abs/1409.4842")


@overload
def googlenet(
    *,
    weights: _tags.Googlenet | str | None = None,
    aux_heads: Literal[False] = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet: ...
@overload
def googlenet(
    *,
    weights: _tags.Googlenet | str | None = None,
    aux_heads: Literal[True],
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNetWithAux: ...
@overload
def googlenet(
    *,
    weights: _tags.Googlenet | str | None = None,
    aux_heads: bool,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet | GoogLeNetWithAux: ...
@architecture(
    GoogLeNet,
    _PAPER,
    IMAGENET,
    departs="batch normalisation for LRN and biases, 3x3 in the 5x5 branch, last pooling 2x2, "
    "dropout 0.2, adaptive pooling in the auxiliary heads, normal weights of 0.01 (all "
    "torchvision's)",
    with_aux=GoogLeNetWithAux,
    batch_norm=True,
    kernel5=3,
    pool4=2,
    dropout=0.2,
)
def googlenet(
    *,
    weights: _tags.Googlenet | str | None = None,
    aux_heads: bool = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet:
    """GoogLeNet as in torchvision, with BN; 6,624,904 parameters, 1.50 G multiply-adds."""
    return construct(googlenet, weights, {**options, "aux_heads": aux_heads})


@overload
def googlenet_2014(
    *,
    weights: str | None = None,
    aux_heads: Literal[False] = False,
    **options: Unpack[GoogLeNetOptions],
) -> GoogLeNet: ...
@overload
def googlenet_2014(
    *, weights: str | None = None, aux_heads: Literal[True], **options: Unpack[GoogLeNetOptions]
) -> GoogLeNetWithAux: ...
@overload
def googlenet_2014(
    *, weights: str | None = None, aux_heads: bool, **options: Unpack[GoogLeNetOptions]
) -> GoogLeNet | GoogLeNetWithAux: ...
@architecture(
    GoogLeNet,
    _PAPER,
    IMAGENET,
    departs="LRN and initialisation of Caffe's replication, which the paper leaves open; adaptive "
    "pooling in the auxiliary heads outside 209 to 256 pixels",
    with_aux=GoogLeNetWithAux,
)
def googlenet_2014(
    *, weights: str | None = None, aux_heads: bool = False, **options: Unpack[GoogLeNetOptions]
) -> GoogLeNet:
    """GoogLeNet as in the paper, with LRN; 6,998,552 parameters, 1.58 G multiply-adds."""
    return construct(googlenet_2014, weights, {**options, "aux_heads": aux_heads})
