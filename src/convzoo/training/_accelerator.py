"""Accelerate, set up for one call and put away after it."""

from __future__ import annotations

import functools
import logging
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import torch

from convzoo.errors import InputError, MissingExtraError

MixedPrecision = Literal["no", "bf16", "fp16", "auto"]
"""Number format of the forward pass; the weights stay as they are.

`"auto"` is bf16 where the processor or GPU computes in it, else full precision.
"""

log: Final = logging.getLogger("convzoo")

_USE_FSDP: Final = "ACCELERATE_USE_FSDP"  # set by `accelerate launch --use_fsdp`


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
) -> Iterator[Any]:
    """An Accelerator for the length of a `with` block.

    Accelerate keeps its choices for the life of the process and refuses others; they are reset
    afterwards, unless somebody else had made them before.
    """
    require_train_extra()
    from accelerate import Accelerator, DataLoaderConfiguration
    from accelerate.state import AcceleratorState, GradientState

    if mixed_precision not in (None, "no", "bf16", "fp16", "auto"):
        raise InputError(
            f"mixed_precision: expected 'no', 'bf16', 'fp16' or 'auto', got {mixed_precision!r:.80}"
        )
    if mixed_precision == "auto":
        on_cpu = cpu or not torch.accelerator.is_available()
        native = computes_bf16("cpu" if on_cpu else _accelerator_type())
        mixed_precision = "bf16" if native else "no"
        if not native:
            log.info(
                "mixed_precision: full precision, since this %s does not compute in bf16",
                "processor" if on_cpu else "GPU",
            )
    ours = not AcceleratorState._shared_state
    try:
        with _launch_settings_hidden(_USE_FSDP):
            made = Accelerator(
                cpu=cpu,
                mixed_precision=mixed_precision,
                # A batch is cut up among the processes, so that its size, and with it the course
                # of training, is the same for any number of them.
                dataloader_config=DataLoaderConfiguration(split_batches=True),
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
        if ours:
            GradientState._reset_state()
            # The process group of a distributed run outlives the call: the next one uses it.
            AcceleratorState._reset_state(reset_partial_state=made.num_processes == 1)


def computes_bf16(device: str) -> bool:
    """Whether a kind of device has instructions for bf16; elsewhere it is slower than fp32.

    Args:
        device: `"cpu"`, `"cuda"`, ...
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False  # nothing is known of it
    told = getattr(torch.cpu, "get_capabilities", None)
    if told is None:  # before torch 2.10
        return bool(torch.cpu._is_avx512_bf16_supported())
    found = told()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def _accelerator_type() -> str:
    found = torch.accelerator.current_accelerator()
    return "cpu" if found is None else found.type


def sharding_asked_for(wanted: bool | None) -> bool:
    """What the user said, or else what `accelerate launch` was told."""
    if wanted is None:
        return os.environ.get(_USE_FSDP, "false").lower() in ("1", "true")
    return wanted


def sharded_wanted(wanted: bool | None, acc: Any, optimizer: object) -> bool:
    """Whether a training is to be shared out among its processes, and can be.

    Args:
        wanted: What the user said; None for what `accelerate launch` was told.
        acc: The Accelerator.
        optimizer: What the user gave as the optimizer.

    Raises:
        InputError: It cannot be.
    """
    if not sharding_asked_for(wanted) or acc.num_processes == 1:
        return False
    if isinstance(optimizer, torch.optim.Optimizer):
        raise InputError(
            "optimizer: with sharded=True parameters are exchanged for shares of them, which the "
            "optimizer given does not know; name one instead, e.g. optimizer='adamw'"
        )
    if acc.mixed_precision == "fp16":
        raise InputError("mixed_precision: with sharded=True expected 'bf16' or 'no', got 'fp16'")
    return True


@contextmanager
def _launch_settings_hidden(name: str) -> Iterator[None]:
    """Keep Accelerate from wrapping the network by itself, by layers it does not know."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's, Python's and NumPy's generators, and put them back as they were afterwards."""
    devices = [device] if device.type == "cuda" else []
    state, numpy = random.getstate(), _numpy()
    numpy_state = None if numpy is None else numpy.random.get_state()
    with torch.random.fork_rng(devices):
        seed_all(seed)
        try:
            yield
        finally:
            random.setstate(state)
            if numpy is not None:
                numpy.random.set_state(numpy_state)


def seed_all(seed: int) -> None:
    """Seed what transforms, dropout and the loader's workers draw from."""
    # torch.manual_seed notes a traceback for each kind of device that may come yet: 2 ms a call.
    (torch.manual_seed if _beside_the_cpu() else torch.default_generator.manual_seed)(seed)
    random.seed(seed)
    numpy = _numpy()
    if numpy is not None:
        numpy.random.seed(seed % 2**32)


@functools.cache
def _beside_the_cpu() -> bool:
    return torch.accelerator.is_available()


def _numpy() -> Any:
    """NumPy, where somebody uses it."""
    return sys.modules.get("numpy")
