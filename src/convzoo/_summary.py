"""What a network is made of: its layers, their outputs, parameters, work and receptive fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from torch import nn

from convzoo._trace import Record, Tracer, trace


@dataclass(frozen=True)
class Layer:
    """One layer of a [Summary][convzoo.Summary], or an operation between layers.

    Attributes:
        name: The submodule's path; of an operation, that of the module it is done in.
        kind: Its class; of an operation `"add"`, `"concatenate"`, `"max pool"`, `"average pool"`.
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
    """A network's layers and totals; `print` and notebooks show it as a table.

    Attributes:
        name: The network's name.
        input_shape: Shape of the input, with a batch of one.
        layers: The layers in the order they ran.
        parameters: Parameters of the whole network.
        multiply_adds: Multiplications with their additions for one image, without biases,
            normalisation and pooling, as papers count them.
        activation_bytes: Bytes that the outputs of all these take for one image, which training
            keeps for the way back; what overwrites its input or only views it takes none.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int

    def to_markdown(self) -> str:
        """The layers as a table in Markdown, totals below it.

        Returns:
            Lines of text.
        """
        header, *rows = self._cells()
        aligned = ["---"] * 3 + ["---:"] * (len(header) - 3)
        table = ["| " + " | ".join(row) + " |" for row in (header, aligned, *rows)]
        return "\n".join([*table, "", self._totals()])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        header, *rows = self._cells()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        return (
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"<p>{escape(self._totals())}</p>"
        )

    def _totals(self) -> str:
        return (
            f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds and "
            f"{self.activation_bytes / 2**20:,.1f} MiB of activations an image"
        )

    def _cells(self) -> list[tuple[str, ...]]:
        """The table's text, the header first."""
        header = ("layer", "kind", "output", "parameters", "multiply-adds", "field", "stride")
        return [
            header,
            *(
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
            ),
        ]

    def __str__(self) -> str:
        header, *rows = self._cells()
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
                self._totals(),
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
    tracer, input_shape = trace(net, input_size)
    return Summary(
        name=getattr(net, "architecture", None) or type(net).__name__,
        input_shape=input_shape,
        layers=tuple(_layers(tracer)),
        parameters=sum(p.numel() for p in net.parameters()),
        multiply_adds=tracer.total,
        activation_bytes=_activation_bytes(tracer),
    )


def _layers(tracer: Tracer) -> Iterator[Layer]:
    for record in tracer.records:
        module, node = record.module, record.node
        own = 0 if module is None else sum(p.numel() for p in module.parameters(recurse=False))
        if record.output is None or not (_is_leaf(record) or own or record.multiply_adds):
            continue
        field = tracer.field_of(record.output)
        yield Layer(
            name=record.name,
            kind=node.operation if module is None and node is not None else type(module).__name__,
            output_shape=tuple(record.output.shape),
            parameters=own,
            multiply_adds=record.multiply_adds,
            receptive_field=None if field is None else max(axis.size for axis in field),
            stride=None if field is None else max(axis.stride for axis in field),
        )


def _activation_bytes(tracer: Tracer) -> int:
    made = {
        id(record.output): record.output
        for record in tracer.records
        if record.output is not None and _is_leaf(record) and not record.output._is_view()
    }
    return sum(output.numel() * output.element_size() for output in made.values())


def _is_leaf(record: Record) -> bool:
    return record.module is None or not any(True for _ in record.module.children())
