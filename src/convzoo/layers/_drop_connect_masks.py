"""Random masks a tile at a time: 32-bit words, and what of them says "drop".

Random numbers are the dearest part of DropConnect. An entry therefore takes one bit of a word
if p is 1/2, two if it is a quarter, and so on to eight bits, where a sparse second draw makes
up what is missing to p.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from convzoo.layers._draws import sparse_positions

_DROPPED = -(2**31)  # the lowest word: never above the threshold


@dataclasses.dataclass(frozen=True)
class Coin:
    """How a random 32-bit word says "drop" with probability p."""

    bits: int  # of the word's upper end that decide
    threshold: int  # the entry is kept if the word is larger
    rest: float  # rate of the sparse second draw

    @classmethod
    def of(cls, p: float) -> Coin:
        bits = next((b for b in (1, 2, 4) if (p * 2**b).is_integer()), 8)
        coarse = math.floor(p * 2**bits)
        # The upper bits, read as an unsigned number, are below `coarse`; words are signed.
        threshold = max((coarse << (32 - bits)) + _DROPPED - 1, _DROPPED)
        dropped = coarse / 2**bits
        return cls(bits, threshold, (p - dropped) / (1 - dropped) if dropped < 1 else 0.0)


def random_words(
    coin: Coin, shape: Sequence[int], tiles: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield int32 words for `tiles` tiles of `shape`, always in the same buffer."""
    entries = math.prod(shape)
    fresh = torch.empty((entries + 1) // 2, dtype=torch.int64, device=generator.device)
    words = fresh.view(torch.int32)[:entries].view(list(shape))
    shifted = torch.empty_like(words)
    flat = shifted.view(-1)
    for tile in range(tiles):
        shift = coin.bits * (tile % (32 // coin.bits))
        if coin.threshold == _DROPPED:  # p is below 1/256: the sparse draw decides alone
            shifted.zero_()
        else:
            if shift == 0:
                fresh.random_(-(2**63), None, generator=generator)
            # A product is a shift to the left, and many times faster in PyTorch.
            torch.mul(words, 2**shift if shift < 31 else _DROPPED, out=shifted)
        if coin.rest:
            flat.index_fill_(0, sparse_positions(entries, coin.rest, generator), _DROPPED)
        yield shifted


def mask(values: Tensor, words: Tensor, coin: Coin, out: Tensor | None) -> Tensor:
    """Zero the `values`, broadcast to `words`, wherever the words say so."""
    if out is None:
        return torch.where(words > coin.threshold, values, 0.0)
    # One vectorised pass over the floats' bits: ReLU's backward passes its first argument on
    # where the second exceeds the threshold.
    torch.ops.aten.threshold_backward.grad_input(
        values.view(torch.int32).expand_as(words),
        words,
        coin.threshold,
        grad_input=out.view(torch.int32),
    )
    return out


def _buffer(dtype: torch.dtype, words: Tensor) -> Tensor | None:
    """Room for masked values, where `_masked` can use it."""
    if dtype is torch.float32:
        return torch.empty(words.shape, dtype=dtype, device=words.device)
    return None


def reuse_buffer(out: Tensor | None, dtype: torch.dtype, words: Tensor) -> Tensor | None:
    return (
        out[: len(words)]
        if out is not None and out.shape[1:] == words.shape[1:]
        else (_buffer(dtype, words))
    )
