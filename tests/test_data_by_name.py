"""Data sets by name: small copies of the published ones, from a server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import re
import shutil
import struct
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

import convzoo
import processes
from convzoo import datasets
from convzoo.cli import main
from convzoo.datasets import LabelledImages, _download
from convzoo.datasets._published import PUBLISHED
from convzoo.errors import ConvzooError, DataError, InputError, UnknownNameError
from convzoo.labels import label_set, map_labels
from data_server import DataServer, Fault

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


class Python2(pickle._Pickler):
    """Pickles as Python 2 did in 2009: bytes as its strings, numpy under its old name."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, held: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(held)) + held)

    dispatch[bytes] = save_bytes


def pickled(value: object) -> bytes:
    file = io.BytesIO()
    Python2(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def packed(files: Mapping[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def idx(values: torch.Tensor) -> bytes:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.to(torch.uint8).numpy().tobytes()


def jpeg(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 16), (grey, 0, 0)).save(file, "JPEG")
    return file.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def mnist_files() -> dict[str, bytes]:
    made = {}
    for part, count in (("train", 40), ("t10k", 20)):
        made[f"{part}-images-idx3-ubyte.gz"] = idx(torch.arange(count * 784).view(-1, 28, 28) % 251)
        made[f"{part}-labels-idx1-ubyte.gz"] = idx(torch.arange(count) % 10)
    return {name: gzip.compress(content) for name, content in made.items()}


def cifar_files(kind: type[torchvision.datasets.CIFAR10], classes: int) -> dict[str, bytes]:
    key = "labels" if classes == 10 else "fine_labels"
    made = {}
    for number, (name, _) in enumerate([*kind.train_list, *kind.test_list]):
        rows = np.full((classes, 3072), number, np.uint8)
        rows[:, 1024:2048] = np.arange(classes)[:, None]
        made[name] = pickled({"data": rows, key: list(range(classes))})
    names = label_set(f"cifar{classes}").names
    made[kind.meta["filename"]] = pickled({kind.meta["key"]: list(names)})
    return made


class Published:
    """Small data sets on a server, and torchvision's classes told of them."""

    def __init__(self, server: DataServer, patch: pytest.MonkeyPatch) -> None:
        self.server, self.patch = server, patch
        for kind in ("MNIST", "FashionMNIST"):
            self.mnist(getattr(torchvision.datasets, kind))
        for kind, classes in (("CIFAR10", 10), ("CIFAR100", 100)):
            known = getattr(torchvision.datasets, kind)
            self.cifar(known, cifar_files(known, classes))

    def mnist(self, kind: Any) -> None:
        files = mnist_files()
        self.server.files |= files
        self.patch.setattr(kind, "mirrors", [f"{self.server.url}/"])
        self.patch.setattr(kind, "resources", [(name, md5(held)) for name, held in files.items()])

    def cifar(self, kind: Any, files: Mapping[str, bytes]) -> None:
        archive = packed({f"{kind.base_folder}/{name}": held for name, held in files.items()})
        self.server.files[kind.filename] = archive
        self.patch.setattr(kind, "url", f"{self.server.url}/{kind.filename}")
        self.patch.setattr(kind, "tgz_md5", md5(archive))
        for part in ("train_list", "test_list"):
            known = [[name, md5(files[name])] for name, _ in getattr(kind, part)]
            self.patch.setattr(kind, part, known)
        meta = {**kind.meta, "md5": md5(files[kind.meta["filename"]])}
        self.patch.setattr(kind, "meta", meta)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Published]:
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    monkeypatch.setenv("CONVZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_DATA_DIRS", "/nowhere")
    monkeypatch.chdir(tmp_path)
    with DataServer({}) as server:
        yield Published(server, monkeypatch)


def test_mnist(published: Published, tmp_path: Path) -> None:
    data = datasets.load("mnist")
    assert (len(data.train), len(data.val), len(data.test)) == (40, 0, 20)
    data = datasets.load("mnist", val=0.25)
    assert (len(data.train), len(data.val), data.classes) == (30, 10, tuple("0123456789"))
    image, label = data.test[3]
    assert (image.shape, image.dtype, label) == ((1, 28, 28), torch.uint8, 3)
    assert torch.equal(image.flatten(), torch.arange(3 * 784, 4 * 784) % 251)
    assert len(published.server.requests) == 4
    other = datasets.load("mnist", val=0.25, seed=1)
    assert not torch.equal(other.train.images, data.train.images)
    assert torch.equal(datasets.load("mnist", val=0.25).train.images, data.train.images)
    # The folder is as torchvision has it.
    assert (tmp_path / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").is_file()


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_cifar(published: Published, tmp_path: Path, name: str, classes: int) -> None:
    data = datasets.load(name, val=0)
    batches = 5 if classes == 10 else 1
    assert (len(data.train), len(data.test)) == (batches * classes, classes)
    assert data.classes == label_set(name).names
    image, label = data.test[7]
    assert (image.shape, label) == ((3, 32, 32), 7)
    assert image[:, 5, 5].tolist() == [batches, 7, batches]  # channels first, as in the file
    kind = {"cifar10": torchvision.datasets.CIFAR10, "cifar100": torchvision.datasets.CIFAR100}
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == sorted(
        [f".{name}.lock", kind[name].base_folder]
    )


def test_imagenette_is_matched_to_imagenet(published: Published) -> None:
    names = ("n01440764", "n03445777")
    files = {
        f"imagenette2-320/{part}/{name}/{i}.JPEG": jpeg(i)
        for part in ("train", "val")
        for name in names
        for i in range(4)
    }
    archive = packed(files)
    published.server.files["imagenette2-320.tgz"] = archive
    known = {"320px": (f"{published.server.url}/imagenette2-320.tgz", md5(archive))}
    published.patch.setattr(torchvision.datasets.Imagenette, "_ARCHIVES", known)
    data = datasets.load("imagenette", val=0.25)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 2, 8)
    imagenet = label_set("imagenet-1k")
    assert data.classes == (imagenet.names[0], imagenet.names[574])
    assert set(data.test.numbered_as(imagenet.names).targets) == {0, 574}
    assert data.test[0][0].size == (20, 16)


def test_oxford_pets(published: Published, tmp_path: Path) -> None:
    listed = ["Abyssinian_1 1 1 1", "Abyssinian_2 1 1 1", "yorkshire_terrier_9 2 2 1"]
    archives = {
        "images.tar.gz": packed(
            {f"images/{line.split()[0]}.jpg": jpeg(i) for i, line in enumerate(listed)}
        ),
        "annotations.tar.gz": packed(
            {f"annotations/{part}.txt": "\n".join(listed).encode() for part in ("trainval", "test")}
        ),
    }
    published.server.files |= archives
    resources = [(f"{published.server.url}/{name}", md5(held)) for name, held in archives.items()]
    published.patch.setattr(torchvision.datasets.OxfordIIITPet, "_RESOURCES", resources)
    data = datasets.load("oxford_pets", val=0)
    assert (data.classes, data.train.targets) == (("Abyssinian", "Yorkshire Terrier"), (0, 0, 1))
    (tmp_path / "data" / "oxford-iiit-pet" / "images" / "Abyssinian_2.jpg").unlink()
    with pytest.raises(DataError, match=r"Abyssinian_2.jpg: is missing; once .* is removed"):
        datasets.load("oxford_pets")


def test_flowers102(published: Published) -> None:
    flowers = torchvision.datasets.Flowers102
    files = {"102flowers.tgz": packed({f"jpg/image_{i:05d}.jpg": jpeg(i) for i in range(1, 7)})}
    try:
        from scipy.io import savemat
    except ImportError:
        files |= dict.fromkeys(("imagelabels.mat", "setid.mat"), b"no scipy")
        said: str | None = "flowers102: needs scipy, which is not installed: pip install"
    else:
        held = io.BytesIO()
        savemat(held, {"labels": np.array([[1, 2, 1, 2, 1, 2]], np.uint8)}, do_compression=True)
        files["imagelabels.mat"] = held.getvalue()
        held = io.BytesIO()
        savemat(held, {"trnid": [[1, 2]], "valid": [[3, 4]], "tstid": [[6, 5]]})
        files["setid.mat"], said = held.getvalue(), None
    published.server.files |= files
    published.patch.setattr(flowers, "_download_url_prefix", f"{published.server.url}/")
    known = {key: (name, md5(files[name])) for key, (name, _) in flowers._file_dict.items()}
    published.patch.setattr(flowers, "_file_dict", known)
    if said is not None:
        with pytest.raises(ConvzooError, match=said):
            datasets.load("flowers102")
        return
    data = datasets.load("flowers102")
    assert (data.train.targets, data.val.targets, data.test.targets) == ((0, 1), (0, 1), (1, 0))
    assert data.classes[:2] == ("pink primrose", "hard-leaved pocket orchid")


def test_the_addresses_are_torchvisions() -> None:
    from convzoo.datasets._published import PUBLISHED

    for name, data in PUBLISHED.items():
        for remote in data.remotes():
            assert len(remote.md5) == 32, name
            assert all(url.endswith(Path(remote.place).name) for url in remote.urls), name
    assert [remote.urls[0] for remote in PUBLISHED["cifar10"].remotes()] == [
        torchvision.datasets.CIFAR10.url
    ]
    assert set(PUBLISHED) | {"digits"} == set(datasets.NAMES)


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_DIRS", raising=False)
    data = datasets.load("fashion_mnist", root=tmp_path / "none", may_download=False)
    assert (len(data.train), len(data.val), len(data.test)) == (54000, 6000, 10000)
    assert data.classes[data.test.targets[0]] == "Ankle boot"
    assert datasets.fetch("fashion_mnist", root=tmp_path / "none") == DEBIAN
    assert not (tmp_path / "none").exists()


def test_an_installed_copy_is_checked(published: Published, tmp_path: Path) -> None:
    folder = tmp_path / "share" / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    for name, held in mnist_files().items():
        (folder / name).write_bytes(held)
    published.patch.setenv("XDG_DATA_DIRS", f"/nowhere{os.pathsep}{tmp_path / 'share'}")
    with pytest.raises(DataError, match=r"is not the published file: its content has sha256"):
        datasets.load("fashion_mnist")


def test_an_idx_folder(tmp_path: Path) -> None:
    for name, held in mnist_files().items():
        (tmp_path / name.removesuffix(".gz").replace("-idx", ".idx")).write_bytes(
            gzip.decompress(held)
        )
    data = datasets.load(tmp_path, val=0.25)
    assert (len(data.train), len(data.test), data.classes) == (30, 20, tuple("0123456789"))
    for held, said in (
        (b"", "expected an IDX file of bytes"),
        (b"\0\0\x08\x03\0\0", "is cut off"),
        (idx(torch.zeros(20, 28, 28))[:-1], "expected 15,680 values, .*, got 15,679"),
        (idx(torch.zeros(20, 28, 28)) + b"x", "expected 15,680 values, .*, got more"),
        (idx(torch.zeros(19, 28, 28)), "19 images, but 20 labels"),
        (idx(torch.zeros(20)), r"expected images \(N, H, W\)"),
        (idx(torch.zeros(0, 28, 28)), "is empty"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "says that it holds 79,228,"),
        (gzip.compress(idx(torch.zeros(20, 28, 28)))[:-9], "cannot be read"),
    ):
        (tmp_path / "t10k-images.idx3-ubyte").write_bytes(held)
        with pytest.raises(DataError, match=said):
            datasets.load(tmp_path)


def test_nothing_unchecked_is_unpickled(published: Published, tmp_path: Path) -> None:
    datasets.fetch("cifar10")

    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.mkdir, (str(tmp_path / "harm"),))

    batch = tmp_path / "data" / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(pickled({"data": Harm(), "labels": []}))
    with pytest.raises(DataError, match=r"data_batch_3: is not the published file: its md5 is"):
        datasets.load("cifar10")
    files = {**cifar_files(torchvision.datasets.CIFAR10, 10), "data_batch_3": batch.read_bytes()}
    published.cifar(torchvision.datasets.CIFAR10, files)  # as though it had been published
    with pytest.raises(DataError, match=r"the pickle calls for \w+\.mkdir, no plain array"):
        datasets.load("cifar10", root=tmp_path / "again")
    assert not (tmp_path / "harm").exists()
    batch.unlink()
    with pytest.raises(DataError, match=r"data_batch_3: cannot be read .*; once .* is removed"):
        datasets.load("cifar10")


def test_a_damaged_file_is_named(published: Published, tmp_path: Path) -> None:
    place = datasets.fetch("mnist") / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"idx3-ubyte.gz: is not the published file: its md5"):
        datasets.load("mnist")
    place.unlink()
    assert len(datasets.load("mnist").test) == 20


def test_archives_that_torchvision_kept_are_used(published: Published, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    archive = tmp_path / "data" / "cifar-10-python.tar.gz"
    archive.write_bytes(published.server.files[archive.name])
    assert len(datasets.load("cifar10", val=0).train) == 50
    assert not published.server.requests
    assert archive.is_file()
    theirs = torchvision.datasets.CIFAR10(tmp_path / "data")  # and it reads what we unpacked
    assert len(theirs) == 50


def test_an_archive_that_is_something_else(published: Published, tmp_path: Path) -> None:
    for held in (b"no archive", packed({"elsewhere/a": b"a"}), packed({"../out": b"a"})):
        published.server.files["cifar-10-python.tar.gz"] = held
        published.patch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", md5(held))
        with pytest.raises(DataError, match="cannot be unpacked"):
            datasets.load("cifar10")
        shutil.rmtree(tmp_path / "data")
    assert not (tmp_path / "out").exists()


def test_what_must_not_be_downloaded(published: Published, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar10: is not in .* `convzoo fetch cifar10` fetches"):
        datasets.load("cifar10", may_download=False)
    assert not published.server.requests
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").write_text("a file", "utf-8")
    with pytest.raises(DataError, match=r"where nothing can be kept .*; root= or CONVZOO_DATA"):
        datasets.load("cifar10")


def test_a_server_of_ones_own_comes_first(published: Published) -> None:
    published.patch.setenv("CONVZOO_MIRROR", f"{published.server.url}/school/")
    published.server.faults = [Fault(status=404)]
    datasets.fetch("cifar10")
    assert [path for path, _ in published.server.requests] == [
        "/school/cifar-10-python.tar.gz",
        "/cifar-10-python.tar.gz",
    ]


def test_many_at_once_fetch_once(published: Published) -> None:
    sizes: list[int] = []
    work = [
        threading.Thread(target=lambda: sizes.append(len(datasets.load("cifar10", val=0).train)))
        for _ in range(6)
    ]
    for one in work:
        one.start()
    for one in work:
        one.join()
    assert sizes == [50] * 6
    assert len(published.server.requests) == 1


@pytest.mark.long
def test_many_processes_fetch_once(published: Published, tmp_path: Path) -> None:
    kind = torchvision.datasets.CIFAR10
    patches = {name: getattr(kind, name) for name in ("tgz_md5", "url", "train_list", "test_list")}
    code = (
        "import torchvision; kind = torchvision.datasets.CIFAR10\n"
        f"for name, value in {patches!r}.items(): setattr(kind, name, value)\n"
        f"kind.meta = {kind.meta!r}\n"
        "from convzoo import datasets; print(len(datasets.load('cifar10', val=0).train))"
    )
    published.server.faults = [Fault(keep=200), Fault(keep=300)]
    done = []
    work = [
        threading.Thread(target=lambda: done.append(processes.run([sys.executable, "-c", code])))
        for _ in range(3)
    ]
    for one in work:
        one.start()
    for one in work:
        one.join()
    assert [one.stdout for one in done] == ["50\n"] * 3, [one.stderr for one in done]
    assert len(published.server.requests) == 3


def test_a_word_that_is_a_folder_too(published: Published, tmp_path: Path) -> None:
    for part in ("cats", "dogs"):
        (tmp_path / "mnist" / part).mkdir(parents=True)
        for i in range(4):
            (tmp_path / "mnist" / part / f"{i}.jpg").write_bytes(jpeg(i))
    said = r"say \./mnist for the folder or dataset:mnist for the data set"
    for call in (datasets.load, datasets.fetch):
        with pytest.raises(InputError, match=said):
            call("mnist")
    assert main(["finetune", "mnist"]) == 2
    assert main(["evaluate", "lenet5.fashion_mnist", "mnist"]) == 2
    assert datasets.load("./mnist").classes == ("cats", "dogs")
    assert datasets.load(Path("mnist")).classes == ("cats", "dogs")
    assert datasets.load("dataset:mnist").classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cifar01", r"cifar01: no such folder, nor a data set .*; did you mean 'cifar10'\?"),
        ("photos", r"photos: no such folder, nor a data set of that name; those are digits, mnist"),
        ("./photos", r"photos: no such folder"),
        ("dataset:photos", "unknown data set 'photos'"),
        ("hf-hub:photos", r"expected hf-hub:owner/name\[@revision\]"),
        ("hf-hub:../a", r"expected hf-hub:owner/name\[@revision\]"),
        ("", "expected a path, got an empty string"),
        (3, "expected a data set's name or a folder, got 3"),
    ],
)
def test_what_is_no_data_set(
    name: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, DataError), match=said):
        datasets.load(name)
    if name != "hf-hub:photos":
        with pytest.raises((InputError, DataError)):
            datasets.fetch(name)


def test_columns_belong_to_tables() -> None:
    with pytest.raises(InputError, match="columns: belongs to hf-hub:owner/name, got digits"):
        datasets.load("digits", columns=("a", "b"))


# Classes


def ten() -> LabelledImages:
    images = torch.arange(20, dtype=torch.uint8).view(-1, 1, 1, 1)
    return LabelledImages(images, [i % 10 for i in range(20)], label_set("cifar10").names)


def test_a_subset_of_classes_is_renumbered_and_keeps_its_names() -> None:
    few = ten().subset(classes=["ship", "cat"])
    assert (few.classes, few.targets) == (("ship", "cat"), (1, 0, 1, 0))
    assert few.images.flatten().tolist() == [3, 8, 13, 18]
    assert ten().subset([8, 1, 3], classes=["ship", "cat"]).targets == (0, 1)
    assert few.numbered_as(label_set("cifar10").names).targets == (3, 8, 3, 8)
    split = datasets.digits().subset(classes=["3", "8"])
    assert split.classes == ("3", "8")
    assert set(split.test.targets) == {0, 1}
    with pytest.raises(UnknownNameError, match="unknown class 'boat'"):
        ten().subset(classes=["boat"])
    with pytest.raises(InputError, match="expected each class once, got 'cat' twice"):
        ten().subset(classes=["cat", "cat"])
    with pytest.raises(InputError, match="indices, classes: expected one of them, got neither"):
        ten().subset()
    for nonsense in ("cat", [], 3, [3]):
        with pytest.raises(InputError, match="classes: expected names of classes"):
            ten().subset(classes=nonsense)


def test_numbers_of_somebody_else() -> None:
    with pytest.raises(InputError, match=r"expected 'airplane', which the images show, once"):
        ten().numbered_as(["cat", "dog"])
    with pytest.raises(InputError, match=r"expected 'cat', .*, got it twice in cat, cat, ship"):
        ten().subset(classes=["ship", "cat"]).numbered_as(["cat", "cat", "ship"])
    # A name that comes twice does no harm where no image needs it, as ImageNet's cranes.
    assert ten().subset(classes=["ship"]).numbered_as(["cat", "cat", "ship"]).targets == (2, 2)


def test_a_network_scores_a_subset_by_name() -> None:
    class Knows(torch.nn.Module):
        labels = label_set("cifar10").names
        num_classes = 10

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(x[:, 0, 0, 0].long() % 10, 10).float()

    few = ten().subset(classes=["ship", "cat"])
    result = convzoo.evaluate(Knows(), few, transform=lambda image: image.float(), cpu=True)
    assert (result.top1, result.samples) == (1.0, 4)
    assert result.labels == Knows.labels
    mixed = LabelledImages(few.images, few.targets, ("ship", "boat"))
    with pytest.raises(InputError, match="expected 'boat', which the images show"):
        convzoo.evaluate(Knows(), mixed, transform=lambda image: image.float(), cpu=True)


def test_labels_of_the_small_data_sets() -> None:
    assert label_set("cifar10").names[8] == "ship"
    assert len(set(label_set("cifar100").names)) == 100
    assert sorted(label_set("cifar100").names) == list(label_set("cifar100").names)
    assert label_set("mnist").names == datasets.digits().classes
    assert label_set("fashion-mnist") == label_set("fashion_mnist")  # the spelling before
    assert {"cifar10", "fashion_mnist", "mnist"} <= set(convzoo.presets.PRESETS)
    assert label_set("fashion_mnist").names == tuple(torchvision.datasets.FashionMNIST.classes)
    assert map_labels(["ship", "cat"], "cifar10") == (8, 3)
    assert map_labels(["boat"], "cifar10", missing="skip") == (-1,)


# The command


def test_the_command_takes_names(published: Published, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "mnist", "lenet5.fashion_mnist"]) == 0
    assert "mnist: ok, " in capsys.readouterr().out
    arguments = ["--head-epochs", "1", "--epochs", "0", "--batch-size", "8", "--cpu"]
    assert main(["finetune", "mnist", *arguments, "--out", "kept", "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert "data: mnist" in said
    assert "network: cifar_resnet20, weights fashion_mnist" in said
    assert "images: 30 training, 10 validation, 20 test; 10 classes" in said
    assert main(["evaluate", "kept", "mnist", "--part", "train", "--json", "--cpu"]) == 0
    assert '"samples": 30' in capsys.readouterr().out
    assert main(["evaluate", "lenet5.fashion_mnist", "mnist"]) == 2
    assert "the model does not know mnist, but T-shirt/top" in capsys.readouterr().err
    assert main(["look", "kept", "mnist", "--out", "look.html"]) == 0
    assert "mnist 2: 2" in Path("look.html").read_text("utf-8")
    assert main(["fetch", "mnits"]) == 2
    assert "did you mean 'mnist'" in capsys.readouterr().err


def test_the_page_says_what_there_is_to_download() -> None:
    page = Path(__file__).parent.parent.joinpath("docs", "data.md").read_text("utf-8")
    said: dict[str, int] = {}
    for row in page.splitlines():
        if row.startswith("| `"):
            names, *_, download = row.strip("| ").split(" | ")
            found = zip(
                re.findall("`(.+?)`", names), re.findall(r"(\d+) MB", download), strict=False
            )
            said |= {name: int(size) for name, size in found}
    assert said == {name: one.megabytes for name, one in PUBLISHED.items()}
    assert {*said, "digits"} == {*datasets.NAMES}
