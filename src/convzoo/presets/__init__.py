"""How an image becomes what a network was trained on.

A [Preset][convzoo.presets.Preset] is a small frozen record: sizes, crop, interpolation, mean
and standard deviation. It makes torchvision transforms with `.eval()` and `.train()`, compares
and hashes by value, goes to JSON and back, and so travels with a network's weights.

Example:
    >>> import torch
    >>> from convzoo import presets
    >>> transform = presets.IMAGENET.eval()
    >>> transform(torch.zeros(3, 300, 400, dtype=torch.uint8)).shape
    torch.Size([3, 224, 224])
"""

from convzoo.presets._files import load_image
from convzoo.presets._lighting import PCALighting
from convzoo.presets._named import (
    CIFAR10,
    FASHION_MNIST,
    IMAGENET,
    IMAGENET_V2,
    INCEPTION,
    LENET5_1998,
    MNIST,
    PRESETS,
    PresetName,
    get,
)
from convzoo.presets._preset import Augmentation, Crop, Preset, PresetFields
from convzoo.presets._stats import ChannelStats, channel_stats
from convzoo.presets._transforms import AutoAugment, ImageTransform, Interpolation, TrainCrop

__all__ = [
    "CIFAR10",
    "FASHION_MNIST",
    "IMAGENET",
    "IMAGENET_V2",
    "INCEPTION",
    "LENET5_1998",
    "MNIST",
    "PRESETS",
    "Augmentation",
    "AutoAugment",
    "ChannelStats",
    "Crop",
    "ImageTransform",
    "Interpolation",
    "PCALighting",
    "Preset",
    "PresetFields",
    "PresetName",
    "TrainCrop",
    "channel_stats",
    "get",
    "load_image",
]
