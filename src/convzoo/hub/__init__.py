"""Keeping networks and getting them back: load, save, fetch, verify, push.

Weights come from the catalogue, the Hugging Face Hub, a folder or a file; what is loaded is
verified first, and a network is built around the file rather than filled from it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from convzoo._build import option_names
from convzoo._checks import check_path
from convzoo._contract import Contract
from convzoo.errors import ConvzooError, InputError, UnknownNameError, WeightsError
from convzoo.hub import _key_maps
from convzoo.hub._cache import COMMIT, HubFile, Verify
from convzoo.hub._card import CardInfo, model_card, provenance
from convzoo.hub._config import write_config
from convzoo.hub._download import check_names, translated
from convzoo.hub._fetch import CachedWeights, fetch, verify
from convzoo.hub._fill import adapt_first_convolution, fill
from convzoo.hub._replace import SAVED, check_ours, replace_files, says
from convzoo.hub._safetensors import CONFIG_KEY, Serialised
from convzoo.hub._savable import check_savable
from convzoo.hub._sources import (
    CONFIG_FILE,
    CONFIG_HASH_KEY,
    HUB,
    WEIGHTS_FILE,
    resolve,
)
from convzoo.registry import MODELS, ModelInfo, model_info

C = TypeVar("C", bound=Contract)

log: logging.Logger = logging.getLogger("convzoo")


def load(
    source: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    allow_pickle: bool = False,
    rename: Mapping[str, str] | None = None,
    verify: Verify = "changed",
    token: str | None = None,
) -> Contract:
    """What `convzoo.load` does, which documents the arguments and types the result."""
    if not isinstance(rename or {}, Mapping) or not all(
        isinstance(name, str) and name for pair in (rename or {}).items() for name in pair
    ):
        raise InputError(f"rename: expected names by names, got {rename!r:.80}")
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
        module = found.config.module
        hint = f"import {module} first" if module else "define or import its builder first"
        raise WeightsError(f"{found.name}: saved as {name!r}, which convzoo does not have: {hint}")
    info = model_info(name)
    for option in found.config.options:
        if option not in option_names(info):
            raise UnknownNameError(f"{found.name}: option of {name}", option, option_names(info))
    sizes = {"num_classes": num_classes, "in_channels": in_channels, "device": device}
    try:
        return fill(info, {**sizes, **found.config.options}, found, rename)
    except ConvzooError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        if not found.config.options:
            raise
        raise WeightsError(
            f"{found.name}: no {name} is built with options "
            f"{dict(found.config.options)!r:.200}: {error}"
        ) from error


def build_with_weights(
    info: ModelInfo, weights: str | os.PathLike[str], options: Mapping[str, Any]
) -> Contract:
    """What a builder does with `weights=`.

    Args:
        info: The builder's entry in the registry.
        weights: A tag of the catalogue, a folder, a file or a `hf-hub:` address.
        options: What the builder was given besides.

    Returns:
        The network, in training mode.
    """
    return fill(info, options, resolve(weights, architecture=info.name))


def save(
    net: Contract,
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
    moment leaves each file old or new, and whole; nothing else in the folder is touched, and files
    of these names that `save` has not written are not replaced.

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
            its labels are not what `load` would take back; or the folder holds files of somebody
            else by the names of those that are written.
        CheckpointError: It was changed since, and has other tensors than its builder gives it, or
            there is NaN in them.
        WeightsError: The folder cannot be written.
    """
    info = CardInfo(licence, dataset, metrics or {}, description)
    return _save(net, check_path("folder", folder), info, address=None)


def _save(net: Contract, folder: Path, info: CardInfo, *, address: str | None) -> Path:
    if not isinstance(net, Contract) or net.architecture is None:
        raise InputError(
            f"net: this {type(net).__name__} was not made by one of convzoo's builders, so that "
            "load could not build it again; keep its state_dict() instead"
        )
    if any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers())):
        raise InputError("net: it is on the meta device, there are no numbers to keep")
    check_savable(net)
    tensors = Serialised(_key_maps.saved(net.architecture).to_theirs(net.state_dict()))
    about = provenance(net, info)
    config = write_config(net, sha256=tensors.sha256(), provenance=about)
    metadata = {
        "format": "pt",  # without which transformers refuses the file
        CONFIG_KEY: config,
        CONFIG_HASH_KEY: hashlib.sha256(config.encode()).hexdigest(),
    }
    card = model_card(net, about, info, address or "owner/name")
    check_ours("folder", folder, SAVED)
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
    net: Contract,
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
    place = HubFile(repo_id, WEIGHTS_FILE, revision or "main")
    info = CardInfo(licence, dataset, metrics or {}, description)
    check_names(place)
    from huggingface_hub import HfApi, constants

    with tempfile.TemporaryDirectory(prefix="convzoo-") as made:
        folder = _save(net, Path(made) / "net", info, address=repo_id)
        if constants.HF_HUB_OFFLINE:
            raise WeightsError(f"{repo_id}: the Hub must not be asked (HF_HUB_OFFLINE is set)")
        api = HfApi(endpoint=constants.ENDPOINT, token=token)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            if revision not in (None, "main"):
                api.create_branch(repo_id, branch=str(revision), exist_ok=True)
            done = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                commit_message=message or f"Add {net.architecture} with {net.num_classes} classes",
            )
        except Exception as error:  # whatever the HTTP library of the day raises
            raise translated(place, error) from error
    if not COMMIT.fullmatch(done.oid):
        raise WeightsError(f"{repo_id}: the Hub names no commit")
    return done.oid


def from_pretrained(
    source: str | os.PathLike[str],
    network: type[C],
    *,
    revision: str | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    device: torch.device | str | None = None,
    token: str | None = None,
) -> C:
    """What `Contract.from_pretrained` does: `owner/name` is a repository if it is no folder."""
    text = os.fspath(source)
    local = isinstance(source, os.PathLike) or check_path("source", text).exists()
    if not local and not text.startswith(HUB) and text.count("/") == 1:
        text = HUB + text
    if revision is not None:
        if not text.startswith(HUB) or "@" in text:
            raise InputError(f"revision: {text} is no repository on the Hub, or names its own")
        text = f"{text}@{revision}"
    place: str | os.PathLike[str] = Path(text) if local else text
    net = load(place, num_classes=num_classes, in_channels=in_channels, device=device, token=token)
    if not isinstance(net, network):
        raise InputError(f"source: {source} is a {type(net).__name__}, not a {network.__name__}")
    return net.eval()


__all__ = [
    "SAVED",
    "CachedWeights",
    "adapt_first_convolution",
    "build_with_weights",
    "check_ours",
    "fetch",
    "from_pretrained",
    "load",
    "push",
    "save",
    "says",
    "verify",
]
