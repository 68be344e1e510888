"""Names of classes, and how one set's classes correspond to another's.

ImageNet's 1,000 classes come by index, WordNet id and name; other data sets that take their
classes from WordNet (Tiny ImageNet, Imagenette, folders named `n01440764`) map to them by id.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args, overload

from convzoo._checks import check_choice
from convzoo.errors import InputError


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


_CIFAR100: Final = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": tuple(_CIFAR100.split()),
    "fashion_mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "mnist": tuple("0123456789"),
}

LabelSetName = Literal["imagenet-1k", "cifar10", "cifar100", "fashion_mnist", "mnist"]
"""The sets of labels; of the small data sets as their presets and `datasets.load` spell them."""

LABEL_SETS: Final[tuple[LabelSetName, ...]] = get_args(LabelSetName)
"""The names that `label_set` knows."""


@overload
def label_set(name: LabelSetName) -> LabelSet: ...
@overload
def label_set(name: str) -> LabelSet: ...
def label_set(name: str) -> LabelSet:
    """A set of labels by name.

    Args:
        name: `"imagenet-1k"`, `"cifar10"`, `"cifar100"`, `"fashion_mnist"` or `"mnist"`.

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
    known = "fashion_mnist" if name == "fashion-mnist" else name  # as it was spelled before
    check_choice("label set", known, LABEL_SETS)
    return LabelSet(known, _NAMES[known])


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
    """Where one set's classes stand in another: by WordNet id, or by name where there are no ids.

    With it a network that scores ImageNet's 1,000 classes is evaluated on a data set that has some
    of them: `scores[:, list(map_labels(folder_names, "imagenet-1k"))]`.

    Args:
        source: Name of a label set, or WordNet ids in order (e.g. the sorted folder names of
            Tiny ImageNet), or names where the other set has no ids.
        target: Likewise.
        missing: What to do with a class of `source` that `target` does not have: raise, or put -1.

    Returns:
        For each class of `source` its index in `target`.

    Raises:
        InputError: One set has WordNet ids and the other has none, or a class is missing.

    Examples:
        >>> from convzoo.labels import map_labels
        >>> map_labels(["n02123394", "n01443537"], "imagenet-1k")
        (283, 1)
        >>> map_labels(["ship", "cat"], "cifar10")
        (8, 3)
    """
    sets = [(given, _given(given)) for given in (source, target)]
    named = [found for given, found in sets if isinstance(given, str)]
    if any(found.ids for found in named):
        for argument, (given, found) in zip(("source", "target"), sets, strict=True):
            if isinstance(given, str) and found.ids is None:
                raise InputError(f"{argument}: the classes of {given!r} have no WordNet ids")
    wanted, there = (found.ids or found.names for _, found in sets)
    index = {name: position for position, name in enumerate(there)}
    lost = [name for name in wanted if name not in index]
    if lost and missing == "error":
        raise InputError(
            f"source: {len(lost)} of {len(wanted)} classes are not in the target, such as "
            f"{lost[0]!r}; missing='skip' maps them to -1"
        )
    return tuple(index.get(name, -1) for name in wanted)


def _given(labels: str | Sequence[str]) -> LabelSet:
    return label_set(labels) if isinstance(labels, str) else LabelSet("", tuple(labels))
