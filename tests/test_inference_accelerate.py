"""`accelerate`: the same scores from every engine, a network left as it was, what is refused."""

from __future__ import annotations

import copy
import ctypes
import gc
import importlib.util
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import convzoo
from contract_nets import CLASSES, EVERY, VERY_SHALLOW, build, images, parameters
from convzoo._engines import _accelerate, _available, _openvino, _processor, _race
from convzoo._engines._folded import folded
from convzoo._engines._job import Run, Setting
from convzoo.errors import InputError, MissingExtraError, UnknownNameError

INSTALLED = {
    name: all(importlib.util.find_spec(need) for need in needs)
    for name, needs in _available._LIBRARIES.items()
}


def needs(engine: str, *also: str) -> pytest.MarkDecorator:
    there = INSTALLED[engine] and all(importlib.util.find_spec(name) for name in also)
    return pytest.mark.skipif(not there, reason=f"{engine} is not installed")


QUICK = {*CLASSES} & {*VERY_SHALLOW} - {"alexnet", "alexnet_2012", "zfnet"}  # many parameters
ENGINES = [
    "torch",
    pytest.param("onnxruntime", marks=[needs("onnxruntime"), pytest.mark.long]),
    pytest.param("openvino", marks=needs("openvino")),
    pytest.param("compile", marks=pytest.mark.long),  # half a minute
]


@pytest.fixture(autouse=True)
def _nothing_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convzoo._engines._remembered.notes_folder", lambda: tmp_path)
    monkeypatch.setattr(_accelerate, "_BUDGET", 0.05)


@pytest.fixture(scope="module")
def small() -> convzoo.Classifier:
    torch.manual_seed(0)
    block = convzoo.models.BasicBlock
    return convzoo.ResNet(block, [1], widths=[8], num_classes=5, stem="small").eval()


def off(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_returns_the_networks_scores(engine: str, small: convzoo.Classifier) -> None:
    fast = convzoo.accelerate(small, images(small, 3), engine=engine)
    assert (fast.engine, fast.precision, fast.training) == (engine, "fp32", False)
    for batch in (1, 3, 5):
        x = images(small, batch)
        with torch.no_grad():
            assert off(fast(x), small(x)) < 1e-4
    assert fast(images(small, 3)[:0]).shape == (0, 5)
    x = images(small, 3, side=40)[..., :36]  # of another size, and not contiguous
    scores = fast(x)
    with torch.no_grad():
        assert off(scores, small(x)) < 1e-4
    scores += 1  # an ordinary tensor


@pytest.mark.parametrize("name", parameters(EVERY, quick=QUICK))
def test_torch_runs_every_network(name: str) -> None:
    net = build(name)
    x = images(net)
    fast = convzoo.accelerate(net, x, engine="torch")
    with torch.no_grad():
        assert off(fast(x), net(x)) < 1e-4


@needs("openvino")
@pytest.mark.long
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_run_every_class_of_network(name: str, engine: str) -> None:
    net = build(name)
    x = images(net)
    fast = convzoo.accelerate(net, x, engine=engine)
    with torch.no_grad():
        assert off(fast(x), net(x)) < 1e-4


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    net = convzoo.cifar_resnet20().train(training)
    before = copy.deepcopy(net)
    convzoo.accelerate(net, images(net), engine="torch")
    assert net.training is training
    for (name, tensor), old in zip(
        net.state_dict().items(), before.state_dict().values(), strict=True
    ):
        assert torch.equal(tensor, old), name
    assert all(p.requires_grad for p in net.parameters())
    assert all(
        a.training == b.training for a, b in zip(net.modules(), before.modules(), strict=True)
    )


class Twice(nn.Module):
    """One convolution in two places, one of them followed by a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.other = nn.Conv2d(3, 3, 3)
        self.batch = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.batch(self.other(self.norm(self.conv(self.conv(x))))).mean((2, 3))


class ByShape(nn.Module):
    """What torch.fx cannot trace."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        if x.mean() > 100:
            return x.mean((2, 3))
        return self.norm(self.conv(x)).mean((2, 3))


def test_norms_are_folded_only_where_that_is_exact() -> None:
    net = Twice().eval()
    copied, said = folded(net)
    assert said == "0 of 2 batch norms are folded"
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(copied(x), net(x))
    assert folded(convzoo.cifar_resnet20())[1] == "19 of 19 batch norms are folded"
    linear = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    copied, said = folded(linear)
    assert said == "1 of 1 batch norms are folded"
    assert off(copied(x[:, :, 0, 0]), linear(x[:, :, 0, 0])) < 1e-6


def test_a_network_that_cannot_be_traced_runs_unfolded() -> None:
    net, x = ByShape().eval(), torch.randn(2, 3, 9, 9)
    fast = convzoo.accelerate(net, x, engine="torch")
    assert any("cannot trace" in note for note in fast.report.notes)
    assert off(fast(x), net(x)) < 1e-6
    if INSTALLED["openvino"]:
        with pytest.raises(InputError, match=r"torch\.export cannot take it"):
            convzoo.accelerate(net, x, engine="openvino")


def test_what_is_asked_for_travels_with_it() -> None:
    net = convzoo.lenet5(num_classes=3)
    net.labels = ("a", "b", "c")
    fast = convzoo.accelerate(net, engine="torch")
    assert (fast.labels, fast.preset, fast.num_classes) == (net.labels, net.preset, 3)
    assert (fast.num_features, fast.in_channels) == (net.num_features, 1)
    (best,) = convzoo.Predictor(fast, top_k=1)(torch.zeros(1, 30, 30, dtype=torch.uint8))
    assert best.label in net.labels
    bare = convzoo.lenet5(num_classes=0)
    without = convzoo.accelerate(bare, engine="torch")
    assert without.num_classes == 0
    assert without.report.agreement is None
    assert without(torch.rand(2, 1, 28, 28)).shape == (2, bare.head_hidden_size)


def test_the_report_says_what_was_chosen_and_why(small: convzoo.Classifier) -> None:
    fast = convzoo.accelerate(small, images(small), engine="torch")
    report = fast.report
    assert set(report.timings) == {"torch (channels first)", "torch (channels last)"}
    assert "torch (channels last)" in str(report)
    assert fast.why in str(report)
    assert report.difference < 1e-5
    assert report.agreement == 1
    assert 0 < report.plain_seconds < report.setup_seconds


def test_the_choice_is_remembered(
    small: convzoo.Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = convzoo.accelerate(small, images(small), engine="torch")
    (file,) = (tmp_path / "engines").iterdir()
    assert json.loads(file.read_text())["setting"] == f"torch ({first.report.setting})"
    again = convzoo.accelerate(small, images(small), engine="torch")
    assert again.report.timings == {}
    assert again.report.setting == first.report.setting
    assert "before" in again.why
    file.write_text("{")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert convzoo.accelerate(small, images(small), engine="torch").report.timings
    convzoo.accelerate(small, images(small, 3), engine="torch")  # another question
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    convzoo.accelerate(small, images(small), engine="torch")
    assert len([*(tmp_path / "engines").iterdir()]) == 3


def test_a_place_that_cannot_be_written_is_no_matter(
    small: convzoo.Classifier, tmp_path: Path
) -> None:
    (tmp_path / "engines").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert convzoo.accelerate(small, images(small), engine="torch").engine == "torch"


def test_auto_leaves_out_what_is_missing_and_takes_what_is_quicker(
    small: convzoo.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_available, "find_spec", lambda name: name == "openvino" or None)
    monkeypatch.setitem(
        _accelerate._ENGINES,
        "openvino",
        lambda job: [Setting("openvino", "", _accelerate._torch.settings(job)[0].build)],
    )
    monkeypatch.setattr(
        _accelerate, "race", lambda runs, *_: {n: 1.0 + (n != "openvino") for n in runs}
    )
    fast = convzoo.accelerate(small, images(small))
    assert fast.engine == "openvino"
    assert "2.00 times as quick" in fast.why
    assert "pip install 'convzoo[fast]'" in fast.report.skipped["onnxruntime"]
    assert "a minute" in fast.report.skipped["compile"] or "C++" in fast.report.skipped["compile"]
    with pytest.raises(MissingExtraError, match=r"needs onnxruntime.*convzoo\[fast\]"):
        convzoo.accelerate(small, images(small), engine="onnxruntime")


def test_an_engine_that_computes_something_else_is_refused(
    small: convzoo.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _accelerate._torch.settings

    def wrong(job: object) -> list[object]:
        first, last = real(job)
        object.__setattr__(last, "build", lambda: lambda x: first.build()(x) * 1.01)
        return [first, last]

    monkeypatch.setitem(_accelerate._ENGINES, "torch", wrong)
    fast = convzoo.accelerate(small, images(small), engine="torch")
    assert fast.report.setting == "channels first"
    assert "off the network's by 1" in fast.report.skipped["torch (channels last)"]


class Clock:
    """Time that passes only where it is said to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def runner(self, name: str, seconds: float) -> Run:
        def run(x: Tensor) -> Tensor:
            self.calls.append(name)
            self.now += seconds
            return x

        return run


def test_a_race_is_over_in_time_and_leaves_out_who_is_far_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(_race, "time", clock)
    runs = {name: clock.runner(name, t) for name, t in (("slow", 0.4), ("quick", 0.1))}
    assert _race.race(runs, torch.zeros(1), 2.0) == pytest.approx({"slow": 0.4, "quick": 0.1})
    assert clock.calls == ["slow", "quick"]  # nothing is left to be decided
    clock.now, clock.calls = 0.0, []
    _race.race({**runs, "close": clock.runner("close", 0.12)}, torch.zeros(1), 2.0)
    assert clock.now <= 2.0
    assert clock.calls.count("slow") == 1
    assert clock.calls.count("quick") > 3
    clock.now = 0.0
    long = {name: clock.runner(name, 5.0) for name in ("one", "other")}
    assert set(_race.race(long, torch.zeros(1), 2.0)) == {"one", "other"}
    assert clock.now < 11  # each is called once in any case


# --- what is refused ------------------------------------------------------------------------------


def with_hook() -> nn.Module:
    net = convzoo.cifar_resnet20()
    net.layer1[0].conv1.register_forward_hook(lambda *_: None)
    return net


def dropping() -> nn.Module:
    net = convzoo.cifar_resnet20(dropout=0.5).eval()
    next(m for m in net.modules() if isinstance(m, nn.Dropout)).train()
    return net


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_hook, r"net\.layer1\.0\.conv1: it has hooks"),
        (dropping, "Dropout is in training mode while the network is not"),
        (lambda: convzoo.cifar_resnet20(drop_block=0.1), "DropBlock is in training mode"),
        (lambda: convzoo.create_model("googlenet", aux_heads=True, num_classes=2), "auxiliary"),
        (lambda: convzoo.create_model("lenet5", device="meta"), "meta device"),
        (lambda: convzoo.lenet5().double(), r"float32 weights, got torch\.float64"),
        (lambda: nn.Identity(), "example: expected images like those to come"),
        (lambda: "resnet18", r"expected a torch\.nn\.Module"),
    ],
)
def test_what_no_engine_can_take(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        convzoo.accelerate(make(), engine="torch")


def test_what_is_taken_once_it_evaluates() -> None:
    net = convzoo.cifar_resnet20(drop_block=0.1, dropout=0.1, drop_path=0.1).eval()
    x = images(net)
    with torch.no_grad():
        assert off(convzoo.accelerate(net, x, engine="torch")(x), net(x)) < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"example": torch.rand(3, 32, 32)}, "example: expected a batch"),
        ({"example": torch.rand(1, 1, 32, 32)}, "example: expected 3 channel"),
        ({"example": torch.rand(0, 3, 32, 32)}, "example: expected at least one image"),
        ({"example": torch.rand(1, 3, 32, 32).double()}, "example: expected float32"),
        ({"precision": "int8"}, "calibration: expected some hundred images"),
        ({"calibration": [torch.rand(1, 3, 32, 32)]}, "only int8 is made with images"),
        ({"precision": "int8", "engine": "torch", "calibration": []}, "runs in OpenVINO"),
        ({"max_drop": 2}, "max_drop: expected a number from 0 to 1"),
    ],
)
def test_arguments_that_do_not_fit(
    options: dict[str, object], message: str, small: convzoo.Classifier
) -> None:
    with pytest.raises(InputError, match=message):
        convzoo.accelerate(small, **{"example": images(small), **options})


def test_unknown_names(small: convzoo.Classifier) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'openvino'"):
        convzoo.accelerate(small, engine="openvin")
    with pytest.raises(UnknownNameError, match="'bf16'"):
        convzoo.accelerate(small, precision="fp16")


def test_inputs_are_checked(small: convzoo.Classifier) -> None:
    fast = convzoo.accelerate(small, images(small), engine="torch")
    x = images(small)
    for wrong, message in (
        (x[0], "expected a batch of images"),
        (x.byte(), "expected floating-point images"),
        (x.half(), "expected float32 images"),
        (x[:, :1], "expected 3 channel"),
        (x.clone().requires_grad_(), "without gradients"),
        ("x", "expected a tensor"),
    ):
        with pytest.raises(InputError, match=message):
            fast(wrong)
    with pytest.raises(InputError, match="only evaluates"):
        fast.train()
    assert fast.eval() is fast
    for take in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            take(fast)


# --- other numbers --------------------------------------------------------------------------------


def test_bf16_only_where_the_processor_has_it(
    small: convzoo.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_accelerate, "has_bf16", lambda _: False)
    with pytest.raises(InputError, match="no bf16 instructions"):
        convzoo.accelerate(small, images(small), precision="bf16")
    fast = convzoo.accelerate(small, images(small), precision="auto", engine="torch")
    assert fast.precision == "fp32"
    assert "no bf16" in fast.why
    monkeypatch.setattr(_accelerate, "has_bf16", lambda _: True)
    x = images(small, 12)
    half = convzoo.accelerate(small, x, precision="auto", engine="torch")
    assert half.precision == "bf16"
    assert half(x).dtype is torch.float32
    with torch.no_grad():
        assert 1e-5 < off(half(x), small(x)) < 0.1
    assert half.report.agreement is not None


def test_what_the_processor_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert _processor.has_bf16(torch.device("cpu"))
    assert not _processor.adds_int8_exactly()
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # before torch 2.10
    assert not _processor.has_bf16(torch.device("cpu"))


@needs("openvino", "nncf")
@pytest.mark.long
@pytest.mark.parametrize("targets", [True, False])
def test_int8_keeps_the_accuracy_of_trained_weights(targets: bool) -> None:
    net = convzoo.load("lenet5.fashion_mnist").eval()
    torch.manual_seed(0)
    x = torch.rand(64, 1, 28, 28)
    with torch.no_grad():
        y = net(x).argmax(1)
    data = [*zip(x.split(16), y.split(16), strict=True)] if targets else [*x.split(16)]
    fast = convzoo.accelerate(net, x[:8], precision="int8", calibration=data, max_drop=0.05)
    assert (fast.engine, fast.precision) == ("openvino", "int8")
    before, after = fast.report.accuracy
    assert before == 1
    assert after >= 0.95
    assert (fast(x).argmax(1) == y).float().mean() >= 0.9
    with pytest.raises(InputError, match="resize"):
        fast(torch.rand(1, 1, 28, 28)[..., :27])
    for wrong, message in (([], "got none"), ([x[:2, :, :20]], "as the example"), (3, "batches")):
        with pytest.raises(InputError, match=message):
            convzoo.accelerate(net, x[:8], precision="int8", calibration=wrong)


class Stack(ctypes.Structure):
    """The C library's `stack_t`."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def stack_of_signals() -> int | None:
    """Where this thread's handlers of signals run; where that is gone, the next one kills."""
    found = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(found)) == 0
    return found.start


@needs("openvino")
@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO does so on Linux")
@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.long)])
def test_engines_that_have_gone_leave_signals_their_stack(precision: str) -> None:
    x = torch.rand(8, 1, 28, 28)
    more = {"calibration": [x], "max_drop": 1} if precision == "int8" else {}
    _openvino.core()
    before = stack_of_signals()
    made = [
        convzoo.accelerate(
            convzoo.lenet5(num_classes=n), x, engine="openvino", precision=precision, **more
        )
        for n in (2, 3)
    ]
    while made:
        made.pop(0)
        gc.collect()
    assert stack_of_signals() == before
