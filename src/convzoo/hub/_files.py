"""Files of weights on this machine: opened, and asked which network they are of.

Nothing here is imported that fetches, saves or unpickles: loading a file needs none of it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from convzoo.errors import CheckpointError, CorruptWeightsError, WeightsError
from convzoo.hub._cache import Verify
from convzoo.hub._config import SavedConfig, parse_config, read_config
from convzoo.hub._key_maps import Layout
from convzoo.hub._safetensors import CONFIG_KEY, SafetensorsFile

HUB: Final = "hf-hub:"
WEIGHTS_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"
PICKLE_FILE: Final = "pytorch_model.bin"
CONFIG_FILE: Final = "config.json"
CONFIG_HASH_KEY: Final = "convzoo.sha256"

READS_PICKLES: Final = (
    "convzoo.load(..., allow_pickle=True) reads a pickle with torch's restricted unpickler; "
    "timm's save_for_hf writes none with safe_serialization=True"
)

_PICKLED: Final = (".pth", ".pt", ".th", ".bin", ".ckpt", ".pth.tar", ".pt.tar")

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
    layout: Layout | None
    base: dict[str, object]


def is_pickle(name: str) -> bool:
    """Whether a file's name says that it is a pickle."""
    return name.endswith(_PICKLED)


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
        from convzoo.hub._pickles import read_pickle  # few files are

        return read_pickle(file)
    if name.endswith(".json"):
        from convzoo.hub._shards import Shards

        return Shards(file, shard)
    return SafetensorsFile(file)


def from_file(
    name: str, file: Path, allow_pickle: bool, verify: Verify, *, config_needed: bool = False
) -> Source:
    """A file of weights that lies on this machine.

    Args:
        name: What the user called it.
        file: The file.
        allow_pickle: Whether it may be a pickle.
        verify: `"always"` hashes it, where it holds a hash.
        config_needed: Whether something has to say which network it is.

    Returns:
        The file and what is known of it.

    Raises:
        WeightsError: It cannot be read.
    """
    pickled = is_pickle(file.name)
    if pickled and not allow_pickle:
        raise WeightsError(
            f"{file}: a pickle can run code of its writer when it is read; {READS_PICKLES}"
        )

    def shard(part: str) -> SafetensorsFile:
        check_link(file.parent, file.with_name(part))
        return SafetensorsFile(file.with_name(part))

    contents = opened(file.name, file, shard)
    config = own_config(contents)
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


def own_config(contents: SafetensorsFile) -> SavedConfig | None:
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


def check_link(folder: Path, file: Path) -> None:
    """Refuse a file of a saved folder that is a link to somewhere else on this machine."""
    home = folder.resolve()
    if home.parent.name == "snapshots":
        home = home.parent.parent  # the Hub's cache links its snapshots to its blobs
    if not file.resolve().is_relative_to(home):
        raise CheckpointError(
            f"{file}: a link out of the folder, to {file.resolve()}; not followed"
        )
