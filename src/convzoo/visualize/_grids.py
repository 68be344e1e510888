"""Sheets of pictures: a batch, what training sees of an image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convzoo._checks import check_count
from convzoo.errors import InputError
from convzoo.presets import Preset, load_image
from convzoo.visualize._drawing import FRAME, Path, frame, new_figure, panels, save, show, show_heat
from convzoo.visualize._pixels import pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

_MOST_PICTURES = 400


def batch_grid(
    images: Tensor,
    preset: Preset | nn.Module | None = None,
    *,
    heat: Tensor | None = None,
    titles: Sequence[str] | None = None,
    framed: Sequence[bool] | None = None,
    columns: int | None = None,
    path: Path = None,
) -> Figure:
    """A batch as a sheet of pictures, the preset's normalisation undone, maps laid over them.

    Args:
        images: Prepared images (B, C, H, W), or pictures: uint8, or floating point in [0, 1].
        preset: What prepared them, or the network that holds it; None for pictures.
        heat: A map of each image, (B, H, W), or (B, C, H, W) whose channels are added up. Maps
            without signs lie over the picture, from black to yellow; where one is signed, all
            stand alone, from blue through white to red.
        titles: What stands above each picture.
        framed: Which pictures have a red frame.
        columns: Pictures in a row; None makes the sheet about square.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure, one axes a picture.

    Raises:
        InputError: There are no images or more than 400, or something has another length.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import torch
        >>> from convzoo import datasets, visualize
        >>> data = datasets.digits().test
        >>> images = torch.stack([data[i][0] for i in range(6)])
        >>> sheet = visualize.batch_grid(images, titles=[str(data[i][1]) for i in range(6)])
        >>> len(sheet.axes)
        6
    """
    shown = pixels(images, preset)
    if shown.ndim != 4 or not len(shown) <= _MOST_PICTURES:
        raise InputError(
            f"images: expected 1 to {_MOST_PICTURES} images (B, C, H, W), got {tuple(shown.shape)}"
        )
    count = len(shown)
    for name, given in (("titles", titles), ("framed", framed), ("heat", heat)):
        if given is not None and len(given) != count:
            raise InputError(f"{name}: expected one for each of {count} images, got {len(given)}")
    if titles is not None and not all(isinstance(title, str) for title in titles):
        raise InputError(f"titles: expected strings, got {titles!r:.80}")
    if heat is not None:
        heat = heat.detach().float().cpu()
        heat = heat.sum(1) if heat.ndim == 4 else heat
    across = round(count**0.5 + 0.4) if columns is None else check_count("columns", columns)
    across = min(across, count)
    rows = -(-count // across)
    high = 1.2 if titles is None else 1.5  # inches
    wide = min(high * shown.shape[-1] / shown.shape[-2], 12 / across)
    high = wide * shown.shape[-2] / shown.shape[-1]
    if titles is not None:
        high += 0.22 * max(title.count("\n") + 1 for title in titles)
    figure = new_figure(wide * across, high * rows)
    signed = heat is not None and float(heat.min()) < 0
    for index, axes in enumerate(panels(figure, count, across)):
        if not signed:
            show(axes, shown[index])
        if heat is not None:
            show_heat(axes, heat[index], signed=signed, alpha=1.0 if signed else 0.55)
        if titles is not None:
            axes.set_title(titles[index], fontsize=8)
        if framed is not None and framed[index]:
            frame(axes, FRAME)
    return save(figure, path)


def augmentations(
    preset: Preset,
    image: Tensor | Image | str | os.PathLike[str],
    count: int = 12,
    *,
    transform: Callable[[Tensor | Image], Tensor] | None = None,
    seed: int = 0,
) -> Tensor:
    """What training sees of one image: the same transform, drawn again and again.

    Args:
        preset: How images become inputs.
        image: A file, a PIL image, or a tensor (C, H, W), uint8 or floating point in [0, 1].
        count: How often to draw.
        transform: The training transform; None takes `preset.train()`.
        seed: Of the draws; torch's global generator is put back.

    Returns:
        Prepared images (count, C, H, W); `batch_grid(..., preset)` shows them.

    Raises:
        InputError: `image` is no image, or `count` is out of range.
        DataError: The file is missing or is not an image.

    Examples:
        >>> from convzoo import datasets, presets, visualize
        >>> image, _ = datasets.digits().train[0]
        >>> sheet = visualize.augmentations(presets.MNIST, image, 6)
        >>> sheet.shape
        torch.Size([6, 1, 28, 28])
    """
    if not isinstance(preset, Preset):
        raise InputError(f"preset: expected a Preset, got {preset!r:.80}")
    count = check_count("count", count, most=_MOST_PICTURES)
    seed = check_count("seed", seed, least=0, most=2**63 - 1)
    draw = preset.train() if transform is None else transform
    raw = load_image(image) if isinstance(image, (str, os.PathLike)) else image
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return torch.stack([draw(raw) for _ in range(count)])
