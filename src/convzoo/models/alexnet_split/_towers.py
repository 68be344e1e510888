"""One tower of AlexNet by itself, and the weights of both: split and merged.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, section 3.5 and figure 2. [alexnet_two_gpu][convzoo.alexnet_two_gpu] puts the towers on two
devices of one process, [alexnet_tensor_parallel][convzoo.alexnet_tensor_parallel] on two
processes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypedDict

import torch
from torch import Tensor, nn

from convzoo._heads import head_dropout
from convzoo._meta_device import OnMeta
from convzoo.errors import CheckpointError, UnknownNameError
from convzoo.models.alexnets import AlexNet2012, TowerNorm, alexnet_2012
from convzoo.presets import Preset

Part = Literal["conv1", "conv3", "fc6", "fc7", "fc8"]
"""A stretch of a tower that needs nothing from the other one, by its first layer."""

PARTS: Final[tuple[Part, ...]] = ("conv1", "conv3", "fc6", "fc7", "fc8")

_LAYERS: Final = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")


class AlexNetTowersOptions(TypedDict, total=False):
    """Options of a split AlexNet: those of `alexnet_2012` that do not say where it lives."""

    num_classes: int | None
    """Classes to score; None means as the weights have, without weights 1000."""
    in_channels: int | None
    """Channels of the input image; None means as the weights have, else 3."""
    dropout: float
    """Probability of dropping an output of `fc6` and of `fc7`, in [0, 1)."""
    inplace: bool
    """Let ReLU overwrite its input; False for hooks that look at it."""


class Tower(nn.Module):
    """One tower of AlexNet: half of the maps, half of the units of `fc6` and of `fc7`.

    `fc8` is cut along its inputs: each tower scores all classes from its own half of `fc7`, and
    the sum of both are the scores. The bias is in the first tower only.

    There is no dropout in here: whoever runs both towers decides how their masks are drawn.

    Args:
        single: The whole network. Its layers are copied without their weights; `split` has those.
        index: 0 for the first tower, 1 for the second.
    """

    def __init__(self, single: AlexNet2012, index: int) -> None:
        super().__init__()
        self.parts: dict[Part, list[str]] = {part: [] for part in PARTS}
        part: Part = "conv1"
        for name, layer in single.named_children():  # registered in the order in which they run
            if isinstance(layer, nn.Dropout):
                continue
            part = next((p for p in PARTS if p == name), part)
            self.parts[part].append(name)
            self.add_module(name, _half(name, layer, index))

    def forward(self, part: Part, *halves: Tensor) -> Tensor:
        """Run one part.

        Args:
            part: Which one.
            *halves: Its input: the images for `"conv1"`; what this tower's `"fc7"` returned for
                `"fc8"`; else what the part before returned in the first and the second tower.

        Returns:
            This tower's maps, after `"conv1"` (B, 128, 13, 13) and after `"conv3"`
            (B, 128, 6, 6); its units, (B, 2048), after `"fc6"` and `"fc7"`; its summand of the
            scores, (B, num_classes), after `"fc8"`.
        """
        x = torch.cat(halves, dim=1) if len(halves) > 1 else halves[0]
        if part == "fc6":
            x = torch.flatten(x, 1)  # (B, 256, 6, 6) -> (B, 9216)
        for name in self.parts[part]:
            x = self.get_submodule(name)(x)
        return x

    if TYPE_CHECKING:

        def __call__(self, part: Part, *halves: Tensor) -> Tensor: ...


class SplitAlexNet(nn.Module):
    """What both forms of a split network know of the whole one.

    Args:
        net: The whole network; no memory is kept for its weights.
    """

    def __init__(self, net: AlexNet2012) -> None:
        super().__init__()
        self._skeleton: tuple[AlexNet2012] = (skeleton(net),)  # in a tuple: it is no submodule

    @property
    def num_classes(self) -> int:
        """How many classes the network scores."""
        return self._skeleton[0].num_classes

    @property
    def in_channels(self) -> int:
        """Channels of the input image."""
        return self._skeleton[0].in_channels

    @property
    def preset(self) -> Preset | None:
        """How images become inputs."""
        return self._skeleton[0].preset

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The classes' names in the order of the scores, where they are known."""
        return self._skeleton[0].labels


def split(net: AlexNet2012 | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of `alexnet_2012` as a network split into towers names them.

    Every number is in one of the towers, and none is in both; `merge` is the way back.

    Args:
        net: The network with two towers, or its state dict.

    Returns:
        Copies of the weights: `"towers.0.conv1.weight"`, ..., `"towers.1.fc8.weight"`.

    Raises:
        CheckpointError: The state dict is another network's.

    Examples:
        >>> import convzoo
        >>> from convzoo.models.alexnet_split import split
        >>> state = split(convzoo.alexnet_2012(device="meta"))
        >>> tuple(state["towers.0.fc6.weight"].shape), tuple(state["towers.1.fc8.weight"].shape)
        ((2048, 9216), (1000, 2048))
    """
    state = net.state_dict() if isinstance(net, nn.Module) else net
    _check_keys(state, (f"{layer}.{kind}" for layer in _LAYERS for kind in ("weight", "bias")))
    filters, seen = state["conv1.weight"].shape[0], state["conv2.weight"].shape[1]
    if seen != filters // 2:
        raise CheckpointError(
            f"net: expected conv2 to see its own tower's {filters // 2} maps, it sees {seen}; "
            "only a network with towers=2 can be split"
        )
    halves: dict[str, Tensor] = {}
    for index in range(2):
        for key, value in state.items():
            if key != "fc8.bias":
                # Filters and units fall to the towers, of fc8 the inputs.
                half = value.detach().chunk(2, dim=1 if key == "fc8.weight" else 0)[index]
                halves[f"towers.{index}.{key}"] = half.clone()
            elif index == 0:
                halves[f"towers.0.{key}"] = value.detach().clone()
    return halves


def merge(net: nn.Module | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network split into towers as `alexnet_2012` names them.

    Args:
        net: The network, or a state dict that holds both towers.

    Returns:
        Copies of the weights, on the first tower's device.

    Raises:
        CheckpointError: The state dict is another network's, or lacks a tower.

    Examples:
        >>> import convzoo
        >>> from convzoo.models.alexnet_split import merge, split
        >>> net = convzoo.alexnet_2012(num_classes=10)
        >>> merged = merge(split(net))
        >>> all(bool((merged[key] == value).all()) for key, value in net.state_dict().items())
        True
    """
    state = net.state_dict() if isinstance(net, nn.Module) else net
    keys = [f"{layer}.{kind}" for layer in _LAYERS for kind in ("weight", "bias")]
    expected = [f"towers.{index}.{key}" for index in range(2) for key in keys]
    _check_keys(state, (key for key in expected if key != "towers.1.fc8.bias"))
    merged: dict[str, Tensor] = {}
    for key in keys:
        first = state[f"towers.0.{key}"].detach()
        if key == "fc8.bias":
            merged[key] = first.clone()
        else:
            second = state[f"towers.1.{key}"].detach().to(first.device)
            merged[key] = torch.cat([first, second], dim=1 if key == "fc8.weight" else 0)
    return merged


def single_network(
    builder: str, weights: str | None, options: AlexNetTowersOptions, *, meta: bool = False
) -> AlexNet2012:
    """The whole network, where its halves are taken from.

    Args:
        builder: Who asks, for messages.
        weights: As in `alexnet_2012`.
        options: The options given to that builder.
        meta: Whether the halves are to be on the meta device.

    Returns:
        The network, on the CPU if not on meta.

    Raises:
        UnknownNameError: There is no such option.
    """
    for option in options:
        if option not in AlexNetTowersOptions.__annotations__:
            known = {*AlexNetTowersOptions.__annotations__, "weights"}
            raise UnknownNameError(f"option of {builder}", option, known)
    return alexnet_2012(weights=weights, device="meta" if meta else "cpu", **options)


def skeleton(single: AlexNet2012) -> AlexNet2012:
    """The same network without memory for its weights: it knows shapes, options and preset."""
    relu = single.get_submodule("relu1")
    with OnMeta():
        empty = AlexNet2012(
            num_classes=single.num_classes,
            in_channels=single.in_channels,
            dropout=single.drop6.p,
            inplace=isinstance(relu, nn.ReLU) and relu.inplace,
        )
    if head_dropout(single.fc8):
        empty.reset_head(single.num_classes, dropout=head_dropout(single.fc8))
    for name in ("architecture", "options", "preset", "labels", "provenance"):
        setattr(empty, name, getattr(single, name))
    return empty.train(single.training)


def dropouts(single: AlexNet2012) -> tuple[float, float]:
    """How much a split network has to drop after `fc6` and after `fc7`."""
    # A head that was replaced may drop more of what drop7 has left: 1 - (1 - p) (1 - q).
    kept = (1 - single.drop7.p) * (1 - head_dropout(single.fc8))
    return single.drop6.p, 1 - kept


def _half(name: str, layer: nn.Module, index: int) -> nn.Module:
    """A layer that does one tower's half of what `layer` does, still without weights."""
    with OnMeta():
        if isinstance(layer, nn.Conv2d):
            kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
            inputs = layer.in_channels // layer.groups
            return nn.Conv2d(inputs, layer.out_channels // 2, kernel, stride, int(padding))
        if isinstance(layer, nn.Linear) and name == "fc8":
            return nn.Linear(layer.in_features // 2, layer.out_features, bias=index == 0)
        if isinstance(layer, nn.Linear):
            return nn.Linear(layer.in_features, layer.out_features // 2)
    return copy.deepcopy(layer.norm if isinstance(layer, TowerNorm) else layer)


def _check_keys(state: Mapping[str, Tensor], keys: Iterable[str]) -> None:
    expected = set(keys)
    missing, unexpected = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or unexpected:
        raise CheckpointError(
            f"net: not the weights of such a network: missing {missing[:3]}, "
            f"unexpected {unexpected[:3]}"
        )
