"""The weights in the cache: filling it ahead of time, and hashing it again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from convzoo import weights
from convzoo.checkpoint import map_tensors, read_header, tensors_with_nan
from convzoo.errors import WeightsError
from convzoo.hub._cache import HubFile, Verify, actual_hash, announced_hash, cached_path
from convzoo.hub._sources import HUB, WEIGHTS_FILE, parse_hub, resolve


class CachedWeights(NamedTuple):
    """A weights file that `fetch` or `verify` looked at.

    Attributes:
        name: What it was asked for as.
        path: Where it is; None where it is not in the cache.
        status: `"ok"`, `"missing"` (not in the cache), `"corrupt"` (its hash is not the one it
            should have), or `"nan"` (the hash is right, the numbers are not).
        hash: Its sha256, where it was taken.
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
        source = resolve(name, verify=verify, token=token)
        status: Literal["ok", "nan"] = "ok"
        if not source.pickled:
            status = "nan" if _holds_nan(source.file) else "ok"
        known = source.base.get("sha256")
        found.append(
            CachedWeights(name, source.file, status, None if known is None else str(known))
        )
    return found


def verify(names: str | Iterable[str] = ()) -> list[CachedWeights]:
    """Hash cached weights again, whether or not they changed, without the network.

    Args:
        names: As in `fetch`; none means everything of the catalogue that is in the cache or comes
            with the package.

    Returns:
        One entry for each file, in order.

    Raises:
        UnknownNameError: A name is not in the catalogue.
    """
    asked = _expand(names)
    found = [_verify_one(name) for name in asked or weights.list_weights()]
    return found if asked else [entry for entry in found if entry.status != "missing"]


def _verify_one(name: str) -> CachedWeights:
    if name.startswith(HUB):
        file = parse_hub(name)._replace(path=WEIGHTS_FILE)
        expected, path = None, cached_path(file)
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
        broken = _holds_nan(path)
    except WeightsError:
        return CachedWeights(name, path, "corrupt", actual)
    return CachedWeights(name, path, "nan" if broken else "ok", actual)


def _holds_nan(path: Path) -> bool:
    tensors = map_tensors(path, read_header(path).tensors, torch.device("cpu"))
    return bool(tensors_with_nan(tensors))


def _expand(names: str | Iterable[str]) -> list[str]:
    expanded: list[str] = []
    for name in (names,) if isinstance(names, str) else names:
        if not name.startswith(HUB) and any(sign in name for sign in "*?["):
            expanded += weights.list_weights(name)
        else:
            if not name.startswith(HUB):
                weights.weights_info(name)
            expanded.append(name)
    return list(dict.fromkeys(expanded))
