"""Labelled images: the bundled digits, and folders with one subfolder a class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convzoo import datasets
from convzoo.datasets import LabelledImages
from convzoo.errors import DataError, InputError


def make_folder(root: Path, **counts: int) -> Path:
    """Class folders with that many small images each; a double underscore makes a level."""
    for name, count in counts.items():
        folder = root / name.replace("__", "/")
        folder.mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (8, 6), (i, 100, 200)).save(folder / f"{i}.png")
    return root


def test_digits_are_those_of_the_archive() -> None:
    whole = datasets.digits(val=0, test=0).train
    # The class distribution that the archive states for its test part.
    assert whole.counts == (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
    assert isinstance(whole.images, torch.Tensor)
    assert whole.images.shape == (1797, 1, 8, 8)
    first = (whole.images[0, 0].float() / 255 * 16).round().int()
    # The archive's first line: 0,0,5,13,9,1,0,0, 0,0,13,15,10,15,5,0, ... and its label.
    assert first[:2].tolist() == [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]
    assert whole.targets[:5] == (0, 1, 2, 3, 4)
    assert (whole.images.min(), whole.images.max()) == (0, 255)


def test_digits_are_split_class_by_class_and_always_alike() -> None:
    train, val, test, skipped = datasets.digits()
    assert (len(train), len(val), len(test), skipped) == (1259, 179, 359, ())
    assert train.classes == tuple("0123456789")
    assert max(test.counts) - min(test.counts) <= 2
    assert max(val.counts) - min(val.counts) <= 1
    # Fixed in advance, so that a figure stays comparable: the first test images.
    assert test.targets[:12] == datasets.digits().test.targets[:12]
    assert torch.equal(test.images, datasets.digits().test.images)
    assert not torch.equal(test.images, datasets.digits(seed=1).test.images)


def test_no_image_is_in_two_parts() -> None:
    numbered = LabelledImages(
        torch.arange(100, dtype=torch.uint8).view(-1, 1, 1, 1), [i % 3 for i in range(100)], "abc"
    )
    parts = numbered.split(0.2, 0.3)
    assert [len(part) for part in parts] == [49, 21, 30]  # of 34 and twice 33
    everything = sorted(int(image) for part in parts for image, _ in part)
    assert everything == list(range(100))
    for part in parts:
        assert all(int(image) % 3 == label for image, label in part)


def test_a_split_leaves_each_class_something_to_learn_from() -> None:
    rare = LabelledImages(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), [0, 1, 1, 1, 1], "ab")
    first, second = rare.split(0.9)
    assert first.counts == (1, 1)
    assert second.counts == (0, 3)
    for shares in ((1.0,), (-0.1,), (0.5, 0.5)):
        with pytest.raises(InputError, match="shares: expected numbers in"):
            rare.split(*shares)


def test_labelled_images_check_their_lengths() -> None:
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(InputError, match="expected one for each of 2 images, got 1"):
        LabelledImages(images, [0], "ab")
    with pytest.raises(InputError, match="targets: expected an integer from 0 to 1, got 2"):
        LabelledImages(images, [0, 2], "ab")
    assert repr(LabelledImages(images, [0, 1], "ab")) == "LabelledImages(2 images, 2 classes)"


@pytest.mark.parametrize("target", [1.9, 1.0, "1", -0.5, -1, True, None])
def test_labels_are_not_coerced(target) -> None:
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    with pytest.raises(InputError, match="targets: expected an integer from 0 to 1, got"):
        LabelledImages(images, [0, target], "ab")
    whole = LabelledImages(images, np.array([0, 1]), "ab")
    assert [type(number) for number in whole.targets] == [int, int]


def test_a_folder_without_parts_is_split(tmp_path: Path) -> None:
    make_folder(tmp_path, cat=10, dog=20)
    (tmp_path / "cat" / "notes.txt").write_text("passed over")
    (tmp_path / ".cache").mkdir()
    data = datasets.image_folder(tmp_path, val=0.1, test=0.2)
    assert data.classes == ("cat", "dog")
    assert (data.train.counts, data.val.counts) == ((7, 14), (1, 2))
    assert data.test is not None
    assert data.test.counts == (2, 4)
    image, label = data.train[0]
    assert isinstance(image, Image.Image)
    assert (image.size, label) == ((8, 6), 0)
    assert datasets.image_folder(tmp_path).val.images == datasets.image_folder(tmp_path).val.images


def test_a_folder_with_parts_keeps_them(tmp_path: Path) -> None:
    make_folder(tmp_path, train__cat=5, train__dog=5, validation__cat=2, validation__dog=1)
    data = datasets.image_folder(tmp_path)
    assert (len(data.train), len(data.val), data.test) == (10, 3, None)
    make_folder(tmp_path, test__dog=4)  # not every class need be there
    data = datasets.image_folder(tmp_path)
    assert data.test is not None
    assert data.test.counts == (0, 4)
    make_folder(tmp_path, test__fox=1)
    with pytest.raises(DataError, match=r"fox: not one of the known classes \(cat, dog\)"):
        datasets.image_folder(tmp_path)


def test_other_layouts(tmp_path: Path) -> None:
    make_folder(tmp_path / "a", train__cat=10, train__dog=10, test__cat=1, test__dog=1)
    data = datasets.image_folder(tmp_path / "a", val=0.2)
    assert (len(data.train), len(data.val), len(data.test or ())) == (16, 4, 2)
    make_folder(tmp_path / "b", train__cat=10, train__dog=10)
    assert datasets.image_folder(tmp_path / "b").classes == ("cat", "dog")
    make_folder(tmp_path / "c", train=4, bus=4)  # pictures of trains
    assert datasets.image_folder(tmp_path / "c").classes == ("bus", "train")
    make_folder(tmp_path / "d", cat=1, dog__small=3, dog__big=3)  # folders within a class
    assert sum(datasets.image_folder(tmp_path / "d", val=0, test=0).train.counts) == 7


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"cat": 2, "dog": 0}, r"dog: the class is empty: it has no image"),
        ({"cat": 2}, r"expected at least two classes, found only 'cat'"),
        ({}, r"expected one subfolder a class, found no subfolder"),
    ],
)
def test_what_a_folder_lacks_is_said(tmp_path: Path, counts, message) -> None:
    with pytest.raises(DataError, match=message):
        datasets.image_folder(make_folder(tmp_path, **counts))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipes_and_broken_links_are_named_not_passed_over(tmp_path: Path) -> None:
    make_folder(tmp_path, cat=2, dog=2)
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "dog" / "link.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"pipe\.png: expected an image file, got a pipe"):
        datasets.image_folder(tmp_path)
    data = datasets.image_folder(tmp_path, on_error="skip", val=0, test=0)
    assert data.train.counts == (2, 2)
    assert "link.png: no such file" in data.skipped[1]


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_names_that_no_folder_can_have(name: str) -> None:
    with pytest.raises(DataError, match=r": (no such folder|expected a folder, got)"):
        datasets.image_folder(name)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        datasets.image_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file: expected a folder .*, got a file"):
        datasets.image_folder(tmp_path / "file")


def test_an_unreadable_image_is_named_or_left_out(tmp_path: Path) -> None:
    make_folder(tmp_path, cat=4, dog=4)
    bad = tmp_path / "dog" / "2.png"
    bad.write_bytes(bad.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"dog.2\.png: cut off, damaged"):
        datasets.image_folder(tmp_path)
    seen: list[tuple[int, int]] = []
    data = datasets.image_folder(
        tmp_path, val=0, test=0, on_error="skip", on_check=lambda done, of: seen.append((done, of))
    )
    assert data.train.counts == (4, 3)
    assert len(data.skipped) == 1
    assert str(bad) in data.skipped[0]
    assert seen == [(8, 8)]
    for path in (tmp_path / "dog").iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(DataError, match="the class is empty: none of its images can be read"):
        datasets.image_folder(tmp_path, on_error="skip")
    assert len(datasets.image_folder(tmp_path, val=0, test=0, check=False).train) == 8
    with pytest.raises(InputError, match="unknown on_error 'ignore'"):
        datasets.image_folder(tmp_path, on_error="ignore")


def test_a_folder_is_numbered_as_a_network_numbers_its_classes(tmp_path: Path) -> None:
    make_folder(tmp_path, val__fox=1, val__cat=2, train__fox=3, train__cat=3)
    images, skipped = datasets.labelled_folder(tmp_path, classes=["fox", "owl", "cat"])
    assert (images.counts, skipped) == ((1, 0, 2), ())  # the validation part, for want of a test
    images, _ = datasets.labelled_folder(tmp_path, part="train")
    assert images.counts == (3, 3)
    assert datasets.class_names(tmp_path) == ("cat", "fox")
    with pytest.raises(DataError, match="has no test part"):
        datasets.labelled_folder(tmp_path, part="test")
    one, _ = datasets.labelled_folder(make_folder(tmp_path / "one", fox=2), classes=["fox", "cat"])
    assert one.counts == (2, 0)
