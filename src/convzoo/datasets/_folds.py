"""Cutting a data set into folds for cross-validation."""

from __future__ import annotations

import random
from typing import NamedTuple

from convzoo._checks import check_count
from convzoo.datasets._labelled import LabelledImages
from convzoo.errors import InputError


class Fold(NamedTuple):
    """One of the ways in which `folds` cuts a data set.

    Attributes:
        train: All images but one part.
        val: That part.
    """

    train: LabelledImages
    val: LabelledImages


def folds(data: LabelledImages, k: int = 5, *, seed: int = 0) -> tuple[Fold, ...]:
    """Cut a data set into `k` parts for cross-validation, each validated on once.

    The parts differ in size by one image at most, and so do the images of each class in them
    (stratified). The same images, `k` and seed give the same folds, on any machine.

    Args:
        data: Labelled images.
        k: How many parts, from 2 to the number of images.
        seed: Of the shuffle.

    Returns:
        For each part the images outside of it and those in it, in the order of the whole.

    Raises:
        InputError: `data` is something else, or `k` is out of range.

    Examples:
        >>> from convzoo import datasets
        >>> whole = datasets.digits(val=0, test=0).train
        >>> [(len(fold.train), len(fold.val)) for fold in datasets.folds(whole, 3)]
        [(1198, 599), (1198, 599), (1198, 599)]
    """
    if not isinstance(data, LabelledImages):
        raise InputError(f"data: expected LabelledImages, got {type(data).__name__}")
    if len(data) < 2:
        raise InputError(f"data: expected at least 2 images, got {len(data)}")
    k = check_count("k", k, least=2, most=len(data))
    # random.Random gives the same shuffle on every machine and leaves torch's generator alone.
    rng = random.Random(check_count("seed", seed, least=-(2**63), most=2**63 - 1))
    places = list(range(len(data)))
    rng.shuffle(places)
    # Dealt out class by class like cards: each part gets its share of every class.
    dealt = sorted(places, key=lambda place: data.targets[place])
    parts = [sorted(dealt[part::k]) for part in range(k)]
    whole = range(len(data))
    return tuple(
        Fold(data.subset([place for place in whole if place not in inside]), data.subset(part))
        for part, inside in ((part, set(part)) for part in parts)
    )
