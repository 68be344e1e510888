"""One page to give away: a network with its maps, kernels and scores on some images, to click on.

The page is one HTML file. It holds every number that it shows, as float16, and loads nothing.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import torch
from torch import Tensor, nn

from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo.errors import InputError
from convzoo.hub._replace import replace_files
from convzoo.presets import Preset
from convzoo.visualize._class_maps import grad_cam
from convzoo.visualize._fields import receptive_field
from convzoo.visualize._pixels import ImageInput, pixels, prepare, preset_of
from convzoo.visualize._probe import find_module, hooked, looking, run

_MOST_BYTES = 5_000_000
# From everything to little, until the page is small enough: maps a stage, and whether the
# convolutions' inputs are there, from which their sums are shown.
_RICHNESS = ((32, True), (16, True), (8, True), (16, False), (8, False), (4, False))
_MOST_STAGES = 12  # of a network that does not name its own


@dataclass
class _Convolution:
    """The last convolution before a stage's map, if every map of the stage is one of its outputs.

    Attributes:
        path: Its path.
        module: Itself.
        inputs: What it got, (B, C, H, W).
        output: Height and width of what it put out.
        field: What one of its outputs sees, as the page holds it; None for the whole image.
    """

    path: str
    module: nn.Conv2d
    inputs: Tensor
    output: tuple[int, int]
    field: dict[str, list[int]] | None


@dataclass
class _Seen:
    """A stage as the page shows it.

    Attributes:
        name: The stage's name.
        path: Its module's path.
        kind: Its module's class.
        maps: What it put out, (B, C, h, w).
        field: What one pixel of them sees, as the page holds it; None for the whole image.
        convolution: What made the maps, if one convolution did.
    """

    name: str
    path: str
    kind: str
    maps: Tensor
    field: dict[str, list[int]] | None
    convolution: _Convolution | None = None


def explore(
    net: nn.Module,
    images: ImageInput,
    path: str | os.PathLike[str],
    *,
    stages: Sequence[str] | None = None,
    classes: int = 5,
    labels: Sequence[str] | None = None,
    preset: Preset | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Write a page on which to look into a network: one HTML file, no server, no network.

    It shows the images, the scores with Grad-CAM for each, and the stages; a click on a stage shows
    its maps, a click on a map what excites it and the kernel behind it, and pointing at a pixel
    what it sees of the image and the sum that the convolution makes there. Fewer maps of a stage
    are shown, the strongest first, where the page would be larger than 5 MB.

    Args:
        net: A network of ours, torchvision's, timm's or your own.
        images: What [grad_cam][convzoo.visualize.grad_cam] takes; up to four show well.
        path: The file to write; its folder is made.
        stages: What to show: names of `net.stages` or paths of modules, also single convolutions.
            None takes the first convolution and `net.stages`; of other people's networks the
            children that put out maps.
        classes: How many of the best classes to show with Grad-CAM, at least 1.
        labels: The classes' names; None takes the network's.
        preset: How images are prepared and made pictures again; None takes the network's.
        names: What to call the images; None takes their files' names.

    Returns:
        The path of the page.

    Raises:
        InputError: There is nothing to show, or it is more than 5 MB even so.
        UnknownNameError: There is no such stage.
        DataError: An image cannot be read.
        WeightsError: The page cannot be written.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> page = visualize.explore(net, torch.zeros(1, 28, 28, dtype=torch.uint8), "look.html")
        >>> page.name, page.stat().st_size < 5_000_000
        ('look.html', True)
    """
    classes = check_count("classes", classes)
    path = Path(path)
    preset = preset_of(net) if preset is None else preset
    with looking(net) as core:
        x = prepare(core, images, preset)
        called = _names(images, names, len(x))
        shown = _look(core, x, stages)
        scores = _scores(core, x, shown, classes, _labels(core, labels))
        page: dict[str, Any] = {
            "title": _title(core, called),
            "about": _about(core, x),
            **scores,
        }
        for picture, name, image in zip(_pictures(x, preset), called, page["images"], strict=True):
            image |= {"name": name, "picture": picture}
        stages_shown = [_described(stage) for stage in shown]
        for units, sums in _RICHNESS:
            text = _page(page, [_less(*stage, units, sums) for stage in stages_shown]).encode()
            if len(text) <= _MOST_BYTES:
                replace_files(path.parent, {path.name: [text]})
                return path
    raise InputError(
        f"images: expected fewer or smaller ones, since the page would be {len(text):,} bytes "
        f"with the least of everything, {_MOST_BYTES:,} at the most; or name fewer stages"
    )


def _names(images: ImageInput, names: Sequence[str] | None, count: int) -> list[str]:
    if names is not None:
        if isinstance(names, str) or len(names) != count:
            raise InputError(f"names: expected one for each of {count} images, got {names!r:.80}")
        return list(names)
    items = images if isinstance(images, Sequence) and not isinstance(images, str) else [images]
    if len(items) != count:
        return [f"image {i}" for i in range(count)]
    return [
        Path(item).name if isinstance(item, (str, os.PathLike)) else f"image {i}"
        for i, item in enumerate(items)
    ]


def _labels(core: nn.Module, labels: Sequence[str] | None) -> Sequence[str]:
    own: Sequence[str] | None = getattr(core, "labels", None)
    return (own or ()) if labels is None else labels


def _title(core: nn.Module, called: Sequence[str]) -> str:
    name = getattr(core, "architecture", None) or type(core).__name__
    return f"{name} looks at {', '.join(called[:3])}{' and others' * (len(called) > 3)}"


def _about(core: nn.Module, x: Tensor) -> str:
    parameters = sum(p.numel() for p in core.parameters())
    size = " x ".join(map(str, x.shape[1:]))
    return f"{parameters:,} parameters, input {size}"


def _look(core: nn.Module, x: Tensor, stages: Sequence[str] | None) -> list[_Seen]:
    """Run the network once to learn its order, and once to keep what the page shows."""
    paths = {module: path for path, module in core.named_modules() if path}
    order: list[tuple[nn.Module, Any]] = []

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        order.append((module, output.shape if isinstance(output, Tensor) else None))

    with torch.no_grad(), hooked(dict.fromkeys(paths, note)):
        run(core, x[:1])
    shapes: dict[nn.Module, torch.Size] = {m: s for m, s in order if s is not None and len(s) == 4}
    wanted = _wanted(core, list(shapes), shapes, stages)
    seen: list[_Seen] = []
    makers: dict[nn.Module, nn.Conv2d] = {}
    for name, module in wanted.items():
        if module not in shapes:
            raise InputError(
                f"stages: expected modules that put out maps (B, C, h, w), got {name!r}"
            )
        maker = _maker(module, [m for m, _ in order], shapes)
        if maker is not None:
            makers[module] = maker
    outputs: dict[nn.Module, Tensor] = {}
    inputs: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        outputs[module] = output.detach().clone()  # what comes next may overwrite it
        if module in makers.values():
            inputs[module] = given[0].detach().clone()

    with torch.no_grad(), hooked(dict.fromkeys([*wanted.values(), *makers.values()], keep)):
        run(core, x)
    for name, module in wanted.items():
        path = paths[module]
        record = _Seen(name, path, type(module).__name__, outputs[module], _field(core, path, x))
        if (conv := makers.get(module)) is not None:
            path, (height, width) = paths[conv], outputs[conv].shape[2:]
            record.convolution = _Convolution(
                path, conv, inputs[conv], (height, width), _field(core, path, x)
            )
        seen.append(record)
    return seen


def _wanted(
    core: nn.Module,
    ran: Sequence[nn.Module],
    shapes: Mapping[nn.Module, torch.Size],
    stages: Sequence[str] | None,
) -> dict[str, nn.Module]:
    """The modules to show by name, in the order they run."""
    if stages is not None:
        if isinstance(stages, str) or not stages:
            raise InputError(f"stages: expected names of stages, got {stages!r:.80}")
        return {name: find_module(core, name) for name in stages}
    paths = {module: path for path, module in core.named_modules()}
    wide = [m for m in ran if shapes[m][-1] * shapes[m][-2] > 1]
    convs = [m for m in wide if isinstance(m, nn.Conv2d)]
    if isinstance(core, Classifier):
        found: dict[nn.Module, str] = {m: paths[m] for m in convs[:1]}
        found |= {m: s.name for s in core.stages if (m := core.get_submodule(s.module)) in shapes}
        return {found[m]: m for m in ran if m in found}
    children = [m for m in wide if "." not in paths[m]]
    chosen = children if len(children) > 2 else convs
    if not chosen:
        raise InputError(
            f"stages: none of the modules of {type(core).__name__} puts out maps (B, C, h, w) of "
            "more than one pixel"
        )
    step = -(-len(chosen) // _MOST_STAGES)
    return {paths[m]: m for m in chosen[::step]}


def _maker(
    stage: nn.Module, order: Sequence[nn.Module], shapes: Mapping[nn.Module, torch.Size]
) -> nn.Conv2d | None:
    """The convolution that ran last before a stage's end, if it has as many outputs."""
    for module in reversed(order[: order.index(stage) + 1]):
        if isinstance(module, nn.Conv2d):
            plain = (
                type(module) is nn.Conv2d
                and module.padding_mode == "zeros"
                and not isinstance(module.padding, str)
            )
            return module if plain and module.out_channels == shapes[stage][1] else None
    return None


def _scores(
    core: nn.Module, x: Tensor, shown: Sequence[_Seen], classes: int, labels: Sequence[str]
) -> dict[str, Any]:
    """The best classes of each image with their Grad-CAM, as the page holds them."""
    with torch.no_grad():
        best = run(core, x).float().softmax(1).topk(min(classes, _classes(core, x)))
    # A network that does not say where its last map is has the last of those that are shown.
    own = callable(getattr(core, "forward_head", None))
    wide = [s.path for s in shown if s.maps.shape[2:].numel() > 1]
    images: list[dict[str, Any]] = [{"scores": []} for _ in x]
    for place in range(best.indices.shape[1]):
        targets = best.indices[:, place]
        cams = None
        if own or wide:
            try:
                cams = grad_cam(core, x, targets, None if own else wide[-1], raw=True).relu()
            except InputError:  # no map has more than one pixel
                cams = None
        for i, image in enumerate(images):
            index = int(targets[i])
            score: dict[str, Any] = {
                "label": labels[index] if index < len(labels) else str(index),
                "index": index,
                "probability": float(best.values[i, place]),
            }
            if cams is not None:
                most = float(cams[i].max())
                level = (cams[i] / most if most > 0 else cams[i]).mul(255).round().byte()
                score["cam"] = base64.b64encode(bytes(level.cpu().flatten().tolist())).decode()
            image["scores"].append(score)
    size = None if cams is None else list(cams.shape[1:])
    return {"images": images, "network": {"input": list(x.shape[1:]), "cam": size}}


def _classes(core: nn.Module, x: Tensor) -> int:
    with torch.no_grad():
        return run(core, x[:1]).shape[1]


def _described(stage: _Seen) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A stage as the page holds it, and its numbers for each image: one string a map."""
    maps = stage.maps
    strongest = maps.abs().amax((2, 3)).mean(0).argsort(descending=True)[: _RICHNESS[0][0]]
    described: dict[str, Any] = {
        "name": stage.name,
        "text": f"{stage.path}, {_article(stage.kind)} {stage.kind}.",
        "shape": list(maps.shape[1:]),
        "units": strongest.tolist(),
        "field": stage.field,
        "conv": None,
    }
    numbers: list[dict[str, Any]] = [{"maps": [_pack(m[u]) for u in strongest]} for m in maps]
    made = stage.convolution
    if made is not None:
        conv = made.module
        described["conv"] = {
            "path": made.path,
            "out": conv.out_channels,
            "groups": conv.groups,
            "kernel": list(conv.weight.shape[1:]),
            "stride": list(conv.stride),
            "padding": list(conv.padding),
            "dilation": list(conv.dilation),
            "input": list(made.inputs.shape[1:]),
            "output": list(made.output),
            "weights": [_pack(conv.weight[u]) for u in strongest],
            "bias": None if conv.bias is None else conv.bias[strongest].tolist(),
            "field": made.field,
        }
        if made.path != stage.path:
            described["text"] += f" Its last convolution is {made.path}."
        for mine, given in zip(numbers, made.inputs, strict=True):
            mine["inputs"] = _pack(given)
    return described, numbers


def _less(
    described: dict[str, Any], numbers: list[dict[str, Any]], units: int, sums: bool
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The same with fewer maps, or without the convolution's sums."""
    conv = described["conv"] if sums else None
    if conv is not None:
        conv = {**conv, "weights": conv["weights"][:units]}
    return (
        {**described, "units": described["units"][:units], "conv": conv},
        [
            {**n, "maps": n["maps"][:units], "inputs": n.get("inputs") if sums else None}
            for n in numbers
        ],
    )


def _article(word: str) -> str:
    return "an" if word[0] in "AEIO" else "a"


def _field(core: nn.Module, path: str, x: Tensor) -> dict[str, list[int]] | None:
    try:
        found = receptive_field(core, path, (x.shape[2], x.shape[3]))
    except InputError:  # every output sees the whole image
        return None
    return {"size": [*found.size], "stride": [*found.stride], "start": [*found.start]}


def _pack(numbers: Tensor) -> str:
    halves = numbers.detach().float().clamp(-65504, 65504).half().cpu().contiguous()
    return base64.b64encode(zlib.compress(halves.numpy().astype("<f2").tobytes())).decode()


def _pictures(x: Tensor, preset: Preset | None) -> Iterator[str]:
    """The images as data URIs: small ones exact, photographs as JPEG."""
    from torchvision.transforms.v2.functional import to_pil_image

    for image in pixels(x, preset):
        channels, height, width = image.shape
        shown = image if channels == 3 else image[:1]
        picture = to_pil_image(shown)
        kind, options = ("PNG", {}) if max(height, width) <= 64 else ("JPEG", {"quality": 88})
        file = io.BytesIO()
        picture.save(file, kind, **options)
        yield f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _page(page: Mapping[str, Any], stages: Sequence[tuple[dict[str, Any], list[Any]]]) -> str:
    images = [
        {**image, "stages": [numbers[i] for _, numbers in stages]}
        for i, image in enumerate(page["images"])
    ]
    data = json.dumps({**page, "images": images, "stages": [stage for stage, _ in stages]})
    template = resources.files(__package__).joinpath("explorer.html").read_text("utf-8")
    # A label may hold "</script>": in JSON the slash may be escaped, and means the same.
    return Template(template).substitute(
        title=html.escape(page["title"]),
        data=data.replace("</", "<\\/").replace("<!--", "<\\u0021--"),
    )
