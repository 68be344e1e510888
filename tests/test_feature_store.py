"""Features that are kept on the disk: found again, never stale, made again where damaged."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from convzoo import presets, transfer
from convzoo.datasets import LabelledImages
from convzoo.errors import InputError
from convzoo.transfer import _features


class Small(nn.Module):
    """A network of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6))
        self.scale = 1.0
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.scale * self.body(x).relu().mean((2, 3)))


@pytest.fixture
def net() -> Small:
    net = Small()
    net.preset = presets.Preset(
        input_size=8, resize=8, mean=(0.5,), std=(0.25,), channels=1, augmentation="small"
    )
    return net


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images went through a backbone, batch by batch."""
    sizes: list[int] = []
    plain = _features._Backbone.__call__

    def counted(self: _features._Backbone, x: Tensor) -> Tensor:
        sizes.append(len(x))
        return plain(self, x)

    monkeypatch.setattr(_features._Backbone, "__call__", counted)
    return sizes


def images(count: int = 6) -> list[tuple[Tensor, int]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randint(256, (1, 9, 8), dtype=torch.uint8, generator=generator), i % 3)
        for i in range(count)
    ]


def kept(net: nn.Module, data: object, tmp_path: Path, **how: object) -> Tensor:
    return transfer.cached_features(net, data, cache=tmp_path / "kept", **how).tensors[0]


def test_features_are_found_again_image_by_image(
    net: Small, ran: list[int], tmp_path: Path
) -> None:
    first = kept(net, images(4), tmp_path)
    assert ran == [4]
    assert torch.equal(kept(net, images(6)[::-1], tmp_path)[2:], first.flip(0))
    assert ran == [4, 2]  # the two that are new
    again = transfer.cached_features(net, images(6), cache=tmp_path / "kept")
    assert again.tensors[1].tolist() == [0, 1, 2, 0, 1, 2]
    assert ran == [4, 2]
    assert torch.allclose(again.tensors[0], transfer.cached_features(net, images(6)).tensors[0])


def test_a_new_head_changes_nothing_and_all_else_does(
    net: Small, ran: list[int], tmp_path: Path
) -> None:
    kept(net, images(), tmp_path)
    transfer.replace_head(net, 7, freeze="backbone")
    net.train()
    kept(net, images(), tmp_path)
    assert ran == [6]

    def changed() -> int:
        before = len(ran)
        found = kept(net, images(), tmp_path)
        assert torch.allclose(found, transfer.cached_features(net, images()).tensors[0], atol=1e-6)
        return len(ran) - before - 1  # the second one never looks on the disk

    with torch.no_grad():
        net.body[0].weight[0, 0, 0, 0] += 1
    assert changed() == 1
    net.body[1].running_mean += 1
    assert changed() == 1
    net.scale = 2.0
    assert changed() == 1
    net.preset = net.preset.replace(mean=(0.4,))
    assert changed() == 1
    net.body[0].stride = (2, 2)
    assert changed() == 1
    assert changed() == 0


class Kept:
    """Something callable of the user's own."""

    def __init__(self, power: int) -> None:
        self.power = power

    def __call__(self, x: Tensor) -> Tensor:
        return x**self.power


def test_what_a_network_keeps_besides_weights_counts_too(net: Small, tmp_path: Path) -> None:
    def check() -> None:
        found = kept(net, images(), tmp_path)
        assert torch.allclose(found, transfer.cached_features(net, images()).tensors[0], atol=1e-6)

    def by(factor: float) -> Callable[[Tensor], Tensor]:
        return lambda x: x * factor

    net.forward = lambda x: net.fc(net.act(net.body(x)).mean((2, 3)) * net.scales["a"][0])
    net.scales = {"a": [1.0]}
    acts = (torch.relu, torch.tanh, by(2.0), by(3.0), lambda x: x + 1, lambda x: x - 1)
    for act in (
        *acts,
        functools.partial(torch.clamp, max=0.1),
        Kept(2),
        Kept(3),
        nn.SiLU().forward,
    ):
        net.act = act
        check()
    for scales in ({"a": [2.0]}, {"a": (torch.ones(()),)}, {"a": (torch.zeros(()),)}):
        net.scales = scales
        check()
    before = len(list(tmp_path.glob("kept/*")))
    net.labels, net.draws = ("a", "b", "c"), torch.Generator()
    check()
    net.draws = torch.Generator()
    check()
    assert len(list(tmp_path.glob("kept/*"))) == before + 1  # it has a generator now
    net.unknown = threading.Lock()
    with pytest.raises(InputError, match=r"cache: the network holds Small.unknown = .*cache=False"):
        kept(net, images(), tmp_path)


def test_a_file_is_known_by_its_content(net: Small, ran: list[int], tmp_path: Path) -> None:
    paths = []
    for i, (image, _) in enumerate(images(3)):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(image[0].numpy()).save(paths[-1])
    data = LabelledImages(paths, [0, 1, 2], "abc")
    first = kept(net, data, tmp_path)
    assert torch.allclose(first, transfer.cached_features(net, images(3)).tensors[0])
    del ran[:]
    times = paths[1].stat()
    paths[1].write_bytes(paths[0].read_bytes())  # of another content, and as old as before
    os.utime(paths[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    second = kept(net, data, tmp_path)
    assert torch.equal(second[1], first[0])
    assert ran == []  # it is the first one's content


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "other"])
def test_a_damaged_file_is_made_again(net: Small, ran: list[int], tmp_path: Path, how: str) -> None:
    first = kept(net, images(), tmp_path)
    (path,) = (tmp_path / "kept").glob("*/*.safetensors")
    raw = bytearray(path.read_bytes())
    if how == "flipped":
        raw[-3] ^= 1
    damaged = {"cut": raw[: len(raw) // 2], "empty": b"", "other": b"no such file" * 9}
    path.write_bytes(damaged.get(how, raw))
    assert torch.equal(kept(net, images(), tmp_path), first)
    assert ran == [6, 6]
    assert not path.exists()
    kept(net, images(), tmp_path)
    assert ran == [6, 6]


def test_what_was_done_before_an_interruption_is_kept(
    net: Small, ran: list[int], tmp_path: Path
) -> None:
    class Breaking(list):
        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            if index == 4:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        kept(net, Breaking(images()), tmp_path, batch_size=2)
    assert kept(net, images(), tmp_path).shape == (6, 6)
    assert ran == [2, 2, 2]


def test_views_are_the_same_every_time(net: Small, ran: list[int], tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    first = kept(net, images(), tmp_path, views=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.shape == (6, 3, 6)
    assert torch.equal(first[:, 0], kept(net, images(), tmp_path))
    assert not torch.equal(first[:, 1], first[:, 2])
    del ran[:]
    assert torch.equal(kept(net, images()[::-1], tmp_path, views=3).flip(0), first)
    assert ran == []
    other = kept(net, images(), tmp_path, views=3, seed=1)
    assert torch.equal(other[:, 0], first[:, 0])
    assert not torch.equal(other[:, 1], first[:, 1])
    losses = transfer.fit_head(net, TensorDataset(first, torch.arange(6) % 3), epochs=5)
    assert len(losses) == 5


def test_views_of_a_transform_of_ones_own(net: Small, ran: list[int], tmp_path: Path) -> None:
    factor = [2.0]

    def brighter(image: Tensor) -> Tensor:
        return factor[0] * net.preset.eval()(image)

    first = kept(net, images(), tmp_path, views=2, augment=brighter)
    factor[0] = 3.0
    second = kept(net, images(), tmp_path, views=2, augment=brighter)
    assert ran == [12, 6]
    assert not torch.allclose(first[:, 1], second[:, 1])
    kept(net, images(), tmp_path, views=2, augment=brighter)
    assert ran == [12, 6]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"cache": 3}, "cache: expected True, False or a folder, got 3"),
        ({"cache": "/dev/null/x"}, "cache: .* Not a directory"),
        ({"augment": torch.relu}, "augment: makes views 2 and on; pass views="),
        ({"views": 2, "augment": 3}, "augment: expected a transform, got 3"),
        ({"views": 0}, "views: expected an integer of at least 1"),
    ],
)
def test_refused(net: Small, how: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        transfer.cached_features(net, images(), **how)


def test_prepared_inputs_have_no_views_and_hooks_no_cache(net: Small, tmp_path: Path) -> None:
    ready = [(torch.randn(1, 8, 8), 0)]
    with pytest.raises(InputError, match=r"views: .* prepared already"):
        transfer.cached_features(net, ready, views=2)
    seen: list[Tensor] = []
    net.body.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with pytest.raises(InputError, match="cache: the network has hooks"):
        kept(net, ready, tmp_path)
    transfer.cached_features(net, ready)
    assert seen  # the hook saw the network itself


def test_the_usual_folder(
    net: Small, ran: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path))
    monkeypatch.setattr("convzoo.hub._cache.notes_folder", lambda: tmp_path / "convzoo")
    for _ in range(2):
        transfer.cached_features(net, images(), cache=True)
    assert ran == [6]
    assert list(tmp_path.glob("convzoo/features/*/*.safetensors"))
