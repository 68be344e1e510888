"""`convzoo evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from convzoo.cli._console import (
    JSON,
    bars_wanted,
    checking,
    echo,
    is_main_process,
    print_json,
    warn,
)

if TYPE_CHECKING:
    from convzoo.datasets import LabelledImages

ON_ERROR = click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="What an unreadable image does: end the command, or be named and left out.",
)
CPU = click.option("--cpu", is_flag=True, help="Stay on the CPU where there is a GPU.")


@click.command()
@click.argument("model")
@click.argument("data", required=False)
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test"]),
    help="Which part of DATA where it is split; by default test, else val.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=128, show_default=True)
@click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True)
@JSON
@click.option(
    "--confusion",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the confusion matrix into this file.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with the worst images, every class and the calibration: one HTML file.",
)
@click.option(
    "--tta",
    type=click.Choice(["flip", "five_crop", "ten_crop", "scales"]),
    help="Score every image in several views and take the mean of the probabilities.",
)
@ON_ERROR
@CPU
def evaluate(
    model: str,
    data: str | None,
    part: Literal["train", "val", "test"] | None,
    batch_size: int,
    workers: int,
    as_json: bool,
    confusion: Path | None,
    report: Path | None,
    tta: Literal["flip", "five_crop", "ten_crop", "scales"] | None,
    on_error: Literal["raise", "skip"],
    cpu: bool,
) -> None:
    """Score MODEL on DATA: top-1, top-5 and each class.

    DATA is a folder with one subfolder a class, with or without train/val/test folders around
    them, or a data set: mnist, fashion_mnist, cifar10, cifar100, imagenette, flowers102,
    oxford_pets, or hf-hub:owner/name; without it the bundled digits are taken. Classes are matched
    to the model's by name. Of a folder, if no name fits and the numbers of classes agree, the order
    of the names counts.
    """
    from convzoo import by_name, training

    if report is not None:  # refused before the work rather than after
        from convzoo.visualize._reported import check_page

        check_page(report)
    net = by_name.load(model)
    images = _data(data, part, net.labels, net.num_classes, on_error, bars_wanted(as_json))
    result = training.evaluate(
        net,
        images,
        batch_size=batch_size,
        labels=net.labels or images.classes,
        num_workers=workers,
        cpu=cpu,
        progress=bars_wanted(as_json),
        tta=tta,
    )
    if not is_main_process():
        return
    if report is not None:
        from convzoo.visualize import evaluation_report

        title = f"{Path(model).name} on {Path(data).name if data else 'the bundled digits'}"
        evaluation_report(result, report, data=images, title=title)
    if confusion is not None:
        from convzoo.visualize import confusion_matrix

        confusion_matrix(result, confusion)
    if as_json:
        print_json(result.to_dict())
    else:
        echo(str(result))


def _data(
    data: str | None,
    part: Literal["train", "val", "test"] | None,
    labels: tuple[str, ...] | None,
    num_classes: int,
    on_error: Literal["raise", "skip"],
    bars: bool,
) -> LabelledImages:
    """The images to score, their classes numbered as the network numbers them."""
    from convzoo import datasets
    from convzoo.datasets._idx import is_idx_folder
    from convzoo.datasets._named import find
    from convzoo.errors import DataError

    found = "digits" if data is None else find(data)
    if isinstance(found, str) or is_idx_folder(found):
        images = part_of(found, part)
        if labels is None:
            return images
        if not set(labels).isdisjoint(images.classes):
            return images.numbered_as(labels)
        if isinstance(found, str) or len(labels) != len(images.classes):
            known = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
            raise DataError(f"the model does not know {found}, but {known}")
        return images  # MNIST's format has no names
    names = datasets.class_names(found, part=part)
    by_name = labels is not None and any(name in labels for name in names)
    with checking(shown=bars) as on_check:
        images, skipped = datasets.labelled_folder(
            found,
            classes=labels if by_name else None,
            part=part,
            on_error=on_error,
            on_check=on_check,
        )
    for reason in skipped:
        warn(f"left out: {reason}")
    if not by_name and len(images.classes) != num_classes:
        raise DataError(
            f"{found}: has {len(images.classes)} classes, none of them named as the model's, which "
            f"has {num_classes}"
        )
    return images


def part_of(found: str | Path, part: Literal["train", "val", "test"] | None) -> LabelledImages:
    """A part of what `find` found; by default the test part, else the validation part."""
    from convzoo import datasets
    from convzoo.datasets._named import NAMED
    from convzoo.errors import DataError

    if found == "digits":
        splits = datasets.digits()
    else:
        name = f"{NAMED}{found}" if found in datasets.NAMES else found
        splits = datasets.load(name, val=0.15, test=0.15)  # as finetune draws them
    parts = {"train": splits.train, "val": splits.val, "test": splits.test}
    images = parts[part] if part else splits.test or splits.val
    if not images:
        raise DataError(f"{found}: has no {part or 'test'} part")
    return images
