"""Data sets of the Hugging Face Hub, through its own library."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from convzoo.datasets._labelled import LabelledImages, Splits
from convzoo.datasets._prepared import Columns, Reader
from convzoo.errors import ConvzooError, DataError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

HUB: Final = "hf-hub:"
_ADDRESS: Final = re.compile(
    r"hf-hub:(?:datasets/)?(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(?P<revision>[A-Za-z0-9][\w./+-]{0,200}))?"
)
_PARTS: Final = {
    "train": "train",
    "training": "train",
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class StoredRow(NamedTuple):
    """An image in a table of the Hub's, which stays there until it is wanted."""

    table: Any
    row: int
    column: str

    def decoded(self) -> Image:
        """The image, turned the way its EXIF orientation says."""
        from PIL import Image, ImageOps

        from convzoo.presets import load_image

        held = self.table[self.row][self.column]
        if held is None:
            raise DataError(f"row {self.row}: has no image")
        if held["bytes"] is None:
            return load_image(held["path"])
        try:
            with Image.open(io.BytesIO(held["bytes"])) as image:
                upright: Image.Image = ImageOps.exif_transpose(image)
                return upright
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"row {self.row}: the image cannot be read: {error}") from error


def hub_dataset(
    address: str, *, columns: Columns | None, val: float, test: float, seed: int, progress: bool
) -> Splits:
    """A data set of the Hub as three parts; `load` says how."""
    match = _ADDRESS.fullmatch(address)
    if match is None or ".." in address:
        raise InputError(f"name: expected hf-hub:owner/name[@revision], got {address!r:.200}")
    tables = _tables(address, match["repo"], match["revision"], progress)
    found = {_PARTS.get(name, name): table for name, table in tables.items()}
    if len(found) == 1:
        (whole,) = found.values()
        train, held_out, judge = _labelled(address, whole, columns, None).split(
            val, test, seed=seed
        )
        return Splits(train, held_out, judge)
    if "train" not in found:
        raise DataError(f"{address}: expected a part called train, got {', '.join(tables)}")
    train = _labelled(address, found["train"], columns, None)
    parts = {
        name: _labelled(address, found[name], columns, train.classes)
        for name in ("val", "test")
        if name in found
    }
    if "val" not in parts:
        train, parts["val"] = train.split(val, seed=seed)
    return Splits(train, parts["val"], parts.get("test"))


def _tables(address: str, repo: str, revision: str | None, progress: bool) -> dict[str, Any]:
    try:
        import datasets
        from datasets.exceptions import DatasetsError
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ConvzooError(
            f"{address}: needs {error.name}, which is not installed: pip install "
            "'convzoo[datasets]'"
        ) from error
    hidden = datasets.are_progress_bars_disabled()
    try:
        if not progress:
            datasets.disable_progress_bars()
        return dict(datasets.load_dataset(repo, revision=revision))
    except (DatasetsError, HfHubHTTPError, OSError, ValueError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{address}: cannot be had: {said[0]}") from error
    finally:
        if not hidden:
            datasets.enable_progress_bars()


def _labelled(
    address: str, table: Any, columns: Columns | None, classes: tuple[str, ...] | None
) -> LabelledImages:
    """A table as labelled images; `classes` are those of the training part."""
    import datasets

    image, label = columns or _columns(address, table)
    for name in (image, label):
        if name not in table.features:
            raise InputError(
                f"columns: expected two of {', '.join(table.features)}, got {columns!r}"
            )
    if not isinstance(table.features[image], datasets.Image):
        raise InputError(f"columns: expected a column of images, got {image!r}")
    values, kind = list(table[label]), table.features[label]
    if isinstance(kind, datasets.ClassLabel):
        names = tuple(kind.names)
    elif values and all(isinstance(value, str) for value in values):
        names = classes or tuple(sorted(set(values)))
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise DataError(f"{address}: {unknown[0]!r} is no class of the part called train")
        numbers = {name: number for number, name in enumerate(names)}
        values = [numbers[value] for value in values]
    elif values and all(type(value) is int and value >= 0 for value in values):
        names = classes or tuple(map(str, range(max(values) + 1)))
    else:
        raise DataError(f"{address}: expected classes in the column {label!r}, got {kind}")
    if any(value is None or not 0 <= value < len(names) for value in values):
        raise DataError(f"{address}: some rows of the column {label!r} have no class")
    stored = table.cast_column(image, datasets.Image(decode=False)).select_columns([image])
    return LabelledImages([StoredRow(stored, i, image) for i in range(len(stored))], values, names)


def _columns(address: str, table: Any) -> Columns:
    """The one column of images and the one of classes; else those with the usual names."""
    import datasets

    features = table.features
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if len(images) == 1 and len(labels) == 1:
        return images[0], labels[0]
    return Reader(address, None, None).usual_columns(dict.fromkeys(features))
