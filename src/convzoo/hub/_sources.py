"""From the string a user gives as `weights=` to a verified file on disk and what is known of it.

What fetches is imported where it is needed: a file on this machine needs none of it.
"""

from __future__ import annotations

import os
from typing import get_args

from convzoo import weights
from convzoo._checks import check_flags, check_path
from convzoo.errors import CheckpointError, InputError, UnknownNameError, WeightsError
from convzoo.hub._cache import Access, Verify
from convzoo.hub._files import (
    CONFIG_FILE,
    HUB,
    INDEX_FILE,
    PICKLE_FILE,
    READS_PICKLES,
    WEIGHTS_FILE,
    Source,
    check_link,
    from_file,
    is_pickle,
)


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
    access: Access = Access(),  # noqa: B008 # a tuple of what never changes
) -> Source:
    """Find the weights that a string means, fetching and verifying them where they are remote.

    Args:
        name: A tag or full name of the catalogue, `hf-hub:owner/name[@revision]`, a folder that
            `save` wrote, or a file.
        architecture: The builder that asks, if one does; a tag alone is one of its tags.
        allow_pickle: Whether a `.pth` or `.bin` file may be read.
        access: How the Hub and its cache may be used.

    Returns:
        The file and what is known of it.

    Raises:
        UnknownNameError: It is none of these.
        WeightsError: It cannot be found, fetched or read.
    """
    verify = access.verify
    if verify not in get_args(Verify):
        raise InputError(f"verify: expected one of {get_args(Verify)}, got {verify!r}")
    check_flags(
        allow_pickle=allow_pickle,
        local_files_only=access.local_files_only,
        force_download=access.force_download,
    )
    if access.local_files_only and access.force_download:
        raise InputError("force_download: asks for the Hub, which local_files_only=True rules out")
    text = os.fspath(name)
    if text.startswith(HUB):
        from convzoo.hub._remote import from_hub

        return from_hub(text, allow_pickle, access)
    if not isinstance(name, os.PathLike):
        info = weights.find_weights(architecture, text)
        if info is not None:
            from convzoo.hub._remote import from_catalogue

            return from_catalogue(info, access)
    path = check_path("weights", name)
    if path.is_dir():
        check_link(path, path / CONFIG_FILE)
        pickles = (PICKLE_FILE,) * allow_pickle
        for file in (path / WEIGHTS_FILE, path / INDEX_FILE, *(path / one for one in pickles)):
            check_link(path, file)
            if file.is_file():
                return from_file(text, file, allow_pickle, verify, config_needed=True)
        raise CheckpointError(
            f"{path}: not a saved network: it has no {WEIGHTS_FILE}"
            + f"; {READS_PICKLES}" * (path / PICKLE_FILE).is_file()
        )
    if path.is_file():
        return from_file(text, path, allow_pickle, verify)
    if isinstance(name, os.PathLike) or looks_like_a_path(text):
        from convzoo.hub._download import is_repository

        hint = f"; the repository on the Hub is {HUB}{text}" if is_repository(text) else ""
        raise WeightsError(f"weights: there is no file or folder {text}{hint}")
    if architecture is None:
        raise UnknownNameError("weights", text, weights.list_weights())
    known = [info.partition(".")[2] for info in weights.list_weights(f"{architecture}.*")]
    raise UnknownNameError(f"weights of {architecture}", text, known)
