"""Mean and standard deviation of a data set."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset, get_worker_info

from convzoo.errors import InputError
from convzoo.presets import ChannelStats, channel_stats

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")


class Squares(Dataset):
    """Random images of growing size, as (PIL image, label)."""

    def __init__(self, count=9, channels=3):
        self.count = count
        self.channels = channels

    def __len__(self):
        return self.count

    def values(self, index):
        random = np.random.default_rng(index)
        shape = (index + 3, 2 * index + 4, self.channels)
        return random.integers(0, 200 + index, shape, dtype=np.uint8)

    def __getitem__(self, index):
        return Image.fromarray(self.values(index).squeeze()), index


class Shared(IterableDataset):
    """The same images, shared out between workers as torch's documentation says."""

    def __iter__(self):
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        squares = Squares()
        return (squares[index] for index in range(first, 9, step))


def expected():
    pixels = np.concatenate([Squares().values(i).reshape(-1, 3) for i in range(9)]) / 255
    return pixels.mean(0), pixels.std(0), len(pixels)


def check(stats):
    mean, std, pixels = expected()
    np.testing.assert_allclose(stats.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(stats.std, std, rtol=1e-13)
    assert (stats.pixels, stats.images) == (pixels, 9)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_pixel_counts_once_whatever_the_sizes_and_batches(batch_size):
    check(channel_stats(Squares(), batch_size=batch_size))


def test_pil_images_tensors_pairs_mappings_and_generators_agree():
    images = [Squares()[i][0] for i in range(9)]
    tensors = [torch.from_numpy(Squares().values(i)).movedim(-1, 0) for i in range(9)]
    check(channel_stats(images))
    check(channel_stats(tensors))
    check(channel_stats(image.double() / 255 for image in tensors))
    check(channel_stats([{"image": image, "label": 0} for image in images]))
    check(channel_stats([[image, 0, "more"] for image in images]))
    check(channel_stats(Shared()))
    check(channel_stats([t.to(torch.int32).mul(257).to(torch.uint16) for t in tensors]))


# Python 3.12 and later warn of fork in a process with threads, which is how DataLoader starts.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("dataset", [Squares(), Shared()], ids=["map", "iterable"])
@pytest.mark.skipif(sys.platform == "win32", reason="starting workers afresh takes too long")
def test_workers_give_the_same(dataset):
    check(channel_stats(dataset, num_workers=2, batch_size=2))


def test_a_small_spread_far_from_zero_survives():
    # E[x^2] - E[x]^2 loses every digit here.
    image = 1e6 + 1e-3 * torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(1, 8, 8)
    stats = channel_stats([image, image + 2e-3, image - 2e-3])
    assert stats.mean[0] == pytest.approx(1e6, rel=1e-15)
    assert stats.std[0] == pytest.approx(1e-3 * (11 / 3) ** 0.5, rel=1e-6)


def test_an_image_larger_than_a_chunk_is_counted_whole():
    image = torch.zeros(1, 1100, 1000, dtype=torch.uint8)
    image[:, 550:] = 255
    stats = channel_stats([image])
    assert stats.pixels == 1_100_000
    assert stats.images == 1
    assert (stats.mean[0], stats.std[0]) == pytest.approx((0.5, 0.5), rel=1e-12)


def test_the_answer_is_a_named_tuple_of_plain_numbers():
    stats = channel_stats(TensorDataset(torch.full((2, 1, 2, 2), 51, dtype=torch.uint8)))
    assert stats == ChannelStats(mean=(pytest.approx(0.2),), std=(0.0,), pixels=8, images=2)
    assert type(stats.mean[0]) is float


def test_channels_are_converted_when_asked_and_refused_when_mixed():
    mixed = [Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("L", (4, 4), 255)]
    assert channel_stats(mixed, channels=3).mean == pytest.approx((1.0, 0.5, 0.5))
    assert channel_stats(mixed, channels=1).mean == pytest.approx(((1 + 76 / 255) / 2,))
    for batch_size in (1, 2):
        with pytest.raises(InputError, match="got images of 1 and 3 channels; pass channels"):
            channel_stats(mixed, batch_size=batch_size)


@pytest.mark.parametrize(
    "empty", [[], iter(()), TensorDataset(torch.zeros(0, 1, 2, 2)), Squares(0)]
)
def test_an_empty_dataset_is_an_error(empty):
    with pytest.raises(InputError, match="dataset: expected at least one image, got none"):
        channel_stats(empty)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_named(value):
    bad = torch.zeros(1, 4, 4)
    bad[0, 1, 2] = value
    with pytest.raises(InputError, match="item 2 of dataset: expected finite numbers, got NaN"):
        channel_stats([torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), bad], batch_size=2)


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (
            ["boat.png"],
            {},
            "item 0 of dataset: expected a PIL image or a tensor .* got 'boat.png'",
        ),
        ([(0, torch.zeros(1, 2, 2))], {}, "item 0 of dataset: expected a PIL"),
        ([{"pixels": 1}], {}, "item 0 of dataset: expected a PIL"),
        ([torch.zeros(4, 4)], {}, r"item 0 .* expected \(C, H, W\) .* got shape \(4, 4\)"),
        ([torch.zeros(1, 4, 4, dtype=torch.int64)], {}, "item 0 .* of torch.int64"),
        ([torch.zeros(1, 0, 4)], {}, r"item 0 of dataset: expected .* one pixel.* \(1, 0, 4\)"),
        ([Image.new("F", (4, 4))], {}, "item 0 of dataset: image: expected .* got PIL mode 'F'"),
        (3, {}, "dataset: expected something with __getitem__ and __len__, or an iterable, got 3"),
        (iter(()), {"num_workers": 1}, "num_workers: expected 0 for a plain iterable"),
        ([1], {"num_workers": -1}, "num_workers: expected an integer of at least 0"),
        ([1], {"batch_size": 0}, "batch_size: expected an integer of at least 1"),
        ([1], {"channels": 0}, "channels: expected an integer of at least 1"),
    ],
)
def test_what_cannot_be_counted_gets_a_readable_error(dataset, options, message):
    with pytest.raises(InputError, match=message):
        channel_stats(dataset, **options)


@pytest.mark.skipif(not FASHION.exists(), reason="Debian's dataset-fashion-mnist is not installed")
@pytest.mark.long
def test_fashion_mnist_has_the_numbers_of_its_preset():
    raw = bytearray(gzip.decompress(FASHION.read_bytes()))
    images = torch.frombuffer(raw, dtype=torch.uint8, offset=16).view(-1, 1, 28, 28)
    stats = channel_stats(images, batch_size=1000)
    assert stats.images == 60_000
    assert [round(value, 4) for value in stats.mean] == [0.2860]
    assert [round(value, 4) for value in stats.std] == [0.3530]
