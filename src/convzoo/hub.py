"""Keeping networks and getting them back: load, save, fetch, verify, push.

Weights come from the catalogue, the Hugging Face Hub, a folder or a file; what is loaded is
verified first, and a network is built around the file rather than filled from it.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from convzoo import layouts
from convzoo._classifier import Classifier, new_head
from convzoo._config import SavedConfig, write_config
from convzoo._meta import garbage_collection_paused
from convzoo._save import write_folder
from convzoo._sources import CONFIG_FILE, WEIGHTS_FILE, Resolved, Source, Verify, resolve
from convzoo.checkpoint import (
    assign,
    map_tensors,
    mismatch,
    read_header,
    read_pickle,
)
from convzoo.errors import CheckpointError, ConvzooError, InputError, WeightsError

C = TypeVar("C", bound=Classifier)

log = logging.getLogger("convzoo")


def load(
    source: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    allow_pickle: bool = False,
    verify: Verify = "changed",
) -> Classifier:
    """A network with its weights, from one string.

    Args:
        source: A name of the catalogue (`"resnet50.a1_in1k"`), `"hf-hub:owner/name[@revision]"`,
            a folder that `save` wrote, or a weights file with its config.json beside it.
        architecture: The builder to use where the source does not name one (a lone file).
        num_classes: Classes to score; other than the weights' own, the head is fresh.
        in_channels: Channels of the images; other than the weights' own, the first convolution
            is adapted.
        device: Where the network goes; None means torch's default device.
        allow_pickle: Read a `.pth` or `.bin` file, with torch's restricted unpickler.
        verify: When to hash a file in the Hub's cache again: when it `"changed"` since the last
            time, or `"always"`.

    Returns:
        The network, in training mode, as the builders return it.

    Raises:
        UnknownNameError: There are no such weights.
        WeightsError: They cannot be found, fetched or read.
        CorruptWeightsError: They are not what was published.
        CheckpointError: They do not fit the network.

    Example:
        >>> import convzoo
        >>> folder = convzoo.save(convzoo.cifar_resnet20(num_classes=3), "three")
        >>> convzoo.load(folder).num_classes
        3
    """
    from convzoo.models import MODELS, model_info  # models import this module to load weights

    found = resolve(source, architecture=architecture, allow_pickle=allow_pickle, verify=verify)
    name = architecture or found.config.architecture
    if name is None:
        raise WeightsError(
            f"{found.name}: nothing says which network this is (no config.json beside it); "
            "pass architecture=, or use the builder: resnet50(weights=...)"
        )
    if architecture is None and name not in MODELS:
        raise WeightsError(f"{found.name}: config.json names {name!r}, which convzoo does not have")
    ticket = Resolved(found.name)
    ticket.source = found
    try:
        return model_info(name).builder(
            weights=ticket,
            num_classes=num_classes,
            in_channels=in_channels,
            device=device,
            **found.config.options,
        )
    except ConvzooError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        if not found.config.options:
            raise
        raise WeightsError(
            f"{found.name}: config.json: no {name} is built with options "
            f"{dict(found.config.options)!r:.200}: {error}"
        ) from error


def save(net: Classifier, folder: str | os.PathLike[str]) -> Path:
    """Keep a network in a folder, from which `load` brings back the same one.

    The folder holds `config.json`, `model.safetensors` and `README.md` (a model card). A kill at
    any moment leaves the old folder or the new one, whole; other files in it stay.

    Args:
        net: A network that a builder made.
        folder: Where to keep it; made if need be.

    Returns:
        The folder.

    Raises:
        InputError: No builder made the network, so nothing could build it again.
        WeightsError: The folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if net.architecture is None:
        raise InputError(
            f"net: this {type(net).__name__} was not made by one of convzoo's builders, so that "
            "load could not build it again; keep its state_dict() instead"
        )
    weights_id = secrets.token_hex(16)
    layout = layouts.saved(net.architecture)
    config = write_config(net, weights_id=weights_id, provenance=net.provenance)

    def write_weights(path: Path) -> None:
        state = {key: value.detach().cpu() for key, value in net.state_dict().items()}
        tensors = {key: value.contiguous() for key, value in layout.to_theirs(state).items()}
        try:
            save_file(tensors, path, metadata={"format": "pt", "convzoo.weights_id": weights_id})
        except SafetensorError as error:
            raise WeightsError(f"{path.parent}: cannot be saved: {error}") from error

    target = Path(folder)
    write_folder(
        target,
        {
            CONFIG_FILE: lambda path: path.write_text(config, "utf-8"),
            "README.md": lambda path: path.write_text(f"# {net.architecture}\n", "utf-8"),
            WEIGHTS_FILE: write_weights,
        },
    )
    return target


def load_into(
    on_meta: Callable[[int | None, int | None], C],
    *,
    architecture: str,
    weights: str | os.PathLike[str],
    num_classes: int | None,
    in_channels: int | None,
    device: torch.device,
) -> C:
    """What a builder does with `weights=`: build without filling, and put the file's tensors in.

    Args:
        on_meta: Makes the network on the meta device, given `num_classes` and `in_channels`.
        architecture: The builder's name.
        weights: As in `resolve`.
        num_classes: Classes asked for; None takes the weights' own.
        in_channels: Channels asked for; None takes the weights' own.
        device: Where the network goes.

    Returns:
        The network.
    """
    source = resolve(weights, architecture=architecture)
    with garbage_collection_paused():
        net = _fit(on_meta, architecture, source, in_channels, device)
        if num_classes is not None and num_classes != net.num_classes:
            log.info(
                "%s: %d classes instead of the weights' %d: the head is fresh",
                source.name,
                num_classes,
                net.num_classes,
            )
            net.reset_head(num_classes, dropout=source.config.head_dropout)
    return net


def _fit(
    on_meta: Callable[[int | None, int | None], C],
    architecture: str,
    source: Source,
    in_channels: int | None,
    device: torch.device,
) -> C:
    """The network around the file, with the file's classes and the channels asked for."""
    config = source.config
    if config.architecture not in (None, architecture):
        raise CheckpointError(
            f"{source.name}: these are weights of {config.architecture}, not of {architecture}"
        )
    read: dict[str, Tensor] | None = None
    if source.pickled:
        read = read_pickle(source.file)
        found = {key: (value.dtype, tuple(value.shape)) for key, value in read.items()}
    else:
        found = dict(read_header(source.file).tensors)
    layout = source.layout or layouts.detect(architecture, found)
    names = {layout.our_key(key): key for key in found}  # ours -> the file's
    shapes = {key: layout.our_shape(key, found[name][1]) for key, name in names.items()}

    net = _build(on_meta, config, shapes, in_channels)
    net.labels = config.labels
    net.preset = config.preset or net.preset
    _check_options(net, source)
    aux = {path.partition(".")[0] for path in net.aux_head_paths}
    present = {name for name, _ in net.named_children()}
    for key in [key for key in shapes if key.partition(".")[0] in aux - present]:
        del shapes[key], names[key]  # auxiliary heads, useful in training only

    state = net.state_dict()
    expected = {key: tuple(value.shape) for key, value in state.items()}
    first = first_convolution(net)
    adapted = _adapted_shape(net, first, shapes, in_channels)
    problem = mismatch(expected, {**shapes, **adapted})
    if problem is not None:
        raise CheckpointError(f"{source.name} does not fit {architecture}:\n{problem}")

    read = map_tensors(source.file, device) if read is None else read
    dtype = getattr(torch, config.dtype) if config.dtype else None
    tensors = {}
    for key, wanted in state.items():
        value = read[names[key]].reshape(shapes[key])
        if key in adapted:
            value = adapt_first_convolution(value, adapted[key][1])
        target = dtype if dtype and wanted.is_floating_point() else wanted.dtype
        tensors[key] = _converted(value, target, device, f"{source.name}: {key}")
    assign(net, tensors, source.name)
    net.provenance = source.base
    return net


def _build(
    on_meta: Callable[[int | None, int | None], C],
    config: SavedConfig,
    shapes: dict[str, tuple[int, ...]],
    in_channels: int | None,
) -> C:
    """The empty network, as large as the file says where its config does not."""
    classes, channels = config.num_classes, in_channels or config.in_channels
    net = on_meta(classes, channels)
    head = shapes.get(f"{net.head_path}.weight", ())
    entry = shapes.get(f"{first_convolution(net)[0]}.weight", ())
    of_file = head[0] if classes is None and head else None
    of_image = entry[1] if channels is None and len(entry) == 4 else None
    if of_file not in (None, net.num_classes) or of_image not in (None, net.in_channels):
        net = on_meta(classes or of_file, channels or of_image)
    if config.head_dropout:
        for path in list(net.head_paths()):
            old = net.get_submodule(path)
            net.set_submodule(path, new_head(old, net.num_classes, config.head_dropout))
    return net


# Options that change how a network trains or how much memory it takes, never what it computes.
_HARMLESS = frozenset({"inplace", "zero_init_residual"})


def _check_options(net: Classifier, source: Source) -> None:
    for key, value in source.config.options.items():
        if key not in net.options and key not in _HARMLESS:
            raise CheckpointError(
                f"{source.name}: saved from {source.config.architecture}({key}={value!r}); pass "
                f"that to the builder, or use convzoo.load, which does"
            )


def first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    """Path and module of the convolution that sees the image.

    Args:
        net: A network whose modules are registered in running order.

    Returns:
        The first one.

    Raises:
        InputError: There is none.
    """
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            return path, module
    raise InputError(f"net: {type(net).__name__} has no convolution")


def _adapted_shape(
    net: Classifier,
    first: tuple[str, nn.Conv2d],
    shapes: dict[str, tuple[int, ...]],
    in_channels: int | None,
) -> dict[str, tuple[int, ...]]:
    """The first convolution's shape after adapting it, if it has to be adapted."""
    key = f"{first[0]}.weight"
    shape = shapes.get(key, ())
    same = len(shape) == 4 and shape[1] == net.in_channels
    if in_channels is None or same or len(shape) != 4 or first[1].groups != 1:
        return {}
    return {key: (shape[0], in_channels, *shape[2:])}


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

    Example:
        >>> import torch
        >>> from convzoo.hub import adapt_first_convolution
        >>> rgb = torch.randn(8, 3, 7, 7)
        >>> adapt_first_convolution(rgb, 1).shape
        torch.Size([8, 1, 7, 7])
    """
    old = weight.shape[1]
    wide = weight.double()  # sums of three halves or bfloat16s deserve it; the tensor is small
    if in_channels < old:
        mean = wide.sum(dim=1, keepdim=True) / in_channels
        return mean.expand(-1, in_channels, -1, -1).to(weight.dtype).contiguous()
    source = torch.arange(in_channels, device=weight.device) % old
    copies = torch.bincount(source, minlength=old)
    scale = copies[source].to(wide.dtype).reshape(1, -1, 1, 1)
    return (wide[:, source] / scale).to(weight.dtype)


def _converted(value: Tensor, dtype: torch.dtype, device: torch.device, what: str) -> Tensor:
    if value.dtype != dtype and value.is_floating_point() != dtype.is_floating_point:
        raise CheckpointError(f"{what}: expected {dtype}, got {value.dtype}")
    return value.to(device=device, dtype=dtype)
