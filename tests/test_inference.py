"""The Predictor: images of every kind in, typed predictions out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convzoo
from convzoo.errors import DataError, InputError
from convzoo.inference import Prediction, Predictor
from convzoo.presets import Preset


class Means(nn.Module):
    """Scores an image by the logarithm of its channels' means, so that softmax gives shares."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).clamp_min(1e-6).log()


PLAIN = Preset(input_size=4, resize=4, mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture
def predict() -> Predictor:
    return Predictor(Means(), preset=PLAIN, labels=["red", "green", "blue"], top_k=2)


def colour() -> Tensor:
    """30, 60 and 10 percent of red, green and blue, (3, 5, 7)."""
    return torch.tensor([30, 60, 10], dtype=torch.uint8).view(3, 1, 1).expand(3, 5, 7)


def test_one_image(predict: Predictor) -> None:
    first, second = predict(colour())
    assert first == Prediction("green", 1, pytest.approx(0.6))
    assert second == Prediction("red", 0, pytest.approx(0.3))


def test_files_pil_images_tensors_and_floats_agree(predict: Predictor, tmp_path: Path) -> None:
    picture = Image.fromarray(colour().movedim(0, -1).contiguous().numpy())
    picture.save(tmp_path / "green.png")
    images = [tmp_path / "green.png", str(tmp_path / "green.png"), picture, colour()]
    found = predict.batch([*images, colour() / 255])
    assert len(found) == 5
    for predictions in found:
        assert predictions == (
            Prediction("green", 1, pytest.approx(0.6)),
            Prediction("red", 0, pytest.approx(0.3)),
        )


def test_a_batch_is_cut_into_pieces(predict: Predictor) -> None:
    sizes: list[int] = []
    predict.net.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    assert len(predict.batch(colour().expand(5, 3, 5, 7), batch_size=2)) == 5
    assert sizes == [2, 2, 1]
    assert predict.batch([]) == []


def test_inputs_of_several_sizes() -> None:
    loose = Predictor(Means(), preset=PLAIN.replace(crop="none"), top_k=1)
    wide, tall = torch.zeros(2, 3, 4, 9, dtype=torch.uint8), torch.ones(3, 8, 4, dtype=torch.uint8)
    assert len(loose.batch([*wide, tall, tall, wide[0]])) == 5


def test_labels_and_top_k_are_as_far_as_known(predict: Predictor) -> None:
    unnamed = Predictor(Means(), preset=PLAIN)
    assert [(p.label, p.index) for p in unnamed(colour())] == [("1", 1), ("0", 0), ("2", 2)]
    assert repr(predict) == "Predictor(Means, top_k=2)"


def test_a_network_of_ours_brings_everything(tmp_path: Path) -> None:
    net = convzoo.replace_head(convzoo.cifar_resnet20(), 2, labels=["ant", "bee"]).train()
    convzoo.save(net, tmp_path)
    predict = Predictor(net)
    assert predict.preset == convzoo.presets.CIFAR10
    assert not net.training
    again = Predictor(str(tmp_path), device="cpu")
    ours, theirs = predict(colour()), again(colour())
    assert {p.label for p in ours} == {"ant", "bee"}
    assert ours == theirs


@pytest.mark.parametrize("top_k", [0, 1.5, True])
def test_top_k_is_checked(top_k) -> None:
    with pytest.raises(InputError, match="top_k: expected an integer of at least 1"):
        Predictor(Means(), preset=PLAIN, top_k=top_k)


def test_what_is_no_image_is_refused(predict: Predictor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"preset: the network brings none"):
        Predictor(Means())
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        predict(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"got a batch of shape \(1, 3, 5, 7\); use .*batch"):
        predict(colour()[None])
    with pytest.raises(InputError, match="several images, got the single path"):
        predict.batch("a.png")
    with pytest.raises(InputError, match="batch_size: expected an integer of at least 1, got 0"):
        predict.batch([], batch_size=0)
