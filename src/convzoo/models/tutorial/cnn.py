"""The small convolutional networks of courses: one table, one class.

None comes from a paper of its own; the package's docstring says where each is from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple, Unpack

from torch import Tensor, nn

from convzoo._checks import check_counts, check_flags
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.errors import InputError
from convzoo.models.tutorial.choices import (
    ACTIVATIONS,
    MNIST_PAPER,
    POOLINGS,
    Activation,
    Init,
    Padding,
    Pooling,
    SmallNetwork,
    check_names,
    check_sizes,
    linear_stack,
)
from convzoo.models.tutorial.fully_connected import MLPOptions
from convzoo.presets import CIFAR10, MNIST
from convzoo.registry import Paper, architecture


class _Conv(NamedTuple):
    """A convolution, its activation, and 2 x 2 pooling if `pool`."""

    filters: int
    kernel: int
    stride: int = 1
    pool: bool = False


class TutorialCNNOptions(MLPOptions, total=False):
    """Options of the small convolutional networks."""

    padding: Padding
    """What surrounds the maps: `"none"`, `"zeros"`, `"reflect"` or `"replicate"`."""
    pool: Pooling
    """`"max"` or `"avg"`."""


class TutorialCNN(SmallNetwork):
    """Convolutions with an activation and perhaps pooling after each, then linear layers.

    A stage `conv1` ... is read after the activation, `pool1` ... after the pooling.

    Args:
        convs: Filters, kernel, stride of each convolution, and whether 2 x 2 pooling follows.
        hidden: Units of the hidden fully connected layers, one number a layer.
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        image_size: Side of the image in pixels, and the largest that it takes.
        activation: What follows each layer but the last, by name.
        padding: `"none"`, or what half a kernel on every side is filled with.
        pool: `"max"` or `"avg"`.
        init: How the weights start, `"torch"` or `"kaiming"`.
        inplace: Let activations overwrite their input where they can.

    Raises:
        InputError: `image_size` is too small for the convolutions.

    Examples:
        >>> import torch
        >>> from convzoo.models import TutorialCNN
        >>> net = TutorialCNN([(8, 3, 1, True), (16, 3, 1, True)], hidden=[32], padding="reflect")
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    head_path: ClassVar[str] = "fc"

    def __init__(
        self,
        convs: Sequence[tuple[int, int, int, bool]],
        *,
        hidden: Sequence[int],
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        activation: Activation = "relu",
        padding: Padding = "none",
        pool: Pooling = "max",
        init: Init = "torch",
        inplace: bool = True,
    ) -> None:
        super().__init__()
        check_names(activation=activation, init=init, padding=padding, pool=pool)
        check_counts(num_classes=num_classes, in_channels=in_channels, image_size=image_size)
        check_flags(inplace=inplace)
        check_sizes("hidden", hidden)
        self.init: Init = init
        self.activation: Activation = activation
        self.features: nn.Sequential = nn.Sequential()
        stages: list[Stage] = []
        channels, reached = in_channels, 1
        for row in convs:
            if len(row) != 4:
                raise InputError(
                    f"convs: expected (filters, kernel, stride, pooled) a layer, got {row!r:.80}"
                )
        for number, (filters, kernel, stride, pooled) in enumerate(convs, 1):
            conv = nn.Conv2d(
                channels,
                filters,
                kernel,
                stride,
                _around(kernel, padding),
                padding_mode="zeros" if padding == "none" else padding,
            )
            self.features.add_module(f"conv{number}", conv)
            self.features.add_module(f"act{number}", ACTIVATIONS[activation](inplace))
            channels, reached = filters, reached * stride
            stages.append(Stage(f"conv{number}", f"features.act{number}", channels, reached))
            if pooled:
                self.features.add_module(f"pool{number}", POOLINGS[pool]())
                reached *= 2
                stages.append(Stage(f"pool{number}", f"features.pool{number}", channels, reached))
        side = _map_side(convs, padding, image_size)
        if side == 0:
            raise InputError(
                f"image_size: nothing is left of {image_size} x {image_size} pixels after the "
                f"{len(convs)} convolutions"
            )
        sizes = (channels * side**2, *hidden)
        self.hidden: nn.Sequential = nn.Sequential(
            nn.Flatten(), *linear_stack(sizes, activation, inplace)
        )
        self.fc: nn.Linear = nn.Linear(sizes[-1], num_classes)
        self.in_channels = in_channels
        self.num_features = channels
        self.min_size: int = image_size
        self.max_size: int | None = image_size
        while _map_side(convs, padding, self.min_size - 1) == side:
            self.min_size -= 1  # strides and pooling drop what is over
        self.stages: tuple[Stage, ...] = tuple(stages)
        self.reset_parameters()

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> the last map, (B, num_features, h, w)."""
        self._check_input(x)
        return self._run(x, self.features)

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, num_features, h, w) -> class scores (B, num_classes), or (B, hidden[-1])."""
        x: Tensor = self.hidden(f)
        return x if pre_logits else self.fc(x)


def _around(kernel: int, padding: Padding) -> int:
    """Pixels added on every side."""
    return 0 if padding == "none" else kernel // 2


def _map_side(convs: Sequence[tuple[int, int, int, bool]], padding: Padding, side: int) -> int:
    """Side of the last map for an image of `side` pixels, or 0 if a kernel does not fit."""
    for _, kernel, stride, pooled in convs:
        around = _around(kernel, padding)
        if side + 2 * around < kernel or (padding == "reflect" and around >= side):
            return 0
        side = ((side + 2 * around - kernel) // stride + 1) // (2 if pooled else 1)
    return side


_BOOK: Final = Paper(
    "Deep Learning with PyTorch", 2020, "https://www.manning.com/books/deep-learning-with-pytorch"
)
_CIFAR: Final = Paper(
    "Learning Multiple Layers of Features from Tiny Images",
    2009,
    "https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
)
_COURSE: Final = "a course's network; the paper is that of the images"


@architecture(
    TutorialCNN,
    MNIST_PAPER,
    MNIST,
    family="Tutorial CNN",
    departs=_COURSE,
    convs=(_Conv(32, 3, pool=True),),  # 28 -> 26 -> 13
    hidden=(128,),
    in_channels=1,
    image_size=28,
)
def mnist_cnn(*, weights: str | None = None, **options: Unpack[TutorialCNNOptions]) -> TutorialCNN:
    """One convolution of 32 filters, for 28 x 28 digits; 693,962 parameters."""
    return construct(mnist_cnn, weights, options)


@architecture(
    TutorialCNN,
    _BOOK,
    CIFAR10,
    family="Tutorial CNN",
    convs=(_Conv(16, 3, pool=True), _Conv(8, 3, pool=True)),  # 32 -> 16 -> 8
    hidden=(32,),
    num_classes=2,
    activation="tanh",
    padding="zeros",
)
def cifar2_cnn(*, weights: str | None = None, **options: Unpack[TutorialCNNOptions]) -> TutorialCNN:
    """Two convolutions with tanh, for two classes of 32 x 32 pictures; 18,090 parameters."""
    return construct(cifar2_cnn, weights, options)


@architecture(
    TutorialCNN,
    _CIFAR,
    CIFAR10,
    family="Tutorial CNN",
    departs=_COURSE,
    convs=(_Conv(16, 5, 2), _Conv(32, 5, 2), _Conv(64, 5, 2)),  # 32 -> 14 -> 5 -> 1
    hidden=(32,),
)
def cifar_cnn3(*, weights: str | None = None, **options: Unpack[TutorialCNNOptions]) -> TutorialCNN:
    """Three convolutions with stride 2, for 32 x 32 pictures; 67,722 parameters."""
    return construct(cifar_cnn3, weights, options)


@architecture(
    TutorialCNN,
    _CIFAR,
    CIFAR10,
    family="Tutorial CNN",
    departs=_COURSE,
    convs=(
        _Conv(64, 4, pool=True),  # 32 -> 16
        _Conv(128, 3, pool=True),  # 16 -> 8
        _Conv(128, 3),
        _Conv(128, 3),
        _Conv(128, 3, pool=True),  # 8 -> 4
    ),
    hidden=(512, 256),
    padding="zeros",
)
def cifar_cnn5(*, weights: str | None = None, **options: Unpack[TutorialCNNOptions]) -> TutorialCNN:
    """Five convolutions from 64 filters of 4 x 4 on, for 32 x 32 pictures; 1,702,730 parameters."""
    return construct(cifar_cnn5, weights, options)
