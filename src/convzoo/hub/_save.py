"""A network on disk or on the Hub: what `save` and `push` do."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from convzoo._checks import check_path
from convzoo._contract import Contract
from convzoo.errors import InputError, WeightsError
from convzoo.hub._cache import COMMIT, HubFile
from convzoo.hub._card import CardInfo, model_card, provenance
from convzoo.hub._config import saved_layout, write_config
from convzoo.hub._download import check_names, translated
from convzoo.hub._files import CONFIG_FILE, CONFIG_HASH_KEY, WEIGHTS_FILE
from convzoo.hub._replace import SAVED, check_ours, replace_files
from convzoo.hub._safetensors import CONFIG_KEY, Serialised
from convzoo.hub._savable import check_savable


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
    tensors = Serialised(saved_layout(net).to_theirs(net.state_dict()))
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
    create_pr: bool = False,
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
        create_pr: Whether to open a pull request with the commit instead, so that the branch stays
            as it is until its owner merges it.
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
            if revision not in (None, "main") and not create_pr:  # else it is there to be asked
                api.create_branch(repo_id, branch=str(revision), exist_ok=True)
            done = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                revision=revision,
                create_pr=create_pr,
                commit_message=message or f"Add {net.architecture} with {net.num_classes} classes",
            )
        except Exception as error:  # whatever the HTTP library of the day raises
            raise translated(place, error) from error
    if not COMMIT.fullmatch(done.oid):
        raise WeightsError(f"{repo_id}: the Hub names no commit")
    return done.oid
