"""What no engine would run as the network does, refused before anything is built."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from convzoo._checks import check_images, check_tensor
from convzoo._classifier import Classifier
from convzoo._modes import check_network
from convzoo.errors import InputError
from convzoo.layers import DropBlock1d, DropBlock2d, DropBlock3d

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_DIFFERENT_IN_TRAINING = (
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
)
_DROP_BLOCKS = (DropBlock1d, DropBlock2d, DropBlock3d)


def check_runnable(net: nn.Module) -> torch.device:
    """Refuse a network of which an engine would run only a part, or something else.

    Args:
        net: The network.

    Returns:
        Where it is.

    Raises:
        InputError: It has hooks, is on the meta device or on several, is not in float32, or does
            in training mode what no engine does.
    """
    check_network(net)
    for name, module in net.named_modules():
        path = f"net.{name}" if name else "net"
        if any(getattr(module, hooks, None) for hooks in _HOOKS):
            raise InputError(f"{path}: it has hooks, which no engine would call; remove them first")
        if module.training and isinstance(module, _DROP_BLOCKS):
            raise InputError(
                f"{path}: DropBlock is in training mode, and no engine drops anything; call "
                "net.eval() first"
            )
        if module.training and not net.training and isinstance(module, _DIFFERENT_IN_TRAINING):
            raise InputError(
                f"{path}: {type(module).__name__} is in training mode while the network is not, "
                "and engines only evaluate; call net.eval() first"
            )
    if isinstance(net, Classifier) and net.training and len([*net.head_paths()]) > 1:
        raise InputError(
            "net: its auxiliary heads score in training mode, and engines only evaluate; call "
            "net.eval() first, which leaves them out"
        )
    return _place(net)


def _place(net: nn.Module) -> torch.device:
    tensors = [*net.parameters(), *net.buffers()]
    places = {tensor.device for tensor in tensors}
    if torch.device("meta") in places:
        raise InputError("net: it is on the meta device and has no weights; load some first")
    if len(places) > 1:
        raise InputError(
            f"net: expected all of it on one device, got {sorted(map(str, places))}; move it to one"
        )
    for dtype in {tensor.dtype for tensor in tensors if tensor.is_floating_point()}:
        if dtype is not torch.float32:
            raise InputError(
                f"net: expected float32 weights, got {dtype}; net.float(), and ask for another "
                "precision with `precision`"
            )
    return places.pop() if places else torch.device("cpu")


def check_example(net: nn.Module, example: Tensor | None, device: torch.device) -> Tensor:
    """Images like those to come.

    Args:
        net: The network.
        example: What came; None makes one image of noise.
        device: Where the network is.

    Returns:
        The images there, (B, C, H, W), B at least 1.

    Raises:
        InputError: They are none, or the network does not say how large its images are.
    """
    channels = channels_of(net)
    if example is None:
        if not isinstance(net, Classifier) or net.preset is None:
            raise InputError(
                "example: expected images like those to come, (B, C, H, W), got None, and "
                f"{type(net).__name__} does not say what it was made for"
            )
        side = net.max_size or net.preset.input_size
        height, width = (side, side) if isinstance(side, int) else side
        noise = torch.Generator().manual_seed(0)
        example = torch.randn(1, channels, height, width, generator=noise)
    check_tensor("example", example)
    try:
        check_images(
            example, channels, getattr(net, "min_size", 1), getattr(net, "max_size", None), "net"
        )
    except InputError as error:
        raise InputError(str(error).replace("x:", "example:", 1)) from None
    if len(example) == 0:
        raise InputError("example: expected at least one image, got an empty batch")
    if example.dtype is not torch.float32 or example.device.type == "meta":
        raise InputError(
            f"example: expected float32 images, got {example.dtype} on {example.device}"
        )
    return example.detach().to(device)


def channels_of(net: nn.Module) -> int:
    """Channels of the images that a network takes, as far as it says so."""
    if isinstance(net, Classifier):
        return net.in_channels
    layers = (m.in_channels for m in net.modules() if isinstance(m, nn.Conv2d))
    return next(layers, 3)
