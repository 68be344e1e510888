"""What other libraries' ways to ask for weights are answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torchvision

import convzoo
from convzoo.errors import InputError

V2 = torchvision.models.ResNet50_Weights.IMAGENET1K_V2


@pytest.mark.parametrize(
    ("name", "weights", "tag"),
    [
        ("resnet50", "DEFAULT", "tv2_in1k"),
        ("resnet50", "IMAGENET1K_V1", "tv_in1k"),
        ("resnet50", "imagenet1k_v2", "tv2_in1k"),
        ("resnet50", V2, "tv2_in1k"),
        ("resnet50", True, "tv_in1k"),
        ("resnet18", "IMAGENET1K_V1", "tv_in1k"),
        ("googlenet", "DEFAULT", "tv_in1k"),
        ("lenet5", "DEFAULT", "fashion_mnist"),
    ],
)
def test_the_right_tag_is_named(name: str, weights: object, tag: str) -> None:
    with pytest.raises(InputError, match=f"^weights: .* a tag of {name}.*; weights='{tag}' loads"):
        convzoo.create_model(name, weights=weights)
    assert f"{name}.{tag}" in convzoo.list_weights()


def test_other_values_are_no_weights() -> None:
    for wrong in (False, 1, 3.5, b"tv_in1k", ["tv_in1k"]):
        with pytest.raises(InputError, match="weights: expected a tag of cifar_resnet20, a folder"):
            convzoo.create_model("cifar_resnet20", weights=wrong)


def test_a_folder_of_that_name_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    convzoo.save(convzoo.cifar_resnet20(num_classes=3), "DEFAULT")
    assert convzoo.cifar_resnet20(weights="DEFAULT").num_classes == 3
