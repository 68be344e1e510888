"""`fit` on several processes: copies (DDP) and shares (FSDP2) of a network do what one does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import WORKERS, run
from torch import nn

from convzoo.training._sync_batch_norm import exchanged_batch_norm


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, cases: str) -> dict[str, Any]:
    """What one process found: this one, which has imported everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(WORKERS)
        patch.setattr(sys, "argv", ["training.py", str(tmp_path_factory.mktemp("alone")), cases])
        return importlib.import_module("training").main()["copies"]


@pytest.fixture(scope="module")
def two(ranks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rank["training"] for rank in ranks]


def longer(*names: Any) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.long) for name in names]


def assert_equal(ours: dict[str, Any], one: dict[str, Any], tolerance: float) -> None:
    assert ours["class"] == one["class"]
    assert ours["plain"]  # nothing is left of what was put around it
    for key, value in one["state"].items():
        torch.testing.assert_close(
            ours["state"][key], value, rtol=tolerance, atol=tolerance, msg=lambda m, k=key: k + m
        )
    for mine, theirs in zip(ours["losses"], one["losses"], strict=True):
        assert mine == pytest.approx(theirs, rel=max(tolerance, 1e-6))
    assert ours["result"]["samples"] == 27
    assert ours["result"]["loss"] == pytest.approx(one["result"]["loss"])
    assert ours["result"]["counts"] == one["result"]["counts"]


@pytest.mark.parametrize(
    ("form", "case"),
    [
        *(("copies", case) for case in ("lenet5", "frozen", "whole", "resumed")),
        *(("shares", case) for case in ("lenet5", "frozen")),
        *(pytest.param("shares", case, marks=pytest.mark.long) for case in ("whole", "resumed")),
        *(
            pytest.param(form, case, marks=pytest.mark.long)
            for form in ("copies", "shares")
            for case in ("accumulated", "foreign")
        ),
    ],
)
def test_two_processes_end_with_the_weights_of_one(alone, two, form: str, case: str) -> None:
    for rank in two:
        assert_equal(rank[form][case], alone[case], 1e-10)


@pytest.mark.long
@pytest.mark.parametrize("form", ["copies", "shares"])
def test_auxiliary_heads_train(alone, two, form: str) -> None:
    for rank in two:  # single precision, one step
        assert_equal(rank[form]["auxiliary heads"], alone["auxiliary heads"], 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("form", ["copies", "shares"])
def test_bfloat16(alone, two, form: str) -> None:
    for rank in two:
        got, one = rank[form]["bf16"], alone["bf16"]
        assert got["losses"] == two[0][form]["bf16"]["losses"]
        for (loss, *_), (expected, *_) in zip(got["losses"], one["losses"], strict=True):
            assert loss == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("form", ["copies", "shares"])
@pytest.mark.parametrize("case", ["lenet5", *longer("batch norm", "bf16", "unseeded")])
def test_every_process_ends_with_the_same_network(two, form: str, case: str) -> None:
    first, second = (rank[form][case]["state"] for rank in two)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_resuming_goes_on_along_the_same_curve(two) -> None:
    for rank in two:
        for form in ("copies", "shares"):
            if "resumed" not in rank[form]:
                continue  # the shares' waits for `make test-all`
            assert rank[form]["resumed"]["losses"] == rank[form]["whole"]["losses"]


def test_each_process_drops_its_own(two) -> None:
    first, second = (rank["dropped"] for rank in two)
    assert first.shape == second.shape == (4, 1, 8, 8)
    assert first.any()
    assert second.any()
    assert not torch.equal(first, second)


def test_no_image_counts_twice(two) -> None:
    assert [rank["one image"] for rank in two] == [1, 1]


def test_refusals(two) -> None:
    for rank in two:
        assert "PyTorch synchronises batch statistics on GPUs" in rank["refusal of batch norm"]
        assert rank["refusal of several devices"].endswith("this job has 2 processes")
        assert (
            "different epochs, [of another run, 0]; the folder has to be on a"
            in rank["refusal of folders"]
        )
        assert rank["refusal of an optimizer"].startswith("optimizer: with sharded=True")


def test_processes_give_up_together_where_one_diverges(two) -> None:
    for rank in two:
        told, epochs = rank["diverged"]
        assert told.startswith("the training loss became nan in epoch 1")
        assert epochs == 1


@pytest.mark.long
def test_four_processes_end_with_the_weights_of_one(alone, tmp_path: Path) -> None:
    for rank in run("training.py", tmp_path, 4, "few"):
        for form in ("copies", "shares"):
            assert_equal(rank[form]["lenet5"], alone["lenet5"], 1e-10)
    assert rank["one image"] == 1


def test_shares_are_laid_out_by_stage(ranks) -> None:
    check_shares([rank["sharding"] for rank in ranks])


@pytest.mark.long
def test_shares_of_more_networks_are_laid_out_by_stage(tmp_path: Path) -> None:
    check_shares(run("sharding.py", tmp_path, 2, "vgg11,googlenet,lenet5"))


def check_shares(ranks: list[dict[str, Any]]) -> None:
    units = {
        "cifar_resnet20": {"", "conv1", "bn1", "layer1", "layer2", "layer3"},
        "vgg11": {"features.8"},  # conv3_1: its stage ends at a pooling
        "mlp": {""},
    }
    for rank in ranks:
        for name, found in rank.items():
            assert found["equal"]
            # Rows are shared out: of an odd number one rank has one more.
            assert abs(found["own numbers"] / found["numbers"] - 0.5) < 0.04, name
            assert units.get(name, set()) <= set(found["units"])


def test_batch_norm_is_exchanged_for_the_synchronised_one_and_back() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.BatchNorm2d(4)))
    before = dict(net.named_modules())
    parameters = dict(net.named_parameters())
    with exchanged_batch_norm(net):
        assert [type(m) for m in net.modules()].count(nn.SyncBatchNorm) == 2
        assert all(p is parameters[name] for name, p in net.named_parameters())
        net.double()  # as moving to a device does, this makes new buffers
        net[1].running_mean += 1
        net[1].num_batches_tracked += 1
        net.eval()
    assert dict(net.named_modules()) == before
    assert net[1].running_mean.dtype == torch.float64
    assert net[1].running_mean.tolist() == [1, 1, 1, 1]
    assert int(net[1].num_batches_tracked) == 1
    assert not net[1].training
