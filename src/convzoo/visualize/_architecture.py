"""A network as a diagram: boxes to scale, as in the papers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from xml.sax.saxutils import escape

from torch import nn

from convzoo._checks import check_path
from convzoo._summary import summary
from convzoo._trace import trace
from convzoo.hub._replace import replace_files
from convzoo.transfer._find_heads import unwrap
from convzoo.visualize._plan import Box, Parallel, Part, Repeat, plan

_TALL = 120.0  # pixels of the image's side, and of the widest linear layer
_DEEP = 46.0  # pixels of the most channels
_GAP = 22.0
_LINE = 11.0
_COLOURS = {
    "image": "#e9ecef",
    "conv": "#f4b183",
    "pool": "#9dc3e6",
    "linear": "#a9d18e",
    "other": "#d6bcfa",
}
_NAMES = {"conv": "convolution", "pool": "pooling", "linear": "linear", "other": "other"}


def architecture(
    net: nn.Module,
    input_size: int | tuple[int, int] | None = None,
    *,
    path: str | os.PathLike[str] | None = None,
) -> str:
    """A diagram of a network as SVG, measured from the network itself.

    Each box is a convolution, a pooling or a linear layer: its height is that of the map, its depth
    the number of channels, both to scale. Normalisation and activation stand below the box they
    follow. Residual connections are arcs, branches lie side by side, equal parts that repeat are
    drawn once, and `alexnet_2012` has its two towers, with lines that cross where they exchange
    maps. Nothing is computed, and nothing but this package is needed.

    Args:
        net: Any network that maps one batch of images to one tensor.
        input_size: Side of the image in pixels, or (height, width); None means what the network's
            paper or preset says.
        path: Where to write it, `.svg`; its folder is made. None does not.

    Returns:
        The SVG document. A pointer on a box shows the layer's path.

    Raises:
        InputError: `input_size` is no size, or the network does not say its own and neither did
            you.
        WeightsError: The file cannot be written.

    Examples:
        >>> import convzoo
        >>> from convzoo import visualize
        >>> svg = visualize.architecture(convzoo.lenet5(), path="lenet5.svg")
        >>> svg.startswith("<svg"), svg.count("<title>conv")
        (True, 2)
    """
    core = unwrap(net)
    tracer, input_shape = trace(core, input_size)
    towers = getattr(core, "towers", 1)
    parts, left_out = plan(tracer.nodes, input_shape, towers if isinstance(towers, int) else 1)
    totals = summary(core, (input_shape[2], input_shape[3]))
    text = _Drawing(parts).document(
        f"{totals.name}: {totals.parameters:,} parameters, {totals.multiply_adds:,} multiply-adds"
        + (f"; {left_out} of its connections are not drawn" if left_out else "")
    )
    if path is not None:
        place = check_path("path", path)
        replace_files(place.parent, {place.name: [text.encode()]})
    return text


class _Drawing:
    """An SVG that grows part by part, along a line at y = 0."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        boxes = list(_boxes(parts))
        self.side = max(max(b.shape[1:]) for b in boxes if len(b.shape) == 3)
        self.channels = max(b.shape[0] for b in boxes if len(b.shape) == 3)
        self.units = max((b.shape[0] for b in boxes if len(b.shape) == 1), default=1)
        self.kinds = [k for k in _NAMES if any(b.kind == k for b in boxes)]
        self.last = boxes[-1].shape
        self.sizes: dict[int, tuple[float, float, float]] = {}
        self.out: list[str] = []

    def document(self, title: str) -> str:
        width, up, down = self.measure(self.parts)
        self.series(self.parts, 12.0, up + 44)
        full, high = max(width + 24, 7.2 * len(title) + 24, 420), up + down + 76
        legend, x = [], 12.0
        for kind in self.kinds:
            legend.append(
                f'<rect x="{x:.0f}" y="{high - 20:.0f}" width="10" height="10" '
                f'fill="{_COLOURS[kind]}" stroke="#555"/>'
            )
            legend.append(_text(x + 15, high - 11, _NAMES[kind], anchor="start"))
            x += 32 + 6 * len(_NAMES[kind])
        legend.append(
            _text(x, high - 11, "height: side of the map; depth: channels", anchor="start")
        )
        size = f'width="{full:.0f}" height="{high:.0f}"'
        font = 'font-family="Helvetica, Arial, sans-serif" font-size="9"'
        space = "http://www.w3.org/2000/svg"
        return "\n".join(
            [
                f'<svg xmlns="{space}" viewBox="0 0 {full:.0f} {high:.0f}" {size} {font}>',
                f'<rect {size} fill="white"/>',
                _text(12, 20, title, anchor="start", size=13),
                *self.out,
                *legend,
                "</svg>",
                "",
            ]
        )

    # How large a part is: width, and what it takes above and below the line.

    def measure(self, parts: Sequence[Part]) -> tuple[float, float, float]:
        sizes = [self.size(part) for part in parts]
        return (
            sum(width for width, _, _ in sizes) + _GAP * max(len(sizes) - 1, 0),
            max((up for _, up, _ in sizes), default=0.0),
            max((down for _, _, down in sizes), default=0.0),
        )

    def size(self, part: Part) -> tuple[float, float, float]:
        # Nested branches would be measured again by each that holds them.
        if id(part) not in self.sizes:
            self.sizes[id(part)] = self.measured(part)
        return self.sizes[id(part)]

    def measured(self, part: Part) -> tuple[float, float, float]:
        if isinstance(part, Repeat):
            width, up, down = self.size(part.part)
            return width + 12, up + 8, down + 20
        if isinstance(part, Parallel):
            sizes = [self.measure(branch) for branch in part.branches]
            lanes = self.lanes(part)
            up = max(up - y for (_, up, _), y in zip(sizes, lanes, strict=True))
            down = max(down + y for (_, _, down), y in zip(sizes, lanes, strict=True))
            widest = max(width for width, _, _ in sizes)
            join = 0.0 if part.join is None else self.size(part.join)[0]
            return widest + 2 * _GAP + join, max(up, 12), max(down, 22)
        if part.kind in ("add", "concatenate"):
            return (28.0, 8.0, 24.0) if part.kind == "add" else (14.0, 24.0, 24.0 + _LINE)
        wide, high, slant = self.scale(part)
        label = max(len(line) for line in _label(part)) * 4.7
        towers = part.towers
        tall = towers * high + (towers - 1) * (slant + 10)
        return max(wide + slant, label), tall / 2 + slant + 2, tall / 2 + 4 + 3 * _LINE

    def lanes(self, part: Parallel) -> list[float]:
        """Where each branch's line lies: a sum's longest on the main line, others around it."""
        sizes = [self.measure(branch) for branch in part.branches]
        if part.join is not None and part.join.kind == "add":
            main = max(range(len(sizes)), key=lambda i: sizes[i][0])
            lanes, top = [0.0] * len(sizes), -sizes[main][1] - 6
            for index, (_, up, down) in enumerate(sizes):
                if index != main:
                    lanes[index] = top - down - 4
                    top = lanes[index] - up
            return lanes
        total = sum(up + down for _, up, down in sizes) + 6 * (len(sizes) - 1)
        lanes, y = [], -total / 2
        for _, up, down in sizes:
            lanes.append(y + up)
            y += up + down + 6
        return lanes

    def scale(self, box: Box) -> tuple[float, float, float]:
        """Width, height and slant of a box."""
        if len(box.shape) != 3:
            return 7.0, max(5.0, _TALL * box.shape[0] / self.units / box.towers), 0.0
        high = max(5.0, _TALL * max(box.shape[1:]) / self.side)
        return max(3.0, _DEEP * box.shape[0] / self.channels / box.towers), high, 0.28 * high

    # Drawing, from the left; each returns where its line goes on.

    def series(self, parts: Sequence[Part], x: float, y: float) -> float:
        before: Part | None = None
        for part in parts:
            if before is not None:
                self.connect(before, part, x, y)
                x += _GAP
            x = self.part(part, x, y)
            before = part
        return x

    def part(self, part: Part, x: float, y: float) -> float:
        if isinstance(part, Repeat):
            width, up, down = self.size(part)
            self.out.append(
                f'<rect x="{x:.1f}" y="{y - up:.1f}" width="{width:.1f}" '
                f'height="{up + down - 13:.1f}" '
                'rx="5" fill="none" stroke="#888" stroke-dasharray="4 3"/>'
            )
            self.out.append(_text(x + width / 2, y + down - 2, f"x {part.count}", size=11))
            end = self.part(part.part, x + 6, y)
            self.line(x, y, x + 6, y)
            self.line(end, y, end + 6, y)
            return end + 6
        if isinstance(part, Parallel):
            return self.parallel(part, x, y)
        return self.box(part, x, y)

    def parallel(self, part: Parallel, x: float, y: float) -> float:
        widest = max(self.measure(branch)[0] for branch in part.branches)
        right = x + widest + 2 * _GAP
        for branch, lane in zip(part.branches, self.lanes(part), strict=True):
            if (
                not branch and part.join is not None and part.join.kind == "add"
            ):  # a residual connection
                top = y + lane
                self.out.append(
                    f'<path d="M{x:.1f} {y:.1f} C{x + 10:.1f} {top:.1f} {x + 14:.1f} {top:.1f} '
                    f"{x + _GAP + 8:.1f} {top:.1f} H{right - _GAP:.1f} C{right - 4:.1f} {top:.1f} "
                    f'{right + 11:.1f} {top:.1f} {right + 14:.1f} {y - 7:.1f}" '
                    'fill="none" stroke="#c0392b" stroke-width="1.4"/>'
                )
                continue
            width = self.measure(branch)[0]
            begin = x + _GAP
            self.bend(x, y, begin, y + lane)
            end = self.series(branch, begin, y + lane) if branch else begin
            self.line(end, y + lane, begin + max(widest, width), y + lane)
            self.bend(begin + widest, y + lane, right, y)
        return right if part.join is None else self.box(part.join, right, y)

    def box(self, box: Box, x: float, y: float) -> float:
        if box.kind == "add":
            x += 7
            self.line(x - 7, y, x, y)
            self.line(x + 14, y, x + 21, y)
            self.out.append(
                f'<g><title>{escape(box.name)} add</title><circle cx="{x + 7:.1f}" cy="{y:.1f}" '
                'r="7" fill="white" stroke="#333"/>'
                f'<path d="M{x + 3:.1f} {y:.1f} h8 M{x + 7:.1f} {y - 4:.1f} v8" stroke="#333"/></g>'
            )
            self.label(x + 7, y + 18, box.folded[-1:])
            return x + 21
        if box.kind == "concatenate":
            self.out.append(
                f'<g><title>{escape(box.name)} concatenate</title><rect x="{x + 4:.1f}" '
                f'y="{y - 22:.1f}" width="6" height="44" fill="#555"/></g>'
            )
            self.label(x + 7, y + 32, [str(box.shape[0])])
            return x + 14
        width, _, down = self.size(box)
        wide, high, slant = self.scale(box)
        left = x + (width - wide - slant) / 2
        if box.kind != "image" and box.towers == 1:
            self.line(x, y, left, y)
        colour, words = _COLOURS[box.kind], " ".join(_label(box))
        self.out.append(f"<g><title>{escape(f'{box.name} {words}'.strip())}</title>")
        for centre in self.centres(box, y):
            top = centre - high / 2
            if slant:
                self.out.append(
                    f'<path d="M{left:.1f} {top:.1f} l{slant:.1f} {-slant:.1f} h{wide:.1f} '
                    f'v{high:.1f} l{-slant:.1f} {slant:.1f} v{-high:.1f} Z" fill="{colour}" '
                    'fill-opacity="0.65" stroke="#555" stroke-width="0.7"/>'
                    f'<path d="M{left + wide:.1f} {top:.1f} l{slant:.1f} {-slant:.1f}" '
                    'stroke="#555" stroke-width="0.7"/>'
                )
            self.out.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{high:.1f}" '
                f'fill="{colour}" stroke="#555" stroke-width="0.7"/>'
            )
        self.out.append("</g>")
        self.label(x + width / 2, y + down - 2 * _LINE - 2, _label(box))
        if box.towers == 1 and box.shape != self.last:
            self.line(left + wide + slant / 2, y, x + width, y)
        return x + width

    def centres(self, box: Box, y: float) -> list[float]:
        """Where the towers of a box lie."""
        _, high, slant = self.scale(box)
        apart = high + slant + 10
        return [y + (t - (box.towers - 1) / 2) * apart for t in range(box.towers)]

    def connect(self, before: Part, after: Part, x: float, y: float) -> None:
        """Lines between two parts; where towers exchange maps, they cross."""
        if not (isinstance(before, Box) and isinstance(after, Box)) or (
            before.towers == after.towers == 1
        ):
            self.line(x, y, x + _GAP, y, arrow=True)
            return
        ends = []
        for box in (before, after):
            width = self.size(box)[0]
            wide, _, slant = self.scale(box)
            ends.append((width - wide - slant) / 2)
        grouped = after.grouped and before.towers == after.towers
        starts, goals = self.centres(before, y), self.centres(after, y)
        for i, start in enumerate(starts):
            for j, goal in enumerate(goals):
                if i == j or not grouped:
                    slant = self.scale(before)[2] if before.towers > 1 else 0
                    colour = "#c0392b" if i != j and len(starts) == len(goals) else "#333"
                    self.line(
                        x - ends[0] - slant / 2, start, x + _GAP + ends[1], goal, colour=colour
                    )

    def line(
        self, x: float, y: float, x2: float, y2: float, *, arrow: bool = False, colour: str = "#333"
    ) -> None:
        if abs(x2 - x) < 0.05 and abs(y2 - y) < 0.05:
            return
        self.out.append(
            f'<path d="M{x:.1f} {y:.1f} L{x2:.1f} {y2:.1f}" stroke="{colour}" fill="none"/>'
        )
        if arrow:
            self.out.append(f'<path d="M{x2:.1f} {y2:.1f} l-5 -2.5 v5 Z" fill="{colour}"/>')

    def bend(self, x: float, y: float, x2: float, y2: float) -> None:
        middle = (x + x2) / 2
        self.out.append(
            f'<path d="M{x:.1f} {y:.1f} C{middle:.1f} {y:.1f} {middle:.1f} {y2:.1f} {x2:.1f} '
            f'{y2:.1f}" fill="none" stroke="#333"/>'
        )

    def label(self, x: float, y: float, lines: Sequence[str]) -> None:
        for index, line in enumerate(lines):
            self.out.append(_text(x, y + index * _LINE, line))


def _boxes(parts: Sequence[Part]) -> list[Box]:
    found: list[Box] = []
    for part in parts:
        if isinstance(part, Repeat):
            found += _boxes([part.part])
        elif isinstance(part, Parallel):
            found += [box for branch in part.branches for box in _boxes(branch)]
            found += [] if part.join is None else [part.join]
        else:
            found.append(part)
    return found


def _label(box: Box) -> list[str]:
    size = " x ".join(map(str, box.shape))
    return [size, box.what, " ".join(box.folded)]


def _text(x: float, y: float, words: str, *, anchor: str = "middle", size: int = 9) -> str:
    if not words:
        return ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">'
        f"{escape(words)}</text>"
    )
