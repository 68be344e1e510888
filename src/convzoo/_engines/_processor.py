"""What numbers the processor or the card has instructions for."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is quicker than float32 there, as far as torch can tell."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _has("avx512_bf16", "amx_bf16", "bf16")


def adds_int8_exactly() -> bool:
    """Whether the processor sums products of bytes in 32 bits: older ones saturate in 16."""
    return _has("avx512_vnni", "avx_vnni", "amx_int8", "dot", "i8mm")


def _has(*names: str) -> bool:
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.10
    return any(known.get(name) is True for name in names)
