"""Recipes: data that `fit` takes, with the papers' numbers."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_args

import pytest
import torch

import convzoo
from convzoo import presets, training
from convzoo.errors import InputError, UnknownNameError
from convzoo.training import FitOptions, Recipe, RecipeName


def test_the_papers_numbers() -> None:
    alexnet, vgg, resnet = (Recipe.load(name) for name in ("alexnet_2012", "vgg", "resnet"))
    assert [r.options["batch_size"] for r in (alexnet, vgg, resnet)] == [128, 256, 256]
    assert [r.options["lr"] for r in (alexnet, vgg, resnet)] == [0.01, 0.01, 0.1]
    assert [r.options["weight_decay"] for r in (alexnet, vgg, resnet)] == [5e-4, 5e-4, 1e-4]
    assert [r.options["epochs"] for r in (alexnet, vgg, resnet)] == [90, 74, 120]
    assert [r.augment["short_side"] for r in (alexnet, vgg, resnet)] == [
        256,
        (256, 512),
        (256, 480),
    ]
    assert (alexnet.tta, alexnet.augment["lighting"]) == ("ten_crop", 0.1)
    inception, cifar = Recipe.load("inception").options, Recipe.load("cifar_resnet").options
    assert inception["optimizer_options"]["eps"] == 1.0
    assert (inception["lr"], inception["gamma"], inception["label_smoothing"]) == (0.045, 0.94, 0.1)
    # 0.94 every two epochs, and 64,000 steps of 128 on 45,000 images, divided at 32,000 and 48,000.
    assert inception["milestones"] + 1 == inception["epochs"] / 2
    assert cifar["epochs"] == round(64_000 * 128 / 45_000)
    assert cifar["milestones"] == (32 / 64, 48 / 64)


@pytest.mark.parametrize("name", get_args(RecipeName))
def test_every_recipe_is_what_fit_takes(name) -> None:
    recipe = Recipe.load(name)
    assert recipe.source
    assert recipe == Recipe.load(name)
    known = inspect.signature(training.fit).parameters
    assert set(recipe.options) <= set(known) - {"net", "train", "val"}
    transform = recipe.train_transform(presets.IMAGENET)
    image = torch.randint(256, (3, 300, 400), dtype=torch.uint8)
    assert transform(image).shape == (3, 224, 224)
    names = [type(step).__name__ for step in transform]
    if "lighting" in recipe.augment:
        assert names[-2:] == ["PCALighting", "Normalize"]


@pytest.mark.parametrize("name", get_args(RecipeName))
def test_every_recipe_trains(name) -> None:
    net = convzoo.create_model("cifar_resnet20", num_classes=2)
    net.preset = presets.CIFAR10.replace(input_size=16, resize=16)
    images = torch.randint(256, (8, 3, 20, 18), dtype=torch.uint8)
    data = [(image, i % 2) for i, image in enumerate(images)]
    history = Recipe.load(name).fit(net, data, data, epochs=1, batch_size=4, cpu=True)
    assert history.epochs[0].train_loss > 0
    assert (history.epochs[0].ema_val_loss is not None) == (name == "inception")


def test_pixels_are_scaled_to_the_network_and_own_arguments_come_first() -> None:
    recipe = Recipe.load("vgg")
    seen: dict[str, object] = {}

    class Spy(presets.Preset):
        def train(self, **given):
            seen.update(given)
            return super().train(**{k: v for k, v in given.items() if k != "lighting"})

    spy = Spy(**presets.IMAGENET.replace(input_size=112, resize=128).to_dict())
    recipe.train_transform(spy)
    assert seen["short_side"] == (128, 256)
    net = convzoo.lenet5(num_classes=2)
    data = [(torch.randint(256, (1, 30, 30), dtype=torch.uint8), i % 2) for i in range(8)]
    rates: list[float] = []
    Recipe({"epochs": 3, "lr": 1.0, "schedule": "constant"}).fit(
        net, data, lr=0.5, epochs=1, cpu=True, on_step=lambda step: rates.append(step.lr)
    )
    assert rates == [0.5]


def test_a_recipe_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('tta = "flip"\n[options]\nepochs = 3\n[augment]\nscale = [0.5, 1.0]\n')
    recipe = Recipe.load(path)
    assert recipe == Recipe({"epochs": 3}, {"scale": (0.5, 1.0)}, tta="flip")
    assert recipe == Recipe.load(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[options]\nepoch = 3\n", "did you mean 'epochs'"),
        ("[options]\n[augment]\nflips = 1\n", "argument in augment"),
        ("lr = 1\n[options]\n", "holds no Recipe"),
        ("[options\n", "holds no Recipe"),
        ("options = 3\n", "options: expected a mapping"),
        ("", "holds no Recipe"),
    ],
)
def test_a_file_that_holds_none(tmp_path: Path, text, message) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Recipe.load(path)


def test_a_recipe_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnet'"):
        Recipe.load("resnett")
    with pytest.raises(InputError, match="there is no file"):
        Recipe.load("mine.toml")
    options: FitOptions = {"epochs": 1, "schedule": "plateau"}
    data = [(torch.rand(1, 28, 28), 0)] * 4
    with pytest.raises(InputError, match="plateau is one of the validation"):
        Recipe(options).fit(convzoo.lenet5(), data, cpu=True)


def test_what_needs_colour_or_raw_images_says_so() -> None:
    recipe = Recipe.load("alexnet_2012")
    with pytest.raises(InputError, match="lighting: expected 3 channels"):
        recipe.train_transform(presets.MNIST)
    net = convzoo.cifar_resnet20(num_classes=2)
    ready = [(torch.rand(3, 32, 32), 0)] * 4
    with pytest.raises(InputError, match="float tensors"):
        recipe.fit(net, ready, ready, cpu=True)
