"""A network with its preset and labels, ready for images of any kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convzoo._build import place
from convzoo._checks import check_count
from convzoo.datasets._prepared import ImageTransform
from convzoo.errors import InputError
from convzoo.inference._views import TTA, Views, mean_scores
from convzoo.presets import Preset, load_image

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Prediction:
    """One class that an image may show.

    Attributes:
        label: The class's name, or its index as text where names are not known.
        index: The class's index.
        probability: The softmax of its score, in [0, 1].
    """

    label: str
    index: int
    probability: float


class Predictor:
    """A network with its preset and labels, ready for images of any kind.

    Args:
        net: A network, or what [load][convzoo.load] takes: a name of the catalogue, a folder, a
            file, a `hf-hub:` address.
        device: Where to run; None leaves a network where it is.
        top_k: How many classes to give for an image, at least 1; never more than there are.
        preset: How images become inputs; None takes the network's.
        labels: The classes' names; None takes the network's.
        tta: Test-time augmentation: every image is scored in several views, and the mean of their
            probabilities counts; see [Views][convzoo.inference.Views].

    Attributes:
        net: The network, in evaluation mode.
        preset: The preset in use.
        labels: The names in use, or None.
        top_k: As given.

    Raises:
        InputError: There is no preset or no head, or `top_k` is out of range.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo.inference import Predictor
        >>> net = convzoo.cifar_resnet20()
        >>> net.labels = tuple("abcdefghij")
        >>> predict = Predictor(net, top_k=3)
        >>> best, second, third = predict(torch.zeros(3, 40, 50, dtype=torch.uint8))
        >>> best.label in "abcdefghij", best.probability >= second.probability
        (True, True)
    """

    def __init__(
        self,
        net: nn.Module | str | os.PathLike[str],
        device: torch.device | str | None = None,
        top_k: int = 5,
        *,
        preset: Preset | None = None,
        labels: Sequence[str] | None = None,
        tta: TTA | Sequence[ImageTransform] | None = None,
    ) -> None:
        top_k = check_count("top_k", top_k)
        if not isinstance(net, nn.Module):
            from convzoo.by_name import load

            net = load(net, device=device)
        elif device is not None:
            net.to(place({"device": device}).device)
        if getattr(net, "num_classes", None) == 0:
            raise InputError(
                "net: it has no head and returns features; give it one with reset_head, or call "
                "it with its preset: net(net.preset.eval()(image)[None])"
            )
        own: object = getattr(net, "preset", None)
        if preset is None:
            preset = own if isinstance(own, Preset) else None
        if preset is None:
            raise InputError(
                "preset: the network brings none, so that nothing says how to prepare an image; "
                "pass one, for example preset=convzoo.presets.IMAGENET"
            )
        own_labels: Sequence[str] | None = getattr(net, "labels", None)
        labels = own_labels if labels is None else labels
        self.net: nn.Module = net.eval()
        self.preset: Preset = preset
        self.labels: tuple[str, ...] | None = None if labels is None else tuple(labels)
        self.top_k: int = top_k
        self._transform = preset.eval()
        self._views = None if tta is None else Views(preset, tta)
        parameter = next(net.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device

    def __repr__(self) -> str:
        name = getattr(self.net, "architecture", None) or type(self.net).__name__
        return f"Predictor({name}, top_k={self.top_k})"

    def __call__(self, image: str | os.PathLike[str] | Image | Tensor) -> tuple[Prediction, ...]:
        """The likeliest classes of one image.

        Args:
            image: A file, a PIL image of any mode, or a tensor (C, H, W), uint8 or floating point
                in [0, 1].

        Returns:
            `top_k` predictions, the likeliest first.

        Raises:
            DataError: The file is missing or is not an image.
            InputError: The tensor is not an image.
        """
        if isinstance(image, Tensor) and image.ndim == 4:
            raise InputError(
                f"image: expected one image (C, H, W), got a batch of shape {tuple(image.shape)}; "
                "use predictor.batch(images)"
            )
        return self.batch([image])[0]

    def batch(
        self,
        images: Iterable[str | os.PathLike[str] | Image | Tensor] | Tensor,
        batch_size: int = 32,
    ) -> list[tuple[Prediction, ...]]:
        """The likeliest classes of many images.

        Args:
            images: What a call takes, many times; or a tensor (B, C, H, W).
            batch_size: Images that go through the network at a time, or views of them with `tta`,
                at least 1.

        Returns:
            One tuple of `top_k` predictions an image, in order.

        Raises:
            DataError: A file is missing or is not an image.
            InputError: `images` is a single path, or a tensor is not an image.
        """
        if isinstance(images, (str, os.PathLike)):
            raise InputError(f"images: expected several images, got the single path {images!r}")
        batch_size = check_count("batch_size", batch_size)
        if self._views is not None:
            batch_size = max(1, batch_size // len(self._views))
        found: list[tuple[Prediction, ...]] = []
        todo = iter(images)
        while chunk := list(islice(todo, batch_size)):
            inputs = [self._prepare(image) for image in chunk]
            # A preset that keeps the image's proportions gives inputs of several sizes.
            for group in _runs_of_one_shape(inputs):
                found += self._score(torch.stack(group))
        return found

    def _prepare(self, image: str | os.PathLike[str] | Image | Tensor) -> Tensor:
        if isinstance(image, (str, os.PathLike)):
            image = load_image(image)
        return self._transform(image) if self._views is None else self._views(image)

    def _score(self, x: Tensor) -> list[tuple[Prediction, ...]]:
        with torch.inference_mode():
            scores: Tensor | tuple[Tensor, ...]
            if self._views is None:
                scores = self.net(x.to(self._device))
            else:  # (B, V, C, H, W)
                scores = mean_scores(self.net, x.to(self._device))
            if not isinstance(scores, Tensor):
                scores = scores[0]  # some foreign networks return auxiliary scores as well
            probabilities = scores.float().softmax(dim=1)
            values, indices = probabilities.topk(min(self.top_k, scores.shape[1]), dim=1)
        return [
            tuple(
                Prediction(self._label(index), index, value)
                for value, index in zip(row_values, row_indices, strict=True)
            )
            for row_values, row_indices in zip(values.tolist(), indices.tolist(), strict=True)
        ]

    def _label(self, index: int) -> str:
        if self.labels is None or index >= len(self.labels):
            return str(index)
        return self.labels[index]


def _runs_of_one_shape(inputs: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    run: list[Tensor] = []
    for x in inputs:
        if run and x.shape != run[0].shape:
            yield run
            run = []
        run.append(x)
    if run:
        yield run
