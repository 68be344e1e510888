"""A network with its preset and labels, ready for images of any kind."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor, nn

from convzoo._build import place
from convzoo._checks import check_choice, check_count
from convzoo._contract import Contract
from convzoo._engines._accelerate import EngineChoice, PrecisionChoice, accelerate
from convzoo._engines._accelerated import Accelerated
from convzoo._engines._threads import calling_modules, usual_workers
from convzoo.datasets._prepared import ImageTransform
from convzoo.errors import DataError, InputError
from convzoo.inference._files import image_files, stands_for_many
from convzoo.inference._preparation import Preparation, stacks
from convzoo.inference._views import TTA, mean_scores
from convzoo.presets import Preset

if TYPE_CHECKING:
    from convzoo.inference._preparation import Picture


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


@dataclass(frozen=True)
class FilePredictions:
    """What was found out about one file.

    Attributes:
        image: The file.
        predictions: Its likeliest classes, the likeliest first; none where it could not be read.
        error: Why it could not be read, or None.
    """

    image: Path
    predictions: tuple[Prediction, ...]
    error: str | None


class Predictor:
    """A network with its preset and labels, ready for images of any kind.

    An image is a file, what is in a file (`bytes`), a PIL image of any mode, an array (H, W, C) or
    (H, W) of uint8, or a tensor (C, H, W), uint8 or floating point in [0, 1].

    Args:
        net: A network, or what [load][convzoo.load] takes: a name of the catalogue, a folder, a
            file, a `hf-hub:` address. One that [accelerate][convzoo.accelerate] returned will do
            as well.
        device: Where to run; None leaves a network where it is.
        top_k: How many classes to give for an image, at least 1; never more than there are.
        preset: How images become inputs; None takes the network's.
        labels: The classes' names; None takes the network's.
        tta: Test-time augmentation: every image is scored in several views, and the mean of their
            probabilities counts; see [Views][convzoo.inference.Views].
        engine: What runs the network, as [accelerate][convzoo.accelerate] has it; it is set up for
            the first images that come. None runs the network as it is, or, with a `precision`
            other than `"fp32"`, stands for `"auto"`.
        precision: The numbers it runs in.
        calibration: For `precision="int8"`: some hundred images of the kind that will come, as
            `batch` takes them.

    Attributes:
        net: The network, in evaluation mode.
        preset: The preset in use.
        labels: The names in use, or None.
        top_k: As given.

    Raises:
        InputError: There is no preset or no head, or an argument is out of range.

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
        engine: EngineChoice | None = None,
        precision: PrecisionChoice = "fp32",
        calibration: Iterable[Picture] | str | os.PathLike[str] | None = None,
    ) -> None:
        top_k = check_count("top_k", top_k)
        if engine is not None:
            check_choice("engine", engine, get_args(EngineChoice))
        check_choice("precision", precision, get_args(PrecisionChoice))
        if (precision == "int8") != (calibration is not None):
            raise InputError(
                "calibration: expected some hundred images for precision='int8', and none for "
                f"others, got {'none' if calibration is None else 'some'} with {precision=}"
            )
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
        self._engine: EngineChoice | None = "auto" if precision != "fp32" else None
        self._engine = engine or self._engine
        self._precision: PrecisionChoice = precision
        self._calibration = calibration
        self._prepare = Preparation(preset, tta)
        parameter = next(net.parameters(), None)
        self._device = torch.device("cpu") if parameter is None else parameter.device
        self._runs: dict[str, nn.Module] = {}  # what runs, once it is known what comes

    def __repr__(self) -> str:
        name = getattr(self.net, "architecture", None) or type(self.net).__name__
        return f"Predictor({name}, top_k={self.top_k})"

    def __call__(self, image: Picture) -> tuple[Prediction, ...]:
        """The likeliest classes of one image.

        Args:
            image: The image.

        Returns:
            `top_k` predictions, the likeliest first.

        Raises:
            DataError: The file is missing or is not an image.
            InputError: The tensor or the array is not an image.
        """
        if isinstance(image, Tensor) and image.ndim == 4:
            raise InputError(
                f"image: expected one image (C, H, W), got a batch of shape {tuple(image.shape)}; "
                "use predictor.batch(images)"
            )
        with calling_modules():
            x = self._prepare(image)
        return self._score(x[None])[0]

    def batch(
        self,
        images: Iterable[Picture] | Tensor | str | os.PathLike[str],
        batch_size: int = 32,
    ) -> list[tuple[Prediction, ...]]:
        """The likeliest classes of many images.

        Args:
            images: Images; or a tensor (B, C, H, W); or a folder, or a pattern such as `"*.jpg"`.
            batch_size: Images that go through the network at a time, or views of them with `tta`,
                at least 1.

        Returns:
            One tuple of `top_k` predictions an image, in order.

        Raises:
            DataError: A file is missing or is not an image.
            InputError: `images` is a single file, or a tensor is not an image.
        """
        batches = self._prepare.batches(images, self._at_once(batch_size))
        return list(chain.from_iterable(map(self._score, batches)))

    def embed(
        self,
        images: Iterable[Picture] | Tensor | str | os.PathLike[str],
        batch_size: int = 32,
    ) -> Tensor:
        """The vectors that reach the last layer, for search, clustering, or a classifier of yours.

        They are of the image as it is, without `tta`.

        Args:
            images: As [batch][convzoo.inference.Predictor.batch] takes them.
            batch_size: Likewise.

        Returns:
            The vectors (B, D), float32 on the CPU, in order.

        Raises:
            DataError: A file is missing or is not an image.
            InputError: `images` is a single file or holds none, a tensor is not an image, or the
                network has no last layer that could be found.

        Examples:
            >>> import torch, convzoo
            >>> predict = convzoo.Predictor("lenet5.fashion_mnist")
            >>> predict.embed(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
            torch.Size([2, 84])
        """
        batch_size = check_count("batch_size", batch_size)
        vectors = [
            self._run("body", x).float().cpu()
            for x in self._prepare.batches(images, batch_size, views=False)
        ]
        if not vectors:
            raise InputError("images: expected at least one, got none")
        return torch.cat([x.flatten(1) for x in vectors])

    def folder(
        self,
        path: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        batch_size: int = 32,
        workers: int | None = None,
    ) -> Iterator[FilePredictions]:
        """The likeliest classes of all images in a folder, one after the other.

        Files are read, decoded and resized in threads while the network runs. Memory does not grow
        with their number, and what was asked for is all that is done.

        Args:
            path: A folder, whose images come in the order of their names, those of subfolders
                included and hidden ones left out; or a pattern such as `"photos/**/*.jpg"`; or a
                file; or several of these.
            batch_size: Images that go through the network at a time, at least 1.
            workers: Threads that prepare images; None takes one a processor, 16 at most, 0 does all
                in this one.

        Returns:
            An iterator over the files. One that cannot be read comes with its `error`; the others
            are done.

        Raises:
            DataError: There is no such file or folder, or it has no image.
            InputError: `batch_size` or `workers` is out of range.

        Examples:
            >>> from pathlib import Path
            >>> from PIL import Image
            >>> import convzoo
            >>> Path("shop").mkdir()
            >>> Image.new("L", (28, 28)).save("shop/dark.png")
            >>> Path("shop/notes.png").write_text("no image")
            8
            >>> for found in convzoo.Predictor("lenet5.fashion_mnist").folder("shop"):
            ...     print(found.image.name, len(found.predictions), found.error is None)
            dark.png 5 True
            notes.png 0 False
        """
        batch_size = self._at_once(batch_size)
        workers = usual_workers() if workers is None else check_count("workers", workers, least=0)
        if isinstance(path, (str, os.PathLike)):
            if not (stands_for_many(path) or os.path.lexists(path)):
                raise DataError(f"{os.fspath(path)}: no such file or folder")
            path = [path]
        paths = image_files(path)
        first = list(islice(paths, 1))  # now, so that an empty folder is told at once
        return self._files(chain(first, paths), batch_size, workers)

    def _files(
        self, paths: Iterable[Path], batch_size: int, workers: int
    ) -> Iterator[FilePredictions]:
        for chunk in self._prepare.files(paths, batch_size, workers):
            inputs = [x for _, x in chunk if isinstance(x, Tensor)]
            scored = chain.from_iterable(map(self._score, stacks(inputs)))
            for path, x in chunk:
                if isinstance(x, str):
                    yield FilePredictions(path, (), x)
                else:
                    yield FilePredictions(path, next(scored), None)

    def _at_once(self, batch_size: int) -> int:
        """Images of a batch, whose views go through the network together."""
        batch_size = check_count("batch_size", batch_size)
        return max(1, batch_size // (self._prepare.views or 1))

    def _score(self, prepared: Tensor) -> list[tuple[Prediction, ...]]:
        """Predictions for a batch of what `_prepare` gave."""
        if self._prepare.views is None:
            scores = self._run("net", prepared)
        else:
            views = prepared.to(self._device)  # (B, V, C, H, W)
            net = self._part("net", views.flatten(0, 1))
            with torch.inference_mode(), calling_modules():
                scores = mean_scores(net, views)
        probabilities = scores.float().softmax(dim=1)
        values, indices = probabilities.topk(min(self.top_k, scores.shape[1]), dim=1)
        return [
            tuple(
                Prediction(self.label(index), index, value)
                for value, index in zip(row_values, row_indices, strict=True)
            )
            for row_values, row_indices in zip(values.tolist(), indices.tolist(), strict=True)
        ]

    def _run(self, part: str, pixels: Tensor) -> Tensor:
        """What the network, or the part of it before the last layer, makes of pixels."""
        with torch.inference_mode():
            x = self._prepare.normalise(pixels.to(self._device))
            run = self._part(part, x)
            with calling_modules():
                found: Tensor | tuple[Tensor, ...] = run(x)
        # Some foreign networks return auxiliary scores as well.
        return found if isinstance(found, Tensor) else found[0]

    def _part(self, part: str, example: Tensor) -> nn.Module:
        """What runs; an engine is set up for the first inputs that come."""
        if part not in self._runs:
            net = self.net if part == "net" else _without_head(self.net)
            self._runs[part] = self._accelerated(net, example)
        return self._runs[part]

    def _accelerated(self, net: nn.Module, example: Tensor) -> nn.Module:
        if self._engine is None:
            return net
        calibration = None
        if self._calibration is not None:
            batches = self._prepare.batches(self._calibration, len(example), views=False)
            calibration = map(self._prepare.normalise, batches)
        with torch.inference_mode(mode=False):
            return accelerate(
                net,
                example.clone(),
                engine=self._engine,
                precision=self._precision,
                calibration=calibration,
            )

    def label(self, index: int) -> str:
        """The name of a class.

        Args:
            index: The class's index.

        Returns:
            Its name, or the index as text where names are not known.
        """
        if self.labels is None or index >= len(self.labels):
            return str(index)
        return self.labels[index]


def _without_head(net: nn.Module) -> nn.Module:
    """A copy that returns what the last layer gets; the parameters are the network's own."""
    if isinstance(net, Accelerated):
        raise InputError(
            "net: an accelerated network has no last layer to take away; pass the network itself, "
            "with engine= to run it by"
        )
    shared = {id(x): x for x in chain(net.parameters(), net.buffers())}
    body = copy.deepcopy(net, shared)
    if isinstance(body, Contract):
        body.reset_head(0)
        return body
    from convzoo.transfer import find_heads

    path = find_heads(body)[0]
    owner, _, name = path.rpartition(".")
    setattr(body.get_submodule(owner), name, nn.Identity())
    return body
