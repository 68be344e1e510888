"""Features of a frozen backbone, computed once."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from convzoo._checks import check_choice, check_count, check_tensor
from convzoo._modes import evaluation
from convzoo.datasets import LabelledImages
from convzoo.datasets._prepared import (
    Columns,
    ImageData,
    ImageTransform,
    Prepared,
    Reader,
    usual_transform,
)
from convzoo.errors import InputError
from convzoo.transfer._feature_store import Cache, FeatureStore, digest, has_hooks, open_store
from convzoo.transfer._find_heads import find_heads, unwrap

if TYPE_CHECKING:
    from convzoo.inference._accelerate import EngineChoice

FeaturePrecision = Literal["fp32", "bf16"]
"""Number format in which the backbone runs; features are float32 in any case."""

_DRAWING = threading.Lock()  # torch's generator belongs to all threads

# How far features of the quickened backbone may be from those of the network itself, as a share of
# the largest: rounding, in fp32 of sums in another order.
_ROUNDING = {"fp32": 1e-3, "bf16": 1e-1}


def cached_features(
    net: nn.Module,
    data: ImageData | Iterable[Any],
    *,
    batch_size: int = 64,
    columns: Columns | None = None,
    views: int = 1,
    augment: ImageTransform | None = None,
    engine: EngineChoice | None = None,
    precision: FeaturePrecision = "fp32",
    cache: Cache = False,
    seed: int = 0,
) -> TensorDataset:
    """Run the backbone once over a data set and keep what reaches the head.

    With the backbone frozen, its features never change, and a head can be trained on them in
    seconds with [fit_head][convzoo.fit_head]. Each image is seen once, raw ones through the
    `eval()` transform of the network's preset, float tensors as `data` gives them; with `views`
    several times, augmented.

    The backbone runs as a copy with its batch normalisation folded and its channels last, which
    is the same within rounding. Image files are read in as many threads as there are processors.

    Args:
        net: Any network with a linear head (or a 1 x 1 convolution after global pooling). It
            runs in evaluation mode, on the device it is on, and is left as it is.
        data: What [fit][convzoo.fit] takes: pairs of image and class number, or rows by name; or an
            iterable of batches (images (B, C, H, W), class numbers (B,)) such as a `DataLoader`.
        batch_size: Images in one step.
        columns: Names of image and label in rows by name; None finds the usual ones (`image`,
            `img`, `label`, `labels` and their kin).
        views: How often each image is seen: once as it is, and that often less one augmented, the
            same way every time. [fit_head][convzoo.fit_head] draws one of them in each epoch.
        augment: What makes the augmented views; None takes the `train()` transform of the
            network's preset, which needs raw images.
        engine: What runs the backbone instead of PyTorch alone; see
            [accelerate][convzoo.accelerate].
        precision: `"bf16"` runs the backbone in bfloat16: quicker where the processor or GPU has
            it, and with three digits.
        cache: Whether to keep features on the disk and take them from there: True in the Hub
            client's folder for other libraries (`HF_ASSETS_CACHE`), or a folder of your own. They
            are found by the content of the image and by all that they depend on: weights and code
            of the network, place of the head, preset, precision, versions.
        seed: Of the augmented views.

    Returns:
        Features (N, D), with several views (N, views, D), and class numbers (N,), on the CPU, in
        the order of `data`.

    Raises:
        InputError: There are no images, an item is none that can be read, the head does not get
            one vector an image, or an argument is out of range.

    Examples:
        >>> import torch, convzoo
        >>> from torch.utils.data import TensorDataset
        >>> net = convzoo.replace_head(convzoo.cifar_resnet20(), 2, freeze="backbone")
        >>> data = TensorDataset(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1]))
        >>> convzoo.cached_features(net, data).tensors[0].shape
        torch.Size([4, 64])
    """
    core = unwrap(net)
    batch_size, views = check_count("batch_size", batch_size), check_count("views", views)
    seed = check_count("seed", seed, least=-(2**63), most=2**63 - 1)
    check_choice("precision", precision, get_args(FeaturePrecision))
    reader = Reader(
        "data", None, usual_transform(core, train=False), any_target=True, columns=columns
    )
    augmented = None
    if views > 1:
        if augment is not None and not callable(augment):
            raise InputError(f"augment: expected a transform, got {augment!r:.80}")
        augmented = replace(
            reader, given=augment, usual=usual_transform(core, train=True) or reader.usual
        )
    elif augment is not None:
        raise InputError("augment: makes views 2 and on; pass views=, at least 2")
    head = find_heads(core)[0]
    store = open_store(
        cache,
        core,
        head,
        preset=getattr(core, "preset", None),
        transform=reader.usual,
        precision=precision,
        engine=engine,
    )
    items = _Items(reader, augmented, views, seed, store)
    features: list[Tensor] = []
    labels: list[Any] = []
    with ExitStack() as stack:
        stack.enter_context(evaluation(core))
        backbone = _Backbone(core, head, engine, precision)
        if store is not None:
            stack.callback(store.write)  # what is there counts, also after Ctrl-C
        for chunk in items.chunks(data, max(1, batch_size // views), backbone, stack):
            rows = _rows(chunk, backbone, store)  # (b * views, D)
            features.append(rows.reshape(-1, views, rows.shape[1]) if views > 1 else rows)
            labels.append(default_collate([item.label for item in chunk]))
    if not features:
        raise InputError("data: expected at least one image, got none")
    return TensorDataset(torch.cat(features), torch.cat(labels))


@dataclass
class _Item:
    """An image to come: its label, and each view's key and input; None where it is stored."""

    label: int | Tensor
    keys: list[bytes]
    inputs: list[Tensor | None]


@dataclass(frozen=True)
class _Items:
    """Reads a data set chunk by chunk, as far as its features are not stored."""

    reader: Reader
    augmented: Reader | None
    views: int
    seed: int
    store: FeatureStore | None

    def chunks(
        self, data: object, size: int, backbone: _Backbone, stack: ExitStack
    ) -> Iterator[list[_Item]]:
        if isinstance(data, IterableDataset):
            data = DataLoader(data, batch_size=size)
        if isinstance(data, Iterable) and (
            not hasattr(data, "__getitem__") or _lists_batches(data)
        ):
            yield from self._batches(data)
            return
        whole = Prepared(cast("ImageData", data), self.reader)
        if whole.loader is not None:
            yield from self._batches(cast("Iterable[Any]", data))
            return
        read = partial(self._from_data, data, whole)
        places = range(len(whole))
        parts = [places[i : i + size] for i in range(0, len(whole), size)]
        if _file(data, 0) is not None:
            pool = stack.enter_context(ThreadPoolExecutor(_processors(), "convzoo-images"))
            ahead = [pool.submit(read, i) for i in parts[0]]
            for part in [*parts[1:], range(0)]:
                ready, ahead = ahead, []
                # The next images are read while the network runs on these; but not while it is
                # set up, by a trace that changes torch's modules for all threads meanwhile.
                if backbone.ready:
                    ahead = [pool.submit(read, i) for i in part]
                yield [future.result() for future in ready]
                ahead = ahead or [pool.submit(read, i) for i in part]
        else:
            for part in parts:
                yield [read(i) for i in part]

    def _from_data(self, data: Any, whole: Prepared, index: int) -> _Item:
        what = f"item {index}"
        path = _file(data, index)
        if path is not None:
            again = None if self.augmented is None else Prepared(data, self.augmented)

            def prepared(reader: Reader) -> Tensor:
                return (whole if reader is self.reader or again is None else again)[index][0]

            return self._item(path, data.targets[index], prepared)
        item = data[index]
        image, label = self.reader.pair(item, what)
        return self._item(
            image, self.reader.target(what, label), lambda reader: reader(item, what)[0]
        )

    def _batches(self, data: Iterable[Any]) -> Iterator[list[_Item]]:
        for batch in data:
            inputs, targets = self.reader.batch(batch)
            raw, _ = self.reader.pair(batch, "a batch")
            check_tensor("data: images", inputs)

            def prepared(reader: Reader, x: Tensor, image: Any) -> Tensor:
                return x if reader is self.reader else reader((image, 0), "an image")[0]

            yield [
                self._item(image, target, partial(prepared, x=x, image=image))
                for x, image, target in zip(inputs, raw, targets, strict=True)
            ]

    def _item(self, image: Any, label: int | Tensor, prepared: Any) -> _Item:
        """Keys and inputs of one image; `prepared(reader)` makes an input of it."""
        ready = isinstance(image, Tensor) and image.is_floating_point()
        if ready and self.augmented is not None and self.augmented.given is None:
            raise InputError(
                "views: the data gives inputs that are prepared already, which the preset does not "
                "augment; pass augment=, or raw images"
            )
        keyed = self.store is not None or self.augmented is not None
        content = digest(image) if keyed else b""
        item = _Item(label, [content], [])
        if self.store is None or content not in self.store:
            item.inputs.append(prepared(self.reader))
        else:
            item.inputs.append(None)
        if (augmented := self.augmented) is None:
            return item
        for view in range(1, self.views):
            # A view is the same whenever it is made, and whatever is read beside it.
            drawn = digest(content, f"{self.seed} {view} {augmented.usual!r}")
            own = augmented.given is not None
            x = None
            if own or self.store is None or drawn not in self.store:
                x = _drawn(prepared, augmented, drawn)
            if own and x is not None:  # what a transform of the user's does, only its result says
                drawn = digest(x)
                if self.store is not None and drawn in self.store:
                    x = None
            item.keys.append(drawn)
            item.inputs.append(x)
        return item


def _file(data: object, index: int) -> Path | None:
    """The file of an image, where a data set of ours has one for it."""
    if type(data) is not LabelledImages or isinstance(data.images, Tensor):
        return None
    image = data.images[index]
    return image if isinstance(image, Path) else None


def _drawn(prepared: Any, reader: Reader, seed: bytes) -> Tensor:
    """An augmented view, drawn by a seed of its own."""
    with _DRAWING, torch.random.fork_rng([]):
        torch.manual_seed(int.from_bytes(seed[:8], "little", signed=True))
        view: Tensor = prepared(reader)
    return view


def _rows(chunk: list[_Item], backbone: _Backbone, store: FeatureStore | None) -> Tensor:
    """Features of all views of some images, in order, (n, D)."""
    todo = [(key, x) for item in chunk for key, x in zip(item.keys, item.inputs, strict=True)]
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, (_, x) in enumerate(todo):
        if x is not None:
            by_shape.setdefault(tuple(x.shape), []).append(place)
    found: list[Tensor | None] = [None] * len(todo)
    for places in by_shape.values():
        made = backbone(torch.stack([cast("Tensor", todo[i][1]) for i in places]))
        if store is not None:
            store.add([todo[i][0] for i in places], made)
        for i, row in zip(places, made, strict=True):
            found[i] = row
    return torch.stack(
        [
            cast("FeatureStore", store)[key] if row is None else row
            for (key, _), row in zip(todo, found, strict=True)
        ]
    )


class _Backbone:
    """A network up to its head, as quick as it goes.

    Args:
        core: The network, in evaluation mode.
        head: The path of its head.
        engine: What runs it; None is PyTorch, with batch normalisation folded.
        precision: The number format.
    """

    def __init__(
        self, core: nn.Module, head: str, engine: EngineChoice | None, precision: FeaturePrecision
    ) -> None:
        self._core = core
        self._head = core.get_submodule(head)
        self._path = head
        self._engine = engine
        self._precision = precision
        self._run: Any = None
        self._device = next((p.device for p in core.parameters()), torch.device("cpu"))

    @property
    def ready(self) -> bool:
        """Whether it is set up, which its first images do."""
        return self._run is not None

    def __call__(self, x: Tensor) -> Tensor:
        """Features (B, D) of inputs (B, C, H, W), on the CPU."""
        x = x.to(self._device)
        with torch.no_grad():
            if self._run is None:
                self._run = self._choose(x)
            return _vectors(self._run(x)).float().cpu()

    def plain(self, x: Tensor) -> Tensor:
        """What the network's own head gets."""
        caught: list[Tensor] = []
        handle = self._head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            self._core(x)
        finally:
            handle.remove()
        if not caught:
            raise InputError(f"net: its head {self._path!r} gets nothing when it runs")
        return caught[-1]

    def _choose(self, x: Tensor) -> Any:
        expected = _vectors(self.plain(x[:1]), len(x))
        # What hooks are there want to see the network itself.
        quick = None if has_hooks(self._core) else self._quickened(x)
        if quick is not None:
            found = quick(x[:1])
            if found.numel() == expected.numel() and found.ndim in (2, 4):
                off = (found.float().flatten(1) - expected).abs().max()
                if off <= _ROUNDING[self._precision] * expected.abs().max():
                    return quick
        if self._engine is not None or self._precision != "fp32":
            raise InputError(
                f"net: what its head gets cannot be computed with engine={self._engine!r}, "
                f"precision={self._precision!r}; leave both as they are"
            )
        return self.plain

    def _quickened(self, x: Tensor) -> Any:
        from convzoo.inference._engines._folded import folded

        try:
            body = copy.deepcopy(self._core)
        except (RuntimeError, TypeError):  # tensors with a history, locks, open files
            return None
        body.set_submodule(self._path, nn.Identity())
        if self._engine is not None:
            from convzoo.inference._accelerate import accelerate

            return accelerate(body, x, engine=self._engine, precision=self._precision)
        dtype = torch.bfloat16 if self._precision == "bf16" else torch.float32
        layout = torch.channels_last
        quick = folded(body)[0].to(dtype).to(memory_format=layout)
        return lambda images: quick(images.to(dtype=dtype, memory_format=layout))


def _lists_batches(data: object) -> bool:
    """Whether a list holds batches of images, (B, C, H, W), with their labels."""
    first = data[0] if isinstance(data, (list, tuple)) and data else None
    image = first[0] if isinstance(first, (list, tuple)) and first else None
    return isinstance(image, Tensor) and image.ndim == 4


def _processors() -> int:
    """How many of them this process may use, 16 at most."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        count = os.cpu_count() or 1
    return min(16, count)


def _vectors(features: Tensor, count: int | None = None) -> Tensor:
    """(B, D) as it is, (B, D, 1, 1) flattened; anything else is no vector an image."""
    if features.ndim == 2:
        return features
    if features.ndim == 4 and features.shape[2:] == (1, 1):
        return features.flatten(1)
    shape = (len(features) if count is None else count, *features.shape[1:])
    raise InputError(
        "net: expected a head that gets one vector an image, (B, D), "
        f"but it gets {shape}; train such a head with the network around it"
    )
