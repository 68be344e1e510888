"""From the string a user gives as `weights=` to a verified file on disk and what is known of it."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from convzoo import weights
from convzoo._checks import check_flags, check_path
from convzoo.errors import (
    CheckpointError,
    CorruptWeightsError,
    InputError,
    UnknownNameError,
    WeightsError,
)
from convzoo.hub import _key_maps
from convzoo.hub._cache import SHA256, HubFile, Verify, actual_hash, cached_path
from convzoo.hub._config import SavedConfig, parse_config, read_config
from convzoo.hub._download import (
    Fetched,
    MissingFileError,
    UnreachableError,
    check_names,
    fetch_file,
    is_repository,
)
from convzoo.hub._pickles import is_pickle, read_pickle
from convzoo.hub._safetensors import CONFIG_KEY, SafetensorsFile
from convzoo.hub._shards import INDEX_FILE, Shards

HUB: Final = "hf-hub:"
WEIGHTS_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
CONFIG_HASH_KEY: Final = "convzoo.sha256"

log = logging.getLogger("convzoo")


@dataclass(frozen=True)
class Source:
    """A weights file that was opened, and what is known of it.

    Attributes:
        name: What the user called it.
        contents: The file, open; a pickle is one, too, once it is read.
        config: What the file itself, its config.json or the catalogue says.
        layout: Its key layout; None where it has to be told from the keys.
        base: Where it comes from, for the model card of what is made from it.
    """

    name: str
    contents: SafetensorsFile
    config: SavedConfig
    layout: _key_maps.Layout | None
    base: dict[str, object]


def looks_like_a_path(name: str) -> bool:
    """Whether a string names a file or a folder rather than a set of weights."""
    return (
        "/" in name
        or os.sep in name
        or name.startswith((".", "~"))
        or name.endswith((".safetensors", ".json"))
        or is_pickle(name)
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
        verify: When to hash a file again.
        token: An access token for the Hub; None takes the one the user logged in with.

    Returns:
        The file and what is known of it.

    Raises:
        UnknownNameError: It is none of these.
        WeightsError: It cannot be found, fetched or read.
    """
    if verify not in get_args(Verify):
        raise InputError(f"verify: expected one of {get_args(Verify)}, got {verify!r}")
    check_flags(allow_pickle=allow_pickle)
    text = os.fspath(name)
    if text.startswith(HUB):
        return _from_hub(text, allow_pickle, verify, token)
    if not isinstance(name, os.PathLike):
        info = weights.find_weights(architecture, text)
        if info is not None:
            return _from_catalogue(info, verify, token)
    path = check_path("weights", name)
    if path.is_dir():
        _check_link(path, path / CONFIG_FILE)
        for file in (path / WEIGHTS_FILE, path / INDEX_FILE):
            _check_link(path, file)
            if file.is_file():
                return _from_file(text, file, False, verify, config_needed=True)
        raise CheckpointError(f"{path}: not a saved network: it has no {WEIGHTS_FILE}")
    if path.is_file():
        return _from_file(text, path, allow_pickle, verify)
    if isinstance(name, os.PathLike) or looks_like_a_path(text):
        hint = f"; the repository on the Hub is {HUB}{text}" if is_repository(text) else ""
        raise WeightsError(f"weights: there is no file or folder {text}{hint}")
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
    repo = commit = None
    if info.repo is None:
        file = weights.BUNDLED / info.file
        if not file.is_file():
            raise WeightsError(f"{info.name}: {file} is missing from this installation")
        found = info.sha256
        if found is not None and (actual := actual_hash(file, found, verify)) != found:
            raise CorruptWeightsError(
                f"{info.name}: {file} is damaged: its sha256 is {actual}, expected {found}; "
                "install convzoo again"
            )
    else:
        repo, pinned = info.repo, HubFile(info.repo, info.file, info.revision)
        file, commit, found = fetch_file(
            pinned, sha256=info.sha256, verify=verify, token=token, wanted_by=info.name
        )
    base = _base(info.name, repo, commit, found, info.licence)
    layout = _key_maps.get(info.layout)
    return Source(info.name, SafetensorsFile(file), config, layout, base)


def _base(
    name: str, repo: str | None, commit: str | None, sha256: str | None, licence: str | None
) -> dict[str, object]:
    """What is known of where weights come from; says once a process what must not be sold."""
    if not weights.is_commercial(licence) and name not in _warned:
        _warned.add(name)
        log.warning("%s: the licence of these weights, %s, is non-commercial", name, licence)
    base = {"weights": name, "repo": repo, "revision": commit, "sha256": sha256}
    return {key: value for key, value in {**base, "licence": licence}.items() if value is not None}


_warned: set[str] = set()


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
    fetch = functools.partial(fetch_file, verify=verify, token=token, wanted_by=text)
    name, found = _first(repo, revision, allow_pickle, fetch)

    def shard(part: str) -> SafetensorsFile:
        file = fetch(HubFile(repo, part, found.commit or revision))  # of the same commit
        return SafetensorsFile(file.path)

    contents = opened(name, found.path, shard)
    config = _own_config(contents)
    if config is None:
        try:  # of the same commit
            config = read_config(fetch(HubFile(repo, CONFIG_FILE, found.commit or revision)).path)
        except MissingFileError:
            config = SavedConfig()  # whoever asks for it says which network it is
    sha256 = found.hash if SHA256.fullmatch(found.hash) else None
    base = _base(text, repo, found.commit, sha256, config.licence)
    return Source(text, contents, config, None, base)


def _first(
    repo: str, revision: str, allow_pickle: bool, fetch: Callable[[HubFile], Fetched]
) -> tuple[str, Fetched]:
    """The best file of weights that a repository has, and its name there."""
    failed: WeightsError | None = None
    for name in (WEIGHTS_FILE, INDEX_FILE, *(["pytorch_model.bin"] * allow_pickle)):
        file = HubFile(repo, name, revision)
        # Without the Hub nobody knows what it has: what is in the cache will do.
        if isinstance(failed, UnreachableError) and cached_path(file) is None:
            continue
        try:
            return name, fetch(file)
        except (MissingFileError, UnreachableError) as error:
            failed = failed or error
    raise failed or WeightsError(f"{repo}: no weights")


def opened(name: str, file: Path, shard: Callable[[str], SafetensorsFile]) -> SafetensorsFile:
    """A file of weights of any kind.

    Args:
        name: Its name, which tells the kind; the cache has others.
        file: The file.
        shard: Opens a file that an index names.

    Returns:
        The file, open.

    Raises:
        WeightsError: It cannot be read.
    """
    if is_pickle(name):
        return read_pickle(file)
    return Shards(file, shard) if name.endswith(".json") else SafetensorsFile(file)


def _from_file(
    name: str, file: Path, allow_pickle: bool, verify: Verify, *, config_needed: bool = False
) -> Source:
    pickled = is_pickle(file.name)
    if pickled and not allow_pickle:
        raise WeightsError(
            f"{file}: a pickle can run code of its writer when it is read; "
            "convzoo.load(..., allow_pickle=True) reads it with torch's restricted unpickler"
        )

    def shard(part: str) -> SafetensorsFile:
        _check_link(file.parent, file.with_name(part))
        return SafetensorsFile(file.with_name(part))

    contents = opened(file.name, file, shard)
    config = _own_config(contents)
    beside = file.with_name(CONFIG_FILE)
    if config is not None:
        _compare(name, config, beside)
    elif beside.is_file():
        config = read_config(beside)
    elif config_needed:
        raise CheckpointError(f"{file.parent}: not a saved network: it has no {CONFIG_FILE}")
    else:
        config = SavedConfig()
    if verify == "always":
        text, noted = (contents.metadata.get(key, "") for key in (CONFIG_KEY, CONFIG_HASH_KEY))
        if not text:
            log.warning("%s: it holds no hash to verify it by", name)
        elif (
            hashlib.sha256(text.encode()).hexdigest() != noted or contents.sha256() != config.sha256
        ):
            raise CorruptWeightsError(
                f"{file}: damaged: its sha256 is not the one that was noted when it was saved"
            )
    return Source(name, contents, config, None, dict(config.provenance))


def _own_config(contents: SafetensorsFile) -> SavedConfig | None:
    """What the file says of itself; None where it does not."""
    if CONFIG_KEY not in contents.metadata:
        return None
    return parse_config(contents.metadata[CONFIG_KEY], f"{contents.path}: header: {CONFIG_KEY}")


def _compare(name: str, config: SavedConfig, beside: Path) -> None:
    """Tell in the log where config.json says something else than the file it lies beside."""
    if not beside.is_file():
        return
    try:
        other = vars(read_config(beside))
    except WeightsError as error:
        log.warning("%s; the weights file says all, and counts", error)
        return
    differ = ", ".join(key for key, value in vars(config).items() if value != other[key])
    if differ:
        log.warning(
            "%s: config.json and the weights file disagree on %s; the weights file counts",
            name,
            differ,
        )


def _check_link(folder: Path, file: Path) -> None:
    """Refuse a file of a saved folder that is a link to somewhere else on this machine."""
    home = folder.resolve()
    if home.parent.name == "snapshots":
        home = home.parent.parent  # the Hub's cache links its snapshots to its blobs
    if not file.resolve().is_relative_to(home):
        raise CheckpointError(
            f"{file}: a link out of the folder, to {file.resolve()}; not followed"
        )
