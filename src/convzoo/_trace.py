"""How a network's tensors hang together: shapes, work, receptive fields and who feeds whom.

The network runs once on the meta device, with shapes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field as dataclass_field
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
_WORK = (nn.Conv2d, nn.Linear)  # a module with none of these in it is one layer
_OPERATIONS: dict[object, str] = {
    _aten.add: "add",
    _aten.add_: "add",
    _aten.cat: "concatenate",
    _aten.max_pool2d_with_indices: "max pool",
    _aten.avg_pool2d: "average pool",
    _aten.mean: "average pool",
    _aten._adaptive_avg_pool2d: "average pool",
}


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


def trace(
    net: nn.Module, input_size: int | tuple[int, int] | None
) -> tuple[Tracer, tuple[int, ...]]:
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
    tracer = Tracer()
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
class Record:
    """One run of a submodule; or, without one, an operation between layers."""

    name: str
    module: nn.Module | None
    output: Tensor | None = None
    multiply_adds: int = 0
    node: Node | None = None


@dataclass(eq=False)
class Node:
    """A layer of the graph, or an operation between layers.

    Attributes:
        name: The submodule's path; of an operation, that of the module it is done in.
        module: The layer; None for an operation.
        operation: What is done where no layer does it: `"add"`, `"concatenate"`,
            `"max pool"`, `"average pool"`.
        inputs: Where its tensors come from; empty for those that see the image.
        shape: Of the output.
    """

    name: str
    module: nn.Module | None
    operation: str = ""
    inputs: list[Node] = dataclass_field(default_factory=list)
    shape: tuple[int, ...] = ()


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows each tensor's receptive field and each operator's work through a network."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.records: list[Record] = []
        self._stack: list[Record] = []
        # Keyed by id, so keep the tensors alive: meta tensors cost nothing.
        self._fields: dict[int, tuple[Tensor, Field]] = {}
        self.nodes: list[Node] = []
        self._made_by: dict[int, Node] = {}

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
                record = Record(name, module)
                outer = self._stack[-1].node if self._stack else None
                if outer is not None:  # a part of a layer that counts as one
                    record.node = outer
                elif not any(isinstance(m, _WORK) for m in module.modules() if m is not module):
                    record.node = Node(name, module)
                    self.nodes.append(record.node)
                self._stack.append(record)
                self.records.append(record)

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

    def field_of(self, output: Tensor) -> Field:
        """What an output sees."""
        return self._fields.get(id(output), (None, None))[1]

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
            self._join(func, args, outputs)
        return result

    def _join(self, func: object, args: tuple[Any, ...], outputs: list[Tensor]) -> None:
        """Note which layer or operation made the outputs, and from what."""
        made = [self._made_by.get(id(t)) for t in _tensors(args) if id(t) in self._fields]
        inputs = list(dict.fromkeys(node for node in made if node is not None))
        node = self._stack[-1].node if self._stack else None
        if node is None:
            operation = _OPERATIONS.get(getattr(func, "overloadpacket", None), "")
            if operation.endswith("pool") or (operation and len(made) > 1):
                node = Node(self._stack[-1].name if self._stack else "", None, operation)
                self.nodes.append(node)
                self.records.append(Record(node.name, None, outputs[0], node=node))
            else:  # a view, a cut, a function: what it changes is not worth a layer
                for output in outputs if inputs else ():
                    self._made_by[id(output)] = inputs[0]
                return
        node.inputs += [one for one in inputs if one is not node and one not in node.inputs]
        if outputs:
            node.shape = tuple(outputs[0].shape)
        for output in outputs:
            self._made_by[id(output)] = node


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
