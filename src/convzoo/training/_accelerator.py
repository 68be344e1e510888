"""Accelerate, set up for one call and put away after it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from convzoo.errors import ConvzooError, InputError

MixedPrecision = Literal["no", "bf16", "fp16"]
"""Number format of the forward pass; the weights stay as they are."""


class MissingExtraError(ConvzooError, ImportError):
    """An optional dependency is not installed; the message says what to install."""


def require_train_extra() -> None:
    """Say in one line what is missing, where it is."""
    try:
        import accelerate  # noqa: F401
        import torchmetrics  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("accelerate", "torchmetrics"):
            raise
        raise MissingExtraError(
            f"training needs {error.name}, which is not installed: pip install 'convzoo[train]'"
        ) from None


@contextmanager
def accelerator(
    *,
    cpu: bool = False,
    mixed_precision: MixedPrecision | None = None,
    gradient_accumulation: int = 1,
) -> Iterator[Any]:
    """An Accelerator for the length of a `with` block.

    Accelerate keeps its choices for the life of the process and refuses others; they are reset
    afterwards, unless somebody else had made them before.
    """
    require_train_extra()
    from accelerate import Accelerator, DataLoaderConfiguration
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import GradientAccumulationPlugin

    if mixed_precision not in (None, "no", "bf16", "fp16"):
        raise InputError(
            f"mixed_precision: expected 'no', 'bf16' or 'fp16', got {mixed_precision!r}"
        )
    ours = not AcceleratorState._shared_state
    try:
        made = Accelerator(
            cpu=cpu,
            mixed_precision=mixed_precision,
            # A batch is cut up among the processes, so that its size, and with it the course of
            # training, is the same for any number of them.
            dataloader_config=DataLoaderConfiguration(split_batches=True),
            gradient_accumulation_plugin=GradientAccumulationPlugin(
                num_steps=gradient_accumulation, sync_with_dataloader=False
            ),
            step_scheduler_with_optimizer=False,
            rng_types=[],
        )
    except ValueError as error:
        raise InputError(f"mixed_precision, cpu: {error}") from None
    try:
        if made.mixed_precision == "fp16" and made.device.type == "cpu":
            raise InputError(
                "mixed_precision: 'fp16' needs a GPU, this is a CPU; use 'bf16' or 'no'"
            )
        yield made
    finally:
        made.free_memory()
        if ours:
            GradientState._reset_state()
            # The process group of a distributed run outlives the call: the next one uses it.
            AcceleratorState._reset_state(reset_partial_state=made.num_processes == 1)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's and Python's generators, and put them back as they were afterwards."""
    devices = [device] if device.type == "cuda" else []
    state = random.getstate()
    with torch.random.fork_rng(devices):
        seed_all(seed)
        try:
            yield
        finally:
            random.setstate(state)


def seed_all(seed: int) -> None:
    """Seed what transforms, dropout and the loader's workers draw from."""
    torch.manual_seed(seed)
    random.seed(seed)
