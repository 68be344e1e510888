"""What an engine is asked to run, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

EngineName = Literal["torch", "compile", "onnxruntime", "openvino"]
"""What can run a network."""

Precision = Literal["fp32", "bf16", "int8"]
"""The numbers that a network is run in."""

Run = Callable[[Tensor], Tensor]
"""Images (B, C, H, W) -> scores (B, num_classes)."""


@dataclass(frozen=True)
class Job:
    """A network to run, and how.

    Attributes:
        net: The network in evaluation mode, folded; the engine's own to change.
        example: Images like those to come, (B, C, H, W), where the network is.
        precision: The numbers to run it in.
        threads: How many threads to use on the CPU.
    """

    net: nn.Module
    example: Tensor
    precision: Precision
    threads: int

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.example.device


@dataclass(frozen=True)
class Setting:
    """One way in which an engine can run a job.

    Attributes:
        engine: The engine.
        name: What tells it from the engine's other settings; empty where there are none.
        build: Makes it ready to run.
    """

    engine: EngineName
    name: str
    build: Callable[[], Run]

    def __str__(self) -> str:
        """The engine, and the setting in brackets."""
        return f"{self.engine} ({self.name})" if self.name else self.engine
