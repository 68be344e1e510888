"""A network's graph as a diagram's plan: boxes in rows, branches, repeats told once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from convzoo._trace import Node

_SHORT = {
    "BatchNorm2d": "BN",
    "LocalResponseNorm": "LRN",
    "TowerNorm": "LRN",
    "Dropout": "dropout",
    "ReLU": "ReLU",
    "Tanh": "tanh",
    "ScaledTanh": "tanh",
}
_SILENT = ("Identity", "Flatten", "Unflatten", "DropPath")


@dataclass
class Box:
    """A layer that is drawn, with those folded into it that only change numbers.

    Attributes:
        kind: `"image"`, `"conv"`, `"pool"`, `"linear"`, `"add"`, `"concatenate"` or `"other"`.
        name: The submodule's path.
        shape: Of the output, without the batch: (C, H, W) or (D,).
        what: The layer in words, such as `"conv 3 x 3 / 2"`.
        folded: Short names of the layers that follow it.
        grouped: Whether each tower sees its own maps only.
        towers: Into how many towers its maps fall.
    """

    kind: str
    name: str
    shape: tuple[int, ...]
    what: str = ""
    folded: list[str] = field(default_factory=list)
    grouped: bool = False
    towers: int = 1

    @property
    def sign(self) -> object:
        """What makes two of them look alike."""
        return self.kind, self.shape, self.what, tuple(self.folded), self.towers


@dataclass
class Parallel:
    """Branches from one layer that meet in one; None where that is the meeting around them."""

    branches: list[list[Part]]
    join: Box | None

    @property
    def sign(self) -> object:
        """What makes two of them look alike."""
        join = None if self.join is None else self.join.sign
        return tuple(tuple(p.sign for p in branch) for branch in self.branches), join


@dataclass
class Repeat:
    """The same part several times over."""

    part: Part
    count: int

    @property
    def sign(self) -> object:
        """What makes two of them look alike."""
        return self.part.sign, self.count


Part = Box | Parallel | Repeat


def plan(
    nodes: Sequence[Node], input_shape: tuple[int, ...], towers: int = 1
) -> tuple[list[Part], int]:
    """A traced network as parts from left to right.

    Args:
        nodes: The network's layers in the order they ran, each after those that feed it.
        input_shape: Of the image, (B, C, H, W).
        towers: Into how many towers hidden layers fall.

    Returns:
        The parts, the image first; and how many connections they leave out, since branches that are
        woven into each other, as DenseNet's, cannot lie side by side.
    """
    boxes, feeds = _fold(nodes, input_shape)
    if towers > 1:
        for box in boxes[1:-1]:
            box.towers = towers
    follow: dict[int, list[Box]] = {id(box): [] for box in boxes}
    for box in boxes:
        for source in feeds[id(box)]:
            follow[id(source)].append(box)
    order = {id(box): index for index, box in enumerate(boxes)}
    nearest = _meetings(boxes, follow, order)
    drawn: set[int] = set()
    left_out = 0

    def series(box: Box | None, stop: Box | None) -> list[Part]:
        nonlocal left_out
        parts: list[Part] = []
        while box is not None and box is not stop and id(box) not in drawn:
            drawn.add(id(box))
            if not (parts and isinstance(parts[-1], Parallel) and parts[-1].join is box):
                parts.append(box)
            after = [one for one in follow[id(box)] if id(one) in nearest]
            meeting = nearest[id(box)]
            if len(after) > 1 and meeting is not None:
                branches = [series(one, meeting) for one in after]
                parts.append(Parallel(branches, None if meeting is stop else meeting))
                box = meeting
            else:
                box = after[0] if after else None
        left_out += box is not None and box is not stop
        return parts

    parts = _told_once(series(boxes[0], None))
    return parts, left_out


def _fold(
    nodes: Sequence[Node], input_shape: tuple[int, ...]
) -> tuple[list[Box], dict[int, list[Box]]]:
    """Boxes in running order, and the boxes that feed each."""
    image = Box("image", "", tuple(input_shape[1:]), "input")
    boxes = [image]
    feeds: dict[int, list[Box]] = {id(image): []}
    box_of: dict[int, Box] = {}
    # What stands between a box and one of several that it feeds is told with that one, as the
    # normalisation and activation that begin a pre-activation block.
    lead: dict[int, list[str]] = {}
    uses = Counter(id(source) for node in nodes for source in node.inputs)
    for node in nodes:
        if not node.shape:  # it did nothing, as dropout in evaluation
            continue
        sources = list({id(b): b for b in (box_of.get(id(n)) for n in node.inputs) if b}.values())
        sources = sources or [image]
        before = node.inputs[0] if len(node.inputs) == 1 else None
        names = lead.get(id(before), [])
        made = _box(node, sources[0])
        if isinstance(made, Box):
            if names:
                made.what = f"{' '.join(names)}, {made.what}"
            boxes.append(made)
            feeds[id(made)] = sources
            box_of[id(node)] = made
            continue
        box_of[id(node)] = sources[0]
        if names or (before is not None and uses[id(before)] > 1):
            lead[id(node)] = [*names, *([made] if made else [])]
        elif made and made not in sources[0].folded:
            sources[0].folded.append(made)
    return boxes, feeds


def _box(node: Node, source: Box) -> Box | str:
    """The box of a layer; or its short name, where it only changes numbers."""
    shape, module = tuple(node.shape[1:]), node.module
    kind = type(module).__name__
    if module is None:
        if node.operation.endswith("pool"):
            return Box("pool", node.name, shape, node.operation)
        return Box(node.operation, node.name, shape, node.operation)
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        stride = f" / {module.stride[0]}" if module.stride[0] > 1 else ""
        groups = f", {module.groups} groups" if module.groups > 2 else ""
        what = f"conv {height} x {width}{stride}{groups}"
        return Box("conv", node.name, shape, what, grouped=module.groups > 1)
    if isinstance(module, nn.Linear):
        return Box("linear", node.name, shape, "linear")
    if "Pool" in kind or "Subsampling" in kind:
        size = getattr(module, "kernel_size", None)
        side = size if isinstance(size, int) or size is None else size[0]
        step = getattr(module, "stride", None)
        words = "max" if "Max" in kind else "average" if "Avg" in kind else kind.lower()
        if side is None and shape[-1:] == (1,):
            words = "global average"
        if side is None and shape == source.shape:
            return ""  # pooled to the size that it has
        sizes = "" if side is None else f" {side} x {side} / {step}"
        return Box("pool", node.name, shape, f"{words}{sizes}", grouped=True)
    if "Pad2d" in kind or kind in _SILENT:
        return ""
    if shape == source.shape:
        return _SHORT.get(kind, kind)
    if kind.startswith("Sparse"):
        return Box("conv", node.name, shape, "sparse conv")
    return Box("other", node.name, shape, kind)


def _meetings(
    boxes: Sequence[Box], follow: dict[int, list[Box]], order: dict[int, int]
) -> dict[int, Box | None]:
    """Where all that follows a box meets again: its nearest post-dominator."""
    nearest: dict[int, Box | None] = {}
    for box in reversed(boxes):
        after = follow[id(box)]
        if not after and box is not boxes[-1]:
            continue  # it leads nowhere
        after = [one for one in after if id(one) in nearest]
        if not after:
            nearest[id(box)] = None
            continue
        meeting: Box | None = after[0]
        for one in after[1:]:
            other: Box | None = one
            while meeting is not other and meeting is not None and other is not None:
                if order[id(meeting)] < order[id(other)]:
                    meeting = nearest[id(meeting)]
                else:
                    other = nearest[id(other)]
            meeting = meeting if meeting is other else None
        nearest[id(box)] = meeting
    return nearest


def _told_once(parts: list[Part]) -> list[Part]:
    """Parts that look alike and follow each other, as one."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Parallel):
            part.branches = [_told_once(branch) for branch in part.branches]
        before = out[-1] if out else None
        if isinstance(before, Repeat) and before.part.sign == part.sign:
            before.count += 1
        elif before is not None and before.sign == part.sign and _plain(part):
            out[-1] = Repeat(before, 2)
        else:
            out.append(part)
    return out


def _plain(part: Part) -> bool:
    """Whether it may be told once: of towers, every line between them matters."""
    return not isinstance(part, Box) or part.towers == 1
