"""What an evaluation keeps of every image, and how it finds the image again."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from convzoo._checks import check_count
from convzoo.datasets._prepared import ImageData, Reader
from convzoo.errors import InputError


@dataclass(frozen=True)
class ImageResult:
    """What was said of one image.

    Attributes:
        index: Its number in the data.
        truth: The name of its class.
        prediction: The name of the class that scored best.
        loss: Its cross-entropy, natural logarithm.
        probability: What its class was given, in [0, 1].
        confidence: What the best-scored class was given, in [0, 1].
        right: Whether the best-scored class is the image's.
    """

    index: int
    truth: str
    prediction: str
    loss: float
    probability: float
    confidence: float
    right: bool
    _read: Callable[[int], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def image(self) -> Any:
        """The image, read from the data now, as the data gives it.

        Raises:
            InputError: The result does not know the data: it came from JSON, another process, or a
                DataLoader that draws its order.
        """
        if self._read is None:
            raise InputError(
                f"image: where image {self.index} is to be read is not known; pass the data set: "
                "top_losses(data=...)"
            )
        return self._read(self.index)


@dataclass(frozen=True, eq=False)
class ImageScores:
    """What was said of every image, 16 bytes each.

    Attributes:
        truth: Index of each image's class, int32 (N,).
        prediction: Index of the best-scored class, int32 (N,).
        loss: Cross-entropy, float32 (N,).
        confidence: Probability of the best-scored class, float32 (N,).
    """

    truth: Tensor
    prediction: Tensor
    loss: Tensor
    confidence: Tensor
    _read: Callable[[int], Any] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.truth)

    def __getstate__(self) -> dict[str, Any]:
        """Without the data, which may be large and may not pickle."""
        return {**vars(self), "_read": None}

    def worst(self, count: int) -> list[int]:
        """The numbers of the images with the largest losses, the largest first."""
        # NaN is the worst there is; of equals the first.
        order = self.loss.nan_to_num(math.inf, math.inf).sort(descending=True, stable=True)
        places: list[int] = order.indices[:count].tolist()
        return places

    def results(
        self, indices: Sequence[int], labels: Sequence[str], data: object = None
    ) -> tuple[ImageResult, ...]:
        """What was said of some images.

        Args:
            indices: Their numbers in the data.
            labels: The classes' names.
            data: The data set that was scored; None takes the one that `evaluate` was given.

        Returns:
            One result each, in this order.

        Raises:
            InputError: There is no such image, or the data is another.
        """
        if isinstance(indices, (str, bytes)) or not isinstance(indices, Sequence):
            raise InputError(f"indices: expected numbers of images, got {indices!r:.80}")
        read = self._read if data is None else _reading(data, len(self))
        found = []
        for given in indices:
            i = check_count("indices", given, least=0, most=len(self) - 1)
            loss = float(self.loss[i])
            truth, prediction = int(self.truth[i]), int(self.prediction[i])
            found.append(
                ImageResult(
                    index=i,
                    truth=labels[truth],
                    prediction=labels[prediction],
                    loss=loss,
                    probability=math.exp(-loss),
                    confidence=float(self.confidence[i]),
                    right=truth == prediction,
                    _read=read,
                )
            )
        return tuple(found)

    def check_size(self, count: int) -> None:
        """Refuse columns that are not of so many images."""
        sizes = {name: tuple(getattr(self, name).shape) for name in _COLUMNS}
        if set(sizes.values()) != {(count,)}:
            raise InputError(f"images: expected {count} of each, got {sizes}")

    def to_dict(self) -> dict[str, object]:
        """The columns as plain JSON values; `from_dict` takes them back."""
        return {name: getattr(self, name).tolist() for name in _COLUMNS}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ImageScores:
        """The scores from what `to_dict` gave, also after a way through JSON.

        Args:
            fields: The columns by name.

        Returns:
            The scores, which do not know the data.
        """
        columns = {name: torch.tensor(fields[name], dtype=kind) for name, kind in _COLUMNS.items()}
        return cls(**{**fields, **columns})


_COLUMNS = {
    "truth": torch.int32,
    "prediction": torch.int32,
    "loss": torch.float32,
    "confidence": torch.float32,
}


def reading(data: ImageData, reader: Reader) -> Callable[[int], Any]:
    """What reads an image of a data set again, as the data gives it."""
    return lambda index: reader.pair(data[index], f"item {index}")[0]


def _reading(data: object, count: int) -> Callable[[int], Any]:
    if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")) or len(data) != count:
        raise InputError(
            f"data: expected the data set of {count} images that was scored, got {data!r:.80}"
        )
    return reading(cast("ImageData", data), Reader("data", None, None))
