"""A network around a weights file: built empty, checked against the file's header, then filled."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from convzoo._build import empty, own_options, place
from convzoo._contract import Contract
from convzoo._heads import head_dropout
from convzoo._idioms import first_convolution
from convzoo._meta_device import garbage_collection_paused
from convzoo.errors import CheckpointError, WeightsError
from convzoo.hub import _key_maps
from convzoo.hub._config import TRAINING_OPTIONS
from convzoo.hub._files import Source
from convzoo.hub._safetensors import TensorEntry
from convzoo.hub._slots import Slot, assign, mismatch, slots
from convzoo.registry import ModelInfo

log = logging.getLogger("convzoo")


@garbage_collection_paused()
def fill(
    info: ModelInfo,
    options: Mapping[str, Any],
    source: Source,
    rename: Mapping[str, str] | None = None,
) -> Contract:
    """The network that a builder was asked for, with these weights.

    Args:
        info: The builder's entry in the registry.
        options: What the builder was given besides the weights.
        source: The weights.
        rename: Names in the file's keys -> the network's.

    Returns:
        The network, in training mode.

    Raises:
        InputError: An option is out of range.
        WeightsError: The file cannot be read, or holds NaN.
        CheckpointError: It does not fit the network.
    """
    build = functools.partial(empty, info, own_options(info, options))
    wanted, config = place(options), source.config
    if config.architecture not in (None, info.name):
        raise CheckpointError(
            f"{source.name}: these are weights of {config.architecture}, not of {info.name}"
        )
    entries = _entries(source, info.name, rename or {})
    # The empty network is as large as the file is, where its config does not say.
    classes = (wanted.num_classes or 0) if config.num_classes == 0 else config.num_classes
    channels = wanted.in_channels or config.in_channels
    net = build(classes, channels)
    head, first = (
        entries[key].shape if (key := f"{path}.weight") in entries else ()
        for path in (net.head_path, first_convolution(net))
    )
    if classes is None:
        classes = head[0] if head else 0 if wanted.num_classes == 0 else net.num_classes
    channels = channels or (first[1] if len(first) == 4 else 0) or net.in_channels
    if (classes, channels) != (net.num_classes, net.in_channels):
        net = build(classes, channels)
    dropout = config.head_dropout
    if dropout and dropout != head_dropout(net.get_submodule(net.head_path)):
        net.reset_head(net.num_classes, dropout=dropout)
    for key, value in config.options.items():
        if key not in {*net.options, *TRAINING_OPTIONS, "aux_heads"}:
            raise CheckpointError(
                f"{source.name}: saved from {net.architecture}({key}={value!r}); pass that to "
                "the builder, or use convzoo.load, which does"
            )
    needed = slots(net)
    fresh = _fresh_keys(net, needed, entries, source)
    shapes = {key: entry.shape for key, entry in entries.items()}
    if wanted.in_channels is not None:
        shapes |= _adapted(net, entries)
    problem = mismatch(
        {key: tuple(slot.tensor.shape) for key, slot in needed.items() if key not in fresh}, shapes
    )
    if problem is not None:
        raise CheckpointError(f"{source.name} does not fit {info.name}:\n{problem}")
    tensors = _tensors(source, entries, needed, wanted.device)
    if fresh:
        whole = build(net.num_classes, net.in_channels).to_empty(device=wanted.device)
        whole.reset_parameters()
        initial = slots(whole)
        tensors |= {key: initial[key].tensor for key in fresh}
    assign(needed, tensors)
    net.provenance = source.base
    net.labels = config.labels
    preset = config.preset or net.preset
    net.preset = preset and preset.for_channels(net.in_channels)
    if wanted.num_classes not in (None, net.num_classes):
        log.info(
            "%s: %d classes instead of the weights' %d: the head is %s",
            source.name,
            wanted.num_classes,
            net.num_classes,
            "fresh" if wanted.num_classes else "left away",
        )
        net.reset_head(int(wanted.num_classes or 0), dropout=dropout)
    return net


def _entries(
    source: Source, architecture: str, rename: Mapping[str, str]
) -> dict[str, TensorEntry]:
    """What the file says of its tensors, by our keys and in our shapes."""
    weights_id, file = source.config.weights_id, source.contents
    written_with = file.metadata.get("convzoo.weights_id")
    if None not in (weights_id, written_with) and weights_id != written_with:
        raise CheckpointError(
            f"{source.name}: config.json and {file.path.name} come from two different "
            "saves; the second one was interrupted: save the network again"
        )
    renamed = _key_maps.renamed(file.entries, rename)
    layout = source.layout or _key_maps.detect(architecture, renamed)
    names = {layout.our_key(key): name for key, name in renamed.items()}
    return {
        key: file.entries[name]._replace(shape=layout.our_shape(key, file.entries[name].shape))
        for key, name in names.items()
    }


def _fresh_keys(
    net: Contract, needed: Mapping[str, Slot], entries: dict[str, TensorEntry], source: Source
) -> set[str]:
    """Keys that start afresh because the file cannot have them; drops what the network has not."""
    fresh = {key for key in needed if key.endswith(".num_batches_tracked")}
    if fresh & entries.keys():  # files of old have none, and evaluation needs none
        fresh = set()
    for key in [key for key in entries if key.endswith(".num_batches_tracked")]:
        if key not in needed:  # frozen batch normalisation counts none
            del entries[key]
    fresh |= {key for key, slot in needed.items() if slot.fixed}
    if source.config.num_classes == 0:
        heads = tuple(f"{path}." for path in net.head_paths())
        fresh |= {key for key in needed if key.startswith(heads)}
        for key in [key for key in entries if key.startswith(heads)]:
            del entries[key]
    aux = tuple(f"{path.partition('.')[0]}." for path in net.aux_head_paths)
    here = {key for key in needed if key.startswith(aux)}
    there = {key for key in entries if key.startswith(aux)}
    if here and not there:
        log.info("%s: no auxiliary heads in these weights: they are fresh", source.name)
        fresh |= here
    for key in fresh if here else fresh | there:  # useful in training only, and not asked for
        entries.pop(key, None)
    return fresh


def _adapted(net: Contract, entries: Mapping[str, TensorEntry]) -> dict[str, tuple[int, ...]]:
    """The first convolution's shape, if it can become that of another number of channels."""
    path = first_convolution(net)
    shape = entries[key].shape if (key := f"{path}.weight") in entries else ()
    conv = net.get_submodule(path or "")
    if not isinstance(conv, nn.Conv2d) or conv.groups != 1 or len(shape) != 4 or 0 in shape:
        return {}
    return {key: (shape[0], net.in_channels, *shape[2:])}


def _tensors(
    source: Source,
    entries: Mapping[str, TensorEntry],
    needed: Mapping[str, Slot],
    device: torch.device,
) -> dict[str, Tensor]:
    """The file's tensors in the right dtype and place, the first convolution as wide as needed."""
    broken = source.contents.quick_look_for_nan()
    if broken:
        raise WeightsError(
            f"{source.name}: NaN in {', '.join(broken[:5])}: the file is damaged, or the "
            "training that wrote it diverged"
        )
    keep = getattr(torch, source.config.dtype) if source.config.dtype else None
    tensors = source.contents.tensors(entries, device)
    for key, value in tensors.items():
        wanted = needed[key].tensor
        if value.is_floating_point() != wanted.is_floating_point():
            raise CheckpointError(
                f"{source.name}: {key}: expected {wanted.dtype}, got {value.dtype}"
            )
        if value.shape != wanted.shape:
            value = adapt_first_convolution(value, wanted.shape[1])
        tensors[key] = value.to(keep if keep and value.is_floating_point() else wanted.dtype)
    return tensors


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
