"""What a network is made of: its layers, their outputs, parameters, work and receptive fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo._meta_shapes import quick_result
from convzoo._modes import evaluation
from convzoo.errors import InputError

_aten = torch.ops.aten


@dataclass(frozen=True)
class Layer:
    """One layer of a [Summary][convzoo.Summary].

    Attributes:
        name: The submodule's path.
        kind: Its class.
        output_shape: Shape of what it puts out, with a batch of one.
        parameters: Trainable and frozen parameters of its own.
        multiply_adds: Multiplications with their additions, of convolutions and linear layers.
        receptive_field: Side of the square of input pixels that one output sees, or None where it
            sees the whole image.
        stride: Input pixels between neighbouring outputs, or None likewise.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int | None
    stride: int | None


@dataclass(frozen=True)
class Summary:
    """A network's layers and totals; `print` shows it as a table.

    Attributes:
        name: The network's name.
        input_shape: Shape of the input, with a batch of one.
        layers: The layers in the order they ran.
        parameters: Parameters of the whole network.
        multiply_adds: Multiplications with their additions for one image, without biases,
            normalisation and pooling, as papers count them.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        header = ("layer", "kind", "output", "parameters", "multiply-adds", "field", "stride")
        rows = [
            (
                layer.name,
                layer.kind,
                " x ".join(map(str, layer.output_shape[1:])),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
                "all" if layer.receptive_field is None else str(layer.receptive_field),
                "" if layer.stride is None else str(layer.stride),
            )
            for layer in self.layers
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

        def line(row: tuple[str, ...]) -> str:
            cells = [
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        return "\n".join(
            [
                f"{self.name}, input {' x '.join(map(str, self.input_shape[1:]))}",
                line(header),
                line(tuple("-" * width for width in widths)),
                *map(line, rows),
                f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds an image",
            ]
        )


def summary(net: nn.Module, input_size: int | tuple[int, int] | None = None) -> Summary:
    """Measure a network layer by layer, without computing anything.

    The network runs once on the meta device, in evaluation mode, with shapes only; its own
    parameters are neither read nor moved.

    Args:
        net: One of ours, or any network that maps one batch of images to one tensor; compiled by
            `torch.compile` or not.
        input_size: Side of the image in pixels, or (height, width); None means what the network's
            paper or preset says.

    Returns:
        Layers, parameters, multiply-adds and receptive fields.

    Raises:
        InputError: `input_size` is no size, or the network does not say what size it expects and
            neither did you.

    Examples:
        >>> import convzoo
        >>> result = convzoo.summary(convzoo.cifar_resnet20())
        >>> result.parameters, result.multiply_adds
        (269722, 40551040)
        >>> result.layers[0].name, result.layers[0].output_shape, result.layers[0].receptive_field
        ('conv1', (1, 16, 32, 32), 3)
    """
    net = getattr(net, "_orig_mod", net)  # torch.compile's wrapper holds the network there
    tracer, input_shape = _trace(net, input_size)
    return Summary(
        name=getattr(net, "architecture", None) or type(net).__name__,
        input_shape=input_shape,
        layers=tuple(tracer.layers()),
        parameters=sum(p.numel() for p in net.parameters()),
        multiply_adds=tracer.total,
    )


class Reach(NamedTuple):
    """What outputs see along one axis of the input, in pixels.

    Attributes:
        first: The first pixel that the first output sees; below 0 it lies in the padding.
        last: The last that it sees.
        stride: How much further the next output sees.
    """

    first: int
    last: int
    stride: int

    @property
    def size(self) -> int:
        """How many pixels one output sees."""
        return self.last - self.first + 1

    def window(self, kernel: int, step: int, padding: int, dilation: int = 1) -> Reach:
        """What the outputs of a sliding window see."""
        return Reach(
            self.first - padding * self.stride,
            self.last + ((kernel - 1) * dilation - padding) * self.stride,
            self.stride * step,
        )


Field = tuple[Reach, Reach] | None
"""What an output sees down and across; None for the whole image."""


def fields(
    net: nn.Module, input_size: int | tuple[int, int] | None = None
) -> tuple[dict[str, tuple[tuple[int, ...], Field]], tuple[int, ...]]:
    """Every submodule's output shape and field, by path; and the shape of the input."""
    tracer, input_shape = _trace(net, input_size)
    return {name: (shape, field) for name, shape, field in tracer.outputs()}, input_shape


def _trace(
    net: nn.Module, input_size: int | tuple[int, int] | None
) -> tuple[_Tracer, tuple[int, ...]]:
    """Run a network on the meta device; its own parameters are neither read nor moved."""
    height, width = _size(net, input_size)
    channels = _channels(net)
    meta = {
        # Not empty_like, which on the meta device imports sympy: over a second.
        name: torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
        for tensors in (net.named_parameters(), net.named_buffers())
        for name, tensor in tensors
    }
    x = torch.zeros(1, channels, height, width, device="meta")
    dtype = next((p.dtype for p in net.parameters()), x.dtype)
    tracer = _Tracer()
    with evaluation(net), tracer.watching(net), torch.no_grad(), tracer:
        tracer.start(x := x.to(dtype))
        torch.func.functional_call(net, meta, (x,))
    return tracer, tuple(x.shape)


def _size(net: nn.Module, given: int | tuple[int, int] | None) -> tuple[int, int]:
    if given is not None:
        sides = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
        if len(sides) != 2:
            raise InputError(f"input_size: expected one side or (height, width), got {given!r}")
        height, width = (check_count("input_size", side) for side in sides)
        return height, width
    if isinstance(net, Classifier):
        if net.max_size is not None:
            return net.max_size, net.max_size
        if net.preset is not None:
            side = net.preset.input_size
            return (side, side) if isinstance(side, int) else side
    raise InputError(
        "input_size: expected the side of an image in pixels, got None, and "
        f"{type(net).__name__} does not say what it was made for"
    )


def _channels(net: nn.Module) -> int:
    if isinstance(net, Classifier):
        return net.in_channels
    first = next((m for m in net.modules() if isinstance(m, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels


@dataclass
class _Record:
    name: str
    module: nn.Module
    output: Tensor | None = None
    multiply_adds: int = 0


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows each tensor's receptive field and each operator's work through a network."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self._records: list[_Record] = []
        self._stack: list[_Record] = []
        # Keyed by id, so keep the tensors alive: meta tensors cost nothing.
        self._fields: dict[int, tuple[Tensor, Field]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nobody compiles this, and to be skipped takes the import of torch._dynamo: seconds.
        return False

    def start(self, x: Tensor) -> None:
        self._fields[id(x)] = (x, (Reach(0, 0, 1), Reach(0, 0, 1)))

    @contextmanager
    def watching(self, net: nn.Module) -> Iterator[None]:
        """Notice when each submodule begins and ends."""
        handles = []
        for name, module in net.named_modules():

            def begin(module: nn.Module, _inputs: object, name: str = name) -> None:
                self._stack.append(_Record(name, module))
                self._records.append(self._stack[-1])

            def end(module: nn.Module, _inputs: object, output: object) -> None:
                record = self._stack.pop()
                record.output = output if isinstance(output, Tensor) else None
                declared = getattr(module, "multiply_adds", None)
                if declared is not None and record.output is not None:
                    work = int(declared(record.output))  # a layer that skips some of them
                    self.total += work - record.multiply_adds
                    record.multiply_adds = work

            handles.append(module.register_forward_pre_hook(begin))
            handles.append(module.register_forward_hook(end))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def outputs(self) -> Iterator[tuple[str, tuple[int, ...], Field]]:
        for record in self._records:
            if record.output is not None:
                field = self._fields.get(id(record.output), (None, None))[1]
                yield record.name, tuple(record.output.shape), field

    def layers(self) -> Iterator[Layer]:
        for record in self._records:
            own = sum(p.numel() for p in record.module.parameters(recurse=False))
            leaf = not any(True for _ in record.module.children())
            if record.output is None or not (leaf or own or record.multiply_adds):
                continue
            field = self._fields.get(id(record.output), (None, None))[1]
            yield Layer(
                name=record.name,
                kind=type(record.module).__name__,
                output_shape=tuple(record.output.shape),
                parameters=own,
                multiply_adds=record.multiply_adds,
                receptive_field=None if field is None else max(axis.size for axis in field),
                stride=None if field is None else max(axis.stride for axis in field),
            )

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = quick_result(func, args)
        if result is None:
            result = func(*args, **(kwargs or {}))
        outputs = list(_tensors(result))
        work = _multiply_adds(func, args, outputs)
        self.total += work
        if self._stack:
            self._stack[-1].multiply_adds += work
        known = [self._fields[id(t)][1] for t in _tensors(args) if id(t) in self._fields]
        if known:
            field = _grow(func, args, outputs[0], _union(known)) if outputs else None
            for output in outputs:
                self._fields[id(output)] = (output, field)
        return result


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)


def _multiply_adds(func: object, args: tuple[Any, ...], outputs: list[Tensor]) -> int:
    packet = getattr(func, "overloadpacket", None)
    if packet is _aten.convolution:
        weight = args[1]
        return outputs[0].numel() * int(weight.numel() // weight.shape[0])
    if packet in (_aten.mm, _aten.bmm):
        return outputs[0].numel() * int(args[0].shape[-1])
    if packet is _aten.addmm:
        return outputs[0].numel() * int(args[1].shape[-1])
    return 0


def _union(known: list[Field]) -> Field:
    """What a sum or a concatenation sees: all that its parts do."""
    if any(field is None for field in known):
        return None
    down, across = (
        Reach(
            min(reach.first for reach in axis),
            max(reach.last for reach in axis),
            max(reach.stride for reach in axis),
        )
        for axis in zip(*(field for field in known if field is not None), strict=True)
    )
    return down, across


def _grow(func: object, args: tuple[Any, ...], output: Tensor, field: Field) -> Field:
    """What is seen after an operator that looks at a window, pads or cuts."""
    packet = getattr(func, "overloadpacket", None)
    if field is None:
        return None
    down, across = field
    if packet is _aten.convolution:
        sides, (step, padding, dilation) = args[1].shape[-2:], args[3:6]
        return (
            down.window(sides[0], step[0], padding[0], dilation[0]),
            across.window(sides[1], step[-1], padding[-1], dilation[-1]),
        )
    if packet in (_aten.max_pool2d_with_indices, _aten.max_pool2d, _aten.avg_pool2d):
        sides = args[1]
        step = args[2] if len(args) > 2 and args[2] else sides
        padding = args[3] if len(args) > 3 and args[3] else [0]
        return (
            down.window(sides[0], step[0], padding[0]),
            across.window(sides[-1], step[-1], padding[-1]),
        )
    if packet is _aten.constant_pad_nd:
        left, _, top, _ = [*args[1], 0, 0, 0][:4]
        return down.window(1, 1, top), across.window(1, 1, left)
    if packet is _aten.slice and args[1] in (2, 3):
        begin = args[2] if len(args) > 2 and args[2] else 0
        step = args[4] if len(args) > 4 else 1
        begin = begin if begin >= 0 else begin + args[0].shape[args[1]]
        moved = field[args[1] - 2].window(1, step, -begin)
        return (moved, across) if args[1] == 2 else (down, moved)
    if packet is _aten._adaptive_avg_pool2d and args[0].shape == output.shape:
        return field
    if packet in (_aten.mean, _aten._adaptive_avg_pool2d, _aten.addmm, _aten.mm):
        return None
    return field
