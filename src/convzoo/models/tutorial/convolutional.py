"""The small convolutional networks of courses: one table, one class.

None comes from a paper of its own; the package's docstring says where each is from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar, Final, Literal, NamedTuple, Unpack

from torch import Tensor, nn

from convzoo._checks import LARGEST, check_count, check_counts, check_flags
from convzoo._construct import construct
from convzoo._contract import Stage
from convzoo.errors import InputError
from convzoo.layers._named import (
    POOLINGS,
    Activation,
    Norm,
    Pooling,
    activation_layer,
    norm_layer,
)
from convzoo.models.tutorial.choices import (
    MNIST_PAPER,
    Init,
    Padding,
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


ConvLayer = tuple[int, int] | tuple[int, int, int] | tuple[int, int, int, bool] | Literal["pool"]
"""(filters, kernel), (filters, kernel, stride) or (filters, kernel, stride, pooled); `"pool"` pools
what the convolution before it gives."""


class TutorialCNNOptions(MLPOptions, total=False):
    """Options of the small convolutional networks."""

    padding: Padding
    """What surrounds the maps: `"none"`, `"zeros"`, `"reflect"` or `"replicate"`."""
    pool: Pooling
    """`"max"` or `"avg"`."""
    norm: Norm | None
    """What normalises each convolution's maps: `"batch"`, `"layer"`, `"instance"`, `"group"`."""
    batch_norm: bool
    """The same as `norm="batch"`."""
    widths: Sequence[int] | None
    """Filters of each convolution, one number a convolution."""


class TutorialCNN(SmallNetwork):
    """Convolutions with an activation and perhaps pooling after each, then linear layers.

    A stage `conv1` ... is read after the activation, `pool1` ... after the pooling.

    Args:
        convs: Filters, kernel, stride (1) of each convolution, and whether 2 x 2 pooling follows
            (no), which `"pool"` after a convolution says as well.
        hidden: Units of the hidden fully connected layers, one number a layer.
        num_classes: Classes to score.
        in_channels: Channels of the input image.
        image_size: Side of the image in pixels, and the largest that it takes.
        activation: What follows each layer but the last, by name.
        slope: Of leaky ReLU below 0; None is 0.01.
        dropout: Probability of dropping a unit of each hidden layer; where there is none, a value
            of the flattened map.
        norm: What stands between each convolution and its activation, by name; None is nothing.
        batch_norm: The same as `norm="batch"`.
        widths: Filters of the convolutions, instead of those in `convs`.
        padding: `"none"`, or what half a kernel on every side is filled with.
        pool: `"max"` or `"avg"`.
        init: How the weights start, `"torch"` or `"kaiming"`.
        inplace: Let activations overwrite their input where they can.

    Raises:
        InputError: `image_size` is too small for the convolutions, or an argument does not fit.

    Examples:
        >>> import torch
        >>> from convzoo.models import TutorialCNN
        >>> net = TutorialCNN([(8, 3), "pool", (16, 3), "pool"], hidden=[32], padding="reflect")
        >>> net(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    head_path: ClassVar[str] = "fc"

    def __init__(
        self,
        convs: Sequence[ConvLayer],
        *,
        hidden: Sequence[int],
        num_classes: int = 10,
        in_channels: int = 3,
        image_size: int = 32,
        activation: Activation = "relu",
        slope: float | None = None,
        dropout: float = 0.0,
        norm: Norm | None = None,
        batch_norm: bool = False,
        widths: Sequence[int] | None = None,
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
        self.slope: float | None = slope
        rows = _rows(convs, widths)
        self.features: nn.Sequential = nn.Sequential()
        stages: list[Stage] = []
        channels, reached = in_channels, 1
        for number, (filters, kernel, stride, pooled) in enumerate(rows, 1):
            conv = nn.Conv2d(
                channels,
                filters,
                kernel,
                stride,
                _around(kernel, padding),
                padding_mode="zeros" if padding == "none" else padding,
            )
            self.features.add_module(f"conv{number}", conv)
            normalised = norm_layer(norm, filters, batch_norm=batch_norm)
            if normalised is not None:
                self.features.add_module(f"norm{number}", normalised)
            self.features.add_module(f"act{number}", activation_layer(activation, slope, inplace))
            channels, reached = filters, reached * stride
            stages.append(Stage(f"conv{number}", f"features.act{number}", channels, reached))
            if pooled:
                self.features.add_module(f"pool{number}", POOLINGS[pool]())
                reached *= 2
                stages.append(Stage(f"pool{number}", f"features.pool{number}", channels, reached))
        side = _map_side(rows, padding, image_size)
        if side == 0:
            raise InputError(
                f"image_size: nothing is left of {image_size} x {image_size} pixels after the "
                f"{len(rows)} convolutions"
            )
        last = _map_side([*rows[:-1], rows[-1]._replace(pool=False)], padding, image_size)
        if norm == "instance" and last == 1:
            raise InputError("norm: 'instance' leaves nothing of a map of 1 x 1; take another")
        sizes = (channels * side**2, *hidden)
        self.hidden: nn.Sequential = nn.Sequential(
            OrderedDict(linear_stack(sizes, activation, slope, dropout, inplace))
        )
        self.fc: nn.Linear = nn.Linear(sizes[-1], num_classes)
        self.in_channels = in_channels
        self.num_features = channels
        self.min_size: int = image_size
        self.max_size: int | None = image_size
        while _map_side(rows, padding, self.min_size - 1) == side:
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


def _rows(convs: Sequence[ConvLayer], widths: Sequence[int] | None) -> list[_Conv]:
    """The convolutions of a list that may hold `"pool"`, with the filters that were asked for."""
    if not isinstance(convs, Sequence) or isinstance(convs, str) or not 0 < len(convs) <= 1000:
        raise InputError(
            f"convs: expected 1 to 1000 of (filters, kernel) and 'pool', got {convs!r:.80}"
        )
    rows: list[_Conv] = []
    for row in convs:
        if row == "pool":
            if not rows or rows[-1].pool:
                raise InputError("convs: expected a convolution before each 'pool'")
            rows[-1] = rows[-1]._replace(pool=True)
            continue
        if not isinstance(row, (tuple, list)) or not 2 <= len(row) <= 4:
            raise InputError(
                "convs: expected (filters, kernel), (filters, kernel, stride, pooled) or 'pool', "
                f"got {row!r:.80}"
            )
        filters, kernel, stride = (
            check_count(f"convs: {name}", number, most=LARGEST)
            for name, number in zip(("filters", "kernel", "stride"), (*row, 1)[:3], strict=True)
        )
        check_flags(**{"convs: pooled": row[3] if len(row) == 4 else False})
        rows.append(_Conv(filters, kernel, stride, len(row) == 4 and bool(row[3])))
    if widths is None:
        return rows
    check_sizes("widths", widths)
    if len(widths) != len(rows):
        raise InputError(
            f"widths: expected a number for each of {len(rows)} convolutions, got {widths!r:.80}"
        )
    return [row._replace(filters=width) for row, width in zip(rows, widths, strict=True)]


def _around(kernel: int, padding: Padding) -> int:
    """Pixels added on every side."""
    return 0 if padding == "none" else kernel // 2


def _map_side(convs: Sequence[_Conv], padding: Padding, side: int) -> int:
    """Side of the last map for an image of `side` pixels, or 0 if a kernel does not fit."""
    for _, kernel, stride, pooled in convs:
        around = _around(kernel, padding)
        if side + 2 * around < kernel or (padding == "reflect" and around >= side):
            return 0
        side = ((side + 2 * around - kernel) // stride + 1) // (2 if pooled else 1)
    return side


_BOOK: Final = Paper(
    "Deep Learning with PyTorch, chapter 8 (a book; there is no paper)",
    2020,
    "https://www.manning.com/books/deep-learning-with-pytorch",
)
_KERAS: Final = Paper(
    "Simple MNIST convnet (an example of Keras; there is no paper)",
    2015,
    "https://keras.io/examples/vision/mnist_convnet/",
)
_CIFAR: Final = Paper(
    "Learning Multiple Layers of Features from Tiny Images (of the images; the network has none)",
    2009,
    "https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf",
)
_OWN: Final = Paper(
    "Gradient-Based Learning Applied to Document Recognition (of the plan; the stack is yours)",
    MNIST_PAPER.year,
    MNIST_PAPER.url,
)
_COURSE: Final = "a course's network; widths and depth are ours"


@architecture(
    TutorialCNN,
    _KERAS,
    MNIST,
    family="Tutorial CNN",
    departs="one convolution instead of two, 128 hidden units, no dropout, as many courses have it",
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


@architecture(
    TutorialCNN,
    _OWN,
    CIFAR10,
    family="Tutorial CNN",
    departs="a stack of your own",
    convs=((32, 3), "pool", (64, 3), "pool"),  # 32 -> 15 -> 6
    hidden=(128,),
)
def cnn(
    convs: Sequence[ConvLayer] | None = None,
    *,
    weights: str | None = None,
    **options: Unpack[TutorialCNNOptions],
) -> TutorialCNN:
    """A stack of your own, kept and loaded as every network; 315,722 parameters as it is.

    Args:
        convs: (filters, kernel) or (filters, kernel, stride) a convolution, and `"pool"` where
            2 x 2 pooling follows one; None is `[(32, 3), "pool", (64, 3), "pool"]`.
        weights: As in every builder.
        **options: `hidden=(128,)`, `image_size=32` and the others of the small networks.

    Returns:
        The network, in training mode.

    Examples:
        >>> import convzoo
        >>> net = convzoo.cnn([(8, 3), "pool", (16, 3)], hidden=(), norm="group", num_classes=3)
        >>> convzoo.load(convzoo.save(net, "mine")).options["norm"]
        'group'
    """
    given = {} if convs is None else {"convs": convs}
    return construct(cnn, weights, {**options, **given})
