"""Features of a frozen backbone, computed once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from convzoo._checks import check_count, check_number, check_tensor
from convzoo._modes import evaluation, kept_modes
from convzoo.datasets._prepared import Columns, ImageData, Prepared, Reader, usual_transform
from convzoo.errors import InputError
from convzoo.transfer._find_heads import find_heads, score_width, unwrap


def cached_features(
    net: nn.Module,
    data: ImageData | Iterable[Any],
    *,
    batch_size: int = 64,
    columns: Columns | None = None,
) -> TensorDataset:
    """Run the backbone once over a data set and keep what reaches the head.

    With the backbone frozen, its features never change, and a head can be trained on them in
    seconds with [fit_head][convzoo.fit_head]. For the same reason there is no augmentation: each
    image is seen once: raw images through the `eval()` transform of the network's preset, float
    tensors as `data` gives them.

    Args:
        net: Any network with a linear head (or a 1 x 1 convolution after global pooling). It
            runs in evaluation mode, on the device it is on, and gets its modes back.
        data: What [fit][convzoo.fit] takes: pairs of image and class number, or rows by name; or an
            iterable of batches (images (B, C, H, W), class numbers (B,)) such as a `DataLoader`.
        batch_size: Images in one step, where `data` is a data set.
        columns: Names of image and label in rows by name; None finds the usual ones (`image`,
            `img`, `label`, `labels` and their kin).

    Returns:
        Features (N, D) and class numbers (N,), on the CPU, in the order of `data`.

    Raises:
        InputError: There are no images, an item is none that can be read, or the head does not get
            one vector an image.

    Examples:
        >>> import torch, convzoo
        >>> from torch.utils.data import TensorDataset
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 2, freeze="backbone")
        >>> data = TensorDataset(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
        >>> convzoo.cached_features(net, data).tensors[0].shape
        torch.Size([4, 64])
    """
    core = unwrap(net)
    reader = Reader(
        "data", None, usual_transform(core, train=False), any_target=True, columns=columns
    )
    batches = _batches(data, reader, check_count("batch_size", batch_size))
    head = core.get_submodule(find_heads(core)[0])
    device = next(core.parameters()).device
    caught: list[Tensor] = []

    def catch(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])

    features: list[Tensor] = []
    labels: list[Tensor] = []
    handle = head.register_forward_pre_hook(catch)
    try:
        with evaluation(core):
            for images, classes in batches:
                check_tensor("data: images", images)
                caught.clear()
                with torch.no_grad():
                    core(images.to(device))
                features.append(_vectors(caught[-1]).cpu())
                labels.append(torch.as_tensor(classes).cpu())
    finally:
        handle.remove()
    if not features:
        raise InputError("data: expected at least one image, got none")
    return TensorDataset(torch.cat(features), torch.cat(labels))


def _batches(
    data: ImageData | Iterable[Any], reader: Reader, batch_size: int
) -> Iterable[tuple[Tensor, Tensor]]:
    if isinstance(data, IterableDataset):
        data = DataLoader(data, batch_size=batch_size)
    if isinstance(data, Iterable) and (not hasattr(data, "__getitem__") or _lists_batches(data)):
        return map(reader.batch, data)
    return DataLoader(Prepared(cast("ImageData", data), reader), batch_size=batch_size)


def _lists_batches(data: object) -> bool:
    """Whether a list holds batches of images, (B, C, H, W), with their labels."""
    first = data[0] if isinstance(data, (list, tuple)) and data else None
    image = first[0] if isinstance(first, (list, tuple)) and first else None
    return isinstance(image, Tensor) and image.ndim == 4


def fit_head(
    net: nn.Module,
    features: TensorDataset,
    *,
    epochs: int = 100,
    lr: float = 1e-3,
    weight_decay: float = 1e-2,
    batch_size: int = 256,
    seed: int = 0,
) -> list[float]:
    """Train a network's head on cached features, with AdamW and cross-entropy.

    Only the last layer of the main head changes; auxiliary heads never see these features.

    Args:
        net: The network that the features came from.
        features: What [cached_features][convzoo.cached_features] returned.
        epochs: Passes over the features.
        lr: Learning rate at the start; it falls to zero along a cosine.
        weight_decay: Weight decay of the head's weights; biases have none.
        batch_size: Features in one step.
        seed: Seed of the order in which the features come.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: There are no features, they are not as long as the head's input, a class
            number is none of the head's classes, or a number is out of range.

    Examples:
        >>> import torch, convzoo
        >>> from torch.utils.data import TensorDataset
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 2, freeze="backbone")
        >>> data = TensorDataset(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
        >>> losses = convzoo.fit_head(net, convzoo.cached_features(net, data), epochs=20)
        >>> losses[-1] < losses[0]
        True
    """
    epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
    seed = check_count("seed", seed, least=-(2**63), most=2**63 - 1)
    lr, weight_decay = check_number("lr", lr, 0), check_number("weight_decay", weight_decay, 0)
    core = unwrap(net)
    head = core.get_submodule(find_heads(core)[0])
    if not isinstance(features, TensorDataset) or len(features.tensors) != 2:
        raise InputError(
            "features: expected the TensorDataset of two tensors that cached_features returns, "
            f"got {features!r:.80}"
        )
    x, y = features.tensors
    parameters = [p for p in head.parameters() if p.requires_grad]
    if getattr(core, "num_classes", None) == 0:
        raise InputError("net: it has no head; replace_head(net, num_classes) gives it one")
    if not parameters:
        raise InputError("net: the head is frozen; unfreeze it before it is trained")
    width = parameters[0].shape[1]
    if x.ndim != 2 or x.shape[1] != width:
        raise InputError(f"features: expected shape (N, {width}), got {tuple(x.shape)}")
    _check_classes(y, len(x), score_width(head) or parameters[0].shape[0])
    device = parameters[0].device
    x, y = x.to(device), y.to(device, torch.long)
    order = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=lr,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    convolution = parameters[0].ndim == 4
    losses: list[float] = []
    with kept_modes(head):
        head.train()
        for _ in range(epochs):
            total = torch.zeros((), device=device)
            for index in torch.split(torch.randperm(len(x), generator=order), batch_size):
                index = index.to(device)
                batch = x[index][:, :, None, None] if convolution else x[index]
                loss = F.cross_entropy(head(batch).flatten(1), y[index])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                total += loss.detach() * len(index)
            schedule.step()
            losses.append(float(total) / len(x))
    return losses


def _check_classes(y: Tensor, count: int, classes: int) -> None:
    """Refuse class numbers that cross-entropy would answer with a crash, on a GPU a fatal one."""
    if count == 0:
        raise InputError("features: expected at least one image's, got none")
    if y.ndim != 1 or y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise InputError(
            f"features: expected one class number an image, integers of shape ({count},), "
            f"got {y.dtype} of shape {tuple(y.shape)}"
        )
    least, most = int(y.min()), int(y.max())
    if least < 0 or most >= classes:
        raise InputError(
            f"features: expected class numbers from 0 to {classes - 1}, "
            f"got {least if least < 0 else most}; "
            f"the head scores {classes} classes (see replace_head)"
        )


def _vectors(features: Tensor) -> Tensor:
    """(B, D) as it is, (B, D, 1, 1) flattened; anything else is no vector an image."""
    if features.ndim == 2:
        return features
    if features.ndim == 4 and features.shape[2:] == (1, 1):
        return features.flatten(1)
    raise InputError(
        "net: expected a head that gets one vector an image, (B, D), "
        f"but it gets {tuple(features.shape)}; train such a head with the network around it"
    )
