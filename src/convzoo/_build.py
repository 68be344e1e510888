"""From an entry of the registry to a network: empty, or with fresh weights.

A model file holds architecture only; the choice of device, head and first convolution is made
here, once, for all of them.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Mapping
from typing import Any, Final, TypedDict

import torch

from convzoo._checks import LARGEST, MOST_CHANNELS, check_count, check_flags
from convzoo._contract import Contract
from convzoo._meta_device import OnMeta, garbage_collection_paused
from convzoo.errors import ConvzooError, InputError, UnknownNameError
from convzoo.registry import ModelInfo

_MOST_NUMBERS: Final = 1 << 36  # parameters; 256 GiB of float32


class BuildOptions(TypedDict, total=False):
    """Arguments that every builder takes besides `weights`."""

    num_classes: int | None
    """Classes to score; None means as the weights have, without weights the paper's number. 0
    leaves the head away: `forward` returns what its last layer would get."""
    in_channels: int | None
    """Channels of the input image; None means as the weights have, else the paper's number."""
    device: torch.device | str | None
    """Where the parameters live; None means torch's default device."""
    pretrained: bool | None
    """fastai's spelling: True is `weights="default"`, False and None are fresh weights."""


class Place(typing.NamedTuple):
    """What was asked for in `BuildOptions`, checked.

    Attributes:
        num_classes: Classes, or None.
        in_channels: Channels, or None.
        device: Where the network goes.
    """

    num_classes: int | None
    in_channels: int | None
    device: torch.device


def place(options: Mapping[str, Any]) -> Place:
    """Check what `BuildOptions` names.

    Args:
        options: What a builder was given.

    Returns:
        The same, checked, with torch's default device where none was given.

    Raises:
        InputError: A number is out of range, or there is no such device.
    """
    num_classes, in_channels = (
        None if options.get(name) is None else check_count(name, options[name], least=n, most=most)
        for name, n, most in (("num_classes", 0, LARGEST), ("in_channels", 1, MOST_CHANNELS))
    )
    given = options.get("device")
    try:
        # Of an empty tensor: torch 2.6 forgets `with torch.device(...)` in get_default_device.
        device = torch.empty(0, device=given).device
    except (AssertionError, RuntimeError, TypeError) as error:  # whichever its driver raises
        raise InputError(
            "device: expected one that is here, such as 'cpu' or 'cuda:0', got "
            f"{given!r:.80}: {error!s:.120}"
        ) from error
    return Place(num_classes, in_channels, device)


@functools.cache
def option_names(info: ModelInfo) -> frozenset[str]:
    """The names that a builder takes besides `weights` and those of `BuildOptions`.

    Args:
        info: The builder's entry.

    Returns:
        The keys of the TypedDict that its `**options` are, and what it takes by name; for a builder
        that says no more than `**options: object`, the arguments of its network's constructor.
    """
    parameters = inspect.signature(info.builder).parameters
    names = {
        n for n, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }
    try:
        hints = typing.get_type_hints(info.builder)
    except NameError:  # a name that is imported under TYPE_CHECKING alone
        hints = {}
    rest = next((name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD), None)
    # Unpack[ResNetOptions] -> ResNetOptions
    unpacked: tuple[Any, ...] = typing.get_args(hints.get(rest)) if rest else ()
    if unpacked:
        names.update(unpacked[0].__annotations__)
    elif rest:
        own = inspect.signature(info.network).parameters.values()
        names.update({p.name for p in own if p.kind is not p.VAR_KEYWORD} - set(info.settings))
    return frozenset(names - _COMMON)


_COMMON = frozenset({*BuildOptions.__annotations__, "weights"})


def own_options(info: ModelInfo, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the network itself was asked for.

    Args:
        info: The builder's entry.
        options: What the builder was given.

    Returns:
        The options without those of `BuildOptions`.

    Raises:
        UnknownNameError: The builder takes no such option.
    """
    own = {key: value for key, value in options.items() if key not in _COMMON}
    for option in own:
        if option not in option_names(info):
            known = {*option_names(info), *_COMMON}
            raise UnknownNameError(f"option of {info.name}", option, known)
    check_flags(aux_heads=own.get("aux_heads", False))
    return own


@garbage_collection_paused()
def empty(
    info: ModelInfo,
    own: Mapping[str, Any],
    num_classes: int | None = None,
    in_channels: int | None = None,
) -> Contract:
    """The network on the meta device: nothing is allocated and no random number is drawn.

    Whoever fills the tensors next, from a file or from `reset_parameters`, does it exactly once.

    Args:
        info: The builder's entry.
        own: Its `own_options`.
        num_classes: Classes; None means the paper's, 0 no head.
        in_channels: Channels; None means the paper's.

    Returns:
        The network, in training mode, as torch builds them.
    """
    sizes = {"num_classes": num_classes, "in_channels": in_channels}
    given = {key: value for key, value in sizes.items() if value is not None}
    if num_classes == 0:
        del given["num_classes"]  # the layer that is taken away below
    network, options = info.network, dict(own)
    if options.pop("aux_heads", False) and info.with_aux is not None:
        network = info.with_aux
    try:
        with OnMeta():
            net: Contract = network(**{**info.settings, **options, **given})
        numbers = sum(value.numel() for value in (*net.parameters(), *net.buffers()))
    except RuntimeError as error:  # a tensor whose bytes torch cannot count
        if isinstance(error, ConvzooError):
            raise
        raise InputError(f"{info.name}: not built with {_told(own, given)}: {error}") from error
    if numbers > _MOST_NUMBERS:
        raise InputError(
            f"{info.name}: with {_told(own, given)} it would have {numbers:,} parameters, "
            f"{_MOST_NUMBERS:,} are allowed"
        )
    net.architecture = info.name
    net.options = network.kept_options(
        {key: value for key, value in own.items() if (key, value) != ("aux_heads", False)}
    )
    if num_classes == 0:
        with OnMeta():
            net.reset_head(0)
    net.preset = network.preset_for(info.preset, {**info.settings, **options}).for_channels(
        net.in_channels
    )
    return net


def _told(own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r:.80}" for key, value in {**own, **given}.items())


def fresh(info: ModelInfo, options: Mapping[str, Any]) -> Contract:
    """The network with fresh weights.

    Args:
        info: The builder's entry.
        options: What the builder was given.

    Returns:
        The network, in training mode, initialised as its file says.
    """
    where = place(options)
    net = empty(info, own_options(info, options), where.num_classes, where.in_channels)
    if where.device.type != "meta":
        net.to_empty(device=where.device)
        if type(net).__module__.startswith("convzoo."):
            net.reset_parameters()
        else:
            _fill_all(net)
    return net


def _fill_all(net: Contract) -> None:
    """Fill a network of somebody else's, and refuse what would be left as the memory was."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    with torch.no_grad():
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
    net.reset_parameters()
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise InputError(
                f"{type(net).__name__}.reset_parameters: it leaves {name} unset; networks are "
                "built without memory first, so it has to fill every parameter and buffer"
            )
