"""From the string a user gives as `weights=` to a verified file on disk and what is known of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from convzoo import layouts, weights
from convzoo._config import SavedConfig, read_config
from convzoo.errors import CheckpointError, UnknownNameError, WeightsError

Verify = Literal["changed", "always"]
"""When a cached file is hashed: if it changed since the last time, or at every load."""

HUB: Final = "hf-hub:"
WEIGHTS_FILE: Final = "model.safetensors"
CONFIG_FILE: Final = "config.json"
PICKLES: Final = (".pth", ".pt", ".bin")


@dataclass(frozen=True)
class Source:
    """A weights file that may be read, and what is known of it.

    Attributes:
        name: What the user called it.
        file: The file.
        config: What its config.json, or the catalogue, says.
        layout: Its key layout; None where it has to be told from the keys.
        base: Where it comes from, for the model card of what is made from it.
    """

    name: str
    file: Path
    config: SavedConfig
    layout: layouts.Layout | None
    base: dict[str, object]

    @property
    def pickled(self) -> bool:
        """Whether the file is a pickle rather than safetensors."""
        return self.file.suffix in PICKLES


class Resolved(str):
    """A source's name that carries the source, so that a builder does not look it up again.

    `load` has to read config.json to know which builder to call; the builder hands on the string.
    """

    __slots__ = ("source",)
    source: Source


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
) -> Source:
    """Find the weights that a string means, fetching and verifying them where they are remote.

    Args:
        name: A tag or full name of the catalogue, `hf-hub:owner/name[@revision]`, a folder that
            `save` wrote, or a file.
        architecture: The builder that asks, if one does; a tag alone is one of its tags.
        allow_pickle: Whether a `.pth` or `.bin` file may be read.
        verify: When to hash a file from the Hub's cache.

    Returns:
        The file and what is known of it.

    Raises:
        UnknownNameError: It is none of these.
        WeightsError: It cannot be found, fetched or read.
    """
    if isinstance(name, Resolved):
        return name.source
    text = os.fspath(name)
    if text.startswith(HUB):
        raise WeightsError("not yet")
    if not isinstance(name, os.PathLike):
        if architecture is not None:
            info = weights.find_weights(architecture, text)
        else:
            info = weights.weights_info(text) if text in weights.list_weights() else None
        if info is not None:
            return _from_catalogue(info, verify)
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


def _from_catalogue(info: weights.WeightsInfo, verify: Verify) -> Source:
    if not info.bundled:
        raise WeightsError("not yet")
    file = weights.BUNDLED / info.file
    if not file.is_file():
        raise WeightsError(f"{info.name}: {file} is missing from this installation")
    config = SavedConfig(
        architecture=info.model,
        num_classes=info.num_classes,
        in_channels=info.in_channels,
        options=info.options,
        labels=info.label_names(),
        preset=info.preset,
    )
    base: dict[str, object] = {"weights": info.name, "licence": info.licence}
    if info.sha256 is not None:
        base["sha256"] = info.sha256
    return Source(info.name, file, config, layouts.get(info.layout), base)


def _from_folder(name: str, folder: Path) -> Source:
    config = folder / CONFIG_FILE
    file = folder / WEIGHTS_FILE
    for needed in (config, file):
        if not needed.is_file():
            raise CheckpointError(f"{folder}: not a saved network: it has no {needed.name}")
    return Source(name, file, read_config(config), None, {"weights": name})


def _from_file(name: str, file: Path, allow_pickle: bool) -> Source:
    if file.suffix in PICKLES and not allow_pickle:
        raise WeightsError(
            f"{file}: a pickle can run code of its writer when it is read; "
            "convzoo.load(..., allow_pickle=True) reads it with torch's restricted unpickler"
        )
    beside = file.with_name(CONFIG_FILE)
    config = read_config(beside) if beside.is_file() else SavedConfig()
    return Source(name, file, config, None, {"weights": name})
