"""The course of the learning rate."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convzoo.errors import InputError
from convzoo.training import lr_schedule


def course(name, steps, **options) -> list[float]:
    """The rates of every step, for a group with 1 and one with 10."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 10.0)]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    schedule = lr_schedule(optimizer, name, steps=steps, **options)
    rates = []
    for _ in range(steps):
        low, high = (group["lr"] for group in optimizer.param_groups)
        assert high == pytest.approx(10 * low)
        rates.append(low)
        optimizer.step()
        schedule.step()
    return rates


def test_steps_fall_at_their_milestones() -> None:
    assert course("step", 8) == pytest.approx([1] * 4 + [0.1] * 2 + [0.01] * 2)
    assert course("step", 4, milestones=3, gamma=0.5) == [1, 0.5, 0.25, 0.125]
    rates = course("step", 10, milestones=[0.8], gamma=0.1, warmup=0.2)
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 0.1, 0.1])


def test_the_others_start_and_end_where_they_should() -> None:
    assert course("constant", 3, warmup=0.0) == [1, 1, 1]
    cosine = course("cosine", 100, warmup=0.1)
    assert cosine[0] == pytest.approx(1 / 11)
    assert max(cosine) == cosine[10] == 1
    assert cosine[-1] < 1e-3
    assert max(range(20), key=course("one_cycle", 20, warmup=0.5).__getitem__) in (9, 10)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("stepp", {}, "did you mean 'step'"),
        ("cosine", {"milestones": 2}, "milestones: expected None with schedule='cosine'"),
        ("one_cycle", {"gamma": 0.5}, "gamma: expected None"),
        ("step", {"milestones": [0.5, 0.5]}, "rising shares"),
        ("step", {"milestones": [0, 0.5]}, "rising shares"),
        ("step", {"milestones": []}, "rising shares"),
        ("step", {"milestones": 0}, "milestones: expected an integer"),
        ("step", {"gamma": 0}, "gamma"),
        ("step", {"warmup": 1.0}, "warmup"),
    ],
)
def test_a_course_that_there_is_not(name, options, message) -> None:
    with pytest.raises(InputError, match=message):
        course(name, 4, **options)
