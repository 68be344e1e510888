"""The ResNet family against its papers, torchvision and timm."""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import convzoo
from contract_nets import blocks, parameters
from convzoo.errors import InputError, UnknownNameError
from convzoo.models import (
    BasicBlock,
    Bottleneck,
    PaddedShortcut,
    PlainBlock,
    PreActBasicBlock,
    PreActBottleneck,
    PreActResNet,
    ResNet,
)

# Exact counts: trainable elements with the affine parameters of batch normalisation, and
# multiply-adds of convolutions and linear layers, for one image of the paper's size.
COUNTS = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnet50_v1": (25_557_032, 3_857_973_248),
    "resnet101_v1": (44_549_160, 7_570_194_432),
    "resnet152_v1": (60_192_808, 11_282_415_616),
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
    "preact_resnet50": (25_549_352, 3_857_973_248),
    "preact_resnet101": (44_541_480, 7_570_194_432),
    "preact_resnet152": (60_185_128, 11_282_415_616),
    "preact_resnet200": (64_666_152, 14_776_270_848),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101_32x8d": (88_791_336, 16_414_015_488),
    "resnext101_64x4d": (83_455_272, 15_460_270_080),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "wide_resnet101_2": (126_886_696, 22_753_050_624),
    "cifar_resnet20": (269_722, 40_551_040),
    "cifar_resnet32": (464_154, 68_862_592),
    "cifar_resnet44": (658_586, 97_174_144),
    "cifar_resnet56": (853_018, 125_485_696),
    "cifar_resnet110": (1_727_962, 252_887_680),
    "cifar_resnet1202": (19_421_274, None),
    "cifar_plain20": (269_722, 40_551_040),
    "cifar_plain110": (1_727_962, 252_887_680),
    "cifar_preact110": (1_727_962, 252_887_680),
    "cifar_preact164": (1_703_258, 244_500_992),
    # The paper prints 10.2 M, which leaves the affine parameters of batch normalisation out.
    "cifar_preact1001": (10_327_706, None),
}

# (model, options) -> the same with another shortcut.
SHORTCUTS = {
    ("resnet18", "A"): (11_515_688, 1_794_805_760),
    ("resnet18", "C"): (12_043_816, 1_878_298_624),
    ("resnet34", "A"): (21_623_848, 3_644_493_824),
    ("resnet34", "C"): (22_716_840, 3_830_747_136),
    ("cifar_resnet20", "B"): (272_474, 40_551_040 + 262_144),
    ("cifar_resnet56", "B"): (855_770, 125_485_696 + 262_144),
    ("cifar_resnet1202", "B"): (19_424_026, None),
}

TORCHVISION = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]


def randomise(net: nn.Module) -> nn.Module:
    """Normalisation layers that do something, so that a missing one shows."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.5)
    return net.eval()


def measure(name: str, **options: object) -> tuple[int, int]:
    with torch.device("meta"):
        table = convzoo.summary(convzoo.create_model(name, **options))
    return table.parameters, table.multiply_adds


# Those of the deeper ones stand in their docstrings, too, and are held there.
@pytest.mark.parametrize("name", parameters(COUNTS, quick={n for n in COUNTS if blocks(n) < 20}))
def test_counts_of_the_papers(name: str) -> None:
    parameters, multiply_adds = measure(name)
    assert parameters == COUNTS[name][0]
    assert COUNTS[name][1] in (None, multiply_adds)


@pytest.mark.parametrize(
    "case", parameters(SHORTCUTS, quick={*SHORTCUTS} - {("cifar_resnet1202", "B")})
)
def test_counts_of_the_other_shortcuts(case: tuple[str, str]) -> None:
    name, option = case
    parameters, multiply_adds = measure(name, shortcut=option)
    expected = SHORTCUTS[name, option]
    assert parameters == expected[0]
    assert expected[1] in (None, multiply_adds)


@pytest.mark.parametrize(("option", "projections"), [("A", 0), ("B", 3), ("C", 16)])
def test_resnet34_has_the_papers_projections(option: str, projections: int) -> None:
    with torch.device("meta"):
        net = convzoo.resnet34(shortcut=option)  # type: ignore[arg-type]
    ones = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(ones) == projections
    assert sum(isinstance(m, PaddedShortcut) for m in net.modules()) == (3 if option == "A" else 0)


def test_depths_count_the_layers() -> None:
    for depth in (18, 34, 50, 101, 152):
        with torch.device("meta"):
            net = convzoo.create_model(f"resnet{depth}")
        layers = [
            name
            for name, m in net.named_modules()
            if isinstance(m, (nn.Conv2d, nn.Linear)) and "downsample" not in name
        ]
        assert len(layers) == depth
    for name, depth in [("cifar_resnet110", 110), ("cifar_plain56", 56), ("cifar_preact164", 164)]:
        with torch.device("meta"):
            net = convzoo.create_model(name)
        weighted = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        projections = 3 if name == "cifar_preact164" else 0
        assert len(weighted) == depth + projections


def test_stage_shapes_of_table_1() -> None:
    with torch.device("meta"):
        net = convzoo.resnet50().eval()
        maps = net.intermediates(torch.zeros(1, 3, 224, 224))
    assert {name: tuple(f.shape[1:]) for name, f in maps.items()} == {
        "stem": (64, 56, 56),
        "layer1": (256, 56, 56),
        "layer2": (512, 28, 28),
        "layer3": (1024, 14, 14),
        "layer4": (2048, 7, 7),
    }
    with torch.device("meta"):
        maps = convzoo.cifar_resnet56().intermediates(torch.zeros(1, 3, 32, 32))
    assert [tuple(f.shape[1:]) for f in maps.values()] == [
        (16, 32, 32),
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
    ]


def fields(name: str) -> dict[str, tuple[int | None, int | None]]:
    with torch.device("meta"):
        table = convzoo.summary(convzoo.create_model(name))
    return {layer.name: (layer.receptive_field, layer.stride) for layer in table.layers}


def test_receptive_fields() -> None:
    # By hand: the field grows by (kernel - 1) * stride so far. Stem 7/2 then 3/2: 7, 11.
    # ResNet-18: two 3x3 a block at strides 4, 8, 16, 32, the first of a stage at the old stride.
    field, stride = 11, 4
    expected = []
    for stage in range(4):
        for convolution in range(4):
            field += 2 * stride
            if stage > 0 and convolution == 0:
                stride *= 2
        expected.append((field, stride))
    assert expected == [(43, 4), (99, 8), (211, 16), (435, 32)]
    measured = fields("resnet18")
    assert [measured[f"layer{i}.1.conv2"] for i in (1, 2, 3, 4)] == expected
    # v1.5 strides in the 3x3, v1 in the 1x1 before it, whose 3x3 then sees twice as far.
    assert fields("resnet50")["layer4.2.conv3"] == (427, 32)
    assert fields("resnet50_v1")["layer4.2.conv3"] == (483, 32)


@pytest.mark.parametrize(
    "name", parameters(TORCHVISION, quick=[n for n in TORCHVISION if blocks(n) < 20])
)
def test_keys_and_shapes_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        ours = convzoo.create_model(name)
        theirs = getattr(torchvision.models, name)()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("name", parameters(TORCHVISION, quick=["resnet18", "resnext50_32x4d"]))
def test_stages_and_logits_equal_torchvisions_and_timms(
    name: str, share_weights, relative_error
) -> None:
    with torch.device("meta"):
        ours = convzoo.create_model(name, num_classes=11)
        theirs = getattr(torchvision.models, name)(num_classes=11)
        timms = timm.create_model(name, num_classes=11)
    share_weights(ours, theirs)
    timms.load_state_dict(ours.state_dict(), strict=True, assign=True)  # the keys are the same
    timms.eval()
    x = torch.randn(2, 3, 40, 40)  # maps of 2 x 2 at the end
    with torch.no_grad():
        logits = ours(x)
        assert relative_error(logits, theirs(x)) <= 1e-4
        assert relative_error(logits, timms(x)) <= 1e-4
        maps = ours.intermediates(x)
        after = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        assert relative_error(maps["stem"], after) <= 1e-4
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            after = getattr(theirs, stage)(after)
            assert relative_error(maps[stage], after) <= 1e-4
        # In training mode too, with batch statistics.
        assert relative_error(ours.train()(x), theirs.train()(x)) <= 1e-4


def test_v1_differs_from_v1_5_only_in_where_it_strides() -> None:
    net, paper = convzoo.resnet50(num_classes=3).eval(), convzoo.resnet50_v1(num_classes=3).eval()
    paper.load_state_dict(net.state_dict(), strict=True)
    assert paper.layer2[0].conv1.stride == net.layer2[0].conv2.stride == (2, 2)
    assert paper.layer2[0].conv2.stride == net.layer2[0].conv1.stride == (1, 1)
    x = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(net(x), paper(x))


def timm_preact_keys(state: dict[str, Tensor], blocks: tuple[int, ...]) -> dict[str, Tensor]:
    """Our pre-activation state dict under timm's names."""
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        if name.startswith("layer"):
            stage, block, rest = name[5:].split(".", 2)
            rest = rest.replace("bn", "norm").replace("downsample.", "downsample.conv.")
            name = f"stages.{int(stage) - 1}.blocks.{block}.{rest}"
        elif name.startswith("bn1"):  # timm normalises after the pooling, in the first block
            name = name.replace("bn1", "stages.0.blocks.0.norm1")
        elif name.startswith("conv1"):
            name = name.replace("conv1", "stem.conv")
        elif name.startswith("bn_last"):
            name = name.replace("bn_last", "norm")
        else:
            name = name.replace("fc", "head.fc")
            value = value[..., None, None] if name.endswith("weight") else value
        renamed[name] = value
    return {key: value for key, value in renamed.items() if "num_batches" not in key}


def test_preactivation_equals_timms() -> None:
    ours = randomise(convzoo.preact_resnet50(num_classes=11, stride_in="3x3"))
    timms = timm.create_model("resnetv2_50", num_classes=11).eval()
    keys = timm_preact_keys(ours.state_dict(), (3, 4, 6, 3))
    missing, unexpected = timms.load_state_dict(keys, strict=False)
    assert [key for key in missing if "num_batches" not in key] == []
    assert unexpected == []
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        # Pooling commutes with a normalisation of positive slope and ReLU, so that the two
        # orders of the stem give one function here.
        logits = timms(x)
        assert (ours(x) - logits).abs().max() <= 1e-5 * max(1.0, float(logits.abs().max()))


def test_a_zero_initialised_block_is_relu_of_its_shortcut() -> None:
    for net in (
        convzoo.resnet18(zero_init_residual=True, num_classes=3),
        convzoo.resnet50(zero_init_residual=True, num_classes=3),
    ):
        x = torch.randn(2, net.layer2[0].conv1.in_channels, 8, 8)
        block = net.layer2[0].eval()
        torch.testing.assert_close(block(x), torch.relu(block.downsample(x)))
    pre = convzoo.cifar_preact164(zero_init_residual=True).eval()
    x = torch.randn(2, 64, 8, 8)
    torch.testing.assert_close(pre.layer1[1](x), x)


def test_padded_shortcut_subsamples_and_pads_with_zeros() -> None:
    x = torch.randn(2, 3, 6, 4)
    out = PaddedShortcut(3, 5, 2)(x)
    assert out.shape == (2, 5, 3, 2)
    assert torch.equal(out[:, :3], x[:, :, ::2, ::2])
    assert not out[:, 3:].any()


@pytest.mark.parametrize(
    "block", [PlainBlock, BasicBlock, Bottleneck, PreActBasicBlock, PreActBottleneck]
)
def test_blocks_stand_alone(block: type[BasicBlock]) -> None:
    module = block(8, 4, 2)
    x = torch.randn(2, 8, 10, 10, requires_grad=True)
    out = module(x)
    assert out.shape == (2, 4 * block.expansion, 5, 5)
    out.sum().backward()
    assert x.grad is not None


def test_a_plain_block_is_a_basic_block_without_its_shortcut() -> None:
    plain, basic = PlainBlock(4, 4).eval(), BasicBlock(4, 4).eval()
    basic.load_state_dict(plain.state_dict(), strict=True)
    x = torch.randn(1, 4, 6, 6).relu()
    branch = basic.bn2(basic.conv2(torch.relu(basic.bn1(basic.conv1(x)))))
    torch.testing.assert_close(plain(x), branch.relu())
    torch.testing.assert_close(basic(x), (branch + x).relu())


def test_preactivation_leaves_the_identity_untouched() -> None:
    block = PreActBottleneck(16, 4).eval()
    nn.init.zeros_(block.conv3.weight)
    x = torch.randn(2, 16, 5, 5)
    assert torch.equal(block(x.clone()), x)  # negative values pass: nothing after the addition


@pytest.mark.parametrize("name", ["resnet18", "preact_resnet50", "resnext50_32x4d"])
def test_the_small_stem_keeps_the_resolution(name: str) -> None:
    with torch.device("meta"):
        net = convzoo.create_model(name, stem="small", in_channels=1, num_classes=10)
        assert net.conv1.kernel_size == (3, 3)
        shapes = [tuple(f.shape[2:]) for f in net.intermediates(torch.zeros(1, 1, 28, 28)).values()]
    assert shapes == [(28, 28), (28, 28), (14, 14), (7, 7), (4, 4)]


def test_a_network_of_ones_own() -> None:
    net = ResNet(Bottleneck, [1, 2, 1], widths=(8, 16, 32), num_classes=4, groups=2, base_width=32)
    assert net(torch.zeros(2, 3, 40, 40)).shape == (2, 4)
    assert net.layer1[0].conv2.groups == 2
    assert net.architecture is None
    assert isinstance(PreActResNet(PreActBasicBlock, [1, 1], widths=(8, 8)), convzoo.Classifier)


def test_wrong_choices_are_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown stem 'smal': did you mean 'small'"):
        convzoo.resnet18(stem="smal")  # type: ignore[arg-type]
    expected = "shortcut option 'D': expected 'A', 'A-centred', 'B', 'C'"
    with pytest.raises(UnknownNameError, match=expected):
        convzoo.resnet18(shortcut="D")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="unknown stride_in '2x2'"):
        convzoo.resnet50(stride_in="2x2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="layers: expected one number a stage, 4 for widths"):
        ResNet(BasicBlock, [1, 2])
