"""Images as vectors: what reaches the head, its neighbours, and a map of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from convzoo._checks import check_choice, check_count
from convzoo.errors import InputError, MissingExtraError
from convzoo.transfer._find_heads import find_heads
from convzoo.visualize._drawing import Path, new_figure, save
from convzoo.visualize._judged import batches
from convzoo.visualize._pixels import pixels, prepare
from convzoo.visualize._probe import looking
from convzoo.visualize._vectors import Vectors, VectorsOnDisk

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from convzoo.presets import Preset

Metric = Literal["cosine", "l2"]
"""How far apart two vectors are: 1 minus the cosine of their angle, or the Euclidean distance."""
Projection = Literal["pca", "tsne"]
_MOST_THUMBNAILS = 1000


def embed(
    net: nn.Module,
    data: Dataset[Any] | Iterable[Any],
    *,
    batch_size: int = 64,
    path: str | os.PathLike[str] | None = None,
) -> Tensor:
    """Images as the vectors that reach the network's last layer, as in AlexNet's figure 4.

    Args:
        net: Any network with a linear head.
        data: A data set or an iterable of images, or of pairs (image, label), or a `DataLoader`;
            raw images go through the network's preset.
        batch_size: Images in one step.
        path: A file, `.npy`, to which the vectors go as they come: for sets whose vectors memory
            does not hold. What is there is replaced at the end. None keeps them in memory.

    Returns:
        (N, D), float32, on the CPU; with `path` mapped from the file, as `numpy.load(path,
        mmap_mode="c")` maps it another time.

    Raises:
        InputError: There are no images, the head does not get one vector an image, or the file
            cannot be written.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets, visualize
        >>> net = convzoo.cifar_resnet20(weights="fashion_mnist")
        >>> visualize.embed(net, datasets.digits().test.subset(range(6))).shape
        torch.Size([6, 64])
    """
    batch_size = check_count("batch_size", batch_size)
    vectors = Vectors() if path is None else VectorsOnDisk(path)
    with vectors, looking(net, gradients=False) as core:
        head = core.get_submodule(find_heads(core)[0])
        caught: list[Tensor] = []

        def catch(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            caught.append(inputs[0])

        handle = head.register_forward_pre_hook(catch)
        try:
            for items in batches(data, batch_size):
                images = [i[0] if isinstance(i, (tuple, list)) else i for i in items]
                core(prepare(core, images))
                found = caught.pop().float().cpu()
                if found.ndim == 4 and found.shape[2:] == (1, 1):
                    found = found.flatten(1)
                if found.ndim != 2:
                    raise InputError(
                        "net: expected a head that gets one vector an image, it gets "
                        f"{tuple(found.shape[1:])}"
                    )
                vectors.add(found)
                caught.clear()
        finally:
            handle.remove()
        return vectors.all()


def nearest(
    queries: Tensor, index: Tensor, count: int = 6, *, metric: Metric = "cosine"
) -> tuple[Tensor, Tensor]:
    """The vectors of an index that are nearest to some queries.

    Args:
        queries: (Q, D), or one of (D,).
        index: (N, D), what [embed][convzoo.visualize.embed] returned. It may lie on disk:
            `torch.load(path, mmap=True)` or `safetensors` map it, and it is read part by part.
        count: How many; never more than there are.
        metric: `"cosine"` or `"l2"`.

    Returns:
        Numbers of the vectors and their distances, (Q, count) each, the nearest first.

    Raises:
        InputError: They are no vectors of one length.
        UnknownNameError: There is no such metric.

    Examples:
        >>> import torch
        >>> from convzoo import visualize
        >>> index = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
        >>> visualize.nearest(torch.tensor([0.0, 1.0]), index, 2)[0].tolist()
        [[1, 2]]
    """
    count = check_count("count", count)
    check_choice("metric", metric, get_args(Metric))
    if not isinstance(queries, Tensor) or not isinstance(index, Tensor):
        raise InputError("queries, index: expected tensors of vectors, what embed returns")
    asked = queries[None] if queries.ndim == 1 else queries
    if asked.ndim != 2 or index.ndim != 2 or asked.shape[1] != index.shape[1] or not len(index):
        raise InputError(
            "queries, index: expected (Q, D) and (N, D), got "
            f"{tuple(queries.shape)} and {tuple(index.shape)}"
        )
    asked = asked.float()
    best_values = torch.empty(len(asked), 0)
    best_numbers = torch.empty(len(asked), 0, dtype=torch.long)
    start = 0
    for part in torch.split(index, 16_384):
        part = part.float()
        if metric == "cosine":
            unit = torch.nn.functional.normalize
            far = 1 - unit(asked, dim=1) @ unit(part, dim=1).T
        else:
            far = torch.cdist(asked, part, compute_mode="donot_use_mm_for_euclid_dist")
        numbers = torch.arange(start, start + len(part)).expand(len(asked), -1)
        start += len(part)
        best_values = torch.cat([best_values, far], 1)
        best_numbers = torch.cat([best_numbers, numbers], 1)
        best_values, order = best_values.sort(dim=1, stable=True)
        best_values = best_values[:, :count]
        best_numbers = best_numbers.gather(1, order)[:, :count]
    return best_numbers, best_values


def embedding_map(vectors: Tensor, method: Projection = "pca", *, seed: int = 0) -> Tensor:
    """Vectors as points of the plane.

    Args:
        vectors: (N, D), what [embed][convzoo.visualize.embed] returned; at least 3.
        method: `"pca"`, the two directions of most variance; or `"tsne"`, scikit-learn's t-SNE,
            which keeps neighbours together and means nothing by distances between groups.
        seed: Of t-SNE.

    Returns:
        (N, 2), float32. The signs of PCA are chosen so that each direction's largest part is
        positive.

    Raises:
        InputError: There are fewer than 3 vectors.
        UnknownNameError: There is no such method.
        ConvzooError: scikit-learn is not installed, for `"tsne"`.

    Examples:
        >>> import torch
        >>> from convzoo import visualize
        >>> points = visualize.embedding_map(torch.tensor([[0.0, 0, 5], [0, 1, 5], [0, 2, 5]]))
        >>> points[:, 0].tolist()
        [-1.0, 0.0, 1.0]
    """
    check_choice("method", method, get_args(Projection))
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) < 3:
        got = tuple(vectors.shape) if isinstance(vectors, Tensor) else f"{vectors!r:.80}"
        raise InputError(f"vectors: expected at least 3 of them, (N, D), got {got}")
    x = vectors.detach().double().cpu()
    if method == "tsne":
        try:
            from sklearn.manifold import TSNE  # type: ignore[import-not-found, unused-ignore]
        except ModuleNotFoundError:
            raise MissingExtraError(
                "method='tsne' needs scikit-learn, which is not installed: pip install scikit-learn"
            ) from None
        # Fewer neighbours where there are fewer images; 30 is t-SNE's usual number.
        near = min(30.0, (len(x) - 1) / 3)
        fitted = TSNE(perplexity=near, init="pca", random_state=seed).fit_transform(x.numpy())
        return torch.as_tensor(fitted, dtype=torch.float32)
    centred = x - x.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    axes = torch.zeros(2, x.shape[1], dtype=x.dtype)
    axes[: len(directions[:2])] = directions[:2]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return (centred @ (axes * torch.where(largest < 0, -1.0, 1.0)).T).float()


def draw_embedding(
    points: Tensor,
    labels: Sequence[str] | None = None,
    *,
    images: Tensor | None = None,
    preset: Preset | nn.Module | None = None,
    path: Path = None,
) -> Figure:
    """Points of the plane, coloured by class, or with the images themselves as thumbnails.

    Args:
        points: (N, 2), what [embedding_map][convzoo.visualize.embedding_map] returned.
        labels: The class of each, for colours and the legend.
        images: Prepared images (N, C, H, W), drawn in place of dots; at most 1,000.
        preset: What prepared them, or the network.
        path: Where to write it; the suffix says in which format. None does not.

    Returns:
        The figure.

    Raises:
        InputError: The lengths differ, or there are too many images to draw.
        ConvzooError: The `plot` extra is not installed.

    Examples:
        >>> import torch
        >>> from convzoo import visualize
        >>> figure = visualize.draw_embedding(torch.rand(4, 2), ["cat", "cat", "dog", "dog"])
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['cat', 'dog']
    """
    if not isinstance(points, Tensor) or points.ndim != 2 or points.shape[1] != 2:
        got = tuple(points.shape) if isinstance(points, Tensor) else f"{points!r:.80}"
        raise InputError(f"points: expected what embedding_map returns, (N, 2), got {got}")
    for name, given in (("labels", labels), ("images", images)):
        if given is not None and len(given) != len(points):
            raise InputError(f"{name}: expected one for each of {len(points)} points")
    if images is not None and len(images) > _MOST_THUMBNAILS:
        raise InputError(f"images: expected at most {_MOST_THUMBNAILS}, got {len(images)}")
    figure = new_figure(6.5, 5.5)
    axes = figure.subplots()
    names = sorted(set(labels or ()))
    colours = [f"C{i % 10}" for i in range(max(len(names), 1))]
    groups: list[str | None] = [*names] or [None]
    for number, group in enumerate(groups):
        rows = [i for i in range(len(points)) if labels is None or labels[i] == group]
        axes.scatter(
            points[rows, 0].numpy(),
            points[rows, 1].numpy(),
            s=14,
            color=colours[number],
            marker="o" if number < 10 else "^",
            label=group,
            alpha=0.0 if images is not None and labels is None else 0.9,
        )
    if images is not None:
        from matplotlib.offsetbox import AnnotationBbox, OffsetImage

        shown = pixels(images, preset)
        zoom = 18 / shown.shape[-1]
        for i, point in enumerate(points.tolist()):
            picture = shown[i] if shown.shape[1] == 3 else shown[i].mean(0, keepdim=True)
            array = picture.permute(1, 2, 0).numpy().squeeze()
            colour = None if labels is None else colours[names.index(labels[i])]
            axes.add_artist(
                AnnotationBbox(
                    OffsetImage(array, zoom=zoom, cmap="gray"),
                    point,
                    pad=0.08,
                    bboxprops={"edgecolor": colour or "white", "linewidth": 1.5},
                )
            )
    axes.set_xticks([])
    axes.set_yticks([])
    if names:
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return save(figure, path)
