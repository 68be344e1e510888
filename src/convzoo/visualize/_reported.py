"""An evaluation as a page to look at: one HTML file that loads nothing."""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from convzoo._checks import check_count, check_path
from convzoo.datasets import LabelledImages
from convzoo.errors import DataError, InputError
from convzoo.hub._replace import check_ours, replace_files, says
from convzoo.presets import Preset
from convzoo.training import Evaluation, ImageResult
from convzoo.visualize._page import written
from convzoo.visualize._pixels import pixels

_MOST_CLASSES: Final = 400  # whose confusion matrix can still be seen
_SIDE: Final = 192  # pixels of a photograph on the page
_PAIRS, _EXAMPLES = 10, 6  # most confused classes, and images of each pair

OURS: Final = says(b'name="generator" content="convzoo"')
"""Whether a file is such a page."""


def evaluation_report(
    result: Evaluation,
    path: str | os.PathLike[str],
    *,
    data: object = None,
    preset: Preset | nn.Module | None = None,
    title: str = "Evaluation",
    count: int = 24,
) -> Path:
    """Write an evaluation as a page: one HTML file, no server, no network.

    It shows accuracy with its 95 % interval, the images with the largest losses, the pairs of
    classes most often confused with images of each, precision, recall and F1 of every class, the
    confusion matrix (up to 400 classes) and the calibration.

    Args:
        result: What [evaluate][convzoo.evaluate] returned. One that was read from JSON has no
            images to show.
        path: The file to write; its folder is made. Such a page that is there is replaced.
        data: The data set that was scored, where the result does not know it.
        preset: What prepared the images, or the network, where the data gives inputs that are
            prepared already.
        title: The page's.
        count: How many images with the largest losses to show.

    Returns:
        The path of the page.

    Raises:
        InputError: `path` is a file of somebody else, or `data` is not what was scored.
        WeightsError: The page cannot be written.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, visualize
        >>> net = convzoo.lenet5(weights="fashion_mnist")
        >>> result = convzoo.evaluate(net, datasets.digits().val, cpu=True)
        >>> visualize.evaluation_report(result, "report.html").name
        'report.html'
    """
    if not isinstance(result, Evaluation):
        raise InputError(f"result: expected an Evaluation, got {result!r:.80}")
    if not isinstance(title, str):
        raise InputError(f"title: expected a text, got {title!r:.80}")
    count = check_count("count", count)
    page = check_page(path)
    pairs = _confused(result)
    shown, worst = _shown(result, count, pairs, data)
    fields: dict[str, Any] = {
        "title": title,
        "about": f"{result.samples:,} images, {len(result.labels):,} classes",
        "samples": result.samples,
        "figures": _figures(result),
        "classes": [
            {
                "label": one.label,
                "samples": one.samples,
                "recall": one.recall,
                "precision": one.precision,
                "f1": one.f1,
                "range": one.interval(),
            }
            for one in result.per_class
        ],
        "counts": _cells(result) if len(result.labels) <= _MOST_CLASSES else None,
        "calibration": _calibration(result),
        "confused": [
            {"truth": i, "prediction": j, "images": images, "share": part}
            for i, j, images, part in pairs
        ],
        "worst": worst,
        "images": [_image(result, one, data, preset) for one in shown],
    }
    text = json.dumps(fields, allow_nan=False)
    filled = written("evaluation.html", title, text)
    # A title from a file's name may hold what is no character.
    replace_files(page.parent, {page.name: [filled.encode("utf-8", "xmlcharrefreplace")]})
    return page


def check_page(path: str | os.PathLike[str]) -> Path:
    """Where a page is to be written; refused if something else is there."""
    page = check_path("path", path)
    if page.is_dir():
        raise InputError(f"path: expected a file, got the folder {page}")
    check_ours("path", page.parent, {page.name: OURS})
    return page


def _confused(result: Evaluation) -> list[tuple[int, int, int, float]]:
    """`most_confused` by the classes' numbers, since two classes may have one name."""
    wholes = [one.samples for one in result.per_class]
    cells = [(i, j, n, n / wholes[i]) for i, j, n in _cells(result) if i != j]
    return sorted(cells, key=lambda cell: (-cell[2], -cell[3]))[:_PAIRS]


def _cells(result: Evaluation) -> list[tuple[int, int, int]]:
    return [(i, j, n) for i, row in enumerate(result.counts) for j, n in row]


def _shown(
    result: Evaluation, count: int, pairs: Sequence[tuple[int, int, int, float]], data: object
) -> tuple[list[ImageResult], int]:
    """The images with the largest losses, how many these are, and examples of what is confused."""
    said = result.images
    if said is None:
        return [], 0
    places = [one.index for one in result.top_losses(count)]
    worst = len(places)
    for truth, prediction, _, _ in pairs:
        of_both = ((said.truth == truth) & (said.prediction == prediction)).nonzero().flatten()
        surest = said.confidence[of_both].argsort(descending=True)[:_EXAMPLES]
        places += of_both[surest].tolist()
    return list(result.results(list(dict.fromkeys(places)), data=data)), worst


def _figures(result: Evaluation) -> list[dict[str, str]]:
    """What stands large on top: a name, a value, and a note."""
    bounds = result.interval()
    wrong = result.samples - round(result.top1 * result.samples)
    figures = [("top-1", f"{result.top1:.2%}", "")]
    if bounds is not None:
        figures[0] = (*figures[0][:2], f"95 %: {bounds[0]:.2%} to {bounds[1]:.2%}")
    if result.top5 is not None:
        figures.append(("top-5", f"{result.top5:.2%}", ""))
    figures.append(("wrong", f"{wrong:,}", f"of {result.samples:,}"))
    figures.append(("loss", f"{result.loss:.4f}", "mean cross-entropy"))
    if result.calibration is not None:
        figures.append(
            ("calibration error", f"{result.calibration.error:.2%}", "expected, 15 bins")
        )
    return [{"name": name, "value": value, "note": note} for name, value, note in figures]


def _calibration(result: Evaluation) -> dict[str, object] | None:
    found = result.calibration
    if found is None or not math.isfinite(found.error):
        return None
    return found._asdict()


def _image(
    result: Evaluation, one: ImageResult, data: object, preset: Preset | nn.Module | None
) -> dict[str, object]:
    """An image and what was said of it, as the page holds it."""
    said = result.images
    index = one.index
    name = f"image {index}"
    if isinstance(data, LabelledImages) and isinstance(file := data.images[index], Path):
        name = file.name
    return {
        "index": index,
        "name": name,
        "truth": None if said is None else int(said.truth[index]),
        "prediction": None if said is None else int(said.prediction[index]),
        "loss": one.loss if math.isfinite(one.loss) else None,
        "probability": one.probability if math.isfinite(one.probability) else None,
        "confidence": one.confidence if math.isfinite(one.confidence) else None,
        "picture": _picture(one, preset),
    }


def _picture(one: ImageResult, preset: Preset | nn.Module | None) -> str | None:
    """The image as a data URI: small ones exact, photographs as JPEG; None if it is gone."""
    from PIL.Image import Image
    from torchvision.transforms.v2.functional import to_pil_image

    from convzoo.presets._images import convert_pil

    try:
        image = one.image
    except DataError:
        return None
    if isinstance(image, Tensor):
        shown = pixels(image, preset if image.is_floating_point() else None).nan_to_num()
        picture = to_pil_image(shown if shown.shape[0] == 3 else shown[:1])
    elif isinstance(image, Image):
        picture = convert_pil(image, 3)
    else:
        raise InputError(f"data: expected images, got {type(image).__name__} as item {one.index}")
    kind, options = "PNG", {}
    if max(picture.size) > 64:
        kind, options = "JPEG", {"quality": 85}
        picture = picture.copy()
        picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
