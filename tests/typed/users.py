"""What an editor knows of convzoo: checked by mypy and basedpyright in `make types`, never run."""

from pathlib import Path
from typing import Literal, assert_type

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import convzoo
from convzoo import training, visualize


def builders_return_their_class() -> convzoo.ResNet:
    net = convzoo.resnet50(weights="a1_in1k", num_classes=10)
    assert_type(net, convzoo.ResNet)
    assert_type(convzoo.alexnet(), convzoo.AlexNet)
    assert_type(convzoo.alexnet_2012(towers=1), convzoo.AlexNet2012)
    assert_type(convzoo.vgg16(hidden=64), convzoo.VGG)
    assert_type(convzoo.zfnet(dropout=0.0), convzoo.ZFNet)
    assert_type(convzoo.lenet5(activation="relu"), convzoo.LeNet5)
    assert_type(convzoo.lenet5_1998(), convzoo.LeNet1998)
    assert_type(convzoo.mlp(hidden=(3,)), convzoo.MLP)
    assert_type(convzoo.cifar_cnn5(), convzoo.TutorialCNN)
    assert_type(convzoo.preact_resnet50(), convzoo.PreActResNet)
    assert_type(convzoo.resnet18(device=torch.device("meta"), drop_block=0.1), convzoo.ResNet)
    return net


def auxiliary_heads(flag: bool) -> None:
    assert_type(convzoo.googlenet(), convzoo.GoogLeNet)
    assert_type(convzoo.googlenet(aux_heads=True), convzoo.GoogLeNetWithAux)
    assert_type(
        convzoo.inception_v3(aux_heads=flag), convzoo.InceptionV3 | convzoo.InceptionV3WithAux
    )
    assert_type(convzoo.googlenet(aux_heads=True).drop_aux_heads(), convzoo.GoogLeNet)


def looking_into_networks(x: Tensor) -> None:
    net = convzoo.zfnet()
    assert_type(visualize.grad_cam(net, x, target=3, stage="conv5"), Tensor)
    assert_type(visualize.feature_maps(net, x), dict[str, Tensor])
    assert_type(visualize.receptive_field(net, "conv3").box(0, 0), tuple[int, int, int, int])
    assert_type(visualize.randomise(net, from_top=2), convzoo.ZFNet)
    assert_type(visualize.architecture(net), str)


def calls_are_tensors(x: Tensor) -> None:
    net = convzoo.resnet18()
    assert_type(net(x), Tensor)
    assert_type(net.forward_features(x), Tensor)
    assert_type(net.intermediates(x), dict[str, Tensor])
    assert_type(net.num_classes, int)
    assert_type(net.layer1, nn.Sequential)
    assert_type(net.fc, nn.Linear)
    assert_type(convzoo.vgg11().features, nn.Sequential)


def idioms(x: Tensor, flag: bool) -> None:
    net = convzoo.resnet18(num_classes=0)
    assert_type(net, convzoo.ResNet)
    assert_type(net(x), Tensor)
    assert_type(convzoo.vgg11(pretrained=flag), convzoo.VGG)
    assert_type(convzoo.resnet50(weights="default"), convzoo.ResNet)
    assert_type(convzoo.load("resnet50.default"), convzoo.ResNet)
    assert_type(net.forward_intermediates(x), tuple[Tensor, list[Tensor]])
    assert_type(net.forward_intermediates(x, 2, intermediates_only=True), list[Tensor])
    assert_type(net.get_classifier(), nn.Module)
    assert_type(net.get_classifier(name_only=True), str)
    assert_type(net.group_matcher(), dict[str, str])
    assert_type(convzoo.create_feature_extractor(net, ["layer4"])(x), dict[str, Tensor])
    convzoo.resnet50(norm_layer="group_norm", replace_stride_with_dilation=[False, True, True])
    convzoo.resnet50(norm_layer=lambda channels: nn.GroupNorm(8, channels))


def names() -> None:
    assert_type(convzoo.create_model("resnet50", weights="a1_in1k", stem="small"), convzoo.ResNet)
    assert_type(convzoo.create_model("vgg11", num_classes=3), convzoo.VGG)
    assert_type(convzoo.create_model("googlenet", aux_heads=True), convzoo.GoogLeNetWithAux)
    assert_type(convzoo.load("resnet50.a1_in1k"), convzoo.ResNet)
    assert_type(convzoo.load("lenet5.fashion_mnist", num_classes=3), convzoo.LeNet5)
    assert_type(convzoo.load("inception_v3.tv_in1k"), convzoo.InceptionV3)
    assert_type(convzoo.load("a/folder"), convzoo.Classifier)
    assert_type(convzoo.VGG.from_pretrained("a/folder"), convzoo.VGG)
    assert_type(convzoo.list_models("resnet*"), list[str])


def rooms() -> None:
    assert_type(convzoo.presets.IMAGENET, convzoo.Preset)
    assert_type(convzoo.models.BasicBlock(8, 8), convzoo.models.BasicBlock)
    assert_type(convzoo.layers.DropBlock2d(0.1), convzoo.DropBlock2d)
    raise convzoo.errors.InputError("x: expected y")


def transfer(theirs: nn.Sequential) -> None:
    net = convzoo.replace_head(convzoo.resnet18(), 4, freeze="backbone")
    assert_type(net, convzoo.ResNet)
    assert_type(convzoo.replace_head(theirs, 4), nn.Sequential)


def what_is_refused(kind: Literal["small"]) -> None:
    convzoo.resnet18(stem=kind)
    convzoo.resnet18(stem="tiny")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    convzoo.resnet18(in_chanels=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    convzoo.vgg16(grid="7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def at_home_elsewhere(
    net: convzoo.ResNet, rows: list[dict[str, object]], loader: DataLoader[tuple[Tensor, Tensor]]
) -> None:
    assert_type(net.save_pretrained("net", push_to_hub=True, repo_id="me/net"), str | None)
    assert_type(net.push_to_hub("me/net", commit_message="One", create_pr=True), str)
    assert_type(
        convzoo.ResNet.from_pretrained("me/net", cache_dir="cache", local_files_only=True),
        convzoo.ResNet,
    )
    assert_type(convzoo.integrations.timm.register(), list[str])
    assert_type(convzoo.freeze(net, ["layer1", "layer2"]), convzoo.ResNet)
    assert_type(convzoo.evaluate(net, rows, columns=("img", "kind")), convzoo.Evaluation)
    assert_type(convzoo.evaluate(net, loader), convzoo.Evaluation)


def data_by_name(name: convzoo.datasets.DatasetName, word: str) -> None:
    assert_type(convzoo.datasets.load("cifar10"), convzoo.datasets.Splits)
    assert_type(convzoo.datasets.load(name, val=0.2), convzoo.datasets.Splits)
    assert_type(convzoo.datasets.load(word), convzoo.datasets.Splits)
    few = convzoo.datasets.load("digits").subset(classes=["3", "8"])
    assert_type(few.train.subset([0, 1]), convzoo.datasets.LabelledImages)
    assert_type(few.train.numbered_as(("8", "3")), convzoo.datasets.LabelledImages)
    assert_type(convzoo.datasets.fetch(word), Path)
    convzoo.datasets.load("digits", vol=0.2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def aids_of_training(net: nn.Module, data: DataLoader[tuple[Tensor, Tensor]]) -> None:
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    assert_type(convzoo.lr_find(net, data, optimizer=optimizer).suggestion, float | None)
    training.lr_schedule(optimizer, "step", steps=10, milestones=(0.5,)).step()
    assert_type(training.EMA(net).module, nn.Module)
    assert_type(training.Mixing("both", 3)(torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))[1], Tensor)
    training.Recipe.load("vgg").fit(net, data, epochs=1, schedule="cosine", mixing="cutmix")


def quicker(net: convzoo.ResNet, x: Tensor, loader: DataLoader[tuple[Tensor, Tensor]]) -> None:
    fast = convzoo.accelerate(net, x, engine="torch", precision="int8", calibration=loader)
    assert_type(fast, convzoo.Accelerated)
    assert_type(fast(x), Tensor)
    assert_type(fast.why, str)
    assert_type(fast.labels, tuple[str, ...] | None)
    assert_type(fast.engine, Literal["torch", "compile", "onnxruntime", "openvino"])
    convzoo.accelerate(net, engine="onnx")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    predict = convzoo.Predictor(net, engine="auto", precision="bf16")
    assert_type(predict.embed("photos"), Tensor)
    assert_type(next(predict.folder("photos")), convzoo.inference.FilePredictions)


def evaluation_and_probe(
    net: convzoo.ResNet, rows: list[tuple[Tensor, int]], features: TensorDataset
) -> None:
    result = convzoo.evaluate(net, rows, tta="ten_crop")
    assert_type(result.top_losses(3)[0].truth, str)
    assert_type(result.most_confused()[0].share, float)
    assert_type(result.interval(), tuple[float, float] | None)
    assert_type(result.per_class[0].f1, float | None)
    probe = convzoo.linear_probe(net, rows, rows, views=2, cache=True)
    assert_type(probe.val, convzoo.Evaluation | None)
    assert_type(convzoo.cached_features(net, rows, precision="bf16"), TensorDataset)
    assert_type(convzoo.find_head_lr(net, features).best, float)
    views = convzoo.inference.Views(convzoo.presets.IMAGENET, "five_crop")
    assert_type(convzoo.inference.mean_scores(net, views(rows[0][0])[None]), Tensor)
    convzoo.evaluate(net, rows, tta="six_crop")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
