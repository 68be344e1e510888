"""Scoring a network on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

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
from convzoo.training._evaluation import Evaluation, reading
from convzoo.training._tally import Tally


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
            return score(
                acc,
                model if views is None else MeanOfViews(model),
                loader,
                labels=labels or known,
                progress=progress,
                read=_reading_again(data, reader),
            )
        finally:
            unwrap(acc, model, forward)


def score(
    acc: Any,
    model: nn.Module,
    loader: Iterable[tuple[Tensor, Tensor]],
    *,
    labels: Sequence[str] | None,
    progress: bool,
    read: Callable[[int], Any] | None = None,
) -> Evaluation:
    """Score a prepared model on a prepared loader; `read` reads an image again."""
    model.eval()
    tally = Tally()
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
            scores, targets = acc.gather_for_metrics((scores, targets))
            tally.update(scores, targets)
    if not tally.rows:
        raise InputError("data: the data set is empty")
    return tally.evaluation(labels, read)


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
