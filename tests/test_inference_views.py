"""Test-time augmentation: the views that are cut, and the mean of what is said of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

import convzoo
from convzoo import presets, training
from convzoo.errors import InputError, UnknownNameError
from convzoo.inference import Predictor, Views, mean_scores

SMALL = presets.Preset(
    input_size=8, resize=12, mean=(0.5,), std=(0.25,), channels=1, augmentation="small"
)


def picture(height: int = 20, width: int = 31) -> Tensor:
    return torch.randint(0, 256, (1, height, width), dtype=torch.uint8)


def test_ten_crops_are_torchvisions_of_the_middle_square() -> None:
    image = picture()
    square = SMALL.replace(input_size=12).eval()(image)
    views = Views(SMALL, "ten_crop")(image)
    assert views.shape == (10, 1, 8, 8)
    assert torch.equal(views[:5], torch.stack(v2.FiveCrop(8)(square)))
    assert torch.equal(views[5:], views[:5].flip(-1))
    assert torch.equal(Views(SMALL, "five_crop")(image), views[:5])


def test_flips_are_the_evaluation_and_its_mirror_image() -> None:
    image = picture()
    plain = SMALL.eval()(image)
    assert torch.equal(Views(SMALL, "flip")(image), torch.stack([plain, plain.flip(-1)]))
    own = Views(lambda x: x.float()[:, :4, :4], "flip")(image)
    assert torch.equal(own[1], image.float()[:, :4, :4].flip(-1))


def test_scales_are_those_of_vgg() -> None:
    image = picture(300, 400)
    three = Views(presets.IMAGENET.for_channels(1), "scales")(image)
    sizes = [presets.IMAGENET.for_channels(1).replace(resize=s).eval() for s in (224, 256, 288)]
    assert torch.equal(three, torch.stack([transform(image) for transform in sizes]))


def test_oblong_inputs_and_images_as_they_are() -> None:
    oblong = SMALL.replace(input_size=(8, 16))
    views = Views(oblong, "five_crop")(picture(40, 90))
    assert views.shape == (5, 1, 8, 16)
    unresized = Views(SMALL.replace(resize=None), "five_crop")
    image = picture(10, 9)
    assert torch.equal(unresized(image)[3], SMALL.replace(resize=None).eval()(image[:, 2:, 1:]))
    with pytest.raises(InputError, match="at least 8 x 8 pixels to cut from, got 7 x 9"):
        unresized(picture(7, 9))


@pytest.mark.parametrize(
    ("prepare", "tta", "message"),
    [
        (presets.CIFAR10, "ten_crop", "margin to cut from, and the preset resizes to 32"),
        (SMALL.replace(crop="none"), "five_crop", "needs a preset that resizes and crops"),
        (SMALL.replace(resize=None), "scales", "needs a preset that resizes and crops"),
        (None, "scales", "needs a preset, to know what to cut from, got None"),
        (torch.relu, "five_crop", "pass a list of transforms"),
        (SMALL, [], "expected 'flip', .* or transforms, one for each view, got"),
        (SMALL, [SMALL], "or transforms"),
    ],
)
def test_views_that_cannot_be_made(prepare: object, tta: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Views(prepare, tta)


def test_names_are_suggested_and_sizes_must_agree() -> None:
    with pytest.raises(UnknownNameError, match="ten_crop"):
        Views(SMALL, "ten_crops")
    with pytest.raises(InputError, match=r"views of one size, got \(1, 8, 8\), \(1, 6, 6\)"):
        Views(None, [SMALL.eval(), SMALL.replace(input_size=6).eval()])(picture())
    with pytest.raises(InputError, match=r"views: expected \(B, V, C, H, W\), got \(1, 8, 8\)"):
        mean_scores(nn.Identity(), torch.zeros(1, 8, 8))


def judge() -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 7)).eval()
    net.preset = SMALL
    return net


def by_hand(net: nn.Module, images: list[Tensor], views: Views) -> Tensor:
    with torch.no_grad():
        return torch.stack([net(views(image)).softmax(1).mean(0) for image in images])


@pytest.mark.parametrize("tta", ["flip", "five_crop", "ten_crop", "scales", "own"])
def test_evaluate_and_predictor_average_probabilities(tta: str) -> None:
    net = judge()
    given = [SMALL.eval(), SMALL.replace(resize=9).eval()] if tta == "own" else tta
    images = [picture(20 + i, 31) for i in range(6)]
    labels = [i % 7 for i in range(6)]
    expected = by_hand(net, images, Views(SMALL, given))
    result = training.evaluate(
        net, list(zip(images, labels, strict=True)), tta=given, batch_size=12, cpu=True
    )
    losses = -expected[torch.arange(6), torch.tensor(labels)].log()
    assert result.loss == pytest.approx(float(losses.mean()), rel=1e-5)
    assert result.images.prediction.tolist() == expected.argmax(1).tolist()
    assert torch.allclose(result.images.confidence, expected.amax(1), atol=1e-6)
    found = Predictor(net, top_k=7, tta=given).batch(images, batch_size=4)
    for said, row in zip(found, expected, strict=True):
        assert [p.index for p in said] == row.argsort(descending=True).tolist()
        assert [p.probability for p in said] == pytest.approx(row.sort(descending=True)[0].tolist())


def test_inputs_that_are_prepared_can_be_flipped_only() -> None:
    net = judge()
    x = torch.randn(5, 1, 8, 8)
    data = TensorDataset(x, torch.arange(5))
    expected = (net(x).softmax(1) + net(x.flip(-1)).softmax(1)) / 2
    for given in (data, DataLoader(data, 2)):
        result = training.evaluate(net, given, tta="flip", cpu=True)
        assert torch.allclose(result.images.confidence, expected.amax(1), atol=1e-6)
        with pytest.raises(InputError, match='"ten_crop" is cut from images, and the data gives'):
            training.evaluate(net, given, tta="ten_crop", cpu=True)
    del net.preset
    assert training.evaluate(net, data, tta="flip", cpu=True).samples == 5
    with pytest.raises(InputError, match=r"raw images .*no preset to prepare them"):
        training.evaluate(net, [(picture(8, 8), 0)], tta="flip", cpu=True)


def test_a_network_with_auxiliary_scores() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            scores = x.flatten(1)[:, :3]
            return scores, -scores

    views = torch.randn(2, 4, 1, 2, 2)
    expected = views.flatten(2)[..., :3].softmax(-1).mean(1)
    assert torch.allclose(mean_scores(Two(), views).softmax(1), expected, atol=1e-6)
    assert convzoo.inference.Views(SMALL, "ten_crop")(picture()).shape[0] == 10
