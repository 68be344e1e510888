"""What a network says of labelled images, and where it is most wrong."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from convzoo._checks import check_count, check_labels
from convzoo.errors import InputError
from convzoo.inference import Prediction
from convzoo.training._certainty import Calibration, calibrate
from convzoo.visualize._pixels import prepare
from convzoo.visualize._probe import looking, run


@dataclass(frozen=True, eq=False)
class Judged:
    """A labelled image and what a network says of it.

    Attributes:
        index: Number of the image in the data.
        image: The prepared image, (C, H, W).
        label: Its class.
        probability: What the network gives that class, in [0, 1].
        loss: Minus the natural logarithm of that.
        best: The likeliest classes, the likeliest first.
        name: The name of its class, or the class's number as text.
    """

    index: int
    image: Tensor
    label: int
    probability: float
    loss: float
    best: tuple[Prediction, ...]
    name: str

    @property
    def right(self) -> bool:
        """Whether the likeliest class is the image's."""
        return self.best[0].index == self.label


def predictions(
    net: nn.Module,
    data: Dataset[Any] | Iterable[Any],
    *,
    top_k: int = 3,
    labels: Sequence[str] | None = None,
    batch_size: int = 64,
) -> tuple[Judged, ...]:
    """What a network says of each labelled image, in the order of the data.

    Args:
        net: Any network that scores classes.
        data: A data set or an iterable of pairs (image, class), or a `DataLoader` of such batches;
            raw images go through the network's preset.
        top_k: How many classes to keep of each image.
        labels: The classes' names; None takes the network's.
        batch_size: Images in one step.

    Returns:
        One record an image.

    Raises:
        InputError: There are no images, or an item is no pair.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, visualize
        >>> net = convzoo.lenet5()
        >>> said = visualize.predictions(net, datasets.digits().test.subset(range(5)))
        >>> [one.label for one in said], len(said[0].best)
        ([2, 6, 0, 0, 1], 3)
    """
    return tuple(_judge(net, data, top_k, labels, batch_size))


def top_losses(
    net: nn.Module,
    data: Dataset[Any] | Iterable[Any],
    count: int = 9,
    *,
    top_k: int = 3,
    labels: Sequence[str] | None = None,
    batch_size: int = 64,
) -> tuple[Judged, ...]:
    """The images a network is most wrong about: the actual class has the least probability.

    Only that many images are held in memory, however large the data.

    Args:
        net: As in [predictions][convzoo.visualize.predictions].
        data: Likewise.
        count: How many.
        top_k: As in `predictions`.
        labels: Likewise.
        batch_size: Likewise.

    Returns:
        The records, the largest loss first; fewer where there are fewer images.

    Raises:
        InputError: As in `predictions`.
    """
    count = check_count("count", count)
    judged = _judge(net, data, top_k, labels, batch_size)
    return tuple(heapq.nlargest(count, judged, key=lambda one: (one.loss, -one.index)))


def calibration(judged: Sequence[Judged], bins: int = 10) -> Calibration:
    """Confidence against accuracy (Guo et al., 2017, arXiv:1706.04599).

    Args:
        judged: What [predictions][convzoo.visualize.predictions] returned.
        bins: Equal parts of [0, 1]; those without an image are left out.

    Returns:
        The groups, and the expected calibration error.

    Raises:
        InputError: There is nothing to judge.
    """
    bins = check_count("bins", bins)
    check_judged(judged)
    confidence = torch.tensor([one.best[0].probability for one in judged], dtype=torch.double)
    return calibrate(confidence, torch.tensor([one.right for one in judged]), bins)


def check_judged(judged: object, most: int | None = None) -> None:
    """Refuse what `predictions` does not return."""
    known = isinstance(judged, Sequence) and all(isinstance(one, Judged) for one in judged)
    if not known or not isinstance(judged, Sequence) or not judged:
        raise InputError(f"judged: expected what predictions returns, got {judged!r:.80}")
    if most is not None and len(judged) > most:
        raise InputError(f"judged: expected at most {most} images, got {len(judged)}")


def _judge(
    net: nn.Module,
    data: object,
    top_k: int,
    labels: Sequence[str] | None,
    batch_size: int,
) -> Iterator[Judged]:
    top_k, batch_size = check_count("top_k", top_k), check_count("batch_size", batch_size)
    number = 0
    names: Sequence[str] | None = getattr(net, "labels", None) if labels is None else labels

    def name(index: int) -> str:
        return str(index) if names is None else names[index]

    for x, targets, scores in _scored(net, data, batch_size):
        names = check_labels(names, scores.shape[1])
        chances = scores.float().softmax(1)
        losses = -scores.float().log_softmax(1)
        values, classes = chances.topk(min(top_k, chances.shape[1]))
        for i, label in enumerate(targets):
            check_count("label", label, least=0, most=chances.shape[1] - 1)
            best = tuple(
                Prediction(name(c), c, v)
                for c, v in zip(classes[i].tolist(), values[i].tolist(), strict=True)
            )
            yield Judged(
                number,
                x[i].cpu(),
                label,
                float(chances[i, label]),
                float(losses[i, label]),
                best,
                name(label),
            )
            number += 1
    if not number:
        raise InputError("data: expected at least one image, got none")


def _scored(net: nn.Module, data: object, size: int) -> Iterator[tuple[Tensor, list[int], Tensor]]:
    for pairs in batches(data, size):
        images, targets = [], []
        for pair in pairs:
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise InputError(f"data: expected (image, label) pairs, got {type(pair).__name__}")
            images.append(pair[0])
            target = torch.as_tensor(pair[1])
            targets += target.flatten().tolist()
        with looking(net, gradients=False) as core:
            x = prepare(core, images)
            scores = run(core, x)
        yield x, targets, scores


def batches(data: object, size: int) -> Iterator[list[Any]]:
    """Items of a data set or an iterable, some at a time; those of a `DataLoader` as they come."""
    from torch.utils.data import DataLoader

    items: Iterable[Any]
    if isinstance(data, DataLoader):
        yield from ([batch] for batch in data)
        return
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        items = (data[i] for i in range(len(data)))
    elif isinstance(data, Iterable):
        items = data
    else:
        raise InputError(f"data: expected a data set or an iterable of images, got {data!r:.80}")
    waiting: list[Any] = []
    for item in items:
        waiting.append(item)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
