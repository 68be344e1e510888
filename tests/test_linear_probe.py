"""A linear probe in one call, its learning rate, and the backbone behind it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import convzoo
from convzoo import datasets, transfer
from convzoo.errors import InputError
from convzoo.transfer._features import _Backbone
from convzoo.transfer._find_heads import find_heads


def two_kinds(count: int = 60, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    pictures = torch.randn(count, 3, 16, 16, generator=generator)
    return TensorDataset(pictures + labels[:, None, None, None], labels)


def test_a_probe_in_one_call() -> None:
    net = convzoo.cifar_resnet20().train()
    body = {k: v.clone() for k, v in net.state_dict().items() if not k.startswith("fc.")}
    probe = convzoo.linear_probe(net, two_kinds(), two_kinds(seed=1), epochs=30)
    assert net.num_classes == 2
    assert net.training
    assert all(torch.equal(net.state_dict()[k], v) for k, v in body.items())
    assert probe.val.top1 > 0.8
    assert probe.lr == probe.rates.best in probe.rates.rates
    assert len(probe.losses) == 30
    judged = convzoo.evaluate(net, two_kinds(seed=1), cpu=True)
    assert judged.images.prediction.tolist() == probe.val.images.prediction.tolist()
    assert str(probe).splitlines()[2].startswith("val    60 images, top-1 ")
    again = convzoo.linear_probe(convzoo_copy(net), two_kinds(), epochs=30)
    assert again.losses == probe.losses
    assert again.val is None


def convzoo_copy(net: convzoo.Classifier) -> convzoo.Classifier:
    other = convzoo.cifar_resnet20(num_classes=5)
    kept = {k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}
    other.load_state_dict(kept, strict=False)
    return other


def test_names_of_classes_and_labels_beyond_them() -> None:
    digits = datasets.digits()
    net = convzoo.lenet5(weights="fashion_mnist")
    convzoo.linear_probe(net, digits.val.subset(range(40)), lr=0.01, epochs=2)
    assert net.labels == tuple("0123456789")
    before = net.fc3.weight if hasattr(net, "fc3") else None
    with pytest.raises(InputError, match="val: has label 1, and there are 1 classes"):
        convzoo.linear_probe(net, [(torch.rand(1, 28, 28), 0)], [(torch.rand(1, 28, 28), 1)])
    if before is not None:
        assert net.fc3.weight is before
    with pytest.raises(InputError, match="train: expected the index of a class"):
        convzoo.linear_probe(net, [(torch.rand(1, 28, 28), 0.5)])


def test_wrong_arguments_leave_the_head() -> None:
    net = convzoo.cifar_resnet20(num_classes=2)
    head = net.fc.weight
    for options, message in (
        ({"lr": -1.0}, "lr: expected"),
        ({"epochs": 0}, "epochs: expected"),
        ({"labels": 2}, "labels: expected a sequence"),
        ({}, "train: expected at least 3 images to find a learning rate by, got 2; pass lr="),
    ):
        with pytest.raises(InputError, match=message):
            convzoo.linear_probe(net, two_kinds(2), **options)
    assert net.fc.weight is head


def test_validation_images_are_matched_by_the_names_of_their_classes() -> None:
    val = datasets.digits().val.subset(range(60))
    turned = val.numbered_as(val.classes[::-1])
    scores = []
    for judged in (val, turned):
        torch.manual_seed(0)
        probe = convzoo.linear_probe(convzoo.lenet5(), val, judged, lr=0.01, epochs=2)
        scores.append(probe.val)
    assert scores[0] == scores[1]


def test_the_rate_is_found_and_the_head_is_left() -> None:
    net = convzoo.replace_head(convzoo.cifar_resnet20(), 2)
    features = TensorDataset(*two_kinds(40).tensors)
    x = torch.randn(40, 64) + 3 * features.tensors[1][:, None] / 64**0.5
    features = TensorDataset(x, features.tensors[1])
    before = net.fc.weight.clone()
    found = transfer.find_head_lr(net, features, rates=(1e-6, 1e-2, 1e3), epochs=30)
    assert found.best == 1e-2
    assert found.losses[1] < found.losses[0]
    assert found.accuracies[1] > 0.5
    assert torch.equal(net.fc.weight, before)
    assert found == transfer.find_head_lr(net, features, rates=(1e-6, 1e-2, 1e3), epochs=30)


def test_the_search_trains_as_fit_head_does() -> None:
    net = convzoo.replace_head(convzoo.cifar_resnet20(), 2)
    x, y = torch.randn(30, 64), torch.arange(30) % 2
    recipe = {"epochs": 7, "weight_decay": 0.1, "batch_size": 1000, "seed": 3}
    found = transfer.find_head_lr(net, TensorDataset(x, y), rates=(0.02,), folds=2, **recipe)
    # The same by hand: the parts, a fresh head for each, all but its part in one batch.
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    x, y = x[order], y[order]
    part = torch.empty_like(y)
    part[y.argsort(stable=True)] = torch.arange(30) % 2
    losses = []
    for fold in range(2):
        torch.manual_seed(3)
        net.fc.reset_parameters()
        rest = TensorDataset(x[part != fold], y[part != fold])
        transfer.fit_head(net, rest, lr=0.02, **recipe)
        held = part == fold
        losses.append(nn.functional.cross_entropy(net.fc(x[held]), y[held]).item())
    assert found.losses[0] == pytest.approx(sum(losses) / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"rates": ()}, "rates: expected learning rates"),
        ({"rates": (0.1, -1)}, "lr: expected a finite number of at least 0"),
        ({"folds": 1}, "folds: expected an integer of at least 2"),
        ({"folds": 50}, "features: expected at least 50 images, one a part, got 8"),
    ],
)
def test_rates_that_cannot_be_searched(how: dict[str, object], message: str) -> None:
    net = convzoo.replace_head(convzoo.cifar_resnet20(), 2)
    with pytest.raises(InputError, match=message):
        transfer.find_head_lr(net, TensorDataset(torch.randn(8, 64), torch.arange(8) % 2), **how)


@pytest.mark.parametrize(("name", "side"), [("resnet18", 64), ("googlenet", 64), ("lenet5", 28)])
def test_the_quickened_backbone_is_the_network(name: str, side: int) -> None:
    torch.manual_seed(1)
    net = convzoo.create_model(name, num_classes=5)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.bias)
        module.training = False
    x = torch.randn(2, net.in_channels, side, side)
    head = find_heads(net)[0]
    backbone = _Backbone(net, head, None, "fp32")
    with torch.no_grad():
        quick = backbone(x)
        assert backbone._run != backbone.plain  # it did not have to fall back
        plain = backbone.plain(x)
        # The folded copy scores what the network scores: through the same head.
        assert torch.allclose(quick, plain, atol=1e-4 * float(plain.abs().max()))
        assert torch.allclose(net.get_submodule(head)(quick), net(x), atol=1e-3)


def test_bfloat16_features_are_rounded_ones() -> None:
    net = convzoo.cifar_resnet20().eval()
    data = two_kinds(8)
    exact = transfer.cached_features(net, data).tensors[0]
    rounded = transfer.cached_features(net, data, precision="bf16").tensors[0]
    assert rounded.dtype == torch.float32
    off = (exact - rounded).abs().max() / exact.abs().max()
    assert 0 < off < 0.05


def test_a_backbone_that_cannot_be_cut_off_runs_as_it_is() -> None:
    class Late(nn.Module):
        """What it returns is not what its head says."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.body(x).mean((2, 3))).softmax(1)

    net = Late()
    data = two_kinds(6)
    features = transfer.cached_features(net, data).tensors[0]
    with torch.no_grad():
        assert torch.allclose(features, net.body(data.tensors[0]).mean((2, 3)), atol=1e-6)
    with pytest.raises(InputError, match="cannot be computed with engine=None, precision='bf16'"):
        transfer.cached_features(net, data, precision="bf16")
