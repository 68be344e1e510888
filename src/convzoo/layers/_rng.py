"""Where the random numbers of the dropout-like layers come from.

Every layer starts from a seed or from uniform numbers drawn here, by plain PyTorch random
functions. That is what makes them reproducible under `torch.manual_seed` and a
`torch.Generator`, equal when activation checkpointing runs a layer twice (it restores the
global state), obedient to `torch.vmap(randomness=...)`, and different on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convzoo.errors import InputError

_SEEDS = 2**62
_GOLDEN = 0.6180339887498949  # spreads rank * _GOLDEN mod 1 evenly for any number of ranks


def draw_seed(generator: torch.Generator | None) -> Tensor:
    """Draw a seed, a scalar int64 tensor, of this rank's own.

    Ranks are usually seeded alike. Adding the rank to the seed gives each its own masks.
    """
    _refuse_recomputation(generator)
    device = None if generator is None else generator.device
    seed = torch.randint(_SEEDS, (), generator=generator, device=device)
    return seed + int(_rank() * _GOLDEN * _SEEDS) % _SEEDS


def uniform(
    shape: Sequence[int], device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """Draw float32 numbers uniform in [0, 1), this rank's own."""
    _refuse_recomputation(generator)
    if generator is None:  # without the argument: with it, compilers know fixed sizes only
        numbers = torch.rand(list(shape), device=device)
    else:
        numbers = torch.rand(list(shape), device=device, generator=generator)
    rank = _rank()
    # A rotation keeps them uniform and needs no second generator, so it compiles.
    return (numbers + rank * _GOLDEN).remainder(1.0) if rank else numbers


def generator_from(seed: Tensor, device: torch.device) -> torch.Generator:
    """Return a new generator on `device`, seeded with the scalar `seed`."""
    generator = torch.Generator(device)
    generator.manual_seed(int(seed.item()))
    return generator


def sparse_positions(count: int, rate: float, generator: torch.Generator) -> Tensor:
    """Draw which of `count` independent coins of probability `rate` show heads.

    The gaps between heads are geometric, so the work grows with the heads alone. The
    positions come sorted, as int64; their distribution is exact.
    """
    device = generator.device
    if rate <= 0 or count == 0:
        return torch.empty(0, dtype=torch.int64, device=device)
    if rate >= 1:
        return torch.arange(count, device=device)
    parts: list[Tensor] = []
    last = -1
    while last < count:
        expected = (count - 1 - last) * rate
        # Six standard deviations to spare: a second round is rare, but then it is drawn.
        draws = int(expected + 6 * expected**0.5) + 8
        gaps = torch.empty(draws, dtype=torch.float64, device=device)
        gaps.geometric_(rate, generator=generator)
        # A gap may exceed what is left by far (tiny rates): clamping keeps the sums finite.
        positions = gaps.clamp_(max=count + 1).cumsum_(0).to(torch.int64).add_(last)
        parts.append(positions)
        last = int(positions[-1])
    positions = parts[0] if len(parts) == 1 else torch.cat(parts)
    return positions[: int(torch.searchsorted(positions, count))]


def by_slices(operator: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A rule for `torch.vmap`: run a custom operator on one slice after the other."""

    def rule(info: Any, in_dims: Sequence[Any], *args: Any) -> tuple[Any, Any]:
        def slice_of(arg: Any, dim: Any, i: int) -> Any:
            return arg.select(dim, i) if isinstance(dim, int) else arg  # lists come with lists

        outputs = [
            operator(*(slice_of(arg, dim, i) for arg, dim in zip(args, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        stacked = tuple(torch.stack(column) for column in zip(*outputs, strict=True))
        return stacked, (0,) * len(stacked)

    return rule


def _rank() -> int:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank()
    return 0


def _refuse_recomputation(generator: torch.Generator | None) -> None:
    # Checkpointing restores the global random state only. With a private generator the
    # second run would draw other masks and the gradients would be wrong, silently.
    if generator is None or torch.compiler.is_compiling():
        return
    if torch._C._current_graph_task_id() != -1:  # what checkpointing itself asks
        raise InputError(
            "generator: expected None inside activation checkpointing, which restores the "
            "global random state only; got a generator of the layer's own"
        )
