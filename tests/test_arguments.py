"""Whatever an argument is given, only convzoo's own errors or a TypeError come out."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convzoo
from convzoo import datasets, training, transfer
from convzoo.errors import ConvzooError
from convzoo.registry import MODELS

# By a word of the argument's annotation, the first that fits.
NONSENSE: dict[str, list[object]] = {
    "Literal": ["never", "", 3, [], object()],
    "Sequence": ["abc", 3, [object()], object()],
    "ImageData": [3, [], [1], [(1, 2)], object()],
    "Module": [3, "", nn.Identity(), object()],
    "device": ["gpu", "", 1.5, object()],
    "PathLike": ["", "no/such/file", "a\0b", "x" * 5000, 3, [], object()],
    "Tensor": ["x", 3, torch.zeros(2), torch.zeros(1, 9, 2, 2), torch.zeros(0), object()],
    "bool": ["yes", 3, [], object()],
    "int": [-1, 1.5, math.nan, "3", True, [], object()],
    "float": [-1.0, math.nan, "3", True, [], object()],
    "str": ["", "no such thing", "a\0b", "x" * 5000, 3, [], object()],
}


def small() -> convzoo.Classifier:
    return convzoo.create_model("lenet5", num_classes=3)


def tiny() -> nn.Module:
    return nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(784, 3))


def pairs() -> list[tuple[Tensor, int]]:
    return [(torch.rand(1, 28, 28), i % 3) for i in range(4)]


# A call that works and costs little; its arguments are replaced one at a time.
CALLS: dict[str, Callable[[], dict[str, object]]] = {
    "EarlyStopping": lambda: {"patience": 2},
    "Predictor": lambda: {"net": small()},
    "apply_drop_connect": lambda: {"net": small()},
    "cached_features": lambda: {
        "net": small(),
        "data": [(torch.rand(2, 1, 28, 28), torch.tensor([0, 1]))],
    },
    "channel_stats": lambda: {"dataset": [image for image, _ in pairs()]},
    "class_names": lambda: {"root": "photos"},
    "create_feature_extractor": lambda: {"net": small()},
    "create_model": lambda: {"name": "lenet5"},
    "digits": dict,
    "evaluate": lambda: {"net": tiny(), "data": pairs(), "cpu": True},
    "fetch": lambda: {"names": "lenet5.fashion_mnist"},
    "find_heads": lambda: {"net": small()},
    "fit": lambda: {"net": tiny(), "train": pairs(), "epochs": 1, "batch_size": 4, "cpu": True},
    "fit_head": lambda: {
        "net": small(),
        "features": torch.utils.data.TensorDataset(torch.rand(4, 84), torch.arange(4) % 3),
        "epochs": 1,
    },
    "freeze": lambda: {"net": small()},
    "image_folder": lambda: {"root": "photos"},
    "labelled_folder": lambda: {"root": "photos"},
    "LabelledImages": lambda: {
        "images": torch.zeros(2, 1, 4, 4),
        "targets": [0, 1],
        "classes": "ab",
    },
    "list_models": dict,
    "list_weights": dict,
    "load": lambda: {"source": "lenet5.fashion_mnist"},
    "load_image": lambda: {"path": "photos/dark/0.png"},
    "map_labels": lambda: {"source": ["a"], "target": ["a", "b"]},
    "mc_dropout": lambda: {"net": tiny(), "x": torch.rand(1, 1, 28, 28), "samples": 2},
    "model_info": lambda: {"name": "lenet5"},
    "param_groups": lambda: {"net": small(), "lr": 0.1},
    "remove_drop_connect": lambda: {"net": convzoo.apply_drop_connect(small())},
    "replace_head": lambda: {"net": small(), "num_classes": 2},
    "report": lambda: {"net": small()},
    "save": lambda: {"net": small(), "folder": "kept"},
    "summary": lambda: {"net": small()},
    "to_fully_convolutional": lambda: {"net": convzoo.create_model("vgg11", device="meta")},
    "unfreeze": lambda: {"net": small()},
    "verify": lambda: {"names": "lenet5.fashion_mnist"},
    "weights_info": lambda: {"name": "lenet5.fashion_mnist"},
}
# Need two devices, end the process, upload, or only serve who adds a network.
NOT_CALLED = {
    *("alexnet_tensor_parallel", "alexnet_two_gpu", "architecture", "construct", "leave"),
    *("loss_with_aux", "push"),
}
# Where other errors still come out.
KNOWN = {"cached_features", "create_model", "fetch", "load", "mc_dropout", "save", "verify"}

PUBLIC = {
    name: getattr(module, name)
    for module in (datasets, training, transfer, convzoo)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name)) and name not in {*MODELS, *NOT_CALLED}
}
PUBLIC |= {
    name: getattr(convzoo, name, None) or getattr(datasets, name)
    for name in ("EarlyStopping", "Predictor", "LabelledImages")
}


SLOW = ("evaluate", "fit")  # they train or score with every replacement


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long if n in SLOW else ()) for n in sorted(PUBLIC)]
)
def test_nonsense_is_named(name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, grey in (("bright", 200), ("dark", 20)):
        Path("photos", kind).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (28, 28), grey + i).save(f"photos/{kind}/{i}.png")
    call = PUBLIC[name]
    call(**CALLS[name]())  # one that is missing has to be added
    wrong = []
    for argument, parameter in inspect.signature(call).parameters.items():
        annotation = str(parameter.annotation)
        if "bool" in annotation and name in ("evaluate", "fit"):
            continue  # each would be a whole training
        for value in next((v for word, v in NONSENSE.items() if word in annotation), []):
            try:
                call(**{**CALLS[name](), argument: value})
            except (ConvzooError, TypeError):
                continue
            except Exception as error:
                wrong.append(f"{argument}={value!r:.40}: {type(error).__name__}: {error!s:.90}")
    if name in KNOWN:
        pytest.xfail("\n".join(wrong))
    assert not wrong, "\n".join(wrong)
