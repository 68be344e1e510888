"""One page to give away: a network with its maps, kernels and scores on some images, to click on.

The page is one HTML file. It holds every number that it shows, as float16, and loads nothing.
"""

from __future__ import annotations

import base64
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convzoo._checks import check_count, check_path
from convzoo.errors import InputError
from convzoo.hub._replace import replace_files
from convzoo.presets import Preset
from convzoo.visualize._class_maps import grad_cam
from convzoo.visualize._explored import Seen, look_inside
from convzoo.visualize._page import written
from convzoo.visualize._pixels import ImageInput, pixels, prepare, preset_of
from convzoo.visualize._probe import looking, run

_MOST_BYTES = 5_000_000
# From everything to little, until the page is small enough: maps a stage, and whether the
# convolutions' inputs are there, from which their sums are shown.
_RICHNESS = ((32, True), (16, True), (8, True), (16, False), (8, False), (4, False))


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
    path = check_path("path", path)
    preset = preset_of(net) if preset is None else preset
    with looking(net) as core:
        x = prepare(core, images, preset)
        called = _names(images, names, len(x))
        shown = look_inside(core, x, stages)
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


def _scores(
    core: nn.Module, x: Tensor, shown: Sequence[Seen], classes: int, labels: Sequence[str]
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


def _described(stage: Seen) -> tuple[dict[str, Any], list[dict[str, Any]]]:
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
    return written("explorer.html", page["title"], data)
