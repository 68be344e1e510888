"""DropBlock, stochastic depth and dropout inside the ResNets, where their authors put them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

import convzoo
from convzoo.errors import InputError, UnknownNameError
from convzoo.layers import DropBlock2d, DropBlockConfig, DropBlockSchedule


def rates(net: nn.Module) -> dict[str, float]:
    return {n: m.drop_prob for n, m in net.named_modules() if isinstance(m, DropBlock2d)}


def test_drop_block_sits_in_groups_3_and_4_with_a_quarter_of_the_rate_in_3() -> None:
    with torch.device("meta"):
        net = convzoo.resnet50(drop_block=0.1)
    found = rates(net)
    assert len(found) == 6 + 3  # one layer, used in four places, a block
    for name, rate in found.items():
        assert rate == pytest.approx(0.025 if name.startswith("layer3") else 0.1)
        assert name.split(".")[0] in ("layer3", "layer4")


@pytest.mark.parametrize(("name", "places"), [("resnet50", 4), ("resnet18", 3), ("plain18", 2)])
def test_drop_block_runs_after_every_normalisation_and_on_the_shortcut(
    name: str, places: int
) -> None:
    with torch.device("meta"):
        net = convzoo.create_model(name, drop_block=0.1)
    calls: list[tuple[int, ...]] = []
    net.layer4[1].drop_block.register_forward_hook(
        lambda _m, _i, out: calls.append(tuple(out.shape[2:]))
    )
    net(torch.zeros(2, 3, 224, 224, device="meta"))
    assert calls == [(7, 7)] * places


def test_the_last_two_stages_of_three_too() -> None:
    with torch.device("meta"):
        net = convzoo.cifar_resnet20(drop_block=DropBlockConfig(0.2, block_size=3))
    assert {n.split(".")[0] for n in rates(net)} == {"layer2", "layer3"}
    assert net.layer2[0].drop_block.drop_prob == pytest.approx(0.05)


def test_stochastic_depth_follows_the_linear_rule() -> None:
    with torch.device("meta"):
        net = convzoo.cifar_resnet110(drop_path=0.5)
    paths = [m.p for m in net.modules() if isinstance(m, nn.Dropout3d)]
    assert len(paths) == 54
    assert paths == sorted(paths)
    assert paths[-1] == 0.5
    # Huang et al. 2016: 40.25 of 54 blocks are expected to be active at p_L = 0.5.
    assert sum(1 - p for p in paths) == pytest.approx(40.25)


def test_stochastic_depth_is_torchvisions_to_the_bit() -> None:
    block = convzoo.models.BasicBlock(4, 4, drop_path=0.5, inplace=False)
    branch = torch.randn(64, 4, 3, 3).to(memory_format=torch.channels_last)
    added = torch.zeros_like(branch)
    torch.manual_seed(1)
    ours = block._add(branch, added)
    torch.manual_seed(1)
    assert torch.equal(ours, StochasticDepth(0.5, "row")(branch))
    assert ours.is_contiguous(memory_format=torch.channels_last)
    kept = (ours != 0).flatten(1)
    assert torch.equal(kept.any(1), kept.all(1))
    assert 0 < kept.any(1).sum() < 64


@pytest.mark.parametrize(
    "name",
    ["cifar_resnet20"]
    + [pytest.param(name, marks=pytest.mark.long) for name in ("cifar_preact110", "resnet50")],
)
@pytest.mark.parametrize(
    "options",
    [{"drop_block": DropBlockConfig(0.3, 3)}, {"drop_path": 0.5}, {"dropout": 0.5}],
    ids=lambda options: next(iter(options)),
)
def test_training_is_random_evaluation_is_the_plain_network(
    name: str, options: dict[str, Any]
) -> None:
    plain = convzoo.create_model(name, num_classes=5).eval()
    net = convzoo.create_model(name, num_classes=5, **options).eval()
    net.load_state_dict(plain.state_dict(), strict=True)  # no option adds a key
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(net(x), plain(x), rtol=0, atol=0)
    net.train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    first, second = net(x), net(x)
    assert not torch.equal(first, second)
    first.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_the_schedule_finds_the_layers() -> None:
    net = convzoo.cifar_resnet20(drop_block=0.2)
    schedule = DropBlockSchedule(net, total_steps=4)
    assert net.layer3[0].drop_block.progress == 0.0
    schedule.step()
    assert net.layer3[0].drop_block.progress == 0.25
    assert net.layer3[0].drop_block.drop_prob == pytest.approx(0.2)


def test_options_are_kept_as_json_would_hold_them() -> None:
    with torch.device("meta"):
        net = convzoo.resnet18(drop_block=DropBlockConfig(0.1, 5), drop_path=0.1)
        assert net.options["drop_block"] == {
            "drop_prob": 0.1,
            "block_size": 5,
            "per_channel": True,
            "normalise": "batch",
            "calibrated": False,
        }
        again = convzoo.create_model("resnet18", **net.options)
    assert rates(again) == rates(net)


def test_bad_rates_are_refused() -> None:
    with pytest.raises(InputError, match="drop_path: expected a probability"):
        convzoo.resnet18(drop_path=1.0)
    with pytest.raises(InputError, match="drop_prob: expected a number from 0 to 1"):
        convzoo.resnet18(drop_block=1.5)
    with pytest.raises(UnknownNameError, match=r"drop_block field 'block': .*'block_size'"):
        convzoo.resnet18(drop_block={"block": 3})  # type: ignore[typeddict-item]


def test_dropout_stays_with_new_weights_and_heads(tmp_path) -> None:
    base = convzoo.save(convzoo.cifar_resnet20(), tmp_path / "base")
    net = convzoo.cifar_resnet20(weights=str(base), dropout=0.3, num_classes=6)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.3]
    convzoo.replace_head(net, 4, dropout=0.2)
    again = convzoo.load(convzoo.save(net, tmp_path / "net"))
    assert [m.p for m in again.modules() if isinstance(m, nn.Dropout)] == [0.3]
    assert (again.fc.p, again.options) == (0.2, {"dropout": 0.3})
    assert type(convzoo.resnet18(dropout=0.5, device="meta").fc) is nn.Linear
    left = list(net.children())[:-2]
    assert nn.Sequential(*left)(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 8, 8)


@pytest.mark.parametrize("option", ["dropout", "drop_path"])
def test_a_trace_with_dropout_follows_the_mode(option: str) -> None:
    x = torch.randn(2, 3, 32, 32)
    net = convzoo.create_model("cifar_resnet20", **{option: 0.5})
    graph = torch.fx.symbolic_trace(net).eval()
    assert torch.equal(graph(x), net.eval()(x))
    assert not torch.equal(graph.train()(x), graph(x))
