"""What the tests of GoogLeNet and Inception-v3 share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module, *, biases: bool = True) -> int:
    """Elements of the parameters, or of those with more than one dimension."""
    return sum(p.numel() for p in module.parameters() if biases or p.ndim > 1)


def multiply_adds(net: nn.Module, size: tuple[int, ...]) -> dict[str, int]:
    """Multiply-adds by module path, of one image on the meta device; "" is the whole."""
    name = type(net).__name__
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, *size, device="meta"))
    counts = {path: sum(ops.values()) // 2 for path, ops in counter.get_flop_counts().items()}
    return {path.removeprefix(name).removeprefix("."): n for path, n in counts.items()}


@torch.no_grad()
def shuffle(net: nn.Module) -> nn.Module:
    """Random weights of a fair size everywhere, so that a layer that is skipped shows."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.2)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.4)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.7, 1.6)
    return net


def assert_equal_within(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    """The largest difference is below `tolerance` of the largest value, and values differ."""
    assert ours.shape == theirs.shape
    assert theirs.std() > 0
    assert (ours - theirs).abs().max() < tolerance * theirs.abs().max()


@contextmanager
def one_process_group(folder: Path) -> Iterator[None]:
    """A process group of this process alone, without the network."""
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()
