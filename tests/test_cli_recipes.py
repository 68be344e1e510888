"""`convzoo finetune --recipe` and the aids of training: what reaches `fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from convzoo.cli import main
from convzoo.training import EpochRecord, History


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `fit` is called with; it trains nothing."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        for i, name in enumerate(("dark", "bright")):
            folder = Path("photos", part, name)
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (32, 32), (100 * i + number,) * 3).save(folder / f"{number}.png")
    seen: list[dict[str, Any]] = []

    def fit(net: object, train: object, val: object, **given: Any) -> History:
        seen.append(given)
        record = EpochRecord(
            1, 1.0, 0.5, 0.9, 0.5, 0.1, 1.0, ema_val_loss=0.5, ema_val_accuracy=1.0
        )
        return History((record,), 1, "finished")

    monkeypatch.setattr("convzoo.cli._run.fit", fit)
    return seen


def finetune(*arguments: str) -> int:
    network = ("--model", "cifar_resnet20", "--weights", "none", "--workers", "0", "--cpu")
    return main(["finetune", "photos", "--out", "out", "--quiet", *network, *arguments])


def test_a_recipe_trains_the_network_at_once_and_what_is_typed_comes_first(calls) -> None:
    assert finetune("--recipe", "cifar_resnet", "--epochs", "3", "--mixing", "mixup") == 0
    (given,) = calls
    assert (given["epochs"], given["batch_size"], given["lr"]) == (3, 128, 0.1)
    assert (given["optimizer"], given["schedule"], given["weight_decay"]) == ("sgd", "step", 1e-4)
    assert (given["milestones"], given["gamma"], given["mixing"]) == ((0.5, 0.75), 0.1, "mixup")
    steps = [type(step).__name__ for step in given["train_transform"]]
    assert "RandomCrop" in steps


def test_what_belongs_to_a_choice_goes_with_it(calls) -> None:
    options = ("--schedule", "cosine", "--optimizer", "adamw", "--augment", "none")
    assert finetune("--recipe", "inception", *options, "--head-epochs", "1") == 0
    head, network = calls
    assert {"milestones", "gamma", "optimizer_options", "max_grad_norm"}.isdisjoint(head)
    assert {"milestones", "gamma", "optimizer_options"}.isdisjoint(network)
    assert (network["schedule"], network["max_grad_norm"], network["ema"]) == (
        "cosine",
        2.0,
        0.9999,
    )
    assert "RandomResizedCrop" not in [type(step).__name__ for step in network["train_transform"]]


def test_the_aids_reach_the_phases_that_they_are_for(calls, capsys) -> None:
    aids = ["--ema", "0.9", "--balanced", "--resizing", "--flips", "alternating", "--l2-sp", "0.1"]
    more = ["--class-weights", "auto", "--unfreeze-every", "1", "--layer-decay", "0.5"]
    assert finetune(*aids, *more, "--schedule", "plateau", "--augment", "small") == 0
    head, network = calls
    for given in (head, network):
        assert (given["ema"], given["balanced"], given["resizing"]) == (0.9, True, True)
        assert (given["flips"], given["class_weights"]) == ("alternating", "auto")
        steps = [type(step).__name__ for step in given["train_transform"]]
        assert "RandomHorizontalFlip" not in steps
    assert {"l2_sp", "unfreeze_every", "layer_decay"}.isdisjoint(head)
    assert (network["l2_sp"], network["unfreeze_every"], network["layer_decay"]) == (0.1, 1, 0.5)
    assert finetune("--recipe", "finetune") == 0
    assert calls[-1]["train_transform"] is None  # the preset's


def test_without_any_fit_is_asked_for_what_it_was(calls) -> None:
    assert finetune() == 0
    head, network = calls
    assert (head["epochs"], network["epochs"], network["batch_size"]) == (4, 8, 32)
    for given in calls:
        assert all(given[name] is None for name in ("ema", "mixing", "class_weights", "flips"))
        assert given["balanced"] is given["resizing"] is False


def test_a_recipe_of_ones_own(calls) -> None:
    Path("mine.toml").write_text("[options]\nepochs = 2\nbalanced = true\n[augment]\nhflip = 1.0\n")
    assert finetune("--recipe", "mine.toml") == 0
    (given,) = calls
    assert (given["epochs"], given["balanced"]) == (2, True)


def test_a_recipe_says_how_the_trained_network_is_scored(calls, capsys) -> None:
    Path("mine.toml").write_text('tta = "flip"\n[options]\nepochs = 1\n')
    assert finetune("--recipe", "mine.toml") == 0
    results = json.loads(Path("out/history.json").read_text())["results"]
    assert list(results)[-2:] == [
        "after training, whole network",
        "after training, whole network, flip",
    ]
    assert "top1_validation_flip" in Path("out/config.json").read_text()
    # The preset of small images has no margin to cut ten crops from.
    Path("mine.toml").write_text('tta = "ten_crop"\n[options]\nepochs = 1\n')
    assert finetune("--recipe", "mine.toml") == 0
    assert "ten_crop is left out" in capsys.readouterr().err
    assert "ten_crop" not in Path("out/history.json").read_text()
