"""Keeping networks and getting them back: load, save, fetch, verify, push.

Weights come from the catalogue, the Hugging Face Hub, a folder or a file; what is loaded is
verified first, and a network is built around the file rather than filled from it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import torch

from convzoo._classifier import Classifier
from convzoo._meta import garbage_collection_paused
from convzoo.errors import ConvzooError, InputError, WeightsError
from convzoo.hub import _key_maps
from convzoo.hub._cache import Verify
from convzoo.hub._card import CardInfo, model_card, provenance
from convzoo.hub._config import write_config
from convzoo.hub._fetch import CachedWeights, fetch, verify
from convzoo.hub._fill import Request, adapt_first_convolution, fill
from convzoo.hub._replace import replace_files
from convzoo.hub._safetensors import CONFIG_KEY, serialised
from convzoo.hub._sources import (
    CONFIG_FILE,
    CONFIG_HASH_KEY,
    HUB,
    WEIGHTS_FILE,
    Resolved,
    resolve,
)

if TYPE_CHECKING:
    from convzoo.models import VGG, AlexNet, GoogLeNet, InceptionV3, ResNet
    from convzoo.weights._names import (
        AlexNetWeights,
        GoogLeNetWeights,
        InceptionV3Weights,
        ResNetWeights,
        VGGWeights,
    )

C = TypeVar("C", bound=Classifier)

log: logging.Logger = logging.getLogger("convzoo")


@overload
def load(
    source: ResNetWeights,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    verify: Verify = "changed",
    token: str | None = None,
) -> ResNet: ...
@overload
def load(
    source: VGGWeights,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    verify: Verify = "changed",
    token: str | None = None,
) -> VGG: ...
@overload
def load(
    source: AlexNetWeights,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    verify: Verify = "changed",
    token: str | None = None,
) -> AlexNet: ...
@overload
def load(
    source: GoogLeNetWeights,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    verify: Verify = "changed",
    token: str | None = None,
) -> GoogLeNet: ...
@overload
def load(
    source: InceptionV3Weights,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    verify: Verify = "changed",
    token: str | None = None,
) -> InceptionV3: ...
@overload
def load(
    source: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    allow_pickle: bool = False,
    verify: Verify = "changed",
    token: str | None = None,
) -> Classifier: ...
def load(
    source: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    allow_pickle: bool = False,
    verify: Verify = "changed",
    token: str | None = None,
) -> Classifier:
    """A network with its weights, from one string.

    Args:
        source: A name of the catalogue (`"resnet50.a1_in1k"`), `"hf-hub:owner/name[@revision]"`,
            a folder or a weights file that `save` wrote, or another's with its config.json.
        architecture: The builder to use where the source does not name one (a lone file).
        num_classes: Classes to score; other than the weights' own, the head is fresh.
        in_channels: Channels of the images; other than the weights' own, the first convolution
            is adapted.
        device: Where the network goes; None means torch's default device.
        allow_pickle: Read a `.pth` or `.bin` file, with torch's restricted unpickler.
        verify: When to hash a file: in the Hub's cache when it `"changed"` since the last time, or
            `"always"`, what `save` wrote on this machine included.
        token: An access token for the Hub; None takes the one you logged in with.

    Returns:
        The network, in training mode, as the builders return it.

    Raises:
        UnknownNameError: There are no such weights.
        WeightsError: They cannot be found, fetched or read.
        CorruptWeightsError: They are not what was published.
        CheckpointError: They do not fit the network.

    Examples:
        >>> import convzoo
        >>> folder = convzoo.save(convzoo.cifar_resnet20(num_classes=3), "three")
        >>> convzoo.load(folder).num_classes
        3
    """
    from convzoo.models import MODELS, model_info  # models import this module to load weights

    found = resolve(
        source, architecture=architecture, allow_pickle=allow_pickle, verify=verify, token=token
    )
    name = architecture or found.config.architecture
    if name is None:
        raise WeightsError(
            f"{found.name}: nothing says which network this is (no config.json beside it); "
            "pass architecture=, or use the builder: resnet50(weights=...)"
        )
    if architecture is None and name not in MODELS:
        raise WeightsError(f"{found.name}: saved as {name!r}, which convzoo does not have")
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
            f"{found.name}: no {name} is built with options "
            f"{dict(found.config.options)!r:.200}: {error}"
        ) from error


def save(
    net: Classifier,
    folder: str | os.PathLike[str],
    *,
    licence: str | None = None,
    dataset: str | None = None,
    metrics: Mapping[str, float] | None = None,
    description: str | None = None,
) -> Path:
    """Keep a network in a folder, from which `load` brings back the same one.

    `model.safetensors` holds all that `load` needs; `config.json`, with which timm and transformers
    load it where timm has the network, and `README.md` (a model card) lie beside it. A kill at any
    moment leaves each file old or new, and whole; nothing else in the folder is touched.

    Args:
        net: A network that a builder made.
        folder: Where to keep it; made if need be.
        licence: For the model card, as the Hub spells it; None takes that of the base weights.
        dataset: For the model card: what it was trained on.
        metrics: For the model card: name -> value.
        description: For the model card: a paragraph of your own.

    Returns:
        The folder.

    Raises:
        InputError: No builder made the network, so nothing could build it again; or its head or
            its labels are not what `load` would take back.
        CheckpointError: It was changed since, and has other tensors than its builder gives it, or
            there is NaN in them.
        WeightsError: The folder cannot be written.
    """
    info = CardInfo(licence, dataset, metrics or {}, description)
    return _save(net, Path(folder), info, address=None)


def _save(net: Classifier, folder: Path, info: CardInfo, *, address: str | None) -> Path:
    from convzoo.hub._savable import check_savable

    if not isinstance(net, Classifier) or net.architecture is None:
        raise InputError(
            f"net: this {type(net).__name__} was not made by one of convzoo's builders, so that "
            "load could not build it again; keep its state_dict() instead"
        )
    if any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())):
        raise InputError("net: it is on the meta device, there are no numbers to keep")
    check_savable(net)
    tensors = serialised(_key_maps.saved(net.architecture).to_theirs(net.state_dict()))
    about = provenance(net, info)
    config = write_config(net, sha256=tensors.sha256(), provenance=about)
    metadata = {
        "format": "pt",  # without which transformers refuses the file
        CONFIG_KEY: config,
        CONFIG_HASH_KEY: hashlib.sha256(config.encode()).hexdigest(),
    }
    card = model_card(net, about, info, address or "owner/name")
    replace_files(
        folder,
        {
            WEIGHTS_FILE: tensors.file(metadata),  # first: what it says counts
            CONFIG_FILE: [config.encode()],
            "README.md": [card.encode()],
        },
    )
    return folder


def push(
    net: Classifier,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str | None = None,
    licence: str | None = None,
    dataset: str | None = None,
    metrics: Mapping[str, float] | None = None,
    description: str | None = None,
) -> str:
    """Put a network on the Hugging Face Hub, as `save` would keep it, in one commit.

    Args:
        net: A network that a builder made.
        repo_id: `owner/name`; the repository is made if need be.
        private: Whether a new repository is private; None takes the owner's default.
        token: An access token with the right to write; None takes the one you logged in with.
        revision: The branch; None means `main`.
        message: The commit's message.
        licence: As in `save`, like all that follows.
        dataset: See `save`.
        metrics: See `save`.
        description: See `save`.

    Returns:
        The commit, 40 hexadecimal digits: `load(f"hf-hub:{repo_id}@{commit}")` is this network.

    Raises:
        InputError: `repo_id` is malformed, or no builder made the network.
        WeightsError: The Hub refuses, or cannot be reached.
    """
    from convzoo.hub._upload import upload_folder

    with tempfile.TemporaryDirectory(prefix="convzoo-") as place:
        info = CardInfo(licence, dataset, metrics or {}, description)
        folder = _save(net, Path(place) / "net", info, address=repo_id)
        return upload_folder(
            folder,
            repo_id,
            private=private,
            token=token,
            revision=revision,
            message=message or f"Add {net.architecture} with {net.num_classes} classes",
        )


def from_pretrained(
    source: str | os.PathLike[str],
    *,
    revision: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    token: str | None = None,
) -> Classifier:
    """What `Classifier.from_pretrained` does: `owner/name` is a repository if it is no folder."""
    text = os.fspath(source)
    local = isinstance(source, os.PathLike) or Path(text).expanduser().exists()
    if not local and not text.startswith(HUB) and text.count("/") == 1:
        text = HUB + text
    if revision is not None:
        if not text.startswith(HUB) or "@" in text:
            raise InputError(f"revision: {text} is no repository on the Hub, or names its own")
        text = f"{text}@{revision}"
    place: str | os.PathLike[str] = Path(text) if local else text
    net = load(place, num_classes=num_classes, in_channels=in_channels, device=device, token=token)
    return net.eval()


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
    request = Request(on_meta, architecture, num_classes, in_channels, device)
    source = resolve(weights, architecture=architecture)
    with garbage_collection_paused():
        return fill(request, source)


__all__ = [
    "CachedWeights",
    "adapt_first_convolution",
    "fetch",
    "from_pretrained",
    "load",
    "load_into",
    "push",
    "save",
    "verify",
]
