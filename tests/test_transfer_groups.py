"""The report's table, parameter groups and cached features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from convzoo.by_name import create_model
from convzoo.errors import InputError
from convzoo.models import cifar_resnet20
from convzoo.transfer import (
    Drift,
    PartReport,
    cached_features,
    fit_head,
    freeze,
    param_groups,
    replace_head,
    report,
)

# The report.


def test_report_counts_and_prints() -> None:
    net = replace_head(cifar_resnet20(), 10, freeze="up_to:layer2")
    record = report(net)
    assert record.parts[0] == PartReport("conv1", "Conv2d", "frozen", 432, 0)
    assert record.parts[-1] == PartReport("fc", "Linear", "trainable", 650, 650)
    assert record.trainable == ("layer3", "fc")
    assert (record.parameters, record.trainable_parameters) == (269_722, 204_170)
    assert str(record) == (
        "part    kind         state      parameters  trainable\n"
        "-----------------------------------------------------\n"
        "conv1   Conv2d       frozen            432          0\n"
        "bn1     BatchNorm2d  frozen             32          0\n"
        "layer1  Sequential   frozen         14,016          0\n"
        "layer2  Sequential   frozen         51,072          0\n"
        "layer3  Sequential   trainable     203,520    203,520\n"
        "fc      Linear       trainable         650        650\n"
        "total                              269,722    204,170"
    )


def test_report_names_what_drifts_and_why() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4, affine=False),
        nn.Conv2d(4, 4, 3),
        nn.Dropout(0.25),
        nn.Conv2d(4, 2, 1),
    )
    for layer in (net[0], net[2], net[4]):
        layer.requires_grad_(False)
    record = report(net)
    assert record.drifts == (
        Drift("1", "running statistics are updated"),
        Drift("3", "drops with probability 0.25"),
    )
    assert "would drift in training mode:\n  1: running" in str(record)
    assert record.drifting == ("1", "3")
    assert report(freeze(net, "up_to:4")).drifts == ()


def test_report_leaves_every_mode_as_it_was() -> None:
    net = freeze(cifar_resnet20()).eval()
    net.layer1.training = True
    modes = [m.training for m in net.modules()]
    report(net)
    assert [m.training for m in net.modules()] == modes


def test_report_believes_a_train_method_that_keeps_norms_still() -> None:
    class Still(nn.Sequential):
        def train(self, mode: bool = True) -> Still:
            super().train(mode)
            self[1].eval()
            return self

    net = Still(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).requires_grad_(False)
    assert report(net).drifts == ()


def test_report_sees_norms_that_were_swapped_after_freezing() -> None:
    net = freeze(cifar_resnet20(), "up_to:layer1")
    swapped = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert report(swapped).drifting == ("bn1", "layer1")
    assert report(freeze(swapped, "up_to:layer1")).drifting == ()


def test_a_long_list_of_drifts_is_cut_in_print_only() -> None:
    record = report(cifar_resnet20().requires_grad_(False))
    assert len(record.drifts) == 19
    assert str(record).endswith("  and 11 more")


# Parameter groups.


def test_biases_and_norms_do_not_decay() -> None:
    net = create_model("resnet18", device="meta")
    groups = param_groups(net, 0.1, weight_decay=0.01)
    decaying = {id(p) for group in groups if group.weight_decay for p in group.params}
    expected = {id(m.weight) for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))}
    assert decaying == expected
    assert {group.lr for group in groups} == {0.1}


def test_norms_with_more_axes_do_not_decay_either() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.LayerNorm([4, 6, 6]), nn.Flatten(), nn.Linear(144, 2)
    )
    decaying = [g for g in param_groups(net, 0.1, weight_decay=0.1) if g.weight_decay]
    assert {p.ndim for g in decaying for p in g.params} == {2, 4}
    assert sum(len(g.params) for g in decaying) == 2


def test_layer_decay_falls_stage_by_stage() -> None:
    net = create_model("resnet18", device="meta")
    groups = param_groups(net, 0.8, head_lr=3.0, layer_decay=0.5)
    rates = {g.name: g.lr for g in groups if not g.name.endswith("no_decay")}
    assert rates == {
        "stem": pytest.approx(0.05),
        "layer1": pytest.approx(0.1),
        "layer2": pytest.approx(0.2),
        "layer3": pytest.approx(0.4),
        "layer4": 0.8,
        "head": 3.0,
    }


def test_layers_between_the_last_stage_and_the_head_are_a_block() -> None:
    groups = param_groups(create_model("vgg11", device="meta"), 1.0, layer_decay=0.5)
    rates = {g.name: g.lr for g in groups if not g.name.endswith("no_decay")}
    assert (rates["rest"], rates["block5"], rates["block1"]) == (1.0, 0.5, 0.03125)


def test_a_last_norm_counts_with_the_last_stage() -> None:
    groups = param_groups(create_model("preact_resnet50", device="meta"), 1.0, layer_decay=0.5)
    rates = {g.name: g.lr for g in groups}
    assert rates["layer4"] == rates["layer4.no_decay"] == 1.0
    assert "rest.no_decay" not in rates


def test_auxiliary_heads_do_not_shift_the_stages() -> None:
    net = create_model("googlenet", aux_heads=True, device="meta")
    rates = {g.name: g.lr for g in param_groups(net, 1.0, layer_decay=0.5)}
    assert (rates["aux"], rates["inception5b"], rates["inception4e"]) == (1.0, 1.0, 0.5)
    assert len(rates) == 14


def test_frozen_parameters_are_left_out_but_still_count_as_depth() -> None:
    net = freeze(cifar_resnet20(), "layer3")
    groups = param_groups(net, 1.0, layer_decay=0.1)
    rates = {g.name: g.lr for g in groups if not g.name.endswith("no_decay")}
    assert rates == {
        "stem": pytest.approx(0.001),
        "layer1": pytest.approx(0.01),
        "layer2": pytest.approx(0.1),
        "head": 1.0,
    }


def test_tied_parameters_are_in_one_group() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    net[1].weight = net[0].weight
    grouped = [id(p) for g in param_groups(net, 0.1) for p in g.params]
    assert len(grouped) == len(set(grouped)) == 5


def test_optimizers_and_schedulers_take_the_groups() -> None:
    net = cifar_resnet20()
    optimizer = torch.optim.SGD(param_groups(net, 0.1, layer_decay=0.5, weight_decay=1e-4))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.1)
    net(torch.randn(2, 3, 16, 16)).sum().backward()
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[-1]["lr"] == pytest.approx(0.01)
    optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1.0}, "lr: expected a finite number of at least 0, got -1.0"),
        ({"lr": float("nan")}, "lr: expected"),
        ({"lr": 0.1, "head_lr": -1.0}, "head_lr: expected"),
        ({"lr": 0.1, "weight_decay": -1.0}, "weight_decay: expected"),
        ({"lr": 0.1, "layer_decay": 0.0}, r"layer_decay: expected a factor in \(0, 1\]"),
        ({"lr": 0.1, "layer_decay": 1.5}, "layer_decay: expected"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        param_groups(cifar_resnet20(), **arguments)


def test_nothing_to_optimize() -> None:
    with pytest.raises(InputError, match="every parameter is frozen"):
        param_groups(cifar_resnet20().requires_grad_(False), 0.1)


# Cached features.


def data(count: int = 12) -> TensorDataset:
    labels = torch.arange(count) % 2
    pictures = torch.randn(count, 3, 16, 16) + labels[:, None, None, None]
    return TensorDataset(pictures, labels)


def test_features_are_what_reaches_the_head() -> None:
    net = replace_head(cifar_resnet20(), 2, freeze="backbone").train()
    examples = data()
    features, labels = cached_features(net, examples, batch_size=5).tensors
    assert torch.equal(labels, examples.tensors[1])
    assert net.training
    assert not net.layer1.training
    assert net.fc.training
    net.eval()
    with torch.no_grad():
        direct = net.forward_head(net.forward_features(examples.tensors[0]), pre_logits=True)
        assert torch.allclose(features, direct, atol=1e-5)
        assert torch.allclose(net.fc(features), net(examples.tensors[0]), atol=1e-5)


def test_features_of_loaders_and_of_data_sets_agree() -> None:
    net = cifar_resnet20()
    examples = data()
    one = cached_features(net, examples).tensors[0]
    other = cached_features(net, DataLoader(examples, batch_size=5)).tensors[0]
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_head_learns_from_features_alone(dropout: float) -> None:
    net = replace_head(cifar_resnet20(), 2, freeze="backbone", dropout=dropout)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    examples = data(32)
    losses = fit_head(net, cached_features(net, examples), epochs=60, lr=0.05)
    assert len(losses) == 60
    assert losses[-1] < 0.5 * losses[0]
    net.eval()
    accuracy = (net(examples.tensors[0]).argmax(1) == examples.tensors[1]).float().mean()
    assert accuracy > 0.9
    moved = {k for k, value in net.state_dict().items() if not torch.equal(value, before[k])}
    assert moved == {"fc.weight", "fc.bias"}


def test_fit_head_is_repeatable() -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(1)
        net = cifar_resnet20(num_classes=2)
        runs.append(fit_head(net, cached_features(net, data()), epochs=3, batch_size=4))
    assert runs[0] == runs[1]


class Pooled(nn.Module):
    """A 1 x 1 convolution that scores what global pooling left, or the whole map."""

    def __init__(self, pool: bool) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)
        self.pool = nn.AdaptiveAvgPool2d(1) if pool else nn.Identity()
        self.classifier = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(self.body(x))).mean((2, 3))


def test_convolutional_heads_after_pooling_and_before() -> None:
    net = Pooled(pool=True)
    features = cached_features(net, data(32))
    assert features.tensors[0].shape == (32, 8)
    losses = fit_head(net, features, epochs=30, lr=0.05)
    assert losses[-1] < losses[0]
    with pytest.raises(InputError, match=r"one vector an image, \(B, D\), but it gets \(12, 8"):
        cached_features(Pooled(pool=False), data())


def test_refused_features() -> None:
    net = cifar_resnet20()
    with pytest.raises(InputError, match="data: the data set is empty"):
        cached_features(net, [])
    with pytest.raises(InputError, match=r"features: expected shape \(N, 64\), got \(3, 5\)"):
        fit_head(net, TensorDataset(torch.zeros(3, 5), torch.zeros(3, dtype=torch.long)))
    with pytest.raises(InputError, match="the head is frozen"):
        fit_head(freeze(net, "fc"), cached_features(net, data()))


@pytest.mark.parametrize(
    ("count", "classes", "arguments", "message"),
    [
        (0, [], {}, "features: expected at least one image's, got none"),
        (2, [0, 1], {"epochs": 0}, "epochs: expected an integer of at least 1, got 0"),
        (2, [0, 1], {"epochs": True}, "epochs: expected an integer"),
        (2, [0, 1], {"batch_size": 0}, "batch_size: expected an integer of at least 1, got 0"),
        (2, [0, 3], {}, "class numbers from 0 to 2, got 3; the head scores 3 classes"),
        (2, [-100, 0], {}, "class numbers from 0 to 2, got -100"),
        (2, [0.0, 1.0], {}, r"integers of shape \(2,\), got torch.float32"),
        (2, [[0, 1], [1, 0]], {}, r"one class number an image, .* of shape \(2, 2\)"),
    ],
)
def test_fit_head_refuses_before_it_changes_anything(
    count: int, classes: list[object], arguments: dict[str, int], message: str
) -> None:
    net = cifar_resnet20(num_classes=3)
    before = net.fc.weight.clone()
    with pytest.raises(InputError, match=message):
        fit_head(net, TensorDataset(torch.ones(count, 64), torch.tensor(classes)), **arguments)
    assert torch.equal(net.fc.weight, before)


def test_fit_head_takes_class_numbers_of_any_integer_type() -> None:
    features = TensorDataset(torch.randn(4, 64), torch.tensor([0, 1, 2, 0], dtype=torch.int32))
    assert len(fit_head(cifar_resnet20(num_classes=3), features, epochs=2)) == 2
