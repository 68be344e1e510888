"""Why a network says so: maps and gradients, against their formulas and against other libraries."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import convzoo
from contract_nets import FIRSTS, build, images, parameters
from convzoo import visualize
from convzoo.errors import InputError, UnknownNameError


@pytest.fixture(scope="module")
def clothes() -> convzoo.Classifier:
    return convzoo.cifar_resnet20(weights="fashion_mnist").eval()


def inputs(count: int = 3) -> Tensor:
    return torch.randn(count, 1, 28, 28)


EXPLAIN: dict[str, Callable[..., Tensor]] = {
    "grad_cam": visualize.grad_cam,
    "grad_cam_pp": visualize.grad_cam_pp,
    "cam": visualize.cam,
    "gradients": visualize.gradients,
    "guided_backprop": visualize.guided_backprop,
    "smooth_grad": lambda net, x, target=None: visualize.smooth_grad(net, x, target, samples=2),
    "integrated_gradients": lambda net, x, target=None: visualize.integrated_gradients(
        net, x, target, steps=3
    ),
    "occlusion": lambda net, x, target=None: visualize.occlusion(net, x, target, window=14).map,
}


@pytest.mark.parametrize("name", EXPLAIN)
def test_each_image_is_explained_by_itself(name: str, clothes: convzoo.Classifier) -> None:
    x = inputs()
    whole = EXPLAIN[name](clothes, x)
    alone = torch.cat([EXPLAIN[name](clothes, image) for image in x])
    torch.testing.assert_close(whole, alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", EXPLAIN)
def test_the_network_is_left_as_it_was(name: str) -> None:
    net = convzoo.cifar_resnet20(weights="fashion_mnist").train()
    net.layer1.eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    EXPLAIN[name](net, inputs(1))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("name", EXPLAIN)
def test_frozen_in_place_compiled_and_in_inference_mode_alike(
    name: str, clothes: convzoo.Classifier
) -> None:
    x = inputs(1)
    expected = EXPLAIN[name](clothes, x)
    apart = convzoo.cifar_resnet20(weights="fashion_mnist", inplace=False)
    frozen = convzoo.cifar_resnet20(weights="fashion_mnist").requires_grad_(False)
    compiled = convzoo.cifar_resnet20(weights="fashion_mnist")
    compiled.compile()
    for net in (apart, frozen, compiled, torch.compile(clothes)):
        torch.testing.assert_close(EXPLAIN[name](net, x), expected)
    with torch.inference_mode():
        torch.testing.assert_close(EXPLAIN[name](clothes, x.clone()), expected)


@pytest.mark.parametrize("name", EXPLAIN)
def test_a_class_is_one_for_all_or_one_each(name: str, clothes: convzoo.Classifier) -> None:
    x, explain = inputs(2), EXPLAIN[name]
    each = explain(clothes, x, [3, 5])
    torch.testing.assert_close(each[1], explain(clothes, x, 5)[1])
    torch.testing.assert_close(each, explain(clothes, x, torch.tensor([3, 5])))
    best = clothes(x).argmax(1)
    torch.testing.assert_close(explain(clothes, x), explain(clothes, x, best))
    for wrong in (10, -1, [3], "3", 1.5):
        with pytest.raises(InputError, match="target"):
            explain(clothes, x, wrong)


# Quick ones with a 1 x 1 map at the end, without, with a head of one layer and of three.
MAPPED = parameters(
    [name for name in sorted(FIRSTS) if name != "mlp"],
    quick=["lenet5_1998", "mnist_cnn", "vgg11_bn", "googlenet", "resnet18"],
)


@pytest.mark.parametrize("name", MAPPED)
def test_every_family_has_a_map(name: str) -> None:
    net = build(name)
    x = images(net, side=net.max_size or max(net.min_size, 32))
    found = visualize.grad_cam(net, x)
    assert found.shape == (2, *x.shape[-2:])
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    for stage in net.stages:
        assert visualize.grad_cam(net, x, stage=stage.name, raw=True).shape[0] == 2


def test_without_a_map_there_is_an_error() -> None:
    net = convzoo.mlp()
    with pytest.raises(InputError, match="no map of MLP has more than one pixel"):
        visualize.grad_cam(net, images(net))


class Halves(nn.Module):
    """Channel 0 counts for class 0, channel 1 against it; nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        nn.init.ones_(self.conv.weight)

    def forward_features(self, x: Tensor) -> Tensor:
        f: Tensor = self.conv(x)
        return f

    def forward_head(self, f: Tensor) -> Tensor:
        score = f[:, 0].mean((1, 2)) - f[:, 1].mean((1, 2)) / 2
        return torch.stack([score, -score], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def test_grad_cam_by_hand() -> None:
    x = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]])
    # Gradients are 1/4 and -1/8 a pixel: the sum is x / 4 - x / 8.
    raw = visualize.grad_cam(Halves(), x, 0, raw=True)
    torch.testing.assert_close(raw, x[0] / 8)
    torch.testing.assert_close(visualize.grad_cam(Halves(), x, 0), x[0] / 4)


def test_grad_cam_pp_by_the_paper(clothes: convzoo.Classifier) -> None:
    # Equations 10 and 19 pixel by pixel, with the score's exponential as the paper has it.
    x = inputs(1)
    ours = visualize.grad_cam_pp(clothes, x, 4)
    a = clothes.forward_features(x).detach().requires_grad_()
    score = clothes.forward_head(a)[0, 4]
    (g,) = torch.autograd.grad(score.exp(), a)
    (first,) = torch.autograd.grad(clothes.forward_head(a)[0, 4], a)
    total = torch.zeros(a.shape[-2:])
    for k in range(a.shape[1]):
        below = 2 * first[0, k] ** 2 + (a[0, k] * first[0, k] ** 3).sum()
        alpha = torch.where(first[0, k] != 0, first[0, k] ** 2 / below, 0)
        total += (alpha * g[0, k].relu()).sum() * a[0, k].detach()
    large = F.interpolate(total.relu()[None, None], (28, 28), mode="bilinear")[0]
    torch.testing.assert_close(ours, large / large.max(), rtol=1e-3, atol=1e-5)


def test_what_nothing_speaks_for_stays_zero() -> None:
    x = torch.ones(2, 1, 4, 4)
    for explain in (visualize.grad_cam, visualize.grad_cam_pp):
        assert torch.equal(explain(Halves(), torch.zeros_like(x), 0), torch.zeros(2, 4, 4))
    # All negative: ReLU leaves nothing, and nothing is divided by zero.
    assert torch.equal(visualize.grad_cam(Halves(), x, 1), torch.zeros(2, 4, 4))


def test_cam_sums_to_the_score_and_is_grad_cam(clothes: convzoo.Classifier) -> None:
    x = inputs(2)
    raw = visualize.cam(clothes, x, 4, raw=True)
    with torch.no_grad():
        torch.testing.assert_close(raw.mean((1, 2)), clothes(x)[:, 4] - clothes.fc.bias[4])
    torch.testing.assert_close(visualize.cam(clothes, x, 4), visualize.grad_cam(clothes, x, 4))
    with pytest.raises(InputError, match="use grad_cam"):
        visualize.cam(convzoo.lenet5(), inputs(1))


def test_stages_by_name_path_and_module(clothes: convzoo.Classifier) -> None:
    x = inputs(1)
    by_name = visualize.grad_cam(clothes, x, stage="layer2")
    torch.testing.assert_close(visualize.grad_cam(clothes, x, stage=clothes.layer2), by_name)
    assert visualize.grad_cam(clothes, x, stage="layer2.0.conv1", raw=True).shape == (1, 14, 14)
    with pytest.raises(UnknownNameError, match="layer2"):
        visualize.grad_cam(clothes, x, stage="layr2")
    with pytest.raises(InputError, match="not part"):
        visualize.grad_cam(clothes, x, stage=nn.ReLU())
    with pytest.raises(InputError, match="map"):
        visualize.grad_cam(clothes, x, stage="fc")


def test_networks_of_others() -> None:
    timm = pytest.importorskip("timm")
    x = torch.randn(2, 3, 64, 64)
    theirs = torchvision.models.resnet18().eval()
    with pytest.raises(InputError, match="'layer4'"):
        visualize.grad_cam(theirs, x)
    ours = convzoo.resnet18()
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(
        visualize.grad_cam(theirs, x, 7, stage="layer4"), visualize.grad_cam(ours, x, 7)
    )
    assert visualize.grad_cam(timm.create_model("resnet18"), x).shape == (2, 64, 64)
    assert visualize.gradients(theirs, x).shape == x.shape


def test_integrated_gradients_add_up(clothes: convzoo.Classifier) -> None:
    smooth = convzoo.lenet5(weights="fashion_mnist")
    x = inputs(2)
    parts = visualize.integrated_gradients(smooth, x, 3, baseline=-0.5)
    with torch.no_grad():
        smooth.eval()
        change = (smooth(x) - smooth(torch.full_like(x, -0.5)))[:, 3]
    torch.testing.assert_close(parts.sum((1, 2, 3)), change, rtol=1e-2, atol=1e-2)
    with pytest.raises(InputError, match="baseline"):
        visualize.integrated_gradients(smooth, x, baseline=torch.zeros(5))


def test_guided_backprop_by_hand() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x.flatten(1)  # (B, 2)
            return F.relu(y) @ torch.tensor([[1.0, -1.0], [-1.0, 1.0]])

    x = torch.tensor([[[[2.0, -3.0]]], [[[2.0, 3.0]]]])
    # Pixel 0 excites class 0; pixel 1 would lower it, and guided backprop keeps that back.
    expected = torch.tensor([[[[1.0, 0.0]]], [[[1.0, 0.0]]]])
    assert torch.equal(visualize.guided_backprop(Net(), x, 0), expected)
    assert torch.equal(visualize.gradients(Net(), x, 0)[1], torch.tensor([[[1.0, -1.0]]]))
    with pytest.raises(InputError, match="no ReLU"):
        visualize.guided_backprop(convzoo.lenet5(), inputs(1))


def test_smooth_grad_is_the_gradient_without_noise(clothes: convzoo.Classifier) -> None:
    x = inputs(1)
    still = visualize.smooth_grad(clothes, x, 2, samples=2, noise=0.0)
    torch.testing.assert_close(still, visualize.gradients(clothes, x, 2))
    state = torch.get_rng_state()
    one = visualize.smooth_grad(clothes, x, 2, samples=2)
    assert torch.equal(one, visualize.smooth_grad(clothes, x, 2, samples=2))
    assert not torch.equal(one, visualize.smooth_grad(clothes, x, 2, samples=2, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_occlusion_finds_the_pixel_that_counts() -> None:
    class Corner(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            score = x[:, 0, 7, 0]
            return torch.stack([score, -score], 1)

    x = torch.zeros(1, 1, 8, 8)
    x[..., 7, 0] = 3
    found = visualize.occlusion(Corner(), x, window=2, stride=2)
    assert found.probability.shape == found.predicted.shape == (1, 4, 4)
    assert found.map.nonzero()[:, 1:].tolist() == [[6, 0], [6, 1], [7, 0], [7, 1]]
    whole = torch.tensor([3.0, -3.0]).softmax(0)[0]
    torch.testing.assert_close(found.map[0, 7, 0], whole - 0.5)
    for wrong in ({"window": 9}, {"window": 0}, {"window": 2, "stride": 3}):
        with pytest.raises(InputError, match=r"window|stride"):
            visualize.occlusion(Corner(), x, **wrong)
    figure = visualize.draw_occlusion(Corner(), x / 3, found, labels=["seen", "unseen"])
    image, probability, best, _bar = figure.axes
    assert image.get_title() == "seen"
    torch.testing.assert_close(
        torch.from_numpy(probability.images[0].get_array().data), found.probability[0]
    )
    assert [entry.get_text() for entry in best.get_legend().get_texts()] == ["seen"]
    with pytest.raises(InputError, match="found: expected what occlusion returns of these 2"):
        visualize.draw_occlusion(Corner(), x.repeat(2, 1, 1, 1) / 3, found)


def rank_correlation(a: Tensor, b: Tensor) -> float:
    ranks = [t.flatten().abs().argsort().argsort().double() for t in (a, b)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def test_grad_cam_depends_on_the_weights_and_guided_backprop_hardly(
    clothes: convzoo.Classifier,
) -> None:
    # Figures 2 and 4 of arXiv:1810.03292: the last layers are randomised, the first stay.
    from convzoo.datasets import digits

    data = torch.stack([digits().test[i][0] for i in range(0, 80, 10)]).float() / 255
    x = (F.interpolate(data, 28, mode="bilinear") - 0.286) / 0.353
    best = clothes(x).argmax(1)
    found = {}
    for name in ("grad_cam", "guided_backprop"):
        before = EXPLAIN[name](clothes, x, best)
        similar = []
        for seed in range(3):
            other = visualize.randomise(clothes, 13, seed=seed)
            after = EXPLAIN[name](other, x, best)
            similar += [rank_correlation(*pair) for pair in zip(before, after, strict=True)]
        found[name] = sum(similar) / len(similar)
    assert found["grad_cam"] < 0.3 < found["guided_backprop"]


def test_randomise_leaves_the_network_and_the_generator_alone(clothes: convzoo.Classifier) -> None:
    before = {key: value.clone() for key, value in clothes.state_dict().items()}
    state = torch.get_rng_state()
    other = visualize.randomise(clothes, 1)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in clothes.state_dict().items())
    changed = [k for k, v in other.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == ["fc.weight", "fc.bias"]
    assert not [
        k for k, p in visualize.randomise(clothes).named_parameters() if torch.equal(p, before[k])
    ]
    with pytest.raises(InputError, match="from_top"):
        visualize.randomise(clothes, 1000)


# The same numbers as other libraries, on shared weights.


def test_captum_gives_the_same(clothes: convzoo.Classifier) -> None:
    attr = pytest.importorskip("captum.attr")
    x = inputs(2)
    net = convzoo.cifar_resnet20(weights="fashion_mnist", inplace=False).eval()
    # It says by a warning that it makes the input require a gradient.
    x.requires_grad_()
    theirs = attr.LayerGradCam(net, net.layer3).attribute(x, target=4)
    torch.testing.assert_close(visualize.grad_cam(clothes, x, 4, raw=True), theirs.squeeze(1))
    theirs = attr.IntegratedGradients(net).attribute(
        x, target=4, n_steps=20, method="riemann_middle"
    )
    ours = visualize.integrated_gradients(clothes, x, 4, steps=20)
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=1e-5)
    theirs = attr.Saliency(net).attribute(x, target=4, abs=False)
    torch.testing.assert_close(visualize.gradients(clothes, x, 4), theirs)
    theirs = attr.Occlusion(lambda y: net(y).softmax(1)).attribute(
        x, (1, 9, 9), target=4, strides=(1, 5, 5)
    )
    ours = visualize.occlusion(clothes, x, 4, window=9, stride=5).map
    torch.testing.assert_close(ours, theirs.squeeze(1), rtol=1e-4, atol=1e-6)


def test_captum_guides_the_same() -> None:
    attr = pytest.importorskip("captum.attr")
    # Its hooks want each ReLU to run once, and not in place.
    net = convzoo.lenet5(activation="relu", inplace=False).eval()
    x = inputs(2).requires_grad_()
    with pytest.warns(UserWarning, match="hooks"):
        theirs = attr.GuidedBackprop(net).attribute(x, target=4)
    torch.testing.assert_close(visualize.guided_backprop(net, x, 4), theirs)
    in_place = convzoo.lenet5(activation="relu").eval()
    in_place.load_state_dict(net.state_dict())
    torch.testing.assert_close(visualize.guided_backprop(in_place, x, 4), theirs)


def test_torchcam_gives_the_same(clothes: convzoo.Classifier) -> None:
    methods = pytest.importorskip("torchcam.methods")
    net = convzoo.cifar_resnet20(weights="fashion_mnist", inplace=False).eval()
    x = inputs(2)
    with methods.GradCAM(net, "layer3") as extractor:
        theirs = extractor(4, net(x), normalized=False)[0]
    ours = visualize.grad_cam(clothes, x, 4, raw=True).relu()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    # Its Grad-CAM++ (0.5.0) divides a copy and so weights nothing: the formula is tested above.
