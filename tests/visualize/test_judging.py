"""Sheets of images, what a network says of them, embeddings: numbers, frames, colours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import convzoo
from convzoo import datasets, presets, visualize
from convzoo.errors import InputError, UnknownNameError


class Mean(nn.Module):
    """Bright images are class 1, dark ones class 0."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1, 2)
        self.fc.weight.data = torch.tensor([[-4.0], [4.0]])
        self.fc.bias.data = torch.tensor([2.0, -2.0])

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(x.mean((1, 2, 3))[:, None])
        return scores


def shades(*values: float) -> Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 4, 4).clone()


def pairs() -> list[tuple[Tensor, int]]:
    # The second is wrong by a little, the fourth by much.
    return list(zip(shades(0.1, 0.4, 0.9, 0.0), [0, 1, 1, 1], strict=True))


@pytest.mark.parametrize("as_loader", [False, True])
def test_predictions_in_order(as_loader: bool) -> None:
    data = pairs()
    images, labels = torch.stack([i for i, _ in data]), torch.tensor([t for _, t in data])
    given = DataLoader(TensorDataset(images, labels), 3) if as_loader else data
    judged = visualize.predictions(Mean(), given, labels=["dark", "bright"], top_k=5)
    assert [one.index for one in judged] == [0, 1, 2, 3]
    assert [one.right for one in judged] == [True, False, True, False]
    assert [one.name for one in judged] == ["dark", "bright", "bright", "bright"]
    chances = Mean()(images).softmax(1).detach()
    for one in judged:
        assert one.probability == pytest.approx(float(chances[one.index, one.label]))
        assert [p.index for p in one.best] == chances[one.index].argsort(descending=True).tolist()
        assert one.loss == pytest.approx(-torch.tensor(one.probability).log().item(), rel=1e-4)


def test_top_losses_read_lazily_and_sort_by_the_actual_class() -> None:
    def stream() -> Iterator[tuple[Tensor, int]]:
        yield from pairs()

    worst = visualize.top_losses(Mean(), stream(), 2, batch_size=3)
    assert [one.index for one in worst] == [3, 1]
    with pytest.raises(InputError, match="at least one"):
        visualize.top_losses(Mean(), [])
    with pytest.raises(InputError, match="pairs"):
        visualize.top_losses(Mean(), [torch.zeros(1, 4, 4)])
    with pytest.raises(InputError, match="label"):
        visualize.predictions(Mean(), [(torch.zeros(1, 4, 4), 2)])


def test_wrong_ones_are_framed_red() -> None:
    figure = visualize.draw_predictions(visualize.predictions(Mean(), pairs()), columns=2)
    pictures = figure.axes[::2]
    red = [axes.spines["left"].get_edgecolor()[:3] == (214 / 255, 39 / 255, 40 / 255)
           for axes in pictures]  # fmt: skip
    assert red == [False, True, False, True]
    green = [
        p.get_facecolor()[:3] == (44 / 255, 160 / 255, 44 / 255) for p in figure.axes[1].patches
    ]
    assert green == [True, False]  # the actual class comes first, where the network is right
    assert pictures[3].get_title().startswith("1: ")


def test_calibration_counts() -> None:
    judged = visualize.predictions(Mean(), pairs())
    found = visualize.calibration(judged, bins=1)
    confidence = sum(one.best[0].probability for one in judged) / 4
    assert found.samples == (4,)
    assert found.accuracy == (0.5,)
    assert found.error == pytest.approx(abs(confidence - 0.5))
    assert visualize.draw_calibration(found).axes[0].get_ylabel() == "accuracy"
    assert sum(visualize.calibration(judged).samples) == 4


def test_pictures_undo_the_preset() -> None:
    raw = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    prepared = presets.CIFAR10.eval()(raw)
    torch.testing.assert_close(visualize.pixels(prepared, presets.CIFAR10), raw / 255)
    figure = visualize.batch_grid(prepared, presets.CIFAR10)
    shown = torch.as_tensor(figure.axes[0].images[0].get_array())
    torch.testing.assert_close(shown, (raw[0] / 255).permute(1, 2, 0))
    net = convzoo.cifar_resnet20()
    torch.testing.assert_close(visualize.pixels(prepared[0], torch.compile(net)), raw[0] / 255)
    with pytest.raises(InputError, match="preset: expected the one"):
        visualize.batch_grid(prepared)
    with pytest.raises(InputError, match="channel"):
        visualize.batch_grid(prepared, presets.MNIST)


def test_a_grid_has_a_panel_an_image_and_frames() -> None:
    figure = visualize.batch_grid(
        shades(0.0, 0.5, 1.0), titles=["a", "b", "c"], framed=[False, True, False], columns=2
    )
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", ""]
    assert figure.axes[1].spines["top"].get_linewidth() == 3
    assert not figure.axes[3].axison
    heat = torch.stack([torch.eye(4), torch.eye(4) - 0.5, torch.zeros(4, 4)])
    overlaid = visualize.batch_grid(shades(0.0, 0.5, 1.0), heat=heat).axes
    assert [len(axes.images) for axes in overlaid[:3]] == [1, 1, 1]  # signed maps stand alone
    overlaid = visualize.batch_grid(shades(0.0, 0.5, 1.0), heat=heat.relu()).axes
    assert [len(axes.images) for axes in overlaid[:3]] == [2, 2, 2]
    for wrong in ({"titles": ["a"]}, {"heat": heat[:2]}, {"columns": 0}):
        with pytest.raises(InputError):
            visualize.batch_grid(shades(0.0, 0.5, 1.0), **wrong)


def test_augmentations_are_what_training_draws() -> None:
    image = Image.new("RGB", (40, 30), (200, 10, 10))
    state = torch.get_rng_state()
    sheet = visualize.augmentations(presets.CIFAR10, image, 5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(3)
    draw = presets.CIFAR10.train()
    assert torch.equal(sheet, torch.stack([draw(image) for _ in range(5)]))
    still = visualize.augmentations(presets.CIFAR10, image, 2, transform=presets.CIFAR10.eval())
    assert torch.equal(still[0], still[1])


def test_top_k_keeps_modes_and_shows_the_classes() -> None:
    net = convzoo.lenet5(weights="fashion_mnist").train()
    figure = visualize.draw_top_k(net, torch.zeros(1, 28, 28), 3)
    assert net.training
    said = convzoo.Predictor(net.eval(), top_k=3)(torch.zeros(1, 28, 28))
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert [text.split("  ")[0] for text in texts] == [one.label for one in said]


def test_embeddings_on_disk_are_those_in_memory(tmp_path: Path) -> None:
    net = convzoo.lenet5()
    x = torch.rand(7, 1, 28, 28)
    path = tmp_path / "vectors.npy"
    path.write_bytes(b"of before")
    kept = visualize.embed(net, list(x), batch_size=3, path=path)
    assert torch.equal(kept, visualize.embed(net, list(x), batch_size=3))
    assert torch.equal(torch.from_numpy(numpy.load(path)), kept)
    kept += 1  # the file stays as it is
    assert not torch.equal(torch.from_numpy(numpy.load(path)), kept)
    assert list(tmp_path.iterdir()) == [path]

    def breaks_off() -> Iterator[Tensor]:
        yield from x
        raise RuntimeError("the reader broke off")

    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="broke off"):
        visualize.embed(net, breaks_off(), batch_size=3, path=path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match=r"path: .*cannot be written"):
        visualize.embed(net, list(x), path=tmp_path / "no" / "folder.npy")


def test_embeddings_are_what_reaches_the_head() -> None:
    net = convzoo.cifar_resnet20(weights="fashion_mnist")
    data = datasets.digits().test.subset(range(7))
    vectors = visualize.embed(net, data, batch_size=3)
    cached = convzoo.cached_features(
        net, [(net.preset.eval()(image)[None], torch.tensor([0])) for image, _ in data]
    )
    torch.testing.assert_close(vectors, cached.tensors[0])
    numbers, far = visualize.nearest(vectors, vectors, 3)
    assert numbers[:, 0].tolist() == list(range(7))
    assert float(far[:, 0].abs().max()) < 1e-5
    torch.testing.assert_close(
        visualize.nearest(vectors[2], vectors, 7, metric="l2")[1][0],
        (vectors - vectors[2]).norm(dim=1).sort()[0],
    )
    with pytest.raises(UnknownNameError, match="cosine"):
        visualize.nearest(vectors, vectors, metric="cosin")
    with pytest.raises(InputError, match="queries"):
        visualize.nearest(vectors[:, :3], vectors)


def test_a_map_by_pca() -> None:
    torch.manual_seed(0)
    plane = torch.randn(50, 2) * torch.tensor([3.0, 1.0])
    turn = torch.linalg.qr(torch.randn(8, 8))[0][:2]
    points = visualize.embedding_map(plane @ turn)
    torch.testing.assert_close(torch.pdist(points), torch.pdist(plane), rtol=1e-3, atol=1e-4)
    assert points[:, 0].std() > points[:, 1].std()
    for wrong in (torch.zeros(2, 3), torch.zeros(3), [1]):
        with pytest.raises(InputError, match="vectors"):
            visualize.embedding_map(wrong)


def test_a_map_by_tsne() -> None:
    pytest.importorskip("sklearn")
    vectors = torch.cat([torch.randn(10, 4), torch.randn(10, 4) + 20])
    points = visualize.embedding_map(vectors, "tsne")
    assert points.shape == (20, 2)
    assert visualize.nearest(points[0], points, 10, metric="l2")[0].max() < 10


def test_embeddings_are_drawn_with_thumbnails() -> None:
    points, names = torch.rand(4, 2), ["a", "b", "a", "b"]
    figure = visualize.draw_embedding(points, names, images=shades(0.0, 0.2, 0.4, 1.0))
    assert len(figure.axes[0].artists) == 4
    assert len(figure.axes[0].collections) == 2
    with pytest.raises(InputError, match="labels"):
        visualize.draw_embedding(points, ["a"])
