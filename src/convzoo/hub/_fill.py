"""A network around a weights file: built empty, checked against the file's header, then filled."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from convzoo._contract import Contract
from convzoo._heads import head_dropout
from convzoo.errors import CheckpointError, InputError, WeightsError
from convzoo.hub import _key_maps
from convzoo.hub._config import TRAINING_OPTIONS, first_convolution
from convzoo.hub._safetensors import SafetensorsFile, TensorEntry, tensors_with_nan
from convzoo.hub._slots import Slot, assign, mismatch, slots
from convzoo.hub._sources import Source

log = logging.getLogger("convzoo")


class Request(NamedTuple):
    """What a builder asks for besides the weights.

    Attributes:
        build: Makes the network on the meta device, given `num_classes` and `in_channels`.
        architecture: The builder's name.
        num_classes: Classes asked for; None takes the weights' own.
        in_channels: Channels asked for; None takes the weights' own.
        device: Where the network goes.
    """

    build: Callable[[int | None, int | None], Contract]
    architecture: str
    num_classes: int | None
    in_channels: int | None
    device: torch.device


class _Contents(NamedTuple):
    """A weights file's tensors by our keys."""

    entries: dict[str, TensorEntry]  # our key -> dtype, shape in our layout, place in the file
    read: Mapping[str, Tensor]  # a pickle's tensors; empty where the file is mapped


def fill(request: Request, source: Source) -> Contract:
    """The network that a builder was asked for, with these weights.

    Args:
        request: What is asked for.
        source: The weights.

    Returns:
        The network, in training mode.

    Raises:
        WeightsError: The file cannot be read, or holds NaN.
        CheckpointError: It does not fit the network.
    """
    config = source.config
    if config.architecture not in (None, request.architecture):
        raise CheckpointError(
            f"{source.name}: these are weights of {config.architecture}, "
            f"not of {request.architecture}"
        )
    contents = _open(source, request.architecture)
    headless = config.num_classes == 0
    if headless and request.num_classes is None:
        raise InputError(f"{source.name} has no head: num_classes is needed for a new one")
    net = _build(request, source, contents)
    _check_options(net, source)
    needed = slots(net)
    fresh = _fresh_parts(net, needed, contents, source, headless)
    adapted = _adapted(net, request, contents)
    shapes = {key: entry.shape for key, entry in contents.entries.items()}
    problem = mismatch(
        {key: tuple(slot.tensor.shape) for key, slot in needed.items() if key not in fresh},
        {**shapes, **adapted},
    )
    if problem is not None:
        raise CheckpointError(f"{source.name} does not fit {request.architecture}:\n{problem}")
    tensors = _tensors(needed, fresh, adapted, contents, source, request.device)
    blank = fresh | {key for key, slot in needed.items() if slot.fixed}
    if blank:
        whole = request.build(net.num_classes, net.in_channels).to_empty(device=request.device)
        whole.reset_parameters()
        tensors.update({key: slots(whole)[key].tensor for key in blank})
    assign(needed, tensors)
    net.provenance = source.base
    net.labels = config.labels
    if config.preset is not None:
        net.preset = config.preset
    if net.preset is not None:
        net.preset = net.preset.for_channels(net.in_channels)
    if request.num_classes not in (None, net.num_classes):
        _new_head(net, int(request.num_classes or 0), source)
    return net


def _open(source: Source, architecture: str) -> _Contents:
    """Name everything in the file as we do."""
    config, file = source.config, source.contents
    read: Mapping[str, Tensor] = {}
    if isinstance(file, SafetensorsFile):
        found: Mapping[str, TensorEntry] = file.entries
        written_with = file.metadata.get("convzoo.weights_id")
        if None not in (config.weights_id, written_with) and config.weights_id != written_with:
            raise CheckpointError(
                f"{source.name}: config.json and {source.path.name} come from two different "
                "saves; the second one was interrupted: save the network again"
            )
    else:
        read = file
        found = {key: TensorEntry(value.dtype, tuple(value.shape)) for key, value in read.items()}
    layout = source.layout or _key_maps.detect(architecture, found)
    names = {layout.our_key(key): key for key in found}
    # Only the shapes differ between layouts, so that a tensor is mapped in ours at once.
    entries = {
        key: found[name]._replace(shape=layout.our_shape(key, found[name].shape))
        for key, name in names.items()
    }
    if read:
        read = {key: read[name].reshape(entries[key].shape) for key, name in names.items()}
    return _Contents(entries, read)


def _build(request: Request, source: Source, contents: _Contents) -> Contract:
    """The empty network, as large as the file says where its config does not."""
    config = source.config
    classes = config.num_classes or (request.num_classes if config.num_classes == 0 else None)
    channels = request.in_channels or config.in_channels
    net = request.build(classes, channels)
    if classes is None or channels is None:
        head = contents.entries.get(f"{net.head_path}.weight")
        entry = contents.entries.get(f"{first_convolution(net)}.weight")
        if classes is None and head is not None and head.shape:
            classes = head.shape[0] or None
        if channels is None and entry is not None and len(entry.shape) == 4:
            channels = entry.shape[1] or None
        sizes = (classes or net.num_classes, channels or net.in_channels)
        if sizes != (net.num_classes, net.in_channels):
            net = request.build(*sizes)
    if config.head_dropout and config.head_dropout != head_dropout(
        net.get_submodule(net.head_path)
    ):
        net.reset_head(net.num_classes, dropout=config.head_dropout)
    return net


def _check_options(net: Contract, source: Source) -> None:
    for key, value in source.config.options.items():
        harmless = key in TRAINING_OPTIONS or key == "aux_heads"
        if key not in net.options and not harmless:
            raise CheckpointError(
                f"{source.name}: saved from {net.architecture}({key}={value!r}); pass that to "
                "the builder, or use convzoo.load, which does"
            )


def _fresh_parts(
    net: Contract,
    needed: Mapping[str, Slot],
    contents: _Contents,
    source: Source,
    headless: bool,
) -> set[str]:
    """Keys that start afresh because the file cannot have them; drops what the network has not."""
    heads = tuple(f"{path}." for path in net.head_paths()) if headless else ()
    fresh = {key for key in needed if key.startswith(heads)} if heads else set()
    counters = {key for key in needed if key.endswith(".num_batches_tracked")}
    if not counters & contents.entries.keys():
        fresh |= counters  # files of old have none, and evaluation needs none
    aux = {path.partition(".")[0] for path in net.aux_head_paths}
    here = {key for key in needed if key.partition(".")[0] in aux}
    there = {key for key in contents.entries if key.partition(".")[0] in aux}
    if here and not there:
        log.info("%s: no auxiliary heads in these weights: they are fresh", source.name)
        fresh |= here
    elif there and not here:
        for key in there:  # useful in training only, and not asked for
            del contents.entries[key]
    for key in fresh:
        contents.entries.pop(key, None)
    return fresh


def _adapted(net: Contract, request: Request, contents: _Contents) -> dict[str, tuple[int, ...]]:
    """The first convolution's shape, where it has to become another one."""
    path = first_convolution(net)
    key = f"{path}.weight"
    entry = contents.entries.get(key)
    if path is None or request.in_channels is None or entry is None or len(entry.shape) != 4:
        return {}
    conv = net.get_submodule(path)
    grouped = isinstance(conv, nn.Conv2d) and conv.groups != 1
    if 0 in entry.shape or entry.shape[1] == net.in_channels or grouped:
        return {}
    return {key: (entry.shape[0], net.in_channels, *entry.shape[2:])}


def _tensors(
    needed: Mapping[str, Slot],
    fresh: set[str],
    adapted: Mapping[str, tuple[int, ...]],
    contents: _Contents,
    source: Source,
    device: torch.device,
) -> dict[str, Tensor]:
    """Every tensor by our key, in our shape, in the right dtype and place."""
    file, read = source.contents, contents.read
    if isinstance(file, SafetensorsFile):
        broken = file.quick_look_for_nan()
        read = file.tensors(contents.entries, device)
    else:
        broken = tensors_with_nan(read)
    if broken:
        raise WeightsError(
            f"{source.name}: NaN in {', '.join(broken[:5])}: the file is damaged, or the "
            "training that wrote it diverged"
        )
    keep = getattr(torch, source.config.dtype) if source.config.dtype else None
    tensors: dict[str, Tensor] = {}
    for key, slot in needed.items():
        if key in fresh or slot.fixed:
            continue
        value, wanted = read[key], slot.tensor.dtype
        if key in adapted:
            value = adapt_first_convolution(value, adapted[key][1])
        if value.is_floating_point() != wanted.is_floating_point:
            raise CheckpointError(f"{source.name}: {key}: expected {wanted}, got {value.dtype}")
        if keep is not None and wanted.is_floating_point:
            wanted = keep
        if value.dtype != wanted or value.device != device:
            value = value.to(device=device, dtype=wanted)
        tensors[key] = value
    return tensors


def _new_head(net: Contract, num_classes: int, source: Source) -> None:
    log.info(
        "%s: %d classes instead of the weights' %d: the head is fresh",
        source.name,
        num_classes,
        net.num_classes,
    )
    net.reset_head(num_classes, dropout=source.config.head_dropout)


def adapt_first_convolution(weight: Tensor, in_channels: int) -> Tensor:
    """A convolution's weight for another number of input channels.

    The answer to a grey image, the same in every channel, stays what it was: fewer channels share
    the sum over the old ones, more channels repeat the old ones in turn, and each old channel's
    weight is split evenly among its copies.

    Args:
        weight: (out, in, height, width).
        in_channels: Channels of the new weight, at least 1.

    Returns:
        (out, in_channels, height, width); a new tensor.
    """
    old = weight.shape[1]
    wide = weight.double()  # the sum of three bfloat16s deserves it, and the tensor is small
    if in_channels < old:
        share = wide.sum(dim=1, keepdim=True) / in_channels
        return share.expand(-1, in_channels, -1, -1).to(weight.dtype).contiguous()
    source = torch.arange(in_channels, device=weight.device) % old
    copies = torch.bincount(source, minlength=old)
    scale = copies[source].to(wide.dtype).reshape(1, -1, 1, 1)
    return (wide[:, source] / scale).to(weight.dtype)
