"""What a network has learned and what it makes of an image: kernels and feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo._stages import stage_paths
from convzoo.errors import InputError
from convzoo.transfer._find_heads import unwrap
from convzoo.visualize._drawing import Path, new_figure, save, show
from convzoo.visualize._pixels import ImageInput, pixels, prepare
from convzoo.visualize._probe import find_module, hooked, looking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convzoo.presets import Preset


def filters(net: nn.Module, stage: str | nn.Module | None = None) -> Tensor:
    """A convolution's kernels as pictures, as in AlexNet's figure 3.

    Args:
        net: Any network.
        stage: A name of `net.stages`, the path of a module, or the module; of a module that holds
            several convolutions the first. None is the network's first.

    Returns:
        Pictures in [0, 1] in which a weight of zero is mid-grey, each kernel scaled by its own
        largest weight: (filters, 1 or 3, h, w) where they look at 1 or 3 channels, else
        (filters * channels, 1, h, w), a filter's kernels after each other.

    Raises:
        InputError: There is no convolution.
        UnknownNameError: There is no such stage.

    Examples:
        >>> import convzoo
        >>> from convzoo import visualize
        >>> visualize.filters(convzoo.alexnet_2012()).shape
        torch.Size([96, 3, 11, 11])
    """
    core = unwrap(net)
    convolution = _convolution(core, stage)
    weight = convolution.weight.detach().float().cpu()  # (filters, channels, h, w)
    if weight.shape[1] not in (1, 3):
        weight = weight.flatten(0, 1).unsqueeze(1)
    most = weight.abs().amax((1, 2, 3), keepdim=True)
    return torch.where(most > 0, weight / torch.where(most > 0, most, 1), 0) / 2 + 0.5


def feature_maps(
    net: nn.Module, images: ImageInput, stages: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """What each stage makes of an image, in evaluation mode.

    Args:
        net: Any network.
        images: Prepared input (B, C, H, W) in floating point; or PIL images, uint8 tensors, files,
            or a sequence of them, which the network's preset prepares.
        stages: Names of `net.stages`, or paths of modules; None means all stages. Other people's
            networks have none, so theirs are named.

    Returns:
        Name -> maps (B, channels, h, w), in the order of `stages`.

    Raises:
        InputError: There are no stages, or one gives no map.
        UnknownNameError: There is no such stage.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> found = visualize.feature_maps(net, torch.randn(1, 1, 28, 28))
        >>> {name: tuple(maps.shape) for name, maps in found.items()}["layer3"]
        (1, 64, 7, 7)
    """
    found: dict[str, Tensor] = {}
    with looking(net, gradients=False) as core:
        if stages is None:
            stages = [stage.name for stage in getattr(core, "stages", ())]
        names = [stages] if isinstance(stages, str) else list(stages)
        if not names:
            raise InputError(
                f"stages: {type(core).__name__} names none; give the paths of its modules, such as "
                f"{next((name for name, _ in core.named_modules() if name), 'features')!r}"
            )
        # One module may stand under two names.
        modules = {name: find_module(core, name) for name in names}
        outputs: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                outputs[module] = output.clone()  # the next layer may overwrite it

        with hooked(dict.fromkeys(modules.values(), keep)):
            core(prepare(core, images))
        for name, module in modules.items():
            maps = outputs.get(module)
            if maps is None or maps.ndim != 4:
                got = "nothing" if maps is None else tuple(maps.shape)
                raise InputError(f"stages: expected a map (B, C, h, w) from {name!r}, got {got}")
            found[name] = maps
    return found


def draw_feature_maps(
    maps: Mapping[str, Tensor],
    image: Tensor | None = None,
    preset: Preset | nn.Module | None = None,
    *,
    channels: int = 8,
    path: Path = None,
) -> Figure:
    """One image through the layers: a row for each stage, its strongest channels in it.

    Args:
        maps: What [feature_maps][convzoo.visualize.feature_maps] returned; the first image of a
            batch is drawn.
        image: The image itself, for the first row: prepared (B, C, H, W) or (C, H, W).
        preset: What prepared it, or the network.
        channels: How many of each stage's channels to show, those with the largest values.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure. Black is zero, or the smallest value where there are negative ones; white is the
        stage's largest.

    Raises:
        InputError: There are no maps.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import visualize
        >>> net, x = convzoo.cifar_resnet20(weights="fashion_mnist"), torch.randn(1, 1, 28, 28)
        >>> figure = visualize.draw_feature_maps(visualize.feature_maps(net, x), x, net)
        >>> figure.axes[0].get_title()
        'input'
    """
    channels = check_count("channels", channels)
    if (
        not isinstance(maps, Mapping)
        or not maps
        or not all(isinstance(m, Tensor) and m.ndim == 4 for m in maps.values())
    ):
        raise InputError(f"maps: expected what feature_maps returns, got {maps!r:.80}")
    across = min(channels, max(m.shape[1] for m in maps.values()))
    rows = len(maps) + (image is not None)
    figure = new_figure(max(1.05 * across + 1.3, 3.0), 1.15 * rows)
    grid = figure.subplots(rows, across, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    if image is not None:
        shown = pixels(image, preset)
        show(grid[0][0], shown[0] if shown.ndim == 4 else shown)
        grid[0][0].set_title("input", fontsize=8)
    for row, (name, batch) in zip(grid[rows - len(maps) :], maps.items(), strict=True):
        one = batch[0].detach().float().cpu()  # (C, h, w)
        strongest = one.flatten(1).amax(1).argsort(descending=True, stable=True)[:across]
        least, most = min(float(one.min()), 0.0), float(one.max())
        for axes, channel in zip(row, strongest.tolist(), strict=False):
            axes.imshow(one[channel].numpy(), cmap="gray", vmin=least, vmax=most or 1.0)
            axes.set_title(f"{channel}", fontsize=7, pad=2)
        size = " x ".join(map(str, one.shape))
        row[0].text(
            -0.12, 0.5, f"{name}\n{size}", transform=row[0].transAxes, ha="right", va="center",
            fontsize=8,
        )  # fmt: skip
    return save(figure, path)


def _convolution(core: nn.Module, stage: str | nn.Module | None) -> nn.Conv2d:
    """The first convolution of a stage, a module, or the network."""
    if stage is None:
        inside = [core]
    elif isinstance(core, Classifier) and any(s.name == stage for s in core.stages):
        inside = [core.get_submodule(path) for path in stage_paths(core, str(stage))]
    else:
        inside = [find_module(core, stage)]
    for part in inside:
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                return module
    where = type(core).__name__ if stage is None else f"{stage!s:.60}"
    raise InputError(f"stage: {where} has no convolution whose kernels could be shown")
