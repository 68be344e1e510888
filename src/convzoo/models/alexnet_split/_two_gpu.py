"""AlexNet on two devices, as it was trained in 2012.

Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural Networks",
2012, section 3.2: half of the kernels and half of the fully connected units on each of two GPUs,
which exchange maps before conv3 and at the fully connected layers only.

Where it departs from the paper:

- `fc8` is cut along its inputs. Each device scores all classes from its own half of `fc7`, and
  the second sends its scores, not its half of `fc7`, to the first. The paper does not say.
- In the paper each GPU reads the images by itself; here the second device gets a copy.
- Pipelining is out: a batch is not cut into micro-batches of which the second starts before the
  first is done. The towers have no order in which to pipeline, both work on the whole batch at
  the same time; what pipelining could hide are the exchanges, a few megabytes.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, Unpack

import torch
from torch import Tensor, nn

from convzoo.errors import InputError
from convzoo.models.alexnet_split._towers import (
    AlexNetTowersOptions,
    Part,
    SplitAlexNet,
    Tower,
    dropouts,
    merge,
    single_network,
    split,
)
from convzoo.models.alexnets import AlexNet2012


class _Place(NamedTuple):
    """Where a tower works; without a stream of its own, in the device's current one."""

    device: torch.device
    stream: torch.cuda.Stream | None

    def queue(self) -> torch.cuda.Stream:
        return self.stream or torch.cuda.current_stream(self.device)


Places = tuple[_Place, _Place]
Pair = tuple[Tensor, Tensor]  # the first tower's and the second's
Halves = tuple[Tensor, ...]  # what one tower is given: its own, or both on its device


class AlexNetTwoGPU(SplitAlexNet):
    """`alexnet_2012` with one tower on each of two devices; the same function, dropout apart.

    GPUs work at the same time by themselves, as kernels are only queued; two towers on one GPU in
    two streams. On the CPU one tower runs after the other, each on all cores. Scores end on the
    first device.

    It is a plain module and no [Classifier][convzoo.Classifier]: no single device holds a whole
    feature map, or a head to replace.
    [single][convzoo.models.alexnet_split.AlexNetTwoGPU.single] returns the network that is both.

    Args:
        net: The network to split, with two towers; its weights are copied.
        devices: Where the first and the second tower go.

    Attributes:
        towers: Both towers, each on its device.

    Raises:
        InputError: A device is not there.
        CheckpointError: The network has one tower.
    """

    towers: nn.ModuleList

    def __init__(self, net: AlexNet2012, devices: Sequence[torch.device | str]) -> None:
        super().__init__(net)
        places = _check_devices(devices)
        state = split(net)
        self.towers = nn.ModuleList(Tower(net, index) for index in range(2))
        self.load_state_dict(state, assign=True)
        p6, p7 = dropouts(self._skeleton[0])
        self.drop6: nn.Dropout = nn.Dropout(p6)
        self.drop7: nn.Dropout = nn.Dropout(p7)
        for tower, device in zip(self.towers, places, strict=True):
            tower.to(device)
        self.train(net.training)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, in_channels, 224, 224) -> class scores (B, num_classes), on the first."""
        self._skeleton[0]._check_input(x)
        places = self._places()
        here = _Place(x.device, None)
        # Shapes are those of one tower.
        images = ((_send(x, here, places[0]),), (_send(x, here, places[1]),))
        maps = self._run("conv1", images, places)  # (B, 128, 13, 13)
        maps = self._run("conv3", _exchange(maps, places), places)  # (B, 128, 6, 6)
        units = self._run("fc6", _exchange(maps, places), places)  # (B, 2048)
        units = self._drop(self.drop6, units, places)
        units = self._run("fc7", _exchange(units, places), places)  # (B, 2048)
        units = self._drop(self.drop7, units, places)
        first, second = self._run("fc8", ((units[0],), (units[1],)), places)  # (B, num_classes)
        return first + _send(second, places[1], places[0])

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    @property
    def devices(self) -> tuple[torch.device, torch.device]:
        """Where the towers are."""
        first, second = (tower.get_parameter("fc6.weight").device for tower in self.towers)
        return first, second

    @property
    def hf_device_map(self) -> dict[str, str]:
        """Tells Accelerate, and with it `fit`, to leave the towers where they are."""
        return {f"towers.{i}": str(device) for i, device in enumerate(self.devices)}

    def single(self) -> AlexNet2012:
        """The same network in one piece, on the first device; keep that one with `convzoo.save`.

        Returns:
            An `alexnet_2012` with copies of the weights.
        """
        net = copy.deepcopy(self._skeleton[0])
        net.load_state_dict(merge(self), assign=True)
        return net.train(self.training)

    def _places(self) -> Places:
        first, second = self.devices
        # Kernels for one GPU queue up in one stream; a second one lets the towers overlap. On two
        # GPUs each has its own current stream already.
        if first != second or first.type != "cuda":
            return _Place(first, None), _Place(second, None)
        side = _side_stream(second)
        # What was queued before comes first: an optimizer's step may still be at the weights.
        side.wait_stream(torch.cuda.current_stream(second))
        return _Place(first, None), _Place(second, side)

    def _run(self, part: Part, inputs: tuple[Halves, Halves], places: Places) -> Pair:
        """Run a part of both towers at the same time."""
        first = self.towers[0](part, *inputs[0])
        with _in(places[1]):
            return first, self.towers[1](part, *inputs[1])

    def _drop(self, drop: nn.Module, units: Pair, places: Places) -> Pair:
        # One after the other, so that a seed says which tower gets which mask.
        first = drop(units[0])
        with _in(places[1]):
            return first, drop(units[1])


def alexnet_two_gpu(
    devices: Sequence[torch.device | str] = ("cuda:0", "cuda:1"),
    *,
    weights: str | None = None,
    **options: Unpack[AlexNetTowersOptions],
) -> AlexNetTwoGPU:
    """AlexNet as in the paper with a tower on each of two devices; 60,965,224 parameters in all.

    Args:
        devices: Any two, also `("cuda:0", "cuda:0")`, `("cuda:0", "cpu")` and `("cpu", "cpu")`.
        weights: As in `alexnet_2012`: what was saved from that network, or from this one's
            `single()`; None initialises as the paper does.
        **options: `num_classes`, `in_channels`, `dropout`, `inplace`.

    Returns:
        The network, in training mode.

    Raises:
        InputError: A device is not there, or an option is out of range.
        UnknownNameError: There is no such option.

    Examples:
        >>> import torch
        >>> import convzoo
        >>> net = convzoo.alexnet_two_gpu(("meta", "meta"), num_classes=10)
        >>> tuple(net(torch.zeros(2, 3, 224, 224, device="meta")).shape)
        (2, 10)
    """
    places = _check_devices(devices)
    meta = places[0].type == "meta"
    return AlexNetTwoGPU(single_network("alexnet_two_gpu", weights, options, meta=meta), places)


def _check_devices(devices: Sequence[torch.device | str]) -> tuple[torch.device, torch.device]:
    if isinstance(devices, str) or len(devices) != 2:
        raise InputError(f"devices: expected two devices, got {devices!r}")
    first, second = (torch.device(device) for device in devices)
    for device in (first, second):
        there = torch.cuda.device_count()
        if device.type == "cuda" and (device.index or 0) >= there:
            raise InputError(
                f"devices: {device} is not there, this machine has {there} CUDA device(s); "
                "one device can hold both towers: ('cuda:0', 'cuda:0'), ('cpu', 'cpu')"
            )
    if (first.type == "meta") != (second.type == "meta"):
        raise InputError(f"devices: expected both on meta or neither, got {devices!r}")
    return first, second


def _send(tensor: Tensor, source: _Place, target: _Place) -> Tensor:
    """A tensor where another tower can use it, without waiting for it."""
    if source.device != target.device:
        # A GPU's stream puts the copy in order by itself. What the CPU is to read has to have
        # arrived: there the copy is waited for.
        with _in(target):
            return tensor.to(target.device, non_blocking=target.device.type != "cpu")
    if source.stream is not target.stream:
        target.queue().wait_stream(source.queue())
        tensor.record_stream(target.queue())
    return tensor


def _exchange(halves: Pair, places: Places) -> tuple[Halves, Halves]:
    """Each tower's half for both: (first, second) on the first place and on the second."""
    first, second = halves
    return (
        (first, _send(second, places[1], places[0])),
        (_send(first, places[0], places[1]), second),
    )


def _in(place: _Place) -> AbstractContextManager[object]:
    return nullcontext() if place.stream is None else torch.cuda.stream(place.stream)


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    # One for the life of the process: memory is cached stream by stream.
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream
