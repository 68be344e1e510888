"""Networks of others: a builder of theirs joins the zoo without an edit of it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import convzoo
import test_contract as contract
from convzoo.errors import InputError, UnknownNameError, WeightsError
from convzoo.registry import MODELS

# One more ResNet is one function, as it would stand in convzoo's own file.
RESNET26 = '''
from typing import Unpack

import convzoo
from convzoo import BuildOptions, architecture, construct
from convzoo.models import Bottleneck, ResNet, ResNetOptions
from convzoo.presets import IMAGENET

PAPER = convzoo.Paper("Deep Residual Learning", 2015, "https://arxiv.org/abs/1512.03385")


@architecture(ResNet, PAPER, IMAGENET, departs="shallow", block=Bottleneck, layers=(2, 2, 2, 2))
def resnet26(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
    """ResNet-26: two bottlenecks a stage; 15,995,176 parameters."""
    return construct(resnet26, weights, options)
'''

# A new family is one file.
FAMILY = '''
from typing import Unpack

import torch
from torch import Tensor, nn

from convzoo import BuildOptions, Classifier, Paper, Stage, architecture, construct
from convzoo.presets import CIFAR10


class TinyOptions(BuildOptions, total=False):
    """Options of `tiny`."""

    inplace: bool
    """Let ReLU overwrite its input."""


class Tiny(Classifier):
    """One convolution."""

    head_path = "fc"
    min_size = 3

    def __init__(
        self, *, filters: int, num_classes: int = 10, in_channels: int = 3, inplace: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, filters, 3)
        self.relu = nn.ReLU(inplace)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(filters, num_classes)
        self.in_channels, self.num_features = in_channels, filters
        self.stages = (Stage("conv", "relu", filters, 1),)

    def forward_features(self, x: Tensor) -> Tensor:
        self._check_input(x)
        return self.relu(self.conv(x))

    def forward_head(self, f: Tensor, pre_logits: bool = False) -> Tensor:
        x = torch.flatten(self.pool(f), 1)
        return x if pre_logits else self.fc(x)

    def reset_parameters(self) -> None:
        self.conv.reset_parameters()
        self.fc.reset_parameters()


@architecture(Tiny, Paper("None", 2026, "https://example.org"), CIFAR10, departs="-", filters=8)
def tiny(*, weights: str | None = None, **options: Unpack[TinyOptions]) -> Tiny:
    """One convolution of eight filters; 314 parameters."""
    return construct(tiny, weights, options)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of somebody else's, gone from the registry afterwards."""
    before = dict(MODELS)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/__init__.py").touch()
    (tmp_path / "theirs/resnets.py").write_text(RESNET26)
    (tmp_path / "theirs/tiny.py").write_text(FAMILY)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("theirs.resnets")
    importlib.import_module("theirs.tiny")
    yield tmp_path
    MODELS.clear()
    MODELS.update(before)
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["resnet26", "tiny"])
def test_the_contract_holds_a_new_network(
    name: str, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = contract.Case(name, {})
    contract.test_any_classes_and_channels_without_memory(name)
    contract.test_the_papers_size_and_classes_are_the_default(name)
    contract.test_counts_in_the_docstring_are_the_networks(name)
    contract.test_stages_have_the_channels_and_strides_they_say(name)
    contract.test_wrong_input_is_refused_readably(name)
    contract.test_unknown_options_are_named(name)
    contract.test_modules_are_registered_in_the_order_they_run(name)
    contract.test_the_preset_makes_what_the_network_takes(name, 1)
    contract.test_torch_fx_can_trace(case, train=True)
    contract.test_every_activation_is_a_module_that_runs_once(case)


def test_it_joins_everything_that_goes_by_names(package: Path) -> None:
    assert {"resnet26", "tiny"} <= set(convzoo.list_models())
    net = convzoo.create_model("tiny", num_classes=3, inplace=False)
    assert convzoo.summary(net, 8).name == "tiny"
    assert convzoo.model_info("tiny").input_shape == (3, 32, 32)
    folder = convzoo.save(net, package / "net")
    again = convzoo.load(folder)
    assert type(again) is type(net)
    assert again.options == {"inplace": False}
    for key, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    with pytest.raises(UnknownNameError, match="unknown model 'tinny': did you mean 'tiny'"):
        convzoo.create_model("tinny")


def test_a_folder_says_which_package_to_import(package: Path) -> None:
    folder = convzoo.save(convzoo.create_model("tiny"), package / "net")
    del MODELS["tiny"]
    with pytest.raises(WeightsError, match=r"'tiny'.*import theirs\.tiny"):
        convzoo.load(folder)
    # In a process that never heard of the package, though it could import it: it does not.
    code = (
        "import sys, convzoo\n"
        f"try: convzoo.load({str(folder)!r})\n"
        "except convzoo.WeightsError as error: print('theirs' in sys.modules, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=package
    )
    assert done.stdout.startswith("False")
    assert "import theirs.tiny" in done.stdout


def test_a_name_is_given_once(package: Path) -> None:
    paper = convzoo.model_info("tiny").paper
    with pytest.raises(
        InputError, match=r"convzoo\.models\.resnet\.builders has a builder 'resnet18'"
    ):

        @convzoo.architecture(convzoo.ResNet, paper, convzoo.presets.MNIST)
        def resnet18() -> convzoo.ResNet:
            raise NotImplementedError

    with pytest.raises(InputError, match="builder: expected a function with @architecture"):
        convzoo.construct(lambda: convzoo.resnet18(), None, {})


def test_a_decorator_that_contradicts_its_network_is_refused() -> None:
    paper = convzoo.model_info("resnet18").paper
    blocks = {"block": convzoo.models.BasicBlock, "layers": (1, 1, 1, 1)}
    with pytest.raises(UnknownNameError, match=r"argument of ResNet 'droput'.*'dropout'"):
        convzoo.architecture(convzoo.ResNet, paper, convzoo.presets.IMAGENET, droput=0.5, **blocks)
    with pytest.raises(InputError, match="is said to return VGG, but ResNet is built"):

        @convzoo.architecture(convzoo.ResNet, paper, convzoo.presets.IMAGENET, **blocks)
        def wrong(*, weights: str | None = None, **options: object) -> convzoo.VGG:
            raise NotImplementedError

    assert "wrong" not in MODELS


def test_what_reset_parameters_forgets_is_refused(package: Path) -> None:
    theirs = sys.modules["theirs.tiny"]

    class Forgetful(theirs.Tiny):  # type: ignore[name-defined,misc]
        def reset_parameters(self) -> None:
            self.conv.reset_parameters()

    @convzoo.architecture(Forgetful, convzoo.model_info("tiny").paper, convzoo.presets.CIFAR10)
    def forgetful(*, weights: str | None = None, **options: object) -> convzoo.Classifier:
        return convzoo.construct(forgetful, weights, {"filters": 8, **options})

    with pytest.raises(
        InputError, match=r"Forgetful\.reset_parameters: it leaves fc\.weight unset"
    ):
        forgetful()


def test_options_that_json_would_change_are_refused(package: Path) -> None:
    net = convzoo.create_model("tiny")
    net.options = {"inplace": {1: "a"}}
    with pytest.raises(InputError, match=r"inplace=.* cannot go through JSON"):
        convzoo.save(net, package / "net")
    assert not (package / "net").exists()


def test_settings_decide_the_preset_too(package: Path) -> None:
    paper = convzoo.model_info("resnet18").paper

    @convzoo.architecture(
        convzoo.ResNet, paper, convzoo.presets.IMAGENET,
        block=convzoo.models.BasicBlock, layers=(1, 1, 1, 1), stem="small",
    )  # fmt: skip
    def little(*, weights: str | None = None, **options: object) -> convzoo.ResNet:
        return convzoo.construct(little, weights, options)

    assert little(device="meta").preset == convzoo.resnet18(device="meta", stem="small").preset
    assert little(device="meta", dropout=0.5).options == {"dropout": 0.5}
