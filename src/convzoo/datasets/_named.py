"""Data sets by name, by folder and by their address on the Hub."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

from convzoo._checks import check_choice, check_flags, check_path
from convzoo.datasets._digits import digits
from convzoo.datasets._from_hub import HUB, hub_dataset
from convzoo.datasets._idx import idx_folder, is_idx_folder
from convzoo.datasets._image_folder import image_folder
from convzoo.datasets._labelled import Splits
from convzoo.datasets._prepared import Columns
from convzoo.datasets._published import PUBLISHED, Parts
from convzoo.datasets._store import data_root, ensure, is_there
from convzoo.errors import DataError, InputError

DatasetName = Literal[
    "digits",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
    "imagenette",
    "flowers102",
    "oxford_pets",
]
"""The data sets that `load` knows by name."""

NAMES: Final[tuple[DatasetName, ...]] = get_args(DatasetName)
"""The same, to look through."""

NAMED: Final = "dataset:"
"""What says that a word is a data set's name and no folder's."""


def load(
    name: DatasetName | str | os.PathLike[str],
    *,
    val: float | None = None,
    test: float | None = None,
    seed: int = 0,
    root: str | os.PathLike[str] | None = None,
    columns: Columns | None = None,
    may_download: bool = True,
    progress: bool = True,
) -> Splits:
    """A data set by name, fetched once; or a folder of your own, or one of the Hub.

    The published parts stay what they are: nothing of a test part is ever trained on. What is
    missing is drawn at random, class by class, and always alike for the same seed.

    Args:
        name: A [DatasetName][convzoo.datasets.DatasetName] such as `"cifar10"`; a folder of images
            with one subfolder a class, or with MNIST's four IDX files; or
            `"hf-hub:owner/name[@revision]"`. Where a folder here bears a data set's name, say
            `"./cifar10"` or `"dataset:cifar10"`.
        val: Share of the training images to draw for validation, in [0, 1), where the data has no
            such part. None is 0.1; of folders and of the Hub's data 0.15.
        test: Share to draw for the final test, where the data is not split at all: of the digits
            (None is 0.2), of folders and of the Hub's data (0.15).
        seed: Of the draws.
        root: The folder of data sets, as torchvision fills it. None is the environment's
            `CONVZOO_DATA`, else `~/.cache/convzoo/datasets`.
        columns: Names of image and label in the Hub's tables; None finds the usual ones.
        may_download: Whether the network may be asked for what is not there.
        progress: Whether to show bars of downloads, where there is a terminal.

    Returns:
        The parts: uint8 tensors (C, H, W) of the small data sets, PIL images of the others.

    Raises:
        InputError: The name is also that of a folder here, or another argument is wrong.
        DataError: There is no such data set or folder; the data cannot be fetched, or is not what
            was published; or the folder is not as it should be.
        ConvzooError: The `datasets` extra is not installed, which the Hub and `"flowers102"` need.

    Examples:
        >>> from convzoo import datasets
        >>> data = datasets.load("digits")
        >>> len(data.train), len(data.val), len(data.test)
        (1259, 179, 359)
    """
    check_flags(may_download=may_download, progress=progress)
    found = find(name)
    if columns is not None and not str(found).startswith(HUB):
        raise InputError(f"columns: belongs to hf-hub:owner/name, got {found} as well")
    if isinstance(found, Path):
        if not is_idx_folder(found):
            val, test = (0.15 if share is None else share for share in (val, test))
            return image_folder(found, val=val, test=test, seed=seed)
        whole, judge = idx_folder(found)
        train, held_out = whole.split(0.1 if val is None else val, seed=seed)
        return Splits(train, held_out, judge)
    if found.startswith(HUB):
        return hub_dataset(
            found,
            columns=columns,
            val=0.15 if val is None else val,
            test=0.15 if test is None else test,
            seed=seed,
            progress=progress,
        )
    share = 0.1 if val is None else val
    if found == "digits":
        return digits(val=share, test=0.2 if test is None else test, seed=seed)
    place, read = _place(found, root, may_download=may_download, progress=progress)
    parts = read(place)
    if parts.val is not None:
        return Splits(parts.train, parts.val, parts.test)
    train, held_out = parts.train.split(share, seed=seed)
    return Splits(train, held_out, parts.test)


def fetch(
    name: str,
    *,
    root: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> Path:
    """Fetch a data set ahead of time, so that `load` needs no network.

    Args:
        name: As [load][convzoo.datasets.load] takes it.
        root: The folder of data sets, as in `load`.
        progress: Whether to show bars, where there is a terminal.

    Returns:
        The folder that holds it: the folder of data sets, or where the system has it installed; of
        the digits that of the package.

    Raises:
        InputError: The name is also that of a folder here, or no data set's at all.
        DataError: There is no such data set, or it cannot be fetched.

    Examples:
        >>> from convzoo import datasets
        >>> datasets.fetch("digits").name
        'bundled'
    """
    check_flags(progress=progress)
    found = find(name)
    if found == "digits":
        return Path(__file__).parent.parent / "bundled"
    if isinstance(found, str) and not found.startswith(HUB):
        return _place(found, root, may_download=True, progress=progress)[0]
    raise InputError(
        f"name: expected a data set's name, got {name!r:.200}; the Hub's own cache "
        "keeps what `load` has fetched from there"
    )


def find(name: str | os.PathLike[str]) -> Path | str:
    """What a word means: a folder, a name of `NAMES`, or an address on the Hub.

    Args:
        name: As `load` takes it.

    Returns:
        A path, which need not be a folder; or the name or the address.

    Raises:
        InputError: It is a name and a folder, or no name at all.
        UnknownNameError: After `dataset:` comes no name.
        DataError: A word is neither a name nor a folder.
    """
    if not isinstance(name, str):
        if isinstance(name, os.PathLike):
            return check_path("name", name)
        raise InputError(f"name: expected a data set's name or a folder, got {name!r:.80}")
    if name.startswith(HUB):
        return name
    if name.startswith(NAMED):
        word = name.removeprefix(NAMED)
        check_choice("data set", word, NAMES)
        return word
    path = check_path("name", name)
    if name in NAMES:
        if path.is_dir():
            raise InputError(
                f"name: {name} is a data set's name and a folder here; say ./{name} for the folder "
                f"or {NAMED}{name} for the data set"
            )
        return name
    if path.exists() or path.name != name:
        return path
    near = difflib.get_close_matches(name, NAMES, n=1)
    known = f"did you mean {near[0]!r}?" if near else f"those are {', '.join(NAMES)}"
    raise DataError(f"{name}: no such folder, nor a data set of that name; {known}")


def _place(
    name: str, root: str | os.PathLike[str] | None, *, may_download: bool, progress: bool
) -> tuple[Path, Callable[[Path], Parts]]:
    """Where a data set is, once it is there, and what reads it from there."""
    published, folder = PUBLISHED[name], data_root(root)
    remotes = published.remotes()
    if not all(is_there(folder, remote) for remote in remotes):
        installed = published.installed_at()
        if installed is not None and published.read_installed is not None:
            return installed, published.read_installed
        ensure(name, remotes, folder, may_download=may_download, progress=progress)
    return folder, published.read
