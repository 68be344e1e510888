"""AlexNet on two devices: the same function, the bytes between the towers, the halves."""

import copy
import pickle
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import convzoo
from convzoo.errors import CheckpointError, InputError, UnknownNameError
from convzoo.models import alexnet_2012
from convzoo.models.alexnet_split import (
    AlexNetTwoGPU,
    alexnet_two_gpu,
    communication,
    memory,
    merge,
    split,
)


def same_state(a, b):
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def single():
    """alexnet_2012 in float64, with weights that keep signals at their size."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convzoo.models.alexnets._HIDDEN", 64)  # quick, and all of its parts
        net = alexnet_2012(num_classes=10, dropout=0.0).double()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:  # uniform of variance 2 / fan-in
                bound = (6 / parameter[0].numel()) ** 0.5
                parameter.uniform_(-bound, bound)
            else:
                parameter.uniform_(-0.5, 0.5)
    return net


@pytest.fixture(scope="module")
def two(single):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convzoo.models.alexnets._HIDDEN", 64)
        return AlexNetTwoGPU(single, ("cpu", "cpu"))


def worst(ours, theirs):
    """The largest difference, over the largest value."""
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def check_same_function(single, two):
    target = torch.tensor([3, 7])
    # Large inputs, so that the normalisation matters; 96 pixels go through the pooling to 6 x 6.
    x = (20 * torch.randn(2, 3, 96, 96, dtype=torch.float64)).requires_grad_()
    twin = x.detach().clone().requires_grad_()
    expected, scores = single(x), two(twin)
    nn.functional.cross_entropy(expected, target).backward()
    nn.functional.cross_entropy(scores, target.to(scores.device)).backward()
    assert scores.device == two.devices[0]
    assert worst(scores.cpu(), expected) < 1e-10
    assert worst(twin.grad, x.grad) < 1e-10
    grads = merge({key: value.grad for key, value in two.named_parameters()})
    for key, parameter in single.named_parameters():
        assert worst(grads[key].cpu(), parameter.grad) < 1e-10, key
    for net in (single, two):
        net.zero_grad(set_to_none=True)


def test_outputs_and_all_gradients_are_those_of_alexnet_2012(single, two):
    check_same_function(single, two)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("devices", [("cuda:0", "cuda:0"), ("cuda:0", "cpu"), ("cpu", "cuda:0")])
def test_the_same_on_a_gpu(single, devices):
    check_same_function(single, AlexNetTwoGPU(single, devices))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_one_gpu_the_second_stream_waits_for_a_step_on_the_weights():
    net = alexnet_two_gpu(("cuda:0", "cuda:0"), num_classes=2, dropout=0.0)
    x = torch.randn(2, 3, 64, 64).pin_memory()  # its copy to the GPU waits for nothing
    with torch.no_grad():
        net(x)
        torch.cuda.synchronize()
        torch.cuda._sleep(10**9)  # about half a second
        for parameter in net.parameters():
            parameter.zero_()
        assert not net(x).any()


@pytest.mark.usefixtures("narrow_alexnets")
def test_split_and_merge_lose_nothing(single, two, tmp_path):
    state = single.state_dict()
    halves = split(single)
    assert same_state(merge(halves), state)
    assert same_state(split(merge(halves)), halves)
    assert set(two.state_dict()) == set(halves)
    assert sum(value.numel() for value in halves.values()) == sum(
        value.numel() for value in state.values()
    )
    # The first half of the filters is the first tower's, of fc8 the first half of the inputs.
    assert torch.equal(halves["towers.1.conv3.weight"], state["conv3.weight"][192:])
    assert torch.equal(halves["towers.0.fc8.weight"], state["fc8.weight"][:, :32])

    save_file(two.state_dict(), tmp_path / "two.safetensors")  # a saved split model ...
    net = alexnet_2012(num_classes=10, device="meta")
    net.load_state_dict(merge(load_file(tmp_path / "two.safetensors")), assign=True)
    assert same_state(net.state_dict(), state)  # ... loads as the single one
    with torch.no_grad():
        other = AlexNetTwoGPU(alexnet_2012(num_classes=10, device="meta"), ("meta", "meta"))
    other.load_state_dict(split(net), assign=True)  # ... and back
    assert same_state(other.state_dict(), two.state_dict())


@pytest.mark.usefixtures("narrow_alexnets")
def test_saved_as_the_single_network_and_loaded_split(tmp_path):
    net = alexnet_two_gpu(("cpu", "cpu"), num_classes=3, dropout=0.25)
    convzoo.save(net.single(), tmp_path / "kept")
    loaded = convzoo.load(tmp_path / "kept")
    assert type(loaded) is convzoo.models.AlexNet2012
    assert loaded.preset == net.preset
    again = alexnet_two_gpu(("cpu", "cpu"), weights=str(tmp_path / "kept"), dropout=0.25)
    assert same_state(again.state_dict(), net.state_dict())
    assert (again.num_classes, again.drop6.p, again.drop7.p) == (3, 0.25, 0.25)


def test_a_heads_dropout_goes_with_it():
    net = alexnet_2012(num_classes=10, device="meta")
    convzoo.replace_head(net, 4, dropout=0.2)
    two = AlexNetTwoGPU(net, ("meta", "meta"))
    assert two.num_classes == 4
    assert two.drop7.p == pytest.approx(0.6)  # half of the units stay, of those four fifths
    assert two._skeleton[0].fc8.p == 0.2


def test_the_paper_splits_where_least_crosses():
    """Elements an image: 96x27x27, 256x13x13, 384x13x13 twice, 9216, 4096, and the scores."""
    net = alexnet_two_gpu(("meta", "meta"))
    costs = {e.before: e for e in communication(net, batch=128)}
    elements = {
        "conv1": 3 * 224 * 224,
        "conv2": 96 * 27 * 27,
        "conv3": 256 * 13 * 13,
        "conv4": 384 * 13 * 13,
        "conv5": 384 * 13 * 13,
        "fc6": 9216,
        "fc7": 4096,
        "fc8": 1000,
    }
    assert {name: e.bytes for name, e in costs.items()} == {
        name: 128 * 4 * count for name, count in elements.items()
    }
    assert [name for name, e in costs.items() if not e.made] == ["conv2", "conv4", "conv5"]
    assert [e.backward_bytes for e in costs.values()] == [0] + [
        e.bytes for e in list(costs.values())[1:]
    ]
    cheapest = min(("conv2", "conv3", "conv4", "conv5"), key=lambda name: costs[name].bytes)
    assert cheapest == "conv3"


def test_what_is_sent_is_what_communication_says(two, monkeypatch):
    module = sys.modules["convzoo.models.alexnet_split._two_gpu"]
    sent = []
    usual = module._send

    def counting(tensor, source, target):
        if source is not target:
            sent.append(tensor.numel() * tensor.element_size())
        return usual(tensor, source, target)

    monkeypatch.setattr(module, "_send", counting)
    with torch.no_grad():
        two(torch.randn(2, 3, 96, 96, dtype=torch.float64))
    made = [e.bytes for e in communication(two, 2, 96) if e.made]
    images, exchanges, scores = sent[:2], sent[2:-1], sent[-1]
    assert images == [made[0]] * 2  # one of them stays on the device where the images are
    assert [a + b for a, b in zip(exchanges[::2], exchanges[1::2], strict=True)] == made[1:-1]
    assert scores == made[-1]


def test_each_device_holds_about_half():
    net = alexnet_two_gpu(("meta", "meta"))
    first, second = memory(net, batch=8)
    assert first.parameters - second.parameters == 1000  # the bias of fc8
    assert first.parameters + second.parameters == 60_965_224
    assert second.parameter_bytes == 4 * 30_482_112
    assert first.activation_bytes - second.activation_bytes == 0

    single = alexnet_2012(device="meta")
    own = {p.untyped_storage()._cdata for p in single.parameters()}
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.setdefault(t.untyped_storage()._cdata, t), lambda t: t
    ):
        single(torch.zeros(8, 3, 224, 224, device="meta"))
    whole = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
    assert 0.45 < first.activation_bytes / whole < 0.6
    twice = memory(net, batch=16)[1]
    assert twice.activation_bytes == 2 * second.activation_bytes
    assert twice.parameter_bytes == second.parameter_bytes


def test_dropout_is_drawn_by_the_seed_in_each_tower():
    net = alexnet_two_gpu(("cpu", "cpu"), num_classes=2)
    x = torch.randn(2, 3, 64, 64)
    masks = []
    net.drop6.register_forward_hook(lambda m, i, out: masks.append((out == 0)[i[0] > 0]))
    with torch.no_grad():
        for _ in range(2):
            torch.manual_seed(1)
            net(x)
    assert torch.equal(masks[0], masks[2])
    assert torch.equal(masks[1], masks[3])
    assert not torch.equal(masks[0], masks[1])
    assert masks[0].float().mean() == pytest.approx(0.5, abs=0.05)
    net.eval()
    assert torch.equal(net(x), net(x))


def test_it_copies_and_pickles():
    net = alexnet_two_gpu(("meta", "meta"), num_classes=2)
    again = pickle.loads(pickle.dumps(copy.deepcopy(net)))
    assert list(again.state_dict()) == list(net.state_dict())
    assert again(torch.zeros(1, 3, 64, 64, device="meta")).shape == (1, 2)
    assert again.preset == net.preset


def test_fit_trains_it_where_it_is():
    net = alexnet_two_gpu(("cpu", "cpu"), num_classes=2)
    before = net.towers[1].fc7.weight[0].clone()
    data = [(image, label) for label, image in enumerate(torch.randn(2, 3, 64, 64))]
    history = convzoo.fit(net, data, epochs=1, batch_size=2, lr=1e-2, optimizer="sgd", cpu=True)
    assert len(history.epochs) == 1
    assert not torch.equal(net.towers[1].fc7.weight[0], before)


def test_what_is_refused():
    with pytest.raises(InputError, match=r"devices: expected two devices, got 'cpu'"):
        alexnet_two_gpu("cpu")
    with pytest.raises(InputError, match="expected both on meta or neither"):
        alexnet_two_gpu(("meta", "cpu"))
    with pytest.raises(InputError, match=r"cuda:97 is not there, this machine has \d+ CUDA"):
        alexnet_two_gpu(("cpu", "cuda:97"))
    with pytest.raises(UnknownNameError, match="unknown option of alexnet_two_gpu 'towers'"):
        alexnet_two_gpu(("meta", "meta"), towers=1)
    with pytest.raises(CheckpointError, match="only a network with towers=2"):
        split(alexnet_2012(device="meta", towers=1))
    with pytest.raises(CheckpointError, match=r"unexpected \['classifier.1.bias'"):
        split(convzoo.alexnet(device="meta"))
    with pytest.raises(CheckpointError, match=r"missing \['towers.0"):
        merge({})
    with pytest.raises(InputError, match=r"needs images of at least 64 x 64 pixels, got 32 x 32"):
        alexnet_two_gpu(("meta", "meta"))(torch.zeros(1, 3, 32, 32, device="meta"))
