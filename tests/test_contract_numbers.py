"""What every network promises of its values: on every model, and on those that options make."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor

import convzoo
from contract_nets import (
    ARCHITECTURES,
    FIRSTS,
    LIGHT,
    NUMBERS,
    SHALLOW_VARIANTS,
    VARIANTS,
    Case,
    build,
    images,
    narrow,
    parameters,
    plain,
)
from convzoo import Classifier
from convzoo._build import option_names
from convzoo.models import loss_with_aux

pytestmark = pytest.mark.usefixtures("narrow_alexnets")

# Activations that cannot overwrite their input, or no activation at all; they take `inplace` too.
WITHOUT_OVERWRITING = {"cifar2_cnn", "lenet5", "lenet5_1998", "linear_classifier"}


@pytest.mark.parametrize("case", NUMBERS)
def test_features_head_and_intermediates_agree_with_forward(case: Case) -> None:
    net = build(case.name, **case.options)
    x = images(net)
    logits = net(x)
    features = net.forward_features(x)
    torch.testing.assert_close(net.forward_head(features), logits)
    before_logits = net.forward_head(features, pre_logits=True)
    torch.testing.assert_close(net.get_submodule(net.head_path)(before_logits), logits)
    fired: list[str] = []
    handle = net.get_submodule(net.stages[-1].module).register_forward_hook(
        lambda *_: fired.append("yes")
    )
    maps = net.intermediates(x)
    handle.remove()
    assert fired == ["yes"]
    assert all(not m._forward_hooks for m in net.modules())
    # What is handed out was not overwritten by what ran after it.
    for stage in net.stages:
        kept: list[Tensor] = []
        handle = net.get_submodule(stage.module).register_forward_hook(
            lambda _m, _i, out, kept=kept: kept.append(out.clone())
        )
        net(x)
        handle.remove()
        torch.testing.assert_close(maps[stage.name], kept[0], rtol=0, atol=0)


@pytest.mark.parametrize("case", NUMBERS)
def test_every_parameter_gets_a_gradient(case: Case) -> None:
    net = build(case.name, **case.options).train()
    output = net(images(net, batch=4))
    assert isinstance(output, Tensor) or case.options["aux_heads"]
    loss_with_aux(output, torch.tensor([0, 1, 2, 3])).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


# Deeper ones of a family are filled by the same method: the first of each is enough here.
@pytest.mark.parametrize(
    "case",
    parameters(
        [*plain(FIRSTS), *VARIANTS],
        # Bottlenecks are filled alike, and are many: those of one network are enough.
        quick=[case for case in [*plain(LIGHT), *SHALLOW_VARIANTS] if "resnet50" not in case.name]
        + plain(["preact_resnet50"]),
    ),
)
def test_reset_parameters_fills_everything_and_obeys_the_seed(case: Case) -> None:
    def fresh() -> Classifier:
        return convzoo.create_model(
            case.name, num_classes=7, **{**narrow(case.name), **case.options}
        )

    torch.manual_seed(1)
    first = fresh()
    torch.manual_seed(1)
    net = fresh()
    for key, value in first.state_dict().items():
        assert torch.equal(value, net.state_dict()[key]), key
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor.fill_(float("nan"))
    net.reset_parameters()
    for tensor in [*net.parameters(), *net.buffers()]:
        assert tensor.isfinite().all()


@pytest.mark.parametrize("case", NUMBERS)
def test_eval_is_deterministic_and_copies_are_equal(case: Case) -> None:
    net = build(case.name, **case.options)
    x = images(net)
    logits = net(x)
    assert torch.equal(net(x), logits)
    assert torch.equal(copy.deepcopy(net)(x), logits)
    again = pickle.loads(pickle.dumps(net))
    assert type(again) is type(net)
    assert torch.equal(again(x), logits)
    assert (again.architecture, again.stages) == (net.architecture, net.stages)
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    del again  # the largest networks have half a gigabyte of weights
    other = convzoo.create_model(
        case.name, **{**net.options, "num_classes": 7, "in_channels": net.in_channels}
    ).eval()
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(other(x), logits)


@pytest.mark.parametrize("case", NUMBERS)
def test_double_bfloat16_and_channels_last(case: Case) -> None:
    net = build(case.name, **case.options)
    x = images(net)
    with torch.no_grad():
        logits = net(x)
        last = net.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, logits, rtol=1e-3, atol=1e-4)
        double = net.double()(x.double())
        assert double.dtype == torch.float64
        scale = double.abs().max()
        assert (double - logits).abs().max() < 1e-4 * scale
        half = net.bfloat16()(x.bfloat16())
        assert half.dtype == torch.bfloat16
        assert (half.double() - double).abs().max() < 0.1 * scale


@pytest.mark.parametrize("case", NUMBERS)
def test_inplace_false_lets_hooks_see_true_values(case: Case) -> None:
    def overwritten(inplace: bool) -> list[str]:
        net = build(case.name, **case.options, inplace=inplace).train()
        seen: list[tuple[str, Tensor, Tensor]] = []
        for path, module in net.named_modules():
            if path:  # in training the network itself may return more than a tensor
                module.register_forward_hook(
                    lambda _m, _i, out, path=path: seen.append((path, out, out.detach().clone()))
                )
        net(images(net))
        return [path for path, output, at_the_time in seen if not torch.equal(output, at_the_time)]

    assert overwritten(inplace=False) == []
    has_none = case.name in WITHOUT_OVERWRITING and "activation" not in case.options
    assert (overwritten(inplace=True) == []) == has_none


def test_every_builder_takes_inplace() -> None:
    assert all("inplace" in option_names(info) for info in ARCHITECTURES.values())
