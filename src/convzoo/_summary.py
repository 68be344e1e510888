"""What a network is made of: its layers, their outputs, parameters, work and receptive fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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
    layers = tuple(tracer.layers())
    return Summary(
        name=getattr(net, "architecture", None) or type(net).__name__,
        input_shape=tuple(x.shape),
        layers=layers,
        parameters=sum(p.numel() for p in net.parameters()),
        multiply_adds=tracer.total,
    )


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
        self._fields: dict[int, tuple[Tensor, int | None, int | None]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nobody compiles this, and to be skipped takes the import of torch._dynamo: seconds.
        return False

    def start(self, x: Tensor) -> None:
        self._fields[id(x)] = (x, 1, 1)

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

    def layers(self) -> Iterator[Layer]:
        for record in self._records:
            own = sum(p.numel() for p in record.module.parameters(recurse=False))
            leaf = not any(True for _ in record.module.children())
            if record.output is None or not (leaf or own or record.multiply_adds):
                continue
            _, field, stride = self._fields.get(id(record.output), (None, None, None))
            yield Layer(
                name=record.name,
                kind=type(record.module).__name__,
                output_shape=tuple(record.output.shape),
                parameters=own,
                multiply_adds=record.multiply_adds,
                receptive_field=field,
                stride=stride,
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
        # The field of a sum or a concatenation is that of its widest part.
        fields = [self._fields[id(t)] for t in _tensors(args) if id(t) in self._fields]
        if fields:
            sees_all = any(field is None for _, field, _ in fields)
            field = None if sees_all else max(f for _, f, _ in fields if f is not None)
            stride = None if sees_all else max(s for _, _, s in fields if s is not None)
            if field is not None and stride is not None:
                field, stride = _grow(func, args, field, stride)
            for output in outputs:
                self._fields[id(output)] = (output, field, stride)
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


def _grow(
    func: object, args: tuple[Any, ...], field: int, stride: int
) -> tuple[int | None, int | None]:
    """The receptive field and stride after an operator that looks at a window."""
    packet = getattr(func, "overloadpacket", None)
    if packet is _aten.convolution:
        kernel, step, dilation = args[1].shape[-1], args[3][-1], args[5][-1]
        return field + (kernel - 1) * dilation * stride, stride * step
    if packet in (_aten.max_pool2d_with_indices, _aten.max_pool2d, _aten.avg_pool2d):
        kernel = args[1][-1]
        step = args[2][-1] if len(args) > 2 and args[2] else kernel
        return field + (kernel - 1) * stride, stride * step
    if packet is _aten.slice and len(args) > 4 and args[1] == 3:
        return field, stride * args[4]
    if packet in (_aten.mean, _aten._adaptive_avg_pool2d, _aten.addmm, _aten.mm):
        return None, None
    return field, stride
