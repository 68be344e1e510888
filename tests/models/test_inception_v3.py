"""Inception-v3 against the released network's shapes and counts, torchvision's and timm's."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from inception_checks import (
    assert_equal_within,
    multiply_adds,
    one_process_group,
    parameters,
    shuffle,
)
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from convzoo import presets
from convzoo.by_name import create_model
from convzoo.errors import InputError
from convzoo.models import (
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
    InceptionV3,
    InceptionV3Output,
    InceptionV3WithAux,
    fold_input_affine,
    fold_preset,
    inception_v3,
    loss_with_aux,
    resnet18,
)

# Module: parameters, channels out, side of the map from 299 pixels.
LAYOUT = {
    "Conv2d_1a_3x3": (928, 32, 149),
    "Conv2d_2a_3x3": (9_280, 32, 147),
    "Conv2d_2b_3x3": (18_560, 64, 147),
    "maxpool1": (0, 64, 73),
    "Conv2d_3b_1x1": (5_280, 80, 73),
    "Conv2d_4a_3x3": (138_624, 192, 71),
    "maxpool2": (0, 192, 35),
    "Mixed_5b": (255_904, 256, 35),
    "Mixed_5c": (277_472, 288, 35),
    "Mixed_5d": (285_152, 288, 35),
    "Mixed_6a": (1_153_280, 768, 17),
    "Mixed_6b": (1_297_408, 768, 17),
    "Mixed_6c": (1_691_008, 768, 17),
    "Mixed_6d": (1_691_008, 768, 17),
    "Mixed_6e": (2_141_952, 768, 17),
    "Mixed_7a": (1_698_304, 1280, 8),
    "Mixed_7b": (5_044_608, 2048, 8),
    "Mixed_7c": (6_076_800, 2048, 8),
}


def test_layout_module_by_module() -> None:
    net = inception_v3(device="meta").eval()
    shapes: dict[str, torch.Size] = {}
    for name, module in net.named_children():
        module.register_forward_hook(
            lambda _m, _i, out, name=name: shapes.__setitem__(name, out.shape)
        )
    net(torch.zeros(1, 3, 299, 299, device="meta"))
    measured = {name: (parameters(net.get_submodule(name)), *shapes[name][1:3]) for name in LAYOUT}
    assert measured == LAYOUT
    assert list(shapes)[: len(LAYOUT)] == list(LAYOUT)
    assert parameters(net.fc) == 2_049_000
    assert parameters(net) == 23_834_568
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 94
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    assert multiply_adds(net, (3, 299, 299))[""] == 5_713_216_096


def test_the_auxiliary_heads_count() -> None:
    net = inception_v3(aux_heads=True, device="meta")
    assert parameters(net) == 27_161_264
    assert parameters(net.get_submodule("AuxLogits")) == 3_326_696
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == 96


@pytest.mark.parametrize(
    ("block", "channels", "side"),
    [
        (InceptionA(192, 32), 256, 35),
        (InceptionB(288), 768, 17),
        (InceptionC(768, 128), 768, 35),
        (InceptionD(768), 1280, 17),
        (InceptionE(1280), 2048, 35),
    ],
    ids="ABCDE",
)
def test_blocks_know_their_channels(block: nn.Module, channels: int, side: int) -> None:
    block = block.to("meta")
    given = next(block.parameters()).shape[1]
    x = torch.zeros(2, given, 35, 35, device="meta")
    assert block(x).shape == (2, channels, side, side)
    assert block.out_channels == channels


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    net = torchvision.models.inception_v3(
        weights=None, init_weights=False, num_classes=11, transform_input=False
    )
    return shuffle(net)


@pytest.fixture(scope="module")
def ours(theirs: nn.Module) -> InceptionV3WithAux:
    net = inception_v3(aux_heads=True, num_classes=11)
    assert list(net.state_dict()) == list(theirs.state_dict())
    net.load_state_dict(theirs.state_dict(), strict=True)
    return net


def test_eval_and_every_stage_equal_torchvision(
    ours: InceptionV3WithAux, theirs: nn.Module
) -> None:
    x = torch.randn(1, 3, 107, 91)
    seen: dict[str, Tensor] = {}
    handles = [
        theirs.get_submodule(s.module).register_forward_hook(
            lambda _m, _i, out, name=s.name: seen.__setitem__(name, out)
        )
        for s in ours.stages
    ]
    with torch.no_grad():
        assert_equal_within(ours.eval()(x), theirs.eval()(x))
        for name, value in ours.intermediates(x).items():
            assert_equal_within(value, seen[name])
    for handle in handles:
        handle.remove()
    assert [(s.name, s.channels, s.stride) for s in ours.stages] == [
        ("Conv2d_2b_3x3", 64, 2),
        ("Conv2d_4a_3x3", 192, 4),
        ("Mixed_5d", 288, 8),
        ("Mixed_6e", 768, 16),
        ("Mixed_7c", 2048, 32),
    ]


def test_training_equals_torchvision_with_dropout(
    ours: InceptionV3WithAux, theirs: nn.Module
) -> None:
    x = torch.randn(2, 3, 299, 299)
    with torch.no_grad():
        torch.manual_seed(1)
        expected = copy.deepcopy(theirs).train()(x)
        torch.manual_seed(1)
        output = copy.deepcopy(ours).train()(x)
    assert isinstance(output, InceptionV3Output)
    assert_equal_within(output.logits, expected.logits)
    assert_equal_within(output.aux, expected.aux_logits)


def test_eval_equals_timm(ours: InceptionV3WithAux) -> None:
    # timm's keys are torchvision's: its key map is the identity.
    other = timm.create_model("inception_v3", pretrained=False, num_classes=11, aux_logits=True)
    assert other.state_dict().keys() == ours.state_dict().keys()
    other.load_state_dict(ours.state_dict(), strict=True)
    plain = timm.create_model("inception_v3", pretrained=False, num_classes=11)
    assert plain.state_dict().keys() == inception_v3(device="meta").state_dict().keys()
    x = torch.randn(1, 3, 299, 299)  # timm runs its auxiliary head in evaluation, too
    with torch.no_grad():
        assert_equal_within(ours.eval()(x), other.eval()(x)[0])


def test_the_head_is_asked_for_droppable_and_replaceable() -> None:
    assert type(inception_v3(device="meta")) is InceptionV3
    net = inception_v3(aux_heads=True, device="meta")
    assert type(net) is InceptionV3WithAux
    assert type(create_model("inception_v3", device="meta", **net.options)) is InceptionV3WithAux
    assert list(net.head_paths()) == ["fc", "AuxLogits.fc"]
    net.reset_head(6)
    x = torch.zeros(2, 3, 80, 80, device="meta")
    assert [scores.shape for scores in net(x)] == [(2, 6)] * 2
    assert isinstance(net.eval()(x), Tensor)
    dropped = net.drop_aux_heads()
    assert isinstance(dropped.train()(x), Tensor)
    assert dropped.options == {}
    assert dropped.state_dict().keys() == inception_v3(device="meta").state_dict().keys()


@pytest.mark.parametrize("aux_heads", [False, True])
def test_75_pixels_train_with_and_without_the_head(
    aux_heads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = inception_v3(aux_heads=aux_heads, device="meta")
    assert net.min_size == 75
    for side in (75, 298, 299, 320):
        output = net(torch.zeros(2, 3, side, side, device="meta"))
        assert (output.logits if aux_heads else output).shape == (2, 1000)
    monkeypatch.setattr(InceptionV3, "_check_input", lambda self, x: None)
    with pytest.raises(RuntimeError):
        net(torch.zeros(2, 3, 74, 74, device="meta"))


def test_the_loss_weights_the_head_by_four_tenths() -> None:
    output = InceptionV3Output(torch.randn(4, 3), torch.randn(4, 3))
    target = torch.tensor([0, 1, 2, 1])
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    loss = loss_with_aux(output, target, criterion=smooth)
    expected = smooth(output.logits, target) + 0.4 * smooth(output.aux, target)
    torch.testing.assert_close(loss, expected)
    assert InceptionV3.aux_weight == 0.4


@pytest.mark.filterwarnings("ignore:.*barrier.*:UserWarning")
def test_ddp_sees_every_gradient_without_looking_for_unused_parameters(tmp_path: Path) -> None:
    with one_process_group(tmp_path):
        net = inception_v3(aux_heads=True, num_classes=3)
        parallel = DistributedDataParallel(net)
        x, target = torch.randn(2, 3, 75, 75), torch.tensor([0, 2])
        for _ in range(2):  # the second forward refuses if the first left a gradient out
            loss_with_aux(parallel(x), target).backward()
        assert all(p.grad is not None for p in net.parameters())


def test_initialisation_is_torchvisions() -> None:
    net = inception_v3(aux_heads=True)
    theirs = torchvision.models.inception_v3(init_weights=True)
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            tolerance = 6 / module.weight.numel() ** 0.5
            expected = theirs.get_submodule(name).weight.std().item()
            assert module.weight.std().item() == pytest.approx(expected, rel=tolerance), name
    beyond = (net.fc.weight.abs() > 0.3).float().mean().item()
    assert 0.0024 < beyond < 0.0030  # 0.27 % of a normal distribution lie beyond three sigma


# transform_input, never silent: in the preset, or folded into the first convolution.


def test_folding_a_preset_changes_nothing_but_the_input(theirs: nn.Module) -> None:
    net = inception_v3(num_classes=11)
    net.load_state_dict(theirs.state_dict(), strict=False)
    mean, std = presets.IMAGENET.mean, presets.IMAGENET.std
    imagenet = presets.INCEPTION.replace(mean=mean, std=std)
    picture = torch.rand(2, 3, 91, 99)

    def normalise(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        return (picture - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    before, after = normalise((0.5,) * 3, (0.5,) * 3), normalise(mean, std)
    with torch.no_grad():
        expected = net.eval()(before)
        fold_preset(net, imagenet)
        assert net.preset == imagenet
        assert_equal_within(net(after), expected)
        # torchvision's own transform_input does the same to the same images.
        theirs.transform_input = True
        assert_equal_within(net(after), theirs.eval()(after))
        theirs.transform_input = False


def test_folding_is_exact_at_the_border_and_in_training() -> None:
    first = inception_v3(device="meta", in_channels=2).Conv2d_1a_3x3
    block = shuffle(first.to_empty(device="cpu")).double()
    folded = copy.deepcopy(block)
    scale, shift = [0.4, 2.0], [-0.3, 1.5]
    fold_input_affine(folded.conv, folded.bn, scale, shift)
    x = torch.randn(4, 2, 9, 9, dtype=torch.float64)
    moved = x * torch.tensor(scale)[:, None, None] + torch.tensor(shift)[:, None, None]
    moved = moved.double()
    for training in (False, True):
        block.train(training)
        folded.train(training)
        torch.testing.assert_close(folded(x), block(moved), rtol=1e-6, atol=1e-6)
    # The running statistics that training gathered agree, too: evaluation goes on equal.
    block.eval()
    folded.eval()
    torch.testing.assert_close(folded(x), block(moved), rtol=1e-6, atol=1e-6)


def test_a_padded_convolution_refuses_a_shift() -> None:
    net = resnet18(num_classes=2)
    ones = [1.0, 1.0, 1.0]
    with pytest.raises(InputError, match=r"pads with zeros .* change the mean and std"):
        fold_input_affine(net.conv1, net.bn1, ones, ones)
    # What it refuses would be wrong at the border only; a scale alone is exact everywhere.
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = net.conv1(x * 2)
        moved = net.conv1(x + 1)
        constant = net.conv1.weight.sum((1, 2, 3))
        error = (moved - net.conv1(x) - constant[:, None, None]).abs()
        assert error[:, :, 2:-2, 2:-2].max() < 1e-5
        assert error.max() > 0.1
        fold_input_affine(net.conv1, net.bn1, [2.0] * 3, [0.0] * 3)
        torch.testing.assert_close(net.conv1(x), expected)


def test_folding_refuses_what_does_not_fit() -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)
    with pytest.raises(InputError, match=r"scale: expected 3 numbers, .* got 1"):
        fold_input_affine(conv, None, [1.0], [0.0, 0.0, 0.0])
    with pytest.raises(InputError, match="bn: expected a batch normalisation"):
        fold_input_affine(conv, None, [1.0] * 3, [1.0] * 3)
    with pytest.raises(InputError, match="ungrouped"):
        fold_input_affine(nn.Conv2d(2, 2, 3, groups=2), None, [1.0] * 2, [1.0] * 2)
    net = inception_v3(device="meta")
    net.preset = None
    with pytest.raises(InputError, match="net: expected a network with a preset"):
        fold_preset(net, presets.IMAGENET)
    grey = inception_v3(device="meta", in_channels=1)
    with pytest.raises(InputError, match=r"preset: expected .* 1 channel"):
        fold_preset(grey, presets.IMAGENET)
