"""Commands that show what a network is and what it sees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from convzoo.cli._console import JSON, echo, print_json

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("look.html"),
    show_default=True,
    help="The page to write.",
)
@click.option(
    "--stage",
    "stages",
    multiple=True,
    help="What to show: a stage or the path of a module; may be given several times.",
)
@click.option("--classes", type=click.IntRange(min=1), default=5, show_default=True)
@JSON
def look(
    model: str,
    images: tuple[str, ...],
    out: Path,
    stages: tuple[str, ...],
    classes: int,
    as_json: bool,
) -> None:
    """Write a page that shows what MODEL sees in each IMAGE.

    One HTML file that opens in any browser, offline: click on a stage to see its maps, on a map to
    see what excites it, on a class to see where the network sees it. MODEL is a folder that
    finetune wrote, a name of the catalogue such as resnet50.a1_in1k, or hf-hub:owner/name. For
    IMAGE a data set such as fashion_mnist will do, of which a few test images are shown.
    """
    from convzoo import by_name
    from convzoo.visualize import explore

    pictures = [one for image in images for one in _pictures(image)]
    page = explore(
        by_name.load(model),
        [picture for picture, _ in pictures],
        out,
        stages=stages or None,
        classes=classes,
        names=[name for _, name in pictures],
    )
    if as_json:
        print_json({"out": str(page)})
    else:
        echo(str(page))


def _pictures(image: str) -> list[tuple[str | Image | Tensor, str]]:
    """An image file with its name; or four test images of a data set, evenly spread."""
    from convzoo.cli._use import part_of
    from convzoo.datasets import NAMES
    from convzoo.datasets._from_hub import HUB
    from convzoo.datasets._named import NAMED, find

    if not (image in NAMES or image.startswith((NAMED, HUB))) or Path(image).is_file():
        return [(image, Path(image).name)]
    found = find(image)
    test = part_of(found, None)
    places = [len(test) * (2 * i + 1) // 8 for i in range(min(4, len(test)))]
    return [
        (picture, f"{found} {place}: {test.classes[label]}")
        for place, (picture, label) in zip(places, test.subset(places), strict=True)
    ]


@click.command()
@click.argument("model")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write, .svg.",
)
@click.option("--size", type=click.IntRange(min=1), help="Side of the input image in pixels.")
@JSON
def draw(model: str, out: Path, size: int | None, as_json: bool) -> None:
    """Draw MODEL as a diagram with boxes to scale.

    MODEL is a network's name such as alexnet_2012, a folder that finetune wrote, or a name of the
    catalogue.
    """
    from convzoo import by_name
    from convzoo.errors import InputError
    from convzoo.registry import MODELS
    from convzoo.visualize import architecture

    if out.suffix.lower() != ".svg":
        raise InputError(f"--out: expected a name that ends in .svg, got {out.name}")
    known = model in MODELS
    net = MODELS[model].builder(device="meta") if known else by_name.load(model)
    architecture(net, size, path=out)
    if as_json:
        print_json({"out": str(out)})
    else:
        echo(str(out))


@click.command()
@click.argument("model")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The picture to write; its suffix says in which format.",
)
@click.option("--stage", help="A stage or the path of a module; by default the first convolution.")
@click.option("--most", type=click.IntRange(1, 400), default=96, show_default=True)
@JSON
def filters(model: str, out: Path, stage: str | None, most: int, as_json: bool) -> None:
    """Draw the kernels of one of MODEL's convolutions.

    MODEL is a folder that finetune wrote, a name of the catalogue such as lenet5.fashion_mnist, or
    hf-hub:owner/name.
    """
    from convzoo import by_name, visualize

    found = visualize.filters(by_name.load(model), stage)
    visualize.batch_grid(found[:most], path=out)
    drawn = min(len(found), most)
    if as_json:
        print_json({"out": str(out), "drawn": drawn, "kernels": len(found)})
    else:
        echo(f"{out}: {drawn} of {len(found)} kernels")
