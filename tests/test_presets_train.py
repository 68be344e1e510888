"""What `Preset.train` does to images."""

import pickle

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from convzoo import presets
from convzoo.errors import InputError
from convzoo.presets import IMAGENET, PRESETS, Preset


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def raw(**fields) -> Preset:
    """A preset without normalisation, so that outputs are pixels in [0, 1]."""
    channels = fields.get("channels", 3)
    return Preset(**{"mean": (0.0,) * channels, "std": (1.0,) * channels, **fields})


def steps(transform: torch.nn.Module) -> list[str]:
    return [type(step).__name__ for step in transform]


def test_the_defaults_follow_the_kind_of_images():
    assert [s for s in steps(IMAGENET.train()) if s.startswith("Random")] == [
        "RandomResizedCrop",
        "RandomHorizontalFlip",
    ]
    for preset in (presets.CIFAR10, presets.FASHION_MNIST):
        random = [step for step in preset.train() if type(step).__name__.startswith("Random")]
        assert [type(step) for step in random] == [v2.RandomCrop, v2.RandomHorizontalFlip]
        assert random[0].padding == [4, 4, 4, 4]
    for preset in (presets.MNIST, presets.LENET5_1998):
        assert [s for s in steps(preset.train()) if s.startswith("Random")] == ["RandomCrop"]


EVERYTHING = {
    "hflip": 0.5,
    "vflip": 0.5,
    "rotation": 15.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "grayscale": 0.3,
    "noise": 0.05,
    "erasing": 0.5,
}


@pytest.mark.parametrize("auto_augment", [None, "randaugment", "trivialaugment"])
@pytest.mark.parametrize("name", PRESETS)
def test_everything_at_once_works_for_pil_images_and_tensors(name, auto_augment):
    preset = PRESETS[name]
    transform = preset.train(**EVERYTHING, auto_augment=auto_augment)
    image = noise(3, 45, 60)
    for given in (image, image[:1], F.to_pil_image(image), F.to_pil_image(image[:1])):
        out = transform(given)
        assert out.shape == (preset.channels, *preset.height_width)
        assert out.dtype == torch.float32
        assert out.isfinite().all()


def test_training_draws_from_torchs_generator():
    transform = presets.CIFAR10.train(**EVERYTHING, auto_augment="trivialaugment")
    image = noise(3, 32, 32)
    torch.manual_seed(1)
    first, second = transform(image), transform(image)
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(transform(image), first)


def test_pad_and_crop_moves_by_at_most_the_padding():
    dot = torch.zeros(1, 28, 28, dtype=torch.uint8)
    dot[0, 14, 14] = 255
    transform = raw(input_size=28, resize=28, channels=1, augmentation="digit").train(padding=2)
    torch.manual_seed(0)
    places = {tuple(transform(dot)[0].nonzero()[0].tolist()) for _ in range(200)}
    assert places == {(y, x) for y in range(12, 17) for x in range(12, 17)}


def test_the_short_side_is_of_one_length_or_drawn_from_a_range():
    oblong = torch.zeros(1, 64, 256, dtype=torch.uint8)
    oblong[..., 90:166] = 255  # the central square and a little
    preset = raw(input_size=16, resize=16, channels=1)
    central = preset.train(short_side=32)
    assert all(bool((central(oblong) == 1).all()) for _ in range(20))
    jittered = preset.train(short_side=(16, 48), hflip=0)
    torch.manual_seed(0)
    shares = [float(jittered(oblong).mean()) for _ in range(60)]
    assert {0.0, 1.0} < set(shares)
    ramp = torch.arange(256, dtype=torch.uint8).repeat(64, 1)[None]
    slopes = [float(jittered(ramp)[0, 0].diff().mean()) for _ in range(60)]
    sides = {round(64 / 255 / slope) for slope in slopes}
    assert len(sides) > 8
    assert 16 <= min(sides) < 20
    assert 44 < max(sides) <= 48


def test_lighting_shifts_colours_as_alexnets_paper_has_it():
    lighting = presets.PCALighting(0.1)
    torch.manual_seed(0)
    shifts = (lighting(torch.zeros(20_000, 3, 1, 1)))[..., 0, 0]
    # The covariance of the shifts: V diag((0.1 l)^2) V^T; 3.2 grey levels a channel.
    assert float(shifts.square().mean().sqrt()) * 255 == pytest.approx(3.2, abs=0.1)
    vectors = torch.linalg.eigh(shifts.T.cov())[1]
    assert abs(float(vectors[:, 2] @ torch.tensor([-0.5675, -0.5808, -0.5836]))) > 0.999
    image = torch.rand(3, 8, 8)
    assert torch.equal(presets.PCALighting(0.0)(image), image)
    assert (lighting(image) - image).flatten(1).std(1).max() < 1e-6
    for wrong in (torch.rand(1, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(InputError, match=r"image: expected floats \(\.\.\., 3, H, W\)"):
            lighting(wrong)


def test_flips_at_probability_1_are_the_flips():
    image = noise(3, 16, 16)
    preset = raw(input_size=16, resize=16)
    expected = preset.eval()(image)
    assert torch.equal(preset.train(crop="eval", hflip=1)(image), expected.flip(-1))
    assert torch.equal(preset.train(crop="eval", hflip=0, vflip=1)(image), expected.flip(-2))
    assert torch.equal(preset.train(crop="eval", hflip=0)(image), expected)


def test_rotation_is_in_degrees():
    image = noise(3, 16, 16)
    preset = raw(input_size=16, resize=16)
    turned = preset.train(crop="eval", hflip=0, rotation=(90, 90))(image)
    torch.testing.assert_close(turned, preset.eval()(image).rot90(1, (-2, -1)), rtol=0, atol=0.005)


def test_noise_erasing_and_grey_do_what_they_say():
    preset = raw(input_size=64, resize=64)
    grey = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    torch.manual_seed(0)
    noisy = preset.train(crop="eval", noise=0.1)(grey)
    assert noisy.std() == pytest.approx(0.1, rel=0.05)
    assert (preset.train(crop="eval", erasing=1)(grey) == 0).any()
    colourless = preset.train(crop="eval", grayscale=1)(noise(3, 64, 64))
    assert torch.equal(colourless[0], colourless[1])


def test_arguments_choose_the_crop():
    assert "RandomCrop" in steps(IMAGENET.train(padding=8))
    assert "RandomResizedCrop" in steps(presets.CIFAR10.train(scale=(0.5, 1.0)))
    assert not {"RandomCrop", "RandomResizedCrop"} & set(steps(IMAGENET.train(crop="eval")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hflip": 1.5}, "hflip: expected a number from 0 to 1, got 1.5"),
        ({"erasing": "yes"}, "erasing: expected a number from 0 to 1, got 'yes'"),
        ({"hue": 0.6}, "hue: expected a number from 0 to 0.5"),
        ({"brightness": -1}, "brightness: expected a finite number of at least 0"),
        ({"noise": float("nan")}, "noise: expected a finite number of at least 0"),
        ({"rotation": -5}, "rotation: expected a finite number of at least 0"),
        ({"rotation": (5, -5)}, "rotation: expected"),
        ({"scale": (0.0, 1.0)}, r"scale: expected \(low, high\) with 0 < low <= high <= 1"),
        ({"scale": (0.5, 2.0)}, "scale: expected"),
        ({"ratio": 1.0}, "ratio: expected"),
        ({"padding": -1}, "padding: expected an integer of at least 0"),
        (
            {"padding": 4, "scale": (0.5, 1.0)},
            "padding: expected None with crop='resized', got 4; it belongs to crop='pad'",
        ),
        ({"short_side": 8}, "short_side: expected an integer of at least"),
        ({"short_side": (500, 400)}, "short_side: expected .low, high."),
        ({"crop": "short_side"}, "short_side: expected an integer"),
        ({"short_side": 300, "padding": 2}, "short_side: expected None with crop='pad'"),
        ({"crop": "pad", "scale": (0.5, 1.0)}, "scale: expected None .* belongs to crop='resized'"),
        ({"crop": "padd"}, "did you mean 'pad'"),
        ({"auto_augment": "randaug"}, "did you mean 'randaugment'"),
        ({"magnitude": 5}, "magnitude: expected None .* belongs to auto_augment='randaugment'"),
        (
            {"auto_augment": "randaugment", "magnitude": 31},
            "magnitude: expected an integer from 0 to 30",
        ),
        ({"auto_augment": "trivialaugment", "num_ops": 1}, "num_ops: expected None .* belongs to"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        IMAGENET.train(**arguments)


def test_a_training_transform_refuses_a_batch():
    with pytest.raises(InputError, match=r"image: expected one \(C, H, W\) at a time"):
        IMAGENET.train()(noise(2, 3, 40, 40))


def test_transforms_pickle_and_still_do_the_same():
    image = Image.new("RGB", (50, 40), (10, 200, 30))
    for transform in (IMAGENET.eval(), presets.CIFAR10.train(**EVERYTHING)):
        again = pickle.loads(pickle.dumps(transform))
        torch.manual_seed(3)
        expected = transform(image)
        torch.manual_seed(3)
        assert torch.equal(again(image), expected)
        assert repr(again) == repr(transform)


COLOURS = [
    {"brightness": 0.2},
    {"contrast": 0.2},
    {"saturation": 0.2},
    {"hue": 0.1},
    {"grayscale": 0.5},
    {"auto_augment": "randaugment"},
    {"auto_augment": "trivialaugment"},
]


@pytest.mark.parametrize("arguments", COLOURS)
def test_colour_augmentations_take_grey_and_rgb_and_refuse_the_rest(arguments):
    for channels in (1, 3):
        preset = raw(input_size=8, resize=8, channels=channels)
        for seed in range(5):  # a policy draws one of many operations
            torch.manual_seed(seed)
            assert preset.train(**arguments)(noise(channels, 9, 9)).shape == (channels, 8, 8)
    (name,) = arguments
    for channels in (2, 4, 5):
        preset = raw(input_size=8, resize=8, channels=channels)
        with pytest.raises(InputError, match=f"^{name}: .* preset has {channels}; crops"):
            preset.train(**arguments)


def test_the_other_augmentations_take_any_number_of_channels():
    preset = raw(input_size=8, resize=8, channels=5)
    train = preset.train(rotation=10, vflip=0.5, noise=0.1, erasing=0.5, scale=(0.5, 1.0))
    assert train(noise(5, 9, 9)).shape == (5, 8, 8)
