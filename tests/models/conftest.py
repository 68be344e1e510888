"""What the tests of single networks share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


def random_state(net: nn.Module) -> dict[str, Tensor]:
    """Weights for a network on the meta device that keep signals at their size, layer by layer."""
    state: dict[str, Tensor] = {}
    for key, value in net.state_dict().items():
        if not value.is_floating_point():
            state[key] = torch.zeros(value.shape, dtype=value.dtype)
        elif value.ndim > 1:  # uniform of variance 2 / fan-in
            bound = (6 / value[0].numel()) ** 0.5
            state[key] = torch.empty(value.shape).uniform_(-bound, bound)
        elif key.endswith(("bias", "running_mean")):
            state[key] = torch.empty(value.shape).uniform_(-0.5, 0.5)
        else:
            state[key] = torch.empty(value.shape).uniform_(0.5, 1.5)
    return state


@pytest.fixture
def share_weights():
    """Give two networks built on the meta device the same random weights, in eval mode.

    `rename` turns our state dict into the other network's.
    """

    def share(ours: nn.Module, theirs: nn.Module, rename=dict) -> None:
        state = random_state(ours)
        ours.load_state_dict(state, assign=True)
        theirs.load_state_dict(rename(state), assign=True)
        ours.eval()
        theirs.eval()

    return share


@pytest.fixture
def relative_error():
    """The largest difference of two tensors, over the largest value of the second."""

    def error(ours: Tensor, theirs: Tensor) -> float:
        assert ours.shape == theirs.shape
        assert theirs.std() > 1e-3  # scores that are all alike would agree by accident
        return ((ours - theirs).abs().max() / theirs.abs().max()).item()

    return error
