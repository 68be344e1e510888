"""Whatever an argument is given, only convzoo's own errors or a TypeError come out."""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convzoo
from convzoo import datasets, layers, models, presets, training, transfer, visualize
from convzoo.errors import ConvzooError, InputError
from convzoo.registry import MODELS, ModelInfo

# By a word of the argument's annotation, the first that fits.
NONSENSE: dict[str, list[object]] = {
    "Mapping": [3, "abc", [1], {"no such": 1}, {3: object()}, object()],
    "Literal": ["never", "", 3, [], object()],
    "Sequence": ["abc", 3, [object()], [-1], [1.5, 2.5], object()],
    "tuple": ["abc", 3, (), (object(),), (-1, 0), object()],
    "ImageData": [3, [], [1], [(1, 2)], object()],
    "ImageInput": [3, "no/such/file", [], [1], torch.zeros(2), object()],
    "Dataset": [3, [], [1], [(1, 2)], object()],
    "Matrix": [3, "abc", [[1, 2], [3]], torch.zeros(2, 2, 2), torch.zeros(0, 0), object()],
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
    "accelerate": lambda: {"net": small(), "engine": "torch"},
    "apply_drop_connect": lambda: {"net": small()},
    "balanced_sampler": lambda: {"data": [0, 0, 1]},
    "cached_features": lambda: {
        "net": small(),
        "data": [(torch.rand(2, 1, 28, 28), torch.tensor([0, 1]))],
    },
    "channel_stats": lambda: {"dataset": [image for image, _ in pairs()]},
    "class_weights": lambda: {"data": [0, 0, 1]},
    "class_names": lambda: {"root": "photos"},
    "create_feature_extractor": lambda: {"net": small()},
    "create_model": lambda: {"name": "lenet5"},
    "datasets.fetch": lambda: {"name": "digits"},
    "datasets.load": lambda: {"name": "digits"},
    "digits": dict,
    "evaluate": lambda: {"net": tiny(), "data": pairs(), "cpu": True},
    "evaluate_regression": lambda: {
        "net": tiny(),
        "data": [(torch.rand(1, 28, 28), (0.0, 1.0, 2.0))],
        "cpu": True,
    },
    "folds": lambda: {"data": labelled(), "k": 2},
    "fetch": lambda: {"names": "lenet5.fashion_mnist"},
    "find_head_lr": lambda: {
        "net": small(),
        "features": torch.utils.data.TensorDataset(torch.rand(6, 84), torch.arange(6) % 3),
        "rates": (0.01,),
        "epochs": 1,
    },
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
    "linear_probe": lambda: {"net": small(), "train": pairs(), "lr": 0.01, "epochs": 1},
    "list_models": dict,
    "list_weights": dict,
    "load": lambda: {"source": "lenet5.fashion_mnist"},
    "load_image": lambda: {"path": "photos/dark/0.png"},
    "lr_find": lambda: {"net": tiny(), "data": pairs(), "steps": 10, "batch_size": 4},
    "lr_schedule": lambda: {
        "optimizer": torch.optim.SGD(tiny().parameters(), 0.1),
        "name": "cosine",
        "steps": 3,
    },
    "map_labels": lambda: {"source": ["a"], "target": ["a", "b"]},
    "mc_dropout": lambda: {
        "net": convzoo.cifar_resnet20(dropout=0.5),
        "x": torch.rand(1, 3, 32, 32),
        "samples": 2,
    },
    "model_info": lambda: {"name": "lenet5"},
    "param_groups": lambda: {"net": small(), "lr": 0.1},
    "remove_drop_connect": lambda: {"net": convzoo.apply_drop_connect(small())},
    "replace_head": lambda: {"net": small(), "num_classes": 2},
    "report": lambda: {"net": small()},
    "save": lambda: {"net": small(), "folder": "kept"},
    "summary": lambda: {"net": small()},
    "tune_allocator": dict,
    "to_fully_convolutional": lambda: {"net": convzoo.create_model("vgg11", device="meta")},
    "unfreeze": lambda: {"net": small()},
    "verify": lambda: {"names": "lenet5.fashion_mnist"},
    "weights_info": lambda: {"name": "lenet5.fashion_mnist"},
    "wilson_interval": lambda: {"correct": 1, "samples": 2},
}
CALLS |= {
    "AlternatingFlips": lambda: {"data": pairs()},
    "EMA": lambda: {"net": tiny()},
    "GradualUnfreezing": lambda: {
        "net": (made := small()),
        "optimizer": torch.optim.SGD(made.parameters(), 0.1),
    },
    "L2SP": lambda: {"net": small()},
    "Mixing": lambda: {"kind": "both", "num_classes": 3},
    "ProgressiveResizing": lambda: {"epochs": 3},
    "DropBlock1d": dict,
    "DropBlock2d": dict,
    "DropBlock3d": dict,
    "DropBlockConfig": dict,
    "DropBlockSchedule": lambda: {"net": layers.DropBlock2d(), "total_steps": 5},
    "DropConnectConv2d": lambda: {"in_channels": 1, "out_channels": 2, "kernel_size": 3},
    "DropConnectLinear": lambda: {"in_features": 2, "out_features": 2},
    "Evaluation": lambda: {**vars(evaluation())},
    "FullyConvolutionalVGG": lambda: {"net": convzoo.create_model("vgg11", device="meta")},
    "LocalResponseNorm": dict,
    "Preset": presets.MNIST.to_dict,
    "drop_block": lambda: {"x": torch.zeros(1, 2, 8, 8), "drop_prob": 0.1},
    "drop_block_fraction": lambda: {"drop_prob": 0.1, "size": (8, 8)},
    "drop_block_gamma": lambda: {"drop_prob": 0.1, "size": (8, 8)},
    "get": lambda: {"name": "imagenet"},
    "local_response_norm": lambda: {"x": torch.zeros(1, 2, 8, 8)},
    **dict.fromkeys(("AlexNet", "AlexNet2012", "GoogLeNet", "GoogLeNetWithAux"), dict),
    **dict.fromkeys(("InceptionV3", "InceptionV3WithAux", "LeNet1998", "LeNet5"), dict),
    **dict.fromkeys(("LinearClassifier", "MLP"), dict),
    "PreActResNet": lambda: {"block": models.PreActBasicBlock, "layers": [1], "widths": [4]},
    "ResNet": lambda: {"block": models.BasicBlock, "layers": [1], "widths": [4]},
    "TutorialCNN": lambda: {"convs": [(4, 3, 1, True)], "hidden": [4]},
    "VGG": lambda: {"blocks": [[3]], "widths": [4], "hidden": 4},
}


def look(**more: object) -> dict[str, object]:
    """A network and an image for it."""
    return {"net": small(), "images": torch.rand(1, 1, 28, 28)} | more


def judgements() -> tuple[visualize.Judged, ...]:
    return visualize.predictions(small(), pairs())


def curve() -> training.LRCurve:
    return training.LRCurve((0.1, 0.2), (1.0, 0.5), (1.0, 0.5), "finished")


CALLS |= {
    "activations": dict,
    "visualize.architecture": lambda: {"net": small()},
    "augmentations": lambda: {
        "preset": presets.MNIST,
        "image": torch.zeros(1, 28, 28, dtype=torch.uint8),
        "count": 2,
    },
    "batch_grid": lambda: {"images": torch.rand(2, 1, 4, 4)},
    "calibration": lambda: {"judged": judgements()},
    "cam": lambda: {
        "net": convzoo.ResNet(models.BasicBlock, [1], widths=[4], stem="small"),
        "images": torch.rand(1, 3, 16, 16),
    },
    "confusion_matrix": lambda: {"result": evaluation()},
    "convolution_steps": lambda: {"matrix": torch.rand(4, 4), "kernel": "sobel_x"},
    "convolve": lambda: {"image": torch.rand(1, 4, 4), "kernel": "sobel_x"},
    "deconvnet": lambda: look(stage="pool1", unit=0),
    "draw_activations": lambda: {"curves": visualize.activations(["relu"])},
    "draw_calibration": lambda: {"found": visualize.calibration(judgements())},
    "draw_embedding": lambda: {"points": torch.rand(3, 2)},
    "draw_feature_maps": lambda: {"maps": {"conv1": torch.rand(1, 2, 3, 3)}},
    "draw_gradient_flow": lambda: {"flows": {"a": visualize.gradient_flow(**look(labels=0))}},
    "draw_lr_curve": lambda: {"curve": curve()},
    "draw_occlusion": lambda: look(found=visualize.occlusion(**look(window=14))),
    "draw_patches": lambda: {
        "patches": visualize.top_patches(small(), pairs(), "pool1", [0], count=1)
    },
    "draw_predictions": lambda: {"judged": judgements()},
    "draw_receptive_field": lambda: {
        "net": small(),
        "image": torch.rand(1, 28, 28),
        "stage": "pool1",
    },
    "draw_steps": lambda: {"sliding": visualize.pooling_steps(torch.rand(4, 4))},
    "draw_top_k": lambda: {"net": small(), "image": "photos/dark/0.png"},
    "embed": lambda: {"net": small(), "data": pairs()},
    "embedding_map": lambda: {"vectors": torch.rand(5, 3)},
    "evaluation_report": lambda: {
        "result": judged(),
        "path": "report.html",
        "data": [(torch.rand(1, 4, 4), 0)] * 2,
    },
    "explore": lambda: look(path="look.html"),
    "feature_maps": look,
    "filters": lambda: {"net": small()},
    "grad_cam": look,
    "grad_cam_pp": look,
    "gradient_flow": lambda: look(labels=0),
    "gradients": look,
    "guided_backprop": lambda: look(net=convzoo.lenet5(activation="relu")),
    "integrated_gradients": lambda: look(steps=2),
    "kernel": lambda: {"name": "sobel_x"},
    "learning_curve": lambda: {"history": history()},
    "nearest": lambda: {"queries": torch.rand(1, 3), "index": torch.rand(4, 3), "count": 2},
    "occlusion": lambda: look(window=14),
    "pixels": lambda: {"inputs": torch.rand(1, 4, 4)},
    "pooling_steps": lambda: {"matrix": torch.rand(4, 4)},
    "predictions": lambda: {"net": small(), "data": pairs()},
    "randomise": lambda: {"net": small()},
    "receptive_field": lambda: {"net": small(), "stage": "pool1"},
    "smooth_grad": lambda: look(samples=2),
    "text": lambda: {"words": "a"},
    "top_losses": lambda: {"net": small(), "data": pairs()},
    "top_patches": lambda: {
        "net": small(),
        "data": pairs(),
        "stage": "pool1",
        "units": [0],
        "count": 1,
    },
}


def evaluation() -> training.Evaluation:
    return training.Evaluation(2, 0.5, 0.5, None, ((1, 0), (1, 0)), ("a", "b"))


def judged() -> training.Evaluation:
    two = torch.zeros(2, dtype=torch.int32)
    return training.Evaluation(
        *(2, 0.5, 0.5, None, ((2, 0), (0, 0)), ("a", "b")),
        images=training.ImageScores(two, two, torch.rand(2), torch.rand(2)),
    )


def history() -> training.History:
    return training.History(
        (training.EpochRecord(1, 1.0, 0.5, None, None, 0.1, 1.0),), None, "early"
    )


def image() -> dict[str, object]:
    return {"x": torch.rand(1, 1, 28, 28)}


# Methods, with the object whose they are.
METHODS: dict[str, Callable[[], tuple[object, dict[str, object]]]] = {
    "Classifier.forward": lambda: (small(), image()),
    "Classifier.forward_features": lambda: (small(), image()),
    "Classifier.from_pretrained": lambda: (
        convzoo.Classifier,
        {"source": convzoo.save(small(), "kept")},
    ),
    "Classifier.intermediates": lambda: (small(), image()),
    "Classifier.reset_head": lambda: (small(), {"num_classes": 2}),
    "Classifier.save_pretrained": lambda: (small(), {"folder": "kept"}),
    "DropBlock2d.forward": lambda: (layers.DropBlock2d(), {"x": torch.zeros(1, 2, 8, 8)}),
    "DropBlockSchedule.load_state_dict": lambda: (
        (made := layers.DropBlockSchedule(layers.DropBlock2d(), 5)),
        {"state": made.state_dict()},
    ),
    "EarlyStopping.load_state_dict": lambda: (
        (made := training.EarlyStopping(2)),
        {"state": made.state_dict()},
    ),
    "EarlyStopping.step": lambda: (training.EarlyStopping(2), {"score": 0.5}),
    "Evaluation.interval": lambda: (evaluation(), {}),
    "Evaluation.most_confused": lambda: (evaluation(), {}),
    "Evaluation.results": lambda: (judged(), {"indices": [0]}),
    "Evaluation.to_dict": lambda: (judged(), {}),
    "Evaluation.top_losses": lambda: (judged(), {}),
    "Evaluation.from_dict": lambda: (training.Evaluation, {"fields": evaluation().to_dict()}),
    "FullyConvolutionalVGG.score_map": lambda: (
        convzoo.to_fully_convolutional(convzoo.create_model("vgg11", device="meta")),
        {"x": torch.zeros(1, 3, 224, 224, device="meta")},
    ),
    "History.from_dict": lambda: (training.History, {"fields": history().to_dict()}),
    "History.load": lambda: (training.History, {"path": saved_history()}),
    "History.save": lambda: (history(), {"path": "history.json"}),
    "LabelledImages.numbered_as": lambda: (labelled(), {"classes": "ab"}),
    "LabelledImages.split": lambda: (labelled(), {"seed": 1}),
    "LabelledImages.subset": lambda: (labelled(), {"indices": [0]}),
    "LeNet1998.reset_head": lambda: (convzoo.lenet5_1998(), {"num_classes": 2}),
    "LocalResponseNorm.forward": lambda: (
        layers.LocalResponseNorm(),
        {"x": torch.zeros(1, 2, 8, 8)},
    ),
    "Predictor.embed": lambda: (convzoo.Predictor(small()), {"images": [torch.rand(1, 28, 28)]}),
    "Predictor.folder": lambda: (convzoo.Predictor(small()), {"path": "photos"}),
    "Predictor.batch": lambda: (convzoo.Predictor(small()), {"images": [torch.rand(1, 28, 28)]}),
    "Preset.for_channels": lambda: (presets.IMAGENET, {"channels": 1}),
    "Preset.from_dict": lambda: (presets.Preset, {"fields": presets.MNIST.to_dict()}),
    "Preset.replace": lambda: (presets.IMAGENET, {}),
    "Preset.small_images": lambda: (presets.IMAGENET, {}),
    "Preset.train": lambda: (presets.IMAGENET, {}),
}


def saved_history() -> str:
    history().save("history.json")
    return "history.json"


def labelled() -> datasets.LabelledImages:
    return datasets.LabelledImages(torch.zeros(4, 1, 4, 4), [0, 1, 0, 1], "ab")


# Need two devices, end the process, upload, or only serve who adds a network.
NOT_CALLED = {
    *("alexnet_tensor_parallel", "alexnet_two_gpu", "architecture", "construct", "leave"),
    *("loss_with_aux", "push"),
}
MODULES = (presets, layers, datasets, training, transfer, visualize, convzoo)
TWICE = ("fetch", "load")  # of data sets and of weights
FUNCTIONS = {
    f"datasets.{name}" if module is datasets and name in TWICE else name
    for module in MODULES
    for name in module.__all__
    if inspect.isfunction(getattr(module, name)) and name not in {*MODELS, *NOT_CALLED}
}
BUILDERS = {info.with_aux or info.network: info for info in reversed(MODELS.values())}
# They are built, train or score with every replacement.
SLOW = ("GoogLeNet", "evaluate", "evaluate_regression", "fit", "linear_probe", "mc_dropout")


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, grey in (("bright", 200), ("dark", 20)):
        Path("photos", kind).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (28, 28), grey + i).save(f"photos/{kind}/{i}.png")


def came_out(
    make: Callable[[], tuple[Callable[..., object], dict[str, object]]],
    annotations: dict[str, str],
) -> list[str]:
    """What came out raw, or was silently taken for a truth value, argument by argument."""
    wrong = []
    for argument, annotation in annotations.items():
        for value in next((v for word, v in NONSENSE.items() if word in annotation), []):
            call, arguments = make()
            try:
                call(**{**arguments, argument: value})
            except (ConvzooError, TypeError):
                continue
            except Exception as error:
                wrong.append(f"{argument}={value!r:.40}: {type(error).__name__}: {error!s:.90}")
            else:
                if annotation == "bool":
                    wrong.append(f"{argument}={value!r:.40} is taken")
    return wrong


def parameters(call: Callable[..., object]) -> dict[str, str]:
    return {name: str(p.annotation) for name, p in inspect.signature(call).parameters.items()}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.long if n in SLOW else ())
        for n in sorted(CALLS.keys() | FUNCTIONS)
    ],
)
def test_nonsense_is_named(name: str) -> None:
    place, _, word = name.rpartition(".")
    modules = (vars(convzoo)[place],) if place else (convzoo, *MODULES)
    call = next(getattr(module, word) for module in modules if hasattr(module, word))

    def make() -> tuple[Callable[..., object], dict[str, object]]:
        return call, CALLS[name]()  # one that is missing has to be added

    with torch.device("meta") if name in vars(models) else nullcontext():
        call(**make()[1])
        wrong = came_out(make, parameters(call))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", METHODS)
def test_nonsense_is_named_by_methods(name: str) -> None:
    def make() -> tuple[Callable[..., object], dict[str, object]]:
        owner, arguments = METHODS[name]()
        return getattr(owner, name.rpartition(".")[2]), arguments

    method, arguments = make()
    method(**arguments)
    wrong = came_out(make, parameters(method))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("info", BUILDERS.values(), ids=lambda info: info.name)
def test_nonsense_is_named_by_builders(info: ModelInfo) -> None:
    def make() -> tuple[Callable[..., object], dict[str, object]]:
        return info.builder, {"device": "meta"}

    (options,) = typing.get_args(typing.get_type_hints(info.builder)["options"])
    own = {name: hint.__forward_arg__ for name, hint in options.__annotations__.items()}
    wrong = came_out(make, {**parameters(inspect.unwrap(info.builder)), **own})
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {"in_channels": 10**12}, "in_channels: expected an integer from 1 to 65536"),
        ("resnet18", {"num_classes": 10**12}, "num_classes: expected an integer from 0 to 1048576"),
        ("vgg11", {"num_classes": 10**30}, "num_classes: expected an integer from 0 to 1048576"),
        ("mlp", {"hidden": [10**12]}, "hidden: expected an integer from 1 to 1048576"),
        ("mlp", {"hidden": [1] * 10**6}, "hidden: expected at most 1000 layers"),
        ("mlp", {"hidden": [1 << 20] * 2}, r"hidden=.* it would have 1,100,346,\d+,\d+ parameters"),
        ("mnist_cnn", {"image_size": 10**9}, "image_size: expected an integer from 1 to"),
        ("mlp", {"image_size": 1 << 20, "in_channels": 1 << 16}, "mlp: (with|not built with)"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_size_is_refused_before_anything_is_built(
    name: str, options: dict[str, object], message: str, device: str
) -> None:
    with pytest.raises(InputError, match=message):
        convzoo.create_model(name, device=device, **options)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:99", "ipu", 99, 1.5])
def test_a_device_that_is_not_here(device: object) -> None:
    with pytest.raises(InputError, match="device: expected one that is here"):
        convzoo.create_model("lenet5", device=device)
    with pytest.raises(InputError, match="device: expected one that is here"):
        convzoo.Predictor(small(), device=device)


def test_a_home_that_there_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for call in (convzoo.load, convzoo.verify, lambda place: convzoo.save(small(), place)):
        with pytest.raises(InputError, match="expected a path, got '~nosuch/x'"):
            call("~nosuch/x")
    monkeypatch.setenv("HF_HOME", "~nosuch/x")
    assert convzoo.verify("resnet18.a1_in1k")[0].status == "missing"


def test_a_repository_without_its_prefix_is_told_so() -> None:
    with pytest.raises(ConvzooError, match=r"is hf-hub:timm/resnet50\.a1_in1k"):
        convzoo.load("timm/resnet50.a1_in1k")
