"""Names of classes, and how one set's classes correspond to another's.

ImageNet's 1,000 classes come by index, WordNet id and name; other data sets that take their
classes from WordNet (Tiny ImageNet, Imagenette, folders named `n01440764`) map to them by id.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from convzoo.errors import InputError, UnknownNameError


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set, in the order of a network's scores.

    Attributes:
        name: The set's name.
        names: The classes' names.
        ids: Their WordNet ids, e.g. `"n01440764"`; None where the set has none.
    """

    name: str
    names: tuple[str, ...]
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """The number of classes."""
        return len(self.names)


_FASHION_MNIST: Final = LabelSet(
    "fashion-mnist",
    (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

LABEL_SETS: Final[tuple[str, ...]] = ("imagenet-1k", "fashion-mnist")
"""The names that `label_set` knows."""


def label_set(name: str) -> LabelSet:
    """A set of labels by name.

    Args:
        name: `"imagenet-1k"` or `"fashion-mnist"`.

    Returns:
        Names and, for ImageNet, WordNet ids, in the order of the scores.

    Raises:
        UnknownNameError: There is no such set.

    Examples:
        >>> from convzoo.labels import label_set
        >>> imagenet = label_set("imagenet-1k")
        >>> imagenet.ids[0], imagenet.names[0]
        ('n01440764', 'tench, Tinca tinca')
    """
    if name == "imagenet-1k":
        return _imagenet()
    if name == "fashion-mnist":
        return _FASHION_MNIST
    raise UnknownNameError("label set", name, LABEL_SETS)


@functools.cache
def _imagenet() -> LabelSet:
    text = Path(__file__).with_name("imagenet_labels.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return LabelSet("imagenet-1k", tuple(row[1] for row in rows), tuple(row[0] for row in rows))


def map_labels(
    source: str | Sequence[str],
    target: str | Sequence[str],
    *,
    missing: Literal["error", "skip"] = "error",
) -> tuple[int, ...]:
    """Where one set's classes stand in another, by WordNet id.

    With it a network that scores ImageNet's 1,000 classes is evaluated on a data set that has some
    of them: `scores[:, list(map_labels(folder_names, "imagenet-1k"))]`.

    Args:
        source: Name of a label set, or WordNet ids in order (e.g. the sorted folder names of
            Tiny ImageNet).
        target: Likewise.
        missing: What to do with a class of `source` that `target` does not have: raise, or put -1.

    Returns:
        For each class of `source` its index in `target`.

    Raises:
        InputError: A set has no WordNet ids, or a class is missing.

    Examples:
        >>> from convzoo.labels import map_labels
        >>> map_labels(["n02123394", "n01443537"], "imagenet-1k")
        (283, 1)
    """
    wanted, there = _ids("source", source), _ids("target", target)
    index = {wordnet_id: position for position, wordnet_id in enumerate(there)}
    lost = [wordnet_id for wordnet_id in wanted if wordnet_id not in index]
    if lost and missing == "error":
        raise InputError(
            f"source: {len(lost)} of {len(wanted)} classes are not in the target, such as "
            f"{lost[0]!r}; missing='skip' maps them to -1"
        )
    return tuple(index.get(wordnet_id, -1) for wordnet_id in wanted)


def _ids(argument: str, labels: str | Sequence[str]) -> Sequence[str]:
    if not isinstance(labels, str):
        return labels
    ids = label_set(labels).ids
    if ids is None:
        raise InputError(f"{argument}: the classes of {labels!r} have no WordNet ids")
    return ids
