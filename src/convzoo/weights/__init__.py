"""The catalogue: which published weights exist, where, and what is known of them.

The data is `catalog.toml`, one table a set of weights, named `model.tag`.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from convzoo.errors import UnknownNameError
from convzoo.labels import label_set
from convzoo.presets import Preset, get as get_preset

BUNDLED: Final[Path] = Path(__file__).parent.with_name("bundled")
"""The folder of the weights that come with the package."""


@dataclass(frozen=True)
class WeightsInfo:
    """What is known of a set of weights.

    Attributes:
        name: `model.tag`, as `load` takes it.
        model: The builder.
        tag: The tag, as that builder's `weights=` takes it.
        repo: Repository on the Hugging Face Hub, or None for weights that come with the package.
        file: The file's path in the repository, or in the package's folder of weights.
        revision: Branch, tag or commit of the repository.
        sha256: Of the file; None where it is not known, then the Hub's own record is used.
        size: Of the file in bytes, where it is known.
        licence: The licence's SPDX-like name, or None where the publisher states none.
        num_classes: Classes that the weights score; 0 for weights without a head.
        in_channels: Channels of the images they take.
        labels: Name of the set of labels, `"imagenet-1k"` for instance, or None.
        preset: How images are prepared for evaluation.
        train_size: Side of the images they were trained on, in pixels, where it differs from the
            preset's.
        top1: Accuracy in percent on the labels' own test or validation set, with `preset`.
        top5: Likewise, of the five highest scores.
        layout: Name of the file's key layout.
        options: Options that the builder needs for these weights.
    """

    name: str
    model: str
    tag: str
    repo: str | None
    file: str
    revision: str
    sha256: str | None
    size: int | None
    licence: str | None
    num_classes: int
    in_channels: int
    labels: str | None
    preset: Preset
    train_size: int | None = None
    top1: float | None = None
    top5: float | None = None
    layout: str = "torchvision"
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def bundled(self) -> bool:
        """Whether the weights come with the package."""
        return self.repo is None

    @property
    def commercial(self) -> bool:
        """Whether the licence, as far as it is known, allows commercial use."""
        return is_commercial(self.licence)

    def label_names(self) -> tuple[str, ...] | None:
        """The classes' names in the order of the scores, where they are known."""
        return None if self.labels is None else label_set(self.labels).names


def is_commercial(licence: str | None) -> bool:
    """Whether a licence, as far as it is known, allows commercial use."""
    return licence is None or "-nc" not in licence.lower()


def list_weights(pattern: str = "*") -> list[str]:
    """Names of the weights that match a shell pattern, sorted.

    Args:
        pattern: E.g. `"resnet50*"` or `"*.tv_in1k"`.

    Returns:
        The names, `model.tag`; empty if none matches.

    Examples:
        >>> import convzoo
        >>> convzoo.list_weights("cifar_resnet20*")
        ['cifar_resnet20.fashion_mnist']
    """
    return sorted(name for name in _rows() if fnmatch.fnmatchcase(name, pattern))


def weights_info(name: str) -> WeightsInfo:
    """What is known of a set of weights.

    Args:
        name: `model.tag`, as `list_weights` gives it, or `model.default`: of the sets whose
            licence is stated and allows commercial use, the one of the highest accuracy.

    Returns:
        The catalogue's row.

    Raises:
        UnknownNameError: There are no such weights; the nearest names are suggested.

    Examples:
        >>> import convzoo
        >>> convzoo.weights_info("cifar_resnet20.fashion_mnist").num_classes
        10
        >>> convzoo.weights_info("resnet50.default").tag
        'a1_in1k'
    """
    info = find_weights(None, str(name))
    if info is None:
        raise UnknownNameError("weights", str(name), _rows())
    return info


def find_weights(model: str | None, tag: str) -> WeightsInfo | None:
    """A model's weights by tag, or any by full name; None if the catalogue has no such row."""
    name = tag if model is None or tag.startswith(f"{model}.") else f"{model}.{tag}"
    if name.endswith(".default"):
        return _default(name.removesuffix(".default"))
    return _info(name) if name in _rows() else None


@functools.cache
def _default(model: str) -> WeightsInfo | None:
    """The most accurate of a model's sets that may be used for anything."""
    known = [_info(name) for name in _rows() if name.partition(".")[0] == model]
    free = [info for info in known if info.licence and info.commercial and info.top1]
    return max(free, key=lambda info: info.top1 or 0.0, default=None)


@functools.cache
def _tables() -> dict[str, str]:
    # The whole catalogue takes tens of milliseconds to parse, a network is ready in less: only
    # the table that is asked for is parsed, so the tables are told apart by their first line.
    text = Path(__file__).with_name("catalog.toml").read_text("utf-8")
    parts = re.split(r"^\[([\w.-]+)\]\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@functools.cache
def _rows() -> dict[str, str]:
    return {name: text for name, text in _tables().items() if name != "defaults"}


def _row(name: str) -> dict[str, Any]:
    import tomllib  # a few milliseconds that a local file does not need

    return {**tomllib.loads(_tables()["defaults"]), **tomllib.loads(_tables()[name])}


def _preset(row: Mapping[str, Any]) -> Preset:
    named = row.get("preset")
    if named is not None:
        return get_preset(named)
    return Preset(
        input_size=row["input_size"],
        resize=row["resize"],
        mean=tuple(row["mean"]),
        std=tuple(row["std"]),
        interpolation=row["interpolation"],
    )


def _info(name: str) -> WeightsInfo:
    model, _, tag = name.partition(".")
    row = _row(name)
    known = {field.name: row[field.name] for field in fields(WeightsInfo) if field.name in row}
    said = {
        "name": name,
        "model": model,
        "tag": tag,
        "repo": None if row.get("bundled") else row["repo"],
        "labels": row["labels"] or None,
        "preset": _preset(row),
    }
    return WeightsInfo(**{**dict.fromkeys(("sha256", "size", "licence")), **known, **said})
