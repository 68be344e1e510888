"""Weights of the catalogue and of the Hub: fetched, verified, opened."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

from convzoo import weights
from convzoo.errors import CorruptWeightsError, InputError, WeightsError
from convzoo.hub import _key_maps
from convzoo.hub._cache import SHA256, Access, HubFile, actual_hash, cached_path
from convzoo.hub._config import SavedConfig, read_config
from convzoo.hub._download import (
    Fetched,
    MissingFileError,
    UnreachableError,
    check_names,
    fetch_file,
)
from convzoo.hub._files import (
    CONFIG_FILE,
    HUB,
    INDEX_FILE,
    PICKLE_FILE,
    READS_PICKLES,
    WEIGHTS_FILE,
    Source,
    opened,
    own_config,
)
from convzoo.hub._safetensors import SafetensorsFile

log = logging.getLogger("convzoo")


def from_catalogue(info: weights.WeightsInfo, access: Access) -> Source:
    """Published weights, fetched where they are not in the cache.

    Args:
        info: Their row of the catalogue.
        access: How the Hub and its cache may be used.

    Returns:
        The file and what is known of it.

    Raises:
        WeightsError: It cannot be fetched or read.
    """
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
        if found is not None and (actual := actual_hash(file, found, access.verify)) != found:
            raise CorruptWeightsError(
                f"{info.name}: {file} is damaged: its sha256 is {actual}, expected {found}; "
                "install convzoo again"
            )
    else:
        repo = info.repo
        pinned = HubFile(repo, info.file, info.revision, access.cache_dir)
        file, commit, found = fetch_file(pinned, access, sha256=info.sha256, wanted_by=info.name)
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


def from_hub(text: str, allow_pickle: bool, access: Access) -> Source:
    """Weights of a repository on the Hub.

    Args:
        text: `hf-hub:owner/name[@revision]`.
        allow_pickle: Whether a pickle may be read, where there is nothing else.
        access: How the Hub and its cache may be used.

    Returns:
        The file and what is known of it.

    Raises:
        WeightsError: It cannot be fetched or read.
    """
    place = parse_hub(text)._replace(cache_dir=access.cache_dir)
    fetch = functools.partial(fetch_file, access=access, wanted_by=text)
    name, found = _first(place, allow_pickle, fetch)

    def shard(part: str) -> SafetensorsFile:
        same = place._replace(path=part, revision=found.commit or place.revision)
        return SafetensorsFile(fetch(same).path)

    contents = opened(name, found.path, shard)
    config = own_config(contents)
    if config is None:
        try:  # of the same commit
            beside = place._replace(revision=found.commit or place.revision)
            config = read_config(fetch(beside).path)
        except MissingFileError:
            config = SavedConfig()  # whoever asks for it says which network it is
    sha256 = found.hash if SHA256.fullmatch(found.hash) else None
    base = _base(text, place.repo, found.commit, sha256, config.licence)
    return Source(text, contents, config, None, base)


def _first(
    place: HubFile, allow_pickle: bool, fetch: Callable[[HubFile], Fetched]
) -> tuple[str, Fetched]:
    """The best file of weights that a repository has, and its name there."""
    failed: WeightsError | None = None
    for name in (WEIGHTS_FILE, INDEX_FILE, *([PICKLE_FILE] * allow_pickle)):
        file = place._replace(path=name)
        # Without the Hub nobody knows what it has: what is in the cache will do.
        if isinstance(failed, UnreachableError) and cached_path(file) is None:
            continue
        try:
            return name, fetch(file)
        except (MissingFileError, UnreachableError) as error:
            failed = failed or error
    if isinstance(failed, MissingFileError) and not allow_pickle:
        raise MissingFileError(f"{failed}; {READS_PICKLES}") from failed
    raise failed or WeightsError(f"{place.repo}: no weights")
