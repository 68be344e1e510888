"""AlexNet's towers as ranks: one network's function, one network's training."""

from __future__ import annotations

from pathlib import Path

import pytest
from ranks import run

from convzoo.errors import InputError
from convzoo.models.alexnet_split import alexnet_tensor_parallel


@pytest.fixture(scope="module")
def two(ranks: list[dict]) -> list[dict]:
    """Two ranks: 20 steps on the digits, fc6 and fc7 narrowed to 512 units to be quick."""
    return [rank["towers"] for rank in ranks]


def test_the_ranks_hold_halves(two) -> None:
    first, second = two
    assert first["numbers"] - second["numbers"] == 10  # the bias of fc8
    assert first["numbers"] + second["numbers"] == first["numbers of one"]
    for rank in two:
        assert rank["same names"]
        assert rank["same start"]  # gathered, they are the single network's, bit for bit


def test_scores_and_gradients_are_the_single_networks(two) -> None:
    for rank in two:
        assert rank["worst"] < 1e-10


def test_twenty_steps_on_real_images_are_one_processes(two) -> None:
    first, second = two
    assert len(first["curve"]) == 20
    assert first["curve"] == second["curve"]
    assert first["curve"] == pytest.approx(first["one"], rel=1e-4)
    assert sum(first["one"][15:]) < 0.8 * sum(first["one"][:5])
    assert first["state"] < 1e-3


@pytest.mark.long
def test_two_replicas_of_two_towers(tmp_path: Path) -> None:
    ranks = run("towers.py", tmp_path, 4, "4", "narrow")
    for rank in ranks:
        assert rank["curve"] == pytest.approx(ranks[0]["one"], rel=1e-4)
        assert rank["numbers"] < 0.51 * rank["numbers of one"]
    assert ranks[0]["state"] < 1e-3


@pytest.mark.long  # two minutes
def test_the_same_in_the_papers_size(tmp_path: Path) -> None:
    first, second = run("towers.py", tmp_path, 2, "20", "wide")
    assert first["numbers of one"] == 56_909_194  # 60,965,224 less 990 classes
    assert first["worst"] < 1e-10
    assert first["curve"] == second["curve"]
    assert first["curve"] == pytest.approx(first["one"], rel=1e-3)
    assert first["state"] < 1e-2


class Mesh:
    """What a mesh of another shape says of itself."""

    ndim = 2
    shape = (2, 2)
    mesh_dim_names = ("data", "tower")

    def size(self) -> int:
        return 4


def test_another_mesh_is_refused() -> None:
    with pytest.raises(InputError, match=r"of 2 ranks.*\(2, 2\); take mesh\['tower'\]"):
        alexnet_tensor_parallel(Mesh())
