"""A linear probe in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

import torch
from torch import nn
from torch.utils.data import TensorDataset

from convzoo.datasets import LabelledImages
from convzoo.datasets._prepared import ImageData, ImageTransform
from convzoo.errors import InputError
from convzoo.training._evaluation import Evaluation
from convzoo.training._tally import Tally
from convzoo.transfer import (
    FeatureOptions,
    HeadRates,
    cached_features,
    find_head_lr,
    fit_head,
    replace_head,
)
from convzoo.transfer._fit_head import FOLDS, HeadRecipe, head_scores


@dataclass(frozen=True)
class LinearProbe:
    """What [linear_probe][convzoo.linear_probe] found; prints in a few lines.

    Attributes:
        lr: The learning rate of the head.
        losses: The mean training loss of each epoch.
        train: How the head scores the images that it learned from, as they are.
        val: How it scores the others; None where there were none.
        rates: The learning rates that were tried; None where one was given.
        features: Of the training images, and of the others, for whatever else.
    """

    lr: float
    losses: tuple[float, ...]
    train: Evaluation
    val: Evaluation | None
    rates: HeadRates | None
    features: tuple[TensorDataset, TensorDataset | None] = field(repr=False, compare=False)

    def __str__(self) -> str:
        lines = [f"linear probe: {len(self.losses)} epochs at a learning rate of {self.lr:g}"]
        for name, result in (("train", self.train), ("val", self.val)):
            if result is not None:
                bounds = result.interval()
                between = "" if bounds is None else f"  (95 %: {bounds[0]:.2%} to {bounds[1]:.2%})"
                lines.append(
                    f"{name:<5}  {result.samples} images, top-1 {result.top1:.2%}{between}"
                )
        return "\n".join(lines)


def linear_probe(
    net: nn.Module,
    train: ImageData | Iterable[Any],
    val: ImageData | Iterable[Any] | None = None,
    *,
    labels: Sequence[str] | None = None,
    epochs: int = 100,
    lr: float | None = None,
    weight_decay: float = 1e-2,
    views: int = 1,
    augment: ImageTransform | None = None,
    seed: int = 0,
    **options: Unpack[FeatureOptions],
) -> LinearProbe:
    """Give a network a new head and train that alone: how good its features are for your classes.

    The backbone sees each image once ([cached_features][convzoo.cached_features]), and the head is
    trained on what it said ([fit_head][convzoo.fit_head]); this takes seconds, and is the first
    thing to try. The network gets the new head, and is otherwise left as it is.

    Args:
        net: Any network with a linear head.
        train: Labelled images, as in `cached_features`.
        val: Others, to judge by.
        labels: The classes' names; None takes those of `train`, if it has `classes`.
        epochs: Passes over the features.
        lr: Learning rate of the head; None finds one by cross-validation on the training images
            ([find_head_lr][convzoo.transfer.find_head_lr]).
        weight_decay: Weight decay of the head.
        views: As in `cached_features`, of the training images.
        augment: Likewise.
        seed: Of the fresh head, the order and the views.
        **options: `batch_size`, `columns`, `engine`, `precision` and `cache`, likewise.

    Returns:
        The learning rate, the losses, and how the head scores both sets.

    Raises:
        InputError: As `cached_features` and `fit_head` raise it, or `val` has a class that `train`
            has not.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets
        >>> digits = datasets.digits()
        >>> net = convzoo.lenet5(weights="fashion_mnist")
        >>> probe = convzoo.linear_probe(net, digits.train.subset(range(200)), digits.val, lr=0.01)
        >>> probe.val.top1 > 0.6, net.labels[:3]
        (True, ('0', '1', '2'))
    """
    # All that is wrong is said before the network loses its head.
    seed = HeadRecipe.checked(epochs, lr or 0.0, weight_decay, 1, seed).seed
    if labels is not None and not isinstance(labels, Sequence):
        raise InputError(f"labels: expected a sequence of names, got {labels!r:.80}")

    names = getattr(train, "classes", None) if labels is None else labels
    if names is not None and labels is None:
        names = tuple(map(str, names))
    own = tuple(train.classes) if isinstance(train, LabelledImages) else ()
    if isinstance(val, LabelledImages) and own and not set(val.classes).isdisjoint(own):
        val = val.numbered_as(own)
    seen = cached_features(net, train, views=views, augment=augment, seed=seed, **options)
    others = None if val is None else cached_features(net, val, seed=seed, **options)
    classes = _classes(seen) if names is None else len(names)
    for name, features in (("train", seen), ("val", others)):
        if features is not None and _classes(features) > classes:
            raise InputError(
                f"{name}: has label {_classes(features) - 1}, and there are {classes} classes (0 "
                f"to {classes - 1}); pass labels= with a name for each"
            )
    if lr is None and len(seen) < FOLDS:
        raise InputError(
            f"train: expected at least {FOLDS} images to find a learning rate by, got {len(seen)}; "
            "pass lr="
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        replace_head(net, classes, labels=names)
    recipe: dict[str, Any] = {"epochs": epochs, "weight_decay": weight_decay, "seed": seed}
    rates = None
    if lr is None:
        rates = find_head_lr(net, seen, **recipe)
        lr = rates.best
    losses = fit_head(net, seen, lr=lr, **recipe)

    def judged(features: TensorDataset) -> Evaluation:
        x, y = features.tensors
        tally = Tally()
        tally.update(head_scores(net, x[:, 0] if x.ndim == 3 else x), y)
        return tally.evaluation(names)

    return LinearProbe(
        float(lr),
        tuple(losses),
        judged(seen),
        None if others is None else judged(others),
        rates,
        (seen, others),
    )


def _classes(features: TensorDataset) -> int:
    """How many classes the labels need."""
    labels = features.tensors[1]
    if labels.is_floating_point() or labels.ndim != 1:
        raise InputError(
            f"train: expected the index of a class for each image, got labels of {labels.dtype}"
        )
    return int(labels.max()) + 1
