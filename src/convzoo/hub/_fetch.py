"""Weights ahead of time: filling the cache, and hashing again what is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from convzoo import weights
from convzoo._checks import check_path
from convzoo.errors import CheckpointError, CorruptWeightsError, InputError, WeightsError
from convzoo.hub._cache import Access, HubFile, Verify, actual_hash, announced_hash, cached_path
from convzoo.hub._files import HUB, INDEX_FILE, WEIGHTS_FILE, is_pickle, opened
from convzoo.hub._remote import parse_hub
from convzoo.hub._safetensors import SafetensorsFile, tensors_with_nan
from convzoo.hub._sources import looks_like_a_path, resolve


class CachedWeights(NamedTuple):
    """A weights file that `fetch` or `verify` looked at.

    Attributes:
        name: What it was asked for as.
        path: Where it is; None where it is missing.
        status: `"ok"`, `"missing"` (not there), `"corrupt"` (its hash is not the one it should
            have), or `"nan"` (the hash is right, the numbers are not).
        hash: Its sha256, where it was taken; of what `save` wrote, that of its tensors.
    """

    name: str
    path: Path | None
    status: Literal["ok", "missing", "corrupt", "nan"]
    hash: str | None


def fetch(
    names: str | Iterable[str], *, verify: Verify = "changed", token: str | None = None
) -> list[CachedWeights]:
    """Fill the cache ahead of time, so that loading needs no network.

    Args:
        names: Names of the catalogue, shell patterns of them, and `hf-hub:` addresses.
        verify: When to hash a file that is in the cache.
        token: An access token for the Hub; None takes the one you logged in with.

    Returns:
        One entry for each file, in order; a file that holds NaN is there, marked `"nan"`.

    Raises:
        UnknownNameError: A name is not in the catalogue.
        WeightsError: A file cannot be fetched.
        CorruptWeightsError: A file is not what was published.
    """
    found = []
    for name in _expand(names):
        source = resolve(name, access=Access(verify, token))
        known = source.base.get("sha256")
        status = _status(source.contents)
        found.append(
            CachedWeights(name, source.contents.path, status, None if known is None else str(known))
        )
    return found


def verify(names: str | os.PathLike[str] | Iterable[str] = ()) -> list[CachedWeights]:
    """Hash weights again, whether or not they changed, without the network.

    Args:
        names: As in `fetch`, and folders and files that `save` wrote; none means everything of the
            catalogue that is in the cache or comes with the package.

    Returns:
        One entry for each file, in order. A file that notes no hash of its tensors is searched for
        NaN only.

    Raises:
        UnknownNameError: A name is not in the catalogue, and no file or folder.

    Examples:
        >>> import convzoo
        >>> folder = convzoo.save(convzoo.cifar_resnet20(num_classes=3), "three")
        >>> [entry.status for entry in convzoo.verify(folder)]
        ['ok']
    """
    asked = _expand(names)
    found = [_verify_one(name) for name in asked or weights.list_weights()]
    return found if asked else [entry for entry in found if entry.status != "missing"]


def _verify_one(name: str) -> CachedWeights:
    if _is_local(name):
        return _verify_local(name)
    if name.startswith(HUB):
        files = [parse_hub(name)._replace(path=path) for path in (WEIGHTS_FILE, INDEX_FILE)]
        found = [path for path in map(cached_path, files) if path is not None]
        expected, path = None, found[0] if found else None
    else:
        info = weights.weights_info(name)
        expected = info.sha256
        if info.repo is None:
            path = weights.BUNDLED / info.file
        else:
            path = cached_path(HubFile(info.repo, info.file, info.revision), expected)
    if path is None or not path.is_file():
        return CachedWeights(name, None, "missing", None)
    expected = expected or announced_hash(path)
    actual = None if expected is None else actual_hash(path, expected, "always")
    if actual != expected:
        return CachedWeights(name, path, "corrupt", actual)
    try:
        contents = opened(path.name, path, _verified_shard(path))
        return CachedWeights(name, path, _status(contents), actual)
    except WeightsError:
        return CachedWeights(name, path, "corrupt", actual)


def _verified_shard(index: Path) -> Callable[[str], SafetensorsFile]:
    def shard(name: str) -> SafetensorsFile:
        path = index.with_name(name)
        expected = announced_hash(path)
        if expected is not None and actual_hash(path, expected, "always") != expected:
            raise CorruptWeightsError(f"{path}: damaged")
        return SafetensorsFile(path)

    return shard


def _verify_local(name: str) -> CachedWeights:
    path = check_path("names", name)
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        file = path / INDEX_FILE
    if not file.is_file():
        return CachedWeights(name, None, "missing", None)
    if is_pickle(file.name):
        raise WeightsError(f"{file}: a pickle holds no hash to verify it by")
    try:
        source = resolve(path, access=Access("always"))
    except (CheckpointError, WeightsError):
        return CachedWeights(name, file, "corrupt", None)
    return CachedWeights(name, file, _status(source.contents), source.config.sha256)


def _status(contents: SafetensorsFile) -> Literal["ok", "nan"]:
    return "nan" if tensors_with_nan(contents.tensors(contents.entries)) else "ok"


def _is_local(name: str) -> bool:
    if name.startswith(HUB) or name in weights.list_weights():
        return False
    return looks_like_a_path(name) or os.path.exists(name)  # noqa: PTH110, of any name


def _expand(names: str | os.PathLike[str] | Iterable[str]) -> list[str]:
    expanded: list[str] = []
    for given in (names,) if isinstance(names, (str, os.PathLike)) else names:
        name = os.fspath(given)
        if not isinstance(name, str):
            raise InputError(f"names: expected names, got {name!r:.80}")
        if name.startswith(HUB) or _is_local(name):
            expanded.append(name)
        elif any(sign in name for sign in "*?["):
            expanded += weights.list_weights(name)
        else:
            expanded.append(weights.weights_info(name).name)
    return list(dict.fromkeys(expanded))
