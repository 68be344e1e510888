"""From the string a user gives as `weights=` to a verified file on disk and what is known of it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convzoo import layouts, weights
from convzoo.errors import (
    CheckpointError,
    CorruptWeightsError,
    InputError,
    UnknownNameError,
    WeightsError,
)
from convzoo.hub._cache import SHA256, HubFile, Verify, actual_hash
from convzoo.hub._config import SavedConfig, read_config
from convzoo.hub._download import Fetched, MissingFileError, check_names, fetch_file

HUB: Final = "hf-hub:"
WEIGHTS_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
PICKLES: Final = (".pth", ".pt", ".bin")

log = logging.getLogger("convzoo")


@dataclass(frozen=True)
class Source:
    """A weights file that may be read, and what is known of it.

    Attributes:
        name: What the user called it.
        file: The file.
        config: What its config.json, or the catalogue, says.
        layout: Its key layout; None where it has to be told from the keys.
        base: Where it comes from, for the model card of what is made from it.
        pickled: Whether the file is a pickle rather than safetensors.
    """

    name: str
    file: Path
    config: SavedConfig
    layout: layouts.Layout | None
    base: dict[str, object]
    pickled: bool = False


def looks_like_a_path(name: str) -> bool:
    """Whether a string names a file or a folder rather than a set of weights."""
    return (
        "/" in name
        or os.sep in name
        or name.startswith((".", "~"))
        or name.endswith((".safetensors", *PICKLES))
    )


def resolve(
    name: str | os.PathLike[str],
    *,
    architecture: str | None = None,
    allow_pickle: bool = False,
    verify: Verify = "changed",
    token: str | None = None,
) -> Source:
    """Find the weights that a string means, fetching and verifying them where they are remote.

    Args:
        name: A tag or full name of the catalogue, `hf-hub:owner/name[@revision]`, a folder that
            `save` wrote, or a file.
        architecture: The builder that asks, if one does; a tag alone is one of its tags.
        allow_pickle: Whether a `.pth` or `.bin` file may be read.
        verify: When to hash a file from the Hub's cache.
        token: An access token for the Hub; None takes the one the user logged in with.

    Returns:
        The file and what is known of it.

    Raises:
        UnknownNameError: It is none of these.
        WeightsError: It cannot be found, fetched or read.
    """
    text = os.fspath(name)
    if text.startswith(HUB):
        return _from_hub(text, allow_pickle, verify, token)
    if not isinstance(name, os.PathLike):
        if architecture is not None:
            info = weights.find_weights(architecture, text)
        else:
            info = weights.weights_info(text) if text in weights.list_weights() else None
        if info is not None:
            return _from_catalogue(info, verify, token)
    path = Path(text).expanduser()
    if path.is_dir():
        return _from_folder(text, path)
    if path.is_file():
        return _from_file(text, path, allow_pickle)
    if isinstance(name, os.PathLike) or looks_like_a_path(text):
        raise WeightsError(f"weights: there is no file or folder {text}")
    if architecture is None:
        raise UnknownNameError("weights", text, weights.list_weights())
    known = [info.partition(".")[2] for info in weights.list_weights(f"{architecture}.*")]
    raise UnknownNameError(f"weights of {architecture}", text, known)


def _from_catalogue(info: weights.WeightsInfo, verify: Verify, token: str | None) -> Source:
    config = SavedConfig(
        architecture=info.model,
        num_classes=info.num_classes,
        in_channels=info.in_channels,
        options=info.options,
        labels=info.label_names(),
        preset=info.preset,
    )
    base: dict[str, object] = {"weights": info.name, "licence": info.licence}
    if info.repo is None:
        file = weights.BUNDLED / info.file
        if not file.is_file():
            raise WeightsError(f"{info.name}: {file} is missing from this installation")
        found = info.sha256
        if found is not None and actual_hash(file, found, verify) != found:
            raise CorruptWeightsError(
                f"{info.name}: {file} is damaged: its sha256 is "
                f"{actual_hash(file, found, verify)}, expected {found}; install convzoo again"
            )
    else:
        fetched = fetch_file(
            HubFile(info.repo, info.file, info.revision),
            sha256=info.sha256,
            verify=verify,
            token=token,
            wanted_by=info.name,
        )
        file, found = fetched.path, fetched.hash
        base |= {"repo": info.repo, "revision": fetched.commit}
    base["sha256"] = found
    _warn_of_licence(info.name, info.licence)
    known = {key: value for key, value in base.items() if value is not None}
    return Source(info.name, file, config, layouts.get(info.layout), known)


def parse_hub(text: str) -> HubFile:
    """The repository and the revision of `hf-hub:owner/name[@revision]`; the file's path is open.

    Args:
        text: The address.

    Returns:
        The repository's config.json at that revision.

    Raises:
        InputError: It is malformed.
    """
    repo, at, revision = text.removeprefix(HUB).partition("@")
    if not repo or (at and not revision):
        raise InputError(f"weights: expected hf-hub:owner/name[@revision], got {text!r:.200}")
    file = HubFile(repo, CONFIG_FILE, revision or "main")
    check_names(file)
    return file


def _from_hub(text: str, allow_pickle: bool, verify: Verify, token: str | None) -> Source:
    repo, _, revision = parse_hub(text)
    config = SavedConfig()
    try:
        beside = _fetch(HubFile(repo, CONFIG_FILE, revision), verify, token, text)
    except MissingFileError:
        pass  # a lone weights file; whoever asks for it says which network it is
    else:
        config = read_config(beside.path)
        revision = beside.commit or revision  # both files are of one commit
    names = (WEIGHTS_FILE, *(("pytorch_model.bin",) if allow_pickle else ()))
    for name in names:
        try:
            fetched = _fetch(HubFile(repo, name, revision), verify, token, text)
        except MissingFileError as error:
            missing = error
            continue
        base: dict[str, object] = {"weights": text, "repo": repo, "revision": fetched.commit}
        base["sha256"] = fetched.hash if SHA256.fullmatch(fetched.hash) else None
        base["licence"] = config.licence
        _warn_of_licence(text, config.licence)
        known = {key: value for key, value in base.items() if value is not None}
        pickled = name in names[1:]
        return Source(text, fetched.path, config, None, known, pickled=pickled)
    raise missing


def _fetch(file: HubFile, verify: Verify, token: str | None, text: str) -> Fetched:
    return fetch_file(file, verify=verify, token=token, wanted_by=text)


_warned: set[str] = set()


def _warn_of_licence(name: str, licence: str | None) -> None:
    """Say once a process that weights must not be used commercially."""
    if not weights.is_commercial(licence) and name not in _warned:
        _warned.add(name)
        log.warning("%s: the licence of these weights, %s, is non-commercial", name, licence)


def _from_folder(name: str, folder: Path) -> Source:
    config = folder / CONFIG_FILE
    file = folder / WEIGHTS_FILE
    for needed in (config, file):
        if not needed.is_file():
            raise CheckpointError(f"{folder}: not a saved network: it has no {needed.name}")
        _check_link(folder, needed)
    read = read_config(config)
    return Source(name, file, read, None, dict(read.provenance))


def _check_link(folder: Path, file: Path) -> None:
    """Refuse a file of a saved folder that is a link to somewhere else on this machine."""
    home = folder.resolve()
    if home.parent.name == "snapshots":
        home = home.parent.parent  # the Hub's cache links its snapshots to its blobs
    if not file.resolve().is_relative_to(home):
        raise CheckpointError(
            f"{file}: a link out of the folder, to {file.resolve()}; not followed"
        )


def _from_file(name: str, file: Path, allow_pickle: bool) -> Source:
    pickled = file.suffix in PICKLES
    if pickled and not allow_pickle:
        raise WeightsError(
            f"{file}: a pickle can run code of its writer when it is read; "
            "convzoo.load(..., allow_pickle=True) reads it with torch's restricted unpickler"
        )
    beside = file.with_name(CONFIG_FILE)
    config = read_config(beside) if beside.is_file() else SavedConfig()
    return Source(name, file, config, None, dict(config.provenance), pickled=pickled)
