"""The presets that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, overload

from convzoo._checks import check_choice
from convzoo.presets._preset import Preset

PresetName = Literal[
    "imagenet", "imagenet_v2", "inception", "mnist", "fashion_mnist", "cifar10", "lenet5_1998"
]
"""The names that [get][convzoo.presets.get] knows."""

IMAGENET: Preset = Preset(
    input_size=224,
    resize=256,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""Short side to 256, centre 224: AlexNet, VGG, ResNet and torchvision's V1 weights."""

IMAGENET_V2: Preset = IMAGENET.replace(resize=232)
"""Short side to 232, centre 224: torchvision's V2 weights."""

INCEPTION: Preset = IMAGENET.replace(
    input_size=299,
    resize=342,
    # What the published Inception-v3 was trained on is x in [-1, 1]. torchvision's transforms give
    # ImageNet's mean and std and its network then undoes them (`transform_input`); here the
    # numbers that the first convolution really sees stand in the preset.
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
"""Short side to 342, centre 299, pixels scaled to [-1, 1]: Inception-v3."""

MNIST: Preset = Preset(
    input_size=28, resize=28, mean=(0.1307,), std=(0.3081,), channels=1, augmentation="digit"
)
"""28 x 28 handwritten digits, white ink on black."""

FASHION_MNIST: Preset = Preset(
    input_size=28, resize=28, mean=(0.2860,), std=(0.3530,), channels=1, augmentation="small"
)
"""28 x 28 grey pictures of clothes on black."""

CIFAR10: Preset = Preset(
    input_size=32,
    resize=32,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    augmentation="small",
)
"""32 x 32 colour pictures."""

LENET5_1998: Preset = Preset(
    input_size=32,
    resize=28,  # the centre crop to 32 pads the 28 x 28 digit by 2 on every side with background
    mean=(0.1 / 1.275,),
    std=(1 / 1.275,),
    channels=1,
    augmentation="digit",
)
"""LeNet-5 as in 1998: a 28 x 28 digit in the middle of 32 x 32, x = -0.1 + 1.275 p.

Background (p = 0) becomes -0.1 and ink (p = 1) 1.175, the borders included. The paper says that
this makes the mean about 0 and the variance about 1; on MNIST the padded field in fact has mean
0.028 and variance 0.12 (LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document
Recognition, 1998).
"""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "imagenet": IMAGENET,
        "imagenet_v2": IMAGENET_V2,
        "inception": INCEPTION,
        "mnist": MNIST,
        "fashion_mnist": FASHION_MNIST,
        "cifar10": CIFAR10,
        "lenet5_1998": LENET5_1998,
    }
)
"""Every named preset, by name; read-only."""


@overload
def get(name: PresetName) -> Preset: ...
@overload
def get(name: str) -> Preset: ...
def get(name: str) -> Preset:
    """The preset with this name.

    Args:
        name: A key of [PRESETS][convzoo.presets.PRESETS], e.g. `"imagenet"`.

    Returns:
        The preset.

    Raises:
        UnknownNameError: There is no such preset; the message suggests the nearest names.

    Examples:
        >>> from convzoo import presets
        >>> presets.get("cifar10").input_size
        32
    """
    check_choice("preset", name, tuple(PRESETS))
    return PRESETS[name]
