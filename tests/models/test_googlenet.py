"""GoogLeNet against the paper's Table 1, torchvision's network, and what its options promise."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
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

from convzoo.by_name import create_model
from convzoo.errors import InputError, UnknownNameError
from convzoo.models import (
    GoogLeNet,
    GoogLeNetOutput,
    GoogLeNetWithAux,
    InceptionNaive,
    InceptionReduced,
    googlenet,
    googlenet_2014,
    loss_with_aux,
)

# Table 1 of the paper: weights without biases, with them, multiply-adds at 224 x 224, all computed.
# The printed columns cannot be met: conv1's 2.7K and 34M are those of a separable 7x7, 5a's 54M
# those of a 5x5 reduction to 48 instead of 32, and the parameters of 4a to 4e are 1 to 7 % low.
TABLE_1 = {
    "conv1": (9_408, 9_472, 118_013_952),
    "conv2+conv3": (114_688, 114_944, 359_661_568),
    "inception3a": (163_328, 163_696, 128_049_152),
    "inception3b": (388_096, 388_736, 304_267_264),
    "inception4a": (375_552, 376_176, 73_608_192),
    "inception4b": (448_512, 449_160, 87_908_352),
    "inception4c": (509_440, 510_104, 99_850_240),
    "inception4d": (604_672, 605_376, 118_515_712),
    "inception4e": (867_328, 868_352, 169_996_288),
    "inception5a": (1_042_432, 1_043_456, 51_079_168),
    "inception5b": (1_442_816, 1_444_080, 70_697_984),
    "fc": (1_024_000, 1_025_000, 1_024_000),
}


def test_table_1_row_by_row() -> None:
    net = googlenet_2014(device="meta")
    work = multiply_adds(net, (3, 224, 224))
    measured = {}
    for row in TABLE_1:
        modules = [net.get_submodule(path) for path in row.split("+")]
        measured[row] = (
            sum(parameters(m, biases=False) for m in modules),
            sum(parameters(m) for m in modules),
            sum(work[path] for path in row.split("+")),
        )
    assert measured == TABLE_1
    assert parameters(net, biases=False) == 6_990_272
    assert parameters(net) == 6_998_552
    assert work[""] == 1_582_671_872


def test_counts_of_both_networks_and_their_heads() -> None:
    paper = googlenet_2014(aux_heads=True, device="meta")
    assert parameters(paper) == 13_378_280
    assert [parameters(paper.get_submodule(n)) for n in ("aux1", "aux2")] == [3_188_840, 3_190_888]
    ours = googlenet(aux_heads=True, device="meta")
    assert parameters(ours) == 13_004_888
    assert [parameters(ours.get_submodule(n)) for n in ("aux1", "aux2")] == [3_188_968, 3_191_016]
    plain = googlenet(device="meta")
    assert parameters(plain) == 6_624_904
    assert multiply_adds(plain, (3, 224, 224))[""] == 1_498_376_192


def test_the_naive_module_costs_more_and_grows_wider() -> None:
    naive = InceptionNaive(192, 64, 128, 32).to("meta")
    reduced = InceptionReduced(192, 64, 96, 128, 16, 32, 32).to("meta")
    assert (naive.out_channels, reduced.out_channels) == (416, 256)
    assert parameters(naive, biases=False) == 387_072
    assert parameters(reduced, biases=False) == 163_328
    assert multiply_adds(naive, (192, 28, 28))[""] == 303_464_448
    assert multiply_adds(reduced, (192, 28, 28))[""] == 128_049_152
    assert naive(torch.zeros(1, 192, 28, 28, device="meta")).shape == (1, 416, 28, 28)
    # The pooled channels pass on as they are.
    x = torch.randn(1, 2, 5, 5)
    out = InceptionNaive(2, 1, 1, 1)(x)
    torch.testing.assert_close(out[:, 3:], nn.functional.max_pool2d(x, 3, 1, 1))


def test_the_papers_layers() -> None:
    net = googlenet_2014(aux_heads=True, device="meta")
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.bias is not None for m in convolutions)
    # 57 in the body and one in each auxiliary head.
    assert len(convolutions) == 59
    assert sorted({m.kernel_size for m in convolutions}) == [(1, 1), (3, 3), (5, 5), (7, 7)]
    dropouts = {n: m.p for n, m in net.named_modules() if isinstance(m, nn.Dropout)}
    assert dropouts == {"aux1.dropout": 0.7, "aux2.dropout": 0.7, "dropout": 0.4}
    norms = {n: m for n, m in net.named_modules() if type(m).__name__ == "LocalResponseNorm"}
    assert list(norms) == ["norm1", "norm2"]
    pools = [m.kernel_size for n, m in net.named_children() if n.startswith("maxpool")]
    assert pools == [3, 3, 3, 3]
    other = googlenet(device="meta")
    assert {m.eps for m in other.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    assert other.dropout.p == 0.2
    assert other.maxpool4.kernel_size == 2
    assert other.inception3a.branch3[1].conv.kernel_size == (3, 3)


def test_local_response_norms_stand_where_the_paper_has_them() -> None:
    net = googlenet_2014(device="meta").eval()
    order: list[str] = []
    for name, module in net.named_children():
        module.register_forward_hook(lambda *_, name=name: order.append(name))
    net(torch.zeros(1, 3, 224, 224, device="meta"))
    assert order[:7] == ["conv1", "maxpool1", "norm1", "conv2", "conv3", "norm2", "maxpool2"]


def test_the_auxiliary_head_pools_five_by_three_at_224() -> None:
    head = googlenet_2014(aux_heads=True, num_classes=3).eval().aux1
    assert head is not None
    x = torch.randn(2, 512, 14, 14)
    pooled = nn.functional.avg_pool2d(x, 5, 3)
    hidden = torch.relu(head.fc1(torch.relu(head.conv.conv(pooled)).flatten(1)))
    torch.testing.assert_close(head(x), head.fc2(hidden))
    assert head(torch.randn(2, 512, 3, 20)).shape == (2, 3)  # elsewhere adaptively


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    return shuffle(torchvision.models.googlenet(weights=None, init_weights=False, num_classes=11))


@pytest.fixture(scope="module")
def ours(theirs: nn.Module) -> GoogLeNetWithAux:
    net = googlenet(aux_heads=True, num_classes=11)
    assert list(net.state_dict()) == list(theirs.state_dict())
    net.load_state_dict(theirs.state_dict(), strict=True)
    return net


def test_eval_equals_torchvision(ours: GoogLeNetWithAux, theirs: nn.Module) -> None:
    x = torch.randn(2, 3, 96, 80)
    with torch.no_grad():
        assert_equal_within(ours.eval()(x), theirs.eval()(x))
        plain = googlenet(num_classes=11).eval()
        missing, unexpected = plain.load_state_dict(theirs.state_dict(), strict=False)
        assert missing == []
        assert {key.split(".")[0] for key in unexpected} == {"aux1", "aux2"}
        assert_equal_within(plain(x), theirs(x))


def test_every_stage_equals_torchvision(ours: GoogLeNetWithAux, theirs: nn.Module) -> None:
    x = torch.randn(1, 3, 64, 64)
    seen: dict[str, Tensor] = {}
    handles = [
        theirs.get_submodule(s.module).register_forward_hook(
            lambda _m, _i, out, name=s.name: seen.__setitem__(name, out)
        )
        for s in ours.stages
    ]
    with torch.no_grad():
        theirs.eval()(x)
        for name, value in ours.eval().intermediates(x).items():
            assert_equal_within(value, seen[name])
    for handle in handles:
        handle.remove()
    assert list(seen) == ["conv1", "conv3", "inception3b", "inception4e", "inception5b"]


def test_training_equals_torchvision_with_dropout(
    ours: GoogLeNetWithAux, theirs: nn.Module
) -> None:
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        torch.manual_seed(1)
        expected = copy.deepcopy(theirs).train()(x)
        torch.manual_seed(1)
        output = copy.deepcopy(ours).train()(x)
    assert isinstance(output, GoogLeNetOutput)
    assert output._fields == ("logits", "aux2", "aux1")
    assert_equal_within(output.logits, expected.logits)
    assert_equal_within(output.aux2, expected.aux_logits2)
    assert_equal_within(output.aux1, expected.aux_logits1)


def test_auxiliary_heads_only_when_asked_for_and_only_in_training() -> None:
    x = torch.randn(2, 3, 8, 8)
    plain = googlenet_2014(stem="small", num_classes=5)
    assert type(plain) is GoogLeNet
    assert isinstance(plain(x), Tensor)
    net = googlenet_2014(stem="small", num_classes=5, aux_heads=True)
    assert isinstance(net, GoogLeNetWithAux)
    assert isinstance(net(x), GoogLeNetOutput)
    logits = net.eval()(x)
    assert isinstance(logits, Tensor)
    assert net.options == {"stem": "small", "aux_heads": True}
    assert type(create_model("googlenet", device="meta", **net.options)) is GoogLeNetWithAux
    dropped = net.drop_aux_heads()
    assert dropped is net
    assert dropped.options == {"stem": "small"}
    assert torch.equal(dropped(x), logits)
    assert isinstance(dropped.train()(x), Tensor)
    assert dropped.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(dropped.state_dict())


def test_every_head_gets_new_classes() -> None:
    net = googlenet(aux_heads=True, device="meta")
    assert list(net.head_paths()) == ["fc", "aux1.fc2", "aux2.fc2"]
    net.reset_head(6)
    x = torch.zeros(2, 3, 64, 64, device="meta")
    assert [scores.shape for scores in net(x)] == [(2, 6)] * 3
    assert list(net.drop_aux_heads().head_paths()) == ["fc"]
    assert list(googlenet(device="meta").head_paths()) == ["fc"]


def test_the_loss_weights_the_heads() -> None:
    scores = [torch.randn(4, 3, requires_grad=True) for _ in range(3)]
    target = torch.tensor([0, 1, 2, 1])
    output = GoogLeNetOutput(*scores)
    losses = [nn.functional.cross_entropy(s, target) for s in scores]
    loss = loss_with_aux(output, target)
    torch.testing.assert_close(loss, losses[0] + 0.3 * losses[1] + 0.3 * losses[2])
    assert GoogLeNet.aux_weight == 0.3
    torch.testing.assert_close(loss_with_aux(output.logits, target), losses[0])
    none = loss_with_aux(output, target, weight=0.0)
    torch.testing.assert_close(none, losses[0])
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    torch.testing.assert_close(
        loss_with_aux(output, target, criterion=smooth, weight=0.5),
        smooth(scores[0], target) + 0.5 * (smooth(scores[1], target) + smooth(scores[2], target)),
    )
    torch.testing.assert_close(loss_with_aux(tuple(scores), target, weight=0.3), loss)
    with pytest.raises(InputError, match="weight: expected a number for an output of type tuple"):
        loss_with_aux(tuple(scores), target)


@pytest.mark.filterwarnings("ignore:.*barrier.*:UserWarning")
def test_ddp_sees_every_gradient_without_looking_for_unused_parameters(tmp_path: Path) -> None:
    with one_process_group(tmp_path):
        net = googlenet_2014(stem="small", aux_heads=True, num_classes=3)
        parallel = DistributedDataParallel(net)
        x, target = torch.randn(2, 3, 8, 8), torch.tensor([0, 2])
        for _ in range(2):  # the second forward refuses if the first left a gradient out
            loss_with_aux(parallel(x), target).backward()
        assert all(p.grad is not None for p in net.parameters())
        parallel(x).logits.sum().backward()
        with pytest.raises(RuntimeError, match="find_unused_parameters"):
            parallel(x)


@pytest.mark.parametrize("build", [googlenet, googlenet_2014])
@pytest.mark.parametrize(("stem", "sides"), [("imagenet", (15, 31)), ("small", (2, 4))])
@pytest.mark.parametrize("aux_heads", [False, True])
def test_the_smallest_image_trains_with_and_without_heads(
    build: type, stem: str, sides: tuple[int, int], aux_heads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = build(stem=stem, aux_heads=aux_heads, device="meta")
    side = sides[build is googlenet_2014]
    assert net.min_size == side
    output = net(torch.zeros(2, 3, side, side, device="meta"))
    assert (output.logits if aux_heads else output).shape == (2, 1000)
    monkeypatch.setattr(GoogLeNet, "_check_input", lambda self, x: None)
    with pytest.raises(RuntimeError):
        net(torch.zeros(2, 3, side - 1, side - 1, device="meta"))


def test_the_small_stem_sees_the_papers_maps_at_28() -> None:
    large = googlenet_2014(device="meta").eval()
    small = googlenet_2014(device="meta", stem="small", in_channels=1).eval()
    at_224 = large.intermediates(torch.zeros(1, 3, 224, 224, device="meta"))
    at_28 = small.intermediates(torch.zeros(1, 1, 28, 28, device="meta"))
    for name in ("inception3b", "inception4e", "inception5b"):
        assert at_28[name].shape == at_224[name].shape
    assert [(s.channels, s.stride) for s in large.stages] == [
        (64, 2),
        (192, 4),
        (480, 8),
        (832, 16),
        (1024, 32),
    ]
    assert [s.stride for s in small.stages] == [1, 1, 1, 2, 4]
    with pytest.raises(UnknownNameError, match="unknown stem 'tiny'"):
        googlenet(stem="tiny")
    with pytest.raises(UnknownNameError, match="'aux_head': did you mean 'aux_heads'"):
        googlenet(aux_head=True)


def test_initialisation_of_caffe_without_batch_norm() -> None:
    net = googlenet_2014(aux_heads=True, num_classes=50)
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            bound = (3 / module.weight[0].numel()) ** 0.5  # variance 1 / fan-in
            assert bound * 0.95 < module.weight.abs().max() <= bound, name
            assert module.bias is not None
            classifier = name in ("fc", "aux1.fc2", "aux2.fc2")
            assert torch.all(module.bias == (0.0 if classifier else 0.2)), name


def test_initialisation_of_torchvision_with_batch_norm() -> None:
    net = googlenet(aux_heads=True)
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            tolerance = 4 / module.weight.numel() ** 0.5
            assert module.weight.std().item() == pytest.approx(0.01, rel=tolerance), name
            assert abs(module.weight.mean().item()) < 0.01 * tolerance, name
    # Normal, not cut off near its standard deviation: 0.27 % lie beyond three of them.
    beyond = (net.fc.weight.abs() > 0.03).float().mean().item()
    assert 0.002 < beyond < 0.0034
    assert 0 < net.fc.bias.abs().max() <= 1024**-0.5


def test_the_signal_of_the_untrained_paper_network_reaches_the_head() -> None:
    torch.manual_seed(0)
    net = googlenet_2014(stem="small", num_classes=10, in_channels=1).eval()
    with torch.no_grad():
        features = net.forward_features(torch.randn(8, 1, 28, 28))
    assert 0.1 < features.mean() < 10
    assert features.std(0).mean() > 1e-4  # images still differ after 22 layers


@pytest.mark.long  # the contract compiles and exports the smaller ones
def test_the_paper_network_copies_casts_compiles_and_exports() -> None:
    torch.manual_seed(0)
    net = googlenet_2014(stem="small", num_classes=4).eval()
    x = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        logits = net(x)
        assert torch.equal(copy.deepcopy(net)(x), logits)
        assert torch.equal(pickle.loads(pickle.dumps(net))(x), logits)
        last = copy.deepcopy(net).to(memory_format=torch.channels_last)
        torch.testing.assert_close(
            last(x.to(memory_format=torch.channels_last)), logits, rtol=1e-3, atol=1e-4
        )
        compiled = torch.compile(net, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), logits)
        batch = torch.export.Dim("batch", min=1, max=64)
        program = torch.export.export(net, (x,), dynamic_shapes=({0: batch},))
        five = torch.randn(5, 3, 12, 12)
        torch.testing.assert_close(program.module()(five), net(five), rtol=1e-4, atol=1e-5)
        assert copy.deepcopy(net).bfloat16()(x.bfloat16()).dtype == torch.bfloat16
        assert copy.deepcopy(net).double()(x.double()).dtype == torch.float64


def test_training_with_heads_compiles_in_one_graph() -> None:
    net = googlenet_2014(stem="small", num_classes=4, aux_heads=True, dropout=0, dropout_aux=0)
    x = torch.randn(2, 3, 12, 12)
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    with torch.no_grad():
        for ours, expected in zip(compiled(x), net(x), strict=True):
            torch.testing.assert_close(ours, expected)
        assert isinstance(compiled(x), GoogLeNetOutput)
