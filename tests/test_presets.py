"""The record: fields, JSON, names, and the transform for evaluation."""

import dataclasses
import json

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from convzoo import presets
from convzoo.errors import InputError, UnknownNameError
from convzoo.presets import IMAGENET, PRESETS, Preset

GREY_LEVEL = 1 / 255


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def raw(**fields) -> Preset:
    """A preset without normalisation, so that outputs are pixels in [0, 1]."""
    channels = fields.get("channels", 3)
    return Preset(**{"mean": (0.0,) * channels, "std": (1.0,) * channels, **fields})


# The record -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "resize", "size", "mean", "std"),
    [
        ("imagenet", 256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("imagenet_v2", 232, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("inception", 342, 299, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("mnist", 28, 28, (0.1307,), (0.3081,)),
        ("fashion_mnist", 28, 28, (0.2860,), (0.3530,)),
        ("cifar10", 32, 32, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ],
)
def test_the_named_presets_have_the_known_numbers(name, resize, size, mean, std):
    preset = presets.get(name)
    assert (preset.resize, preset.input_size, preset.mean, preset.std) == (resize, size, mean, std)
    assert preset.channels == len(mean)
    assert preset.interpolation == "bilinear"
    assert preset.antialias


def test_every_name_is_in_the_literal_and_names_a_constant():
    assert set(presets.PresetName.__args__) == set(PRESETS)
    for name, preset in PRESETS.items():
        assert getattr(presets, name.upper()) is preset


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet"):
        presets.get("imagnet")
    with pytest.raises(InputError, match="unknown preset 3: expected a string"):
        presets.get(3)


def test_a_preset_is_frozen_hashable_and_compares_by_value():
    twin = Preset.from_dict(IMAGENET.to_dict())
    assert twin == IMAGENET
    assert twin is not IMAGENET
    assert len({twin, IMAGENET, IMAGENET.replace(resize=232), presets.IMAGENET_V2}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        twin.resize = 3


def test_equal_sides_are_one_number_and_lists_become_tuples():
    assert raw(input_size=[32, 32], resize=32) == raw(input_size=32, resize=32)
    oblong = raw(input_size=[32, 48], resize=32, mean=[0, 0, 0])
    assert oblong.input_size == oblong.height_width == (32, 48)
    assert oblong.mean == (0.0, 0.0, 0.0)
    hash(oblong)


@pytest.mark.parametrize("preset", [*PRESETS.values(), raw(input_size=(32, 48), resize=None)])
def test_a_preset_survives_json(preset):
    fields = preset.to_dict()
    assert json.loads(json.dumps(fields)) == fields
    again = Preset.from_dict(json.loads(json.dumps(fields)))
    assert again == preset
    assert hash(again) == hash(preset)


def test_missing_and_unknown_fields_are_named_together():
    fields = IMAGENET.to_dict()
    del fields["std"], fields["resize"]
    fields["interpolatoin"] = "bilinear"
    with pytest.raises(InputError) as caught:
        Preset.from_dict(fields)
    message = str(caught.value)
    assert "missing 'resize', 'std'" in message
    assert "unknown field 'interpolatoin': did you mean 'interpolation'?" in message
    with pytest.raises(InputError, match=r"fields: expected a mapping .* got \[1\]"):
        Preset.from_dict([1])


def test_replace_changes_fields_and_names_unknown_ones():
    assert IMAGENET.replace(crop="squash", resize=224).crop == "squash"
    assert IMAGENET.crop == "center"
    with pytest.raises(InputError, match=r"unknown field of a preset 'sdt': did you mean 'std'\?"):
        IMAGENET.replace(sdt=(1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_size": 0}, "input_size: expected an integer from 1 to 10000, got 0"),
        ({"input_size": (224,)}, "input_size: expected a side or .* got \\(224,\\)"),
        ({"input_size": True}, "input_size: expected an integer"),
        ({"input_size": 224.0}, "input_size: expected an integer"),
        ({"resize": -1}, "resize: expected an integer from 1 to 10000, got -1"),
        ({"crop": "centre"}, "unknown crop 'centre': did you mean 'center'"),
        ({"crop": None}, "unknown crop None: expected a string"),
        ({"interpolation": "bicubik"}, "did you mean 'bicubic'"),
        ({"augmentation": "photos"}, "did you mean 'photo'"),
        ({"antialias": 1}, "antialias: expected True or False, got 1"),
        ({"mean": (0.5,)}, "mean: expected a number for each of 3 channels, got"),
        ({"mean": 0.5}, "mean: expected a number for each of 3 channels, got 0.5"),
        ({"mean": (0.5, 0.5, float("nan"))}, "mean: expected a finite number, got nan"),
        ({"std": (1.0, 0.0, 1.0)}, "std: expected numbers above 0"),
        ({"std": ("1", "1", "1")}, "std: expected a finite number, got '1'"),
        ({"channels": 1}, "mean: expected a number for each of 1 channels, got"),
        ({"channels": 0}, "channels: expected an integer of at least 1"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(changes, message):
    with pytest.raises(InputError, match=message):
        IMAGENET.replace(**changes)
    with pytest.raises(InputError, match=message):
        Preset.from_dict(IMAGENET.to_dict() | changes)


def test_other_channels_get_the_mean_of_the_old_ones_or_take_turns():
    assert IMAGENET.for_channels(3) == IMAGENET
    grey = IMAGENET.for_channels(1)
    assert (grey.channels, grey.resize) == (1, 256)
    assert grey.mean == (pytest.approx(sum(IMAGENET.mean) / 3),)
    five = IMAGENET.for_channels(5)
    assert five.std == IMAGENET.std + IMAGENET.std[:2]
    assert five.mean == IMAGENET.mean + IMAGENET.mean[:2]
    with pytest.raises(InputError, match="channels: expected an integer of at least 1, got 0"):
        IMAGENET.for_channels(0)


def test_the_preset_of_large_images_has_one_for_small_ones():
    assert IMAGENET.small_images() == IMAGENET.replace(
        input_size=32, resize=32, augmentation="small"
    )
    assert IMAGENET.small_images(64).input_size == 64
    for small in (presets.CIFAR10, presets.MNIST, IMAGENET.replace(input_size=(300, 400))):
        assert small.small_images() is small


@pytest.mark.parametrize("field", ["input_size", "resize"])
def test_a_preset_of_200_000_pixels_is_refused_before_it_fills_memory(field):
    with pytest.raises(InputError, match=f"{field}: expected an integer from 1 to 10000"):
        IMAGENET.replace(**{field: 200_000})


# Evaluation -----------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(300, 400), (500, 333), (180, 200), (256, 256)])
def test_imagenet_is_torchvisions_own_transform(height, width):
    from torchvision.models import ResNet50_Weights

    for preset, weights in (
        (IMAGENET, ResNet50_Weights.IMAGENET1K_V1),
        (presets.IMAGENET_V2, ResNet50_Weights.IMAGENET1K_V2),
    ):
        theirs, ours = weights.transforms(), preset.eval()
        image = noise(3, height, width, seed=height)
        picture = F.to_pil_image(image)
        assert torch.equal(ours(picture), theirs(picture))
        assert (ours(image) - theirs(image)).abs().max() <= 1.001 * GREY_LEVEL / min(preset.std)


def test_inception_is_torchvisions_transform_and_its_networks_transform_input():
    from torchvision.models import Inception_V3_Weights, inception_v3

    picture = F.to_pil_image(noise(3, 400, 350))
    net = inception_v3(transform_input=True, init_weights=False, aux_logits=False)
    theirs = net._transform_input(Inception_V3_Weights.DEFAULT.transforms()(picture)[None])[0]
    torch.testing.assert_close(presets.INCEPTION.eval()(picture), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_center_and_squash_are_timms(interpolation):
    from timm.data import create_transform

    picture = F.to_pil_image(noise(3, 300, 410))
    for crop in ("center", "squash"):
        theirs = create_transform(
            (3, 224, 224),
            interpolation=interpolation,
            mean=IMAGENET.mean,
            std=IMAGENET.std,
            crop_pct=0.875,
            crop_mode=crop,
        )
        ours = IMAGENET.replace(interpolation=interpolation, crop=crop).eval()
        torch.testing.assert_close(ours(picture), theirs(picture), rtol=0, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("height", "width"), [(300, 400), (31, 57), (100, 377), (1, 1), (225, 224), (33, 32)]
)
def test_pil_and_uint8_tensors_agree_within_one_grey_level(height, width, channels, interpolation):
    image = noise(3, height, width, seed=width)
    for resize, size in ((256, 224), (64, 48), (28, 28)):  # both larger and smaller
        transform = raw(
            input_size=size, resize=resize, channels=channels, interpolation=interpolation
        ).eval()
        difference = transform(image) - transform(F.to_pil_image(image))
        assert difference.abs().max() <= 1.001 * GREY_LEVEL


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_a_batch_gives_what_its_images_give(interpolation):
    images = noise(3, 3, 40, 50)
    transform = raw(input_size=24, resize=28, interpolation=interpolation).eval()
    batch = transform(images)
    assert batch.shape == (3, 3, 24, 24)
    assert torch.equal(batch, torch.stack([transform(image) for image in images]))


def test_floating_point_images_in_0_to_1_are_welcome():
    image = noise(3, 40, 50)
    transform = raw(input_size=24, resize=28).eval()
    for dtype in (torch.float32, torch.float64):
        difference = transform(image.to(dtype) / 255) - transform(image)
        assert difference.abs().max() <= 1.001 * GREY_LEVEL


@pytest.mark.parametrize(
    ("fields", "shape", "expected"),
    [
        ({"input_size": 24, "resize": 28, "crop": "center"}, (40, 80), (24, 24)),
        ({"input_size": 24, "resize": 28, "crop": "squash"}, (40, 80), (24, 24)),
        ({"input_size": 24, "resize": 28, "crop": "none"}, (40, 80), (28, 56)),
        ({"input_size": 24, "resize": None, "crop": "none"}, (40, 80), (40, 80)),
        ({"input_size": 24, "resize": None}, (40, 80), (24, 24)),
        ({"input_size": (20, 40), "resize": 30, "crop": "none"}, (40, 40), (60, 60)),
        ({"input_size": (20, 40), "resize": 30, "crop": "none"}, (10, 90), (30, 270)),
        ({"input_size": (20, 40), "resize": 30}, (40, 40), (20, 40)),
    ],
)
def test_sizes(fields, shape, expected):
    image = noise(3, *shape)
    transform = raw(**fields).eval()
    assert transform(image).shape == (3, *expected)
    assert transform(F.to_pil_image(image)).shape == (3, *expected)


def test_squash_keeps_the_whole_image_and_center_does_not():
    image = torch.zeros(1, 20, 60, dtype=torch.uint8)
    image[..., :20] = 255
    squashed = raw(input_size=20, resize=20, channels=1, crop="squash").eval()(image)
    assert squashed.mean() == pytest.approx(1 / 3, abs=0.01)
    assert raw(input_size=20, resize=20, channels=1).eval()(image).sum() == 0


def test_lenet_scales_and_pads_as_in_1998():
    image = torch.full((1, 28, 28), 255, dtype=torch.uint8)
    for given in (image, F.to_pil_image(image)):
        out = presets.LENET5_1998.eval()(given)
        assert out.shape == (1, 32, 32)
        torch.testing.assert_close(out[:, 2:30, 2:30], torch.full((1, 28, 28), 1.175))
        border = torch.ones(32, 32, dtype=torch.bool)
        border[2:30, 2:30] = False
        torch.testing.assert_close(out[0, border], torch.full((32 * 32 - 28 * 28,), -0.1))


def test_without_antialias_tensors_alias():
    stripes = torch.zeros(1, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 255
    smooth = raw(input_size=8, resize=8, channels=1)
    assert smooth.eval()(stripes).std() < 0.02
    rough = smooth.replace(antialias=False, interpolation="nearest").eval()(stripes)
    assert set(rough.unique().tolist()) <= {0.0, 1.0}


def test_interpolations_that_only_pillow_has_refuse_tensors():
    image = noise(3, 40, 50)
    transform = raw(input_size=24, resize=28, interpolation="lanczos").eval()
    assert transform(F.to_pil_image(image)).shape == (3, 24, 24)
    with pytest.raises(InputError, match=r"expected a PIL image .*'lanczos', got a tensor"):
        transform(image)


def test_an_absurdly_oblong_image_is_refused_before_it_fills_memory():
    with pytest.raises(InputError, match=r"less oblong, got 1 x 9000 pixels, .*256 x 2304000"):
        IMAGENET.eval()(noise(3, 1, 9000))
