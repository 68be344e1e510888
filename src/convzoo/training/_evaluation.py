"""What evaluation reports: a record that prints, goes to JSON and back, and says where to look."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from convzoo._checks import check_count, check_flags
from convzoo.errors import InputError
from convzoo.training._certainty import Calibration, wilson_interval
from convzoo.training._image_scores import ImageResult, ImageScores


@dataclass(frozen=True)
class ClassResult:
    """How one class fared.

    Attributes:
        label: The class's name, or its index as text where names are not known.
        samples: Images of the class.
        correct: How many of them were scored right.
        predicted: Images of any class that were taken for this one; None where it is not known.
    """

    label: str
    samples: int
    correct: int
    predicted: int | None = field(default=None, compare=False)

    @property
    def accuracy(self) -> float | None:
        """Share of the class's images scored right, in [0, 1]; None where it has none."""
        return self.correct / self.samples if self.samples else None

    @property
    def recall(self) -> float | None:
        """The same by its other name."""
        return self.accuracy

    @property
    def precision(self) -> float | None:
        """Share of the images taken for this class that are of it; None where there are none."""
        return self.correct / self.predicted if self.predicted else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; None where the class is neither seen nor said."""
        if self.predicted is None or not self.samples + self.predicted:
            return None
        return 2 * self.correct / (self.samples + self.predicted)

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Bounds of the accuracy; see [wilson_interval][convzoo.training.wilson_interval].

        Args:
            confidence: As there.

        Returns:
            The bounds; None where the class has no images.
        """
        return wilson_interval(self.correct, self.samples, confidence)


class Confusion(NamedTuple):
    """Images of one class that were taken for another.

    Attributes:
        truth: The name of their class.
        prediction: The name of the class they were taken for.
        images: How many.
        share: Of the images of their class, in (0, 1].
    """

    truth: str
    prediction: str
    images: int
    share: float


@dataclass(frozen=True)
class Evaluation:
    """What a network scores on a set of labelled images; prints as a table.

    Attributes:
        samples: Images scored, each once.
        loss: Mean cross-entropy, natural logarithm.
        top1: Share of images whose best-scored class is the right one, in [0, 1].
        top5: Share of images whose class is among the five best-scored, in [0, 1]; None with five
            classes or fewer, where it would say nothing.
        counts: For each true class the classes that were predicted, as pairs (class, images). May
            be given as whole rows of numbers.
        labels: The classes' names, in order.
        calibration: Confidence against accuracy in 15 groups, with the expected calibration error;
            None where it was not measured.
        images: What was said of each image, in the order of the data; None where it is not known.
    """

    samples: int
    loss: float
    top1: float
    top5: float | None
    counts: tuple[tuple[tuple[int, int], ...], ...]
    labels: tuple[str, ...]
    calibration: Calibration | None = None
    images: ImageScores | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.labels):
            raise InputError(
                f"counts: expected a row for each of the {len(self.labels)} labels, "
                f"got {len(self.counts)}"
            )
        object.__setattr__(self, "counts", tuple(_pairs(row) for row in self.counts))
        self._check()

    @property
    def confusion(self) -> tuple[tuple[int, ...], ...]:
        """Images by true class (row) and predicted class (column), made anew with every look."""
        classes = range(len(self.labels))
        return tuple(tuple(map(dict(row).get, classes, itertools.repeat(0))) for row in self.counts)

    @property
    def per_class(self) -> tuple[ClassResult, ...]:
        """One result a class, in order."""
        predicted = [0] * len(self.labels)
        for column, images in itertools.chain.from_iterable(self.counts):
            predicted[column] += images
        return tuple(
            ClassResult(label, sum(n for _, n in row), dict(row).get(i, 0), predicted[i])
            for i, (label, row) in enumerate(zip(self.labels, self.counts, strict=True))
        )

    def interval(self, confidence: float = 0.95) -> tuple[float, float] | None:
        """Bounds of the top-1 accuracy; see [wilson_interval][convzoo.training.wilson_interval].

        Args:
            confidence: As there.

        Returns:
            The bounds; None without images.
        """
        return wilson_interval(round(self.top1 * self.samples), self.samples, confidence)

    def most_confused(self, count: int = 10) -> tuple[Confusion, ...]:
        """The pairs of classes of which one was most often taken for the other.

        Args:
            count: How many pairs at most.

        Returns:
            The pairs, most images first; of equals the larger share first.
        """
        count = check_count("count", count)
        pairs = [
            Confusion(self.labels[i], self.labels[j], images, images / sum(n for _, n in row))
            for i, row in enumerate(self.counts)
            for j, images in row
            if i != j
        ]
        return tuple(sorted(pairs, key=lambda pair: (-pair.images, -pair.share))[:count])

    def top_losses(self, count: int = 9, *, data: object = None) -> tuple[ImageResult, ...]:
        """The images that the network is most wrong about.

        Args:
            count: How many at most.
            data: The data set that was scored, with `data[index]`, from which `image` is read when
                it is asked for; None takes the one that `evaluate` was given.

        Returns:
            What was said of them, the largest loss first.

        Raises:
            InputError: What was said of each image is not known.

        Examples:
            >>> import convzoo
            >>> from convzoo import datasets
            >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
            >>> result = convzoo.evaluate(net, datasets.digits().val, cpu=True)
            >>> worst = result.top_losses(3)
            >>> worst[0].loss >= worst[1].loss, worst[0].image.shape
            (True, torch.Size([1, 8, 8]))
        """
        return self.results(self._scores().worst(check_count("count", count)), data=data)

    def results(self, indices: Sequence[int], *, data: object = None) -> tuple[ImageResult, ...]:
        """What was said of some images.

        Args:
            indices: Their numbers in the data.
            data: As in `top_losses`.

        Returns:
            One result each, in this order.

        Raises:
            InputError: What was said of each image is not known, or there is no such image.
        """
        return self._scores().results(indices, self.labels, data)

    def _check(self) -> None:
        """Refuse numbers of classes that there are not, and columns of several lengths."""
        classes, said = len(self.labels), self.images
        numbers = [place for row in self.counts for place, _ in row]
        if said is not None:
            said.check_size(self.samples)
            for column in (said.truth, said.prediction) if self.samples else ():
                numbers += [int(column.min()), int(column.max())]
        if any(not 0 <= number < classes for number in numbers):
            raise InputError(f"counts, images: expected numbers of classes below {classes}")

    def _scores(self) -> ImageScores:
        if self.images is None:
            raise InputError(
                "images: what was said of each image is not known; evaluate keeps it, and JSON has "
                "it from to_dict(images=True)"
            )
        return self.images

    def __str__(self) -> str:
        first = f"{self.samples} images, loss {self.loss:.4f}"
        if self.calibration is not None:
            first += f", calibration error {self.calibration.error:.2%}"
        bounds = self.interval()
        between = "" if bounds is None else f"  (95 %: {bounds[0]:.2%} to {bounds[1]:.2%})"
        lines = [first, f"top-1  {self.top1:8.2%}{between}"]
        if self.top5 is not None:
            lines.append(f"top-5  {self.top5:8.2%}")
        width = max((len(label) for label in self.labels), default=0)
        lines.append(f"{'class':<{max(width, 5)}}  images  accuracy  precision       F1")
        for result in self.per_class:
            accuracy, precision, f1 = (
                "-" if share is None else f"{share:.2%}"
                for share in (result.accuracy, result.precision, result.f1)
            )
            lines.append(
                f"{result.label:<{max(width, 5)}}  {result.samples:6}  {accuracy:>8}"
                f"   {precision:>8} {f1:>8}"
            )
        return "\n".join(lines)

    def to_dict(self, *, images: bool = False) -> dict[str, object]:
        """The record as plain JSON values; `from_dict` takes it back.

        Args:
            images: Whether to put in what was said of every image: some 40 bytes of text each.

        Returns:
            The fields by name.

        Raises:
            InputError: What was said of each image is asked for and not known.
        """
        check_flags(images=images)
        fields: dict[str, object] = {
            name: getattr(self, name) for name in ("samples", "loss", "top1", "top5")
        }
        fields["counts"] = [list(map(list, row)) for row in self.counts]
        fields["labels"] = list(self.labels)
        if self.calibration is not None:
            found = self.calibration._asdict()
            fields["calibration"] = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in found.items()
            }
        if images:
            fields["images"] = self._scores().to_dict()
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evaluation:
        """An evaluation from what `to_dict` gave, also after a way through JSON.

        Args:
            fields: The fields by name; `confusion`, the whole matrix, does in place of `counts`;
                `calibration` and `images` may be missing.

        Returns:
            The evaluation.

        Raises:
            InputError: A field is missing or unknown.
        """
        try:
            given = dict(fields)
            given["counts"] = given.pop("confusion") if "confusion" in given else given["counts"]
            given["labels"] = tuple(given["labels"])
            if given.get("calibration") is not None:
                groups: dict[str, Any] = dict(given["calibration"])
                groups |= {name: tuple(groups[name]) for name in Calibration._fields[:3]}
                given["calibration"] = Calibration(**groups)
            if given.get("images") is not None:
                given["images"] = ImageScores.from_dict(given["images"])
            return cls(**given)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"fields: not those of an Evaluation: {error}") from None


def _pairs(row: Sequence[int | Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """The pairs (class, images) of a row that may hold all numbers."""
    found = []
    for place, item in enumerate(row):
        if isinstance(item, int):
            item = (place, item)
        predicted, images = item
        if images:
            found.append((predicted, images))
    return tuple(found)
