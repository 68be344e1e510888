"""Scoring a network on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, SequentialSampler

from convzoo._checks import check_count, check_flags
from convzoo._modes import check_network, kept_modes
from convzoo.datasets._prepared import (
    Columns,
    ImageData,
    ImageTransform,
    Prepared,
    Reader,
    usual_transform,
)
from convzoo.errors import InputError
from convzoo.inference._views import TTA, MeanOfViews, Views
from convzoo.presets import Preset
from convzoo.training._accelerator import MixedPrecision, accelerator
from convzoo.training._data import eval_loader, number_of_classes
from convzoo.training._evaluation import Evaluation
from convzoo.training._image_scores import reading
from convzoo.training._regression import RegressionEvaluation, RegressionTally
from convzoo.training._tally import Tally

R = TypeVar("R", covariant=True)


def evaluate(
    net: nn.Module,
    data: ImageData | DataLoader[Any],
    *,
    batch_size: int = 128,
    columns: Columns | None = None,
    transform: ImageTransform | None = None,
    tta: TTA | Sequence[ImageTransform] | None = None,
    labels: Sequence[str] | None = None,
    mixed_precision: MixedPrecision | None = None,
    num_workers: int = 0,
    cpu: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Score a network on labelled images.

    Under `torchrun` or `accelerate launch` the images are shared out among the processes and every
    one of them gets the whole result, in which each image counts once.

    Args:
        net: Any module that maps images (B, C, H, W) to class scores (B, num_classes). It is moved
            to the device and put back into the mode it was in.
        data: Pairs of image and class index, or rows by name as Hugging Face's data sets have them;
            raw images go through the network's preset. Images of `convzoo.datasets` are
            matched to the network's classes by name, where it knows their names. Or a DataLoader,
            whose batches are taken as they come.
        batch_size: Images scored at a time, over all processes, or views of them with `tta`; a
            DataLoader brings its own.
        columns: Names of image and label in rows by name; None finds the usual ones (`image`,
            `img`, `label`, `labels` and their kin).
        transform: What to do with every image instead of the preset's `eval()`.
        tta: Test-time augmentation: every image is scored in several views, and the mean of their
            probabilities counts; see [Views][convzoo.inference.Views]. Inputs that are prepared
            already (float tensors) can only be flipped.
        labels: The classes' names for the result; None takes the network's, else their indices.
        mixed_precision: `"bf16"` or `"fp16"` for the forward pass; None takes what
            `accelerate launch` was told, else full precision.
        num_workers: Processes that read and prepare images; 0 does it in this one.
        cpu: Whether to stay on the CPU where there is a GPU.
        progress: Whether to show a progress bar.

    Returns:
        Loss, top-1, top-5, the confusion matrix, calibration, and what was said of each image.

    Raises:
        InputError: An argument is wrong, or an item is not an (image, label) pair.
        ConvzooError: The `train` extra is not installed.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, training
        >>> net = convzoo.cifar_resnet20(in_channels=1)
        >>> net.preset = convzoo.presets.MNIST
        >>> result = training.evaluate(net, datasets.digits().val)
        >>> result.samples, 0 <= result.top1 <= result.top5 <= 1
        (179, True)
    """
    return _evaluated(
        net,
        data,
        Tally(),
        batch_size=batch_size,
        columns=columns,
        transform=transform,
        tta=tta,
        labels=labels,
        mixed_precision=mixed_precision,
        num_workers=num_workers,
        cpu=cpu,
        progress=progress,
    )


def evaluate_regression(
    net: nn.Module,
    data: ImageData | DataLoader[Any],
    *,
    batch_size: int = 128,
    columns: Columns | None = None,
    transform: ImageTransform | None = None,
    labels: Sequence[str] | None = None,
    mixed_precision: MixedPrecision | None = None,
    num_workers: int = 0,
    cpu: bool = False,
    progress: bool = False,
) -> RegressionEvaluation:
    """Score a network that gives numbers, as `fit(..., loss="mse")` trains it.

    Args:
        net: Any module that maps images (B, C, H, W) to numbers (B, k): its `num_classes` is how
            many. It is moved to the device and put back into the mode it was in.
        data: As in [evaluate][convzoo.evaluate], with numbers for labels: one, or k of them.
        batch_size: As there.
        columns: As there.
        transform: As there.
        labels: What the numbers are, k names; None takes the network's, else their places.
        mixed_precision: As there.
        num_workers: As there.
        cpu: As there.
        progress: As there.

    Returns:
        Mean squared and absolute error and R2, of all and of each number.

    Raises:
        InputError: An argument is wrong, or a label is no number.
        ConvzooError: The `train` extra is not installed.

    Examples:
        >>> import torch, convzoo
        >>> from convzoo import training
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 2, labels=("x", "y"))
        >>> data = [(torch.rand(3, 32, 32), (0.0, 1.0)), (torch.rand(3, 32, 32), (1.0, 3.0))]
        >>> result = training.evaluate_regression(net, data)
        >>> result.samples, [one.label for one in result.per_number], result.mse > 0
        (2, ['x', 'y'], True)
    """
    return _evaluated(
        net,
        data,
        RegressionTally(),
        batch_size=batch_size,
        columns=columns,
        transform=transform,
        labels=labels,
        mixed_precision=mixed_precision,
        num_workers=num_workers,
        cpu=cpu,
        progress=progress,
    )


class Counting(Protocol[R]):
    """An evaluation in the making."""

    def update(self, scores: Tensor, targets: Tensor, /) -> None:
        """Add a batch."""

    def evaluation(
        self, labels: Sequence[str] | None, read: Callable[[int], Any] | None = None
    ) -> R:
        """The result."""
        ...


def _evaluated(
    net: nn.Module,
    data: ImageData | DataLoader[Any],
    tally: Counting[R],
    *,
    batch_size: int,
    columns: Columns | None,
    transform: ImageTransform | None,
    tta: TTA | Sequence[ImageTransform] | None = None,
    labels: Sequence[str] | None,
    mixed_precision: MixedPrecision | None,
    num_workers: int,
    cpu: bool,
    progress: bool,
) -> R:
    check_network(net)
    check_flags(cpu=cpu, progress=progress)
    batch_size = check_count("batch_size", batch_size)
    usual, classes = usual_transform(net, train=False), number_of_classes(net)
    if labels is not None and (
        not isinstance(labels, Sequence) or len(labels) != (classes or len(labels))
    ):
        of = "the" if classes is None else classes
        raise InputError(f"labels: expected a name for each of {of} classes, got {labels!r:.80}")
    known = getattr(net, "labels", None)
    views = None if tta is None else _views(net, tta, transform)
    reader = Reader("data", views or transform, usual, classes, columns=columns, labels=known)
    if isinstance(tally, RegressionTally):
        reader = replace(reader, targets="numbers", labels=None)
    prepared = Prepared(data, reader)
    if views is not None:
        batch_size = max(1, batch_size // len(views))
    with accelerator(cpu=cpu, mixed_precision=mixed_precision) as acc, kept_modes(net):
        forward = vars(net).get("forward")
        # No gradients, hence no need of DistributedDataParallel around the network.
        model = acc.prepare_model(net, evaluation_mode=True)
        loader = acc.prepare_data_loader(
            eval_loader(
                prepared,
                batch_size=batch_size,
                num_workers=num_workers,
                processes=acc.num_processes,
            )
        )
        try:
            seen = model if views is None else MeanOfViews(model)
            score(acc, seen, loader, tally, progress=progress)
            return tally.evaluation(labels or known, _reading_again(data, reader))
        finally:
            unwrap(acc, model, forward)


def score(
    acc: Any,
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    tally: Counting[Any],
    *,
    progress: bool,
) -> None:
    """Have a tally count what a prepared model says of a prepared loader."""
    model.eval()
    bar = progress_bar(loader, "evaluating", shown=progress and acc.is_main_process)
    with torch.no_grad():
        for images, targets in bar:
            # A network over several devices may end on another than the images came by.
            scores = main_scores(model(images)).to(acc.device)
            if scores.ndim != 2:
                raise InputError(
                    f"net: expected scores (B, num_classes) from it, got {tuple(scores.shape)}"
                )
            # The last batch is filled up with repeated images so that all processes have one;
            # this drops them again.
            tally.update(*acc.gather_for_metrics((scores, targets)))


def _views(
    net: nn.Module, tta: TTA | Sequence[ImageTransform], transform: ImageTransform | None
) -> Views:
    """The views of a raw image, or of an input that is prepared already."""
    preset = getattr(net, "preset", None)
    prepare = transform or (preset if isinstance(preset, Preset) else None)
    if transform is None:
        return Views(prepare, tta, prepared=True)
    return Views(prepare, tta)


def _reading_again(data: object, reader: Reader) -> Callable[[int], Any] | None:
    """What reads an image by its number; None where a DataLoader draws the order."""
    if isinstance(data, DataLoader):
        if type(data.sampler) is not SequentialSampler or not hasattr(data.dataset, "__len__"):
            return None
        data = data.dataset
    return reading(cast("ImageData", data), reader)


def main_scores(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The class scores in what a network returned: all of it, or the first of several."""
    return output if isinstance(output, Tensor) else output[0]


def unwrap(acc: Any, model: nn.Module, forward: object) -> None:
    """Take off what Accelerate put around and into a network.

    Args:
        acc: The Accelerator.
        model: What its `prepare` returned.
        forward: The network's own `vars(net).get("forward")` before that.
    """
    net = acc.unwrap_model(model, keep_fp32_wrapper=False)
    # For mixed precision Accelerate replaces `forward` in the instance, and what it puts back is
    # an attribute too, which would hide the class's method.
    if forward is None:
        vars(net).pop("forward", None)
    # By this the next Accelerator would leave the network on its device and in its precision.
    vars(net).pop("_is_accelerate_prepared", None)


def progress_bar(
    loader: Iterable[tuple[Tensor, Tensor]], text: str, *, shown: bool
) -> Iterable[tuple[Tensor, Tensor]]:
    """The loader itself, or behind a progress bar."""
    if not shown:
        return loader
    from tqdm import tqdm

    bar: Iterable[tuple[Tensor, Tensor]] = tqdm(loader, desc=text, leave=False, unit="batch")
    return bar
