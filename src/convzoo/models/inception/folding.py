"""Folding a change of the input's scale into a network's first convolution.

torchvision's `transform_input` rescales the image inside the network, unseen. Here the numbers
that the first convolution sees stand in the preset; where a pipeline is bound to other numbers,
the change is folded into the weights once, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from convzoo.errors import InputError
from convzoo.models.inception.v3 import InceptionV3
from convzoo.presets import Preset


@torch.no_grad()
def fold_input_affine(
    conv: nn.Conv2d,
    bn: nn.BatchNorm2d | None,
    scale: Sequence[float],
    shift: Sequence[float],
) -> None:
    """Make a first convolution do to `x` what it did to `scale * x + shift`, in place.

    The scale goes into the weights. The shift adds a constant to each output channel, which goes
    into the bias, or where there is none into the running mean that follows. (In training the
    batch's own mean takes the constant away, so that training is the same, too.)

    Zero padding is where this ends: at the border the old input was padded with zeros *after* the
    shift, which no constant reproduces. A padded convolution can therefore fold a scale but no
    shift: for those networks (GoogLeNet, ResNet, VGG) change the preset instead.

    Args:
        conv: The first convolution.
        bn: The batch normalisation right after it, needed if the convolution has no bias.
        scale: One factor a channel of the input.
        shift: One summand a channel of the input.

    Raises:
        InputError: The numbers do not match the channels, or the fold would not be exact.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from convzoo.models import fold_input_affine
        >>> conv, x = nn.Conv2d(1, 4, 3), torch.randn(1, 1, 5, 5)
        >>> before = conv(2 * x + 1)
        >>> fold_input_affine(conv, None, [2.0], [1.0])
        >>> torch.allclose(conv(x), before, atol=1e-6)
        True
    """
    channels = conv.in_channels
    for name, numbers in (("scale", scale), ("shift", shift)):
        if len(numbers) != channels:
            raise InputError(
                f"{name}: expected {channels} numbers, one a channel of the input, "
                f"got {len(numbers)}"
            )
    if conv.groups != 1:
        raise InputError(f"conv: expected an ungrouped convolution, got groups={conv.groups}")
    shifted = any(shift)
    padded = conv.padding != "valid" and any(conv.padding)
    if shifted and padded and conv.padding_mode == "zeros":
        raise InputError(
            "shift: expected zeros, since the convolution pads with zeros "
            f"(padding={conv.padding}) and a shift folded into it would be wrong at the border; "
            "change the mean and std of the preset instead"
        )
    if shifted and conv.bias is None and (bn is None or bn.running_mean is None):
        raise InputError(
            "bn: expected a batch normalisation with running statistics, since the convolution "
            "has no bias to take the shift"
        )
    # In double precision, so that what is rounded is the result alone.
    weight = conv.weight.double()
    factors = torch.tensor(scale, dtype=torch.float64, device=weight.device)
    summands = torch.tensor(shift, dtype=torch.float64, device=weight.device)
    constant = torch.einsum("oihw,i->o", weight, summands)
    conv.weight.copy_(weight * factors[:, None, None])
    if not shifted:
        return
    if conv.bias is not None:
        conv.bias.copy_(conv.bias.double() + constant)
    elif bn is not None and bn.running_mean is not None:
        bn.running_mean.copy_(bn.running_mean.double() - constant)


def fold_preset(net: InceptionV3, preset: Preset) -> None:
    """Make an Inception-v3 accept images normalised as `preset` says, in place.

    Its outputs stay what they were for the same picture: the change from the new mean and standard
    deviation to those of `net.preset` is folded into the first convolution, which pads nothing.
    `net.preset` becomes `preset`.

    Args:
        net: The network, whose `preset` says what it expects now.
        preset: What it is to expect; its sizes are taken over too.

    Raises:
        InputError: The network has no preset, or the channels differ.

    Examples:
        >>> from convzoo import presets
        >>> from convzoo.models import fold_preset, inception_v3
        >>> net = inception_v3(num_classes=10)
        >>> mean, std = presets.IMAGENET.mean, presets.IMAGENET.std
        >>> fold_preset(net, presets.INCEPTION.replace(mean=mean, std=std))
    """
    old = net.preset
    if old is None:
        raise InputError("net: expected a network with a preset, got one without")
    for given in (old, preset):
        if given.channels != net.in_channels:
            raise InputError(
                f"preset: expected one of {net.in_channels} channel(s), as the network has, "
                f"got {given.channels}"
            )
    # (p - mean') / std' = scale * (p - mean) / std + shift, where ' is what the network sees now.
    scale = [new / now for new, now in zip(preset.std, old.std, strict=True)]
    shift = [
        (new - now) / std for new, now, std in zip(preset.mean, old.mean, old.std, strict=True)
    ]
    first = net.Conv2d_1a_3x3
    fold_input_affine(first.conv, first.bn, scale, shift)
    net.preset = preset
