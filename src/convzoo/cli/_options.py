"""What the user may ask of `convzoo finetune`; without torch, so that `--help` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Augment = Literal["preset", "none", "digit", "small", "photo", "randaugment", "trivialaugment"]
Optimizer = Literal["adamw", "adam", "sgd", "rmsprop"]
Schedule = Literal["one_cycle", "cosine", "step", "plateau", "constant"]
Mixing = Literal["mixup", "cutmix", "both"]
Tracker = Literal["csv", "tensorboard", "trackio", "wandb", "mlflow"]
MixedPrecision = Literal["no", "bf16", "fp16", "auto"]


@dataclass(frozen=True)
class Options:
    """What the user asked `finetune` for; None where the default depends on the data."""

    data: str | None
    model: str | None
    weights: str | None
    out: Path
    freeze: str
    epochs: int
    head_epochs: int
    batch_size: int
    lr: float
    head_lr: float | None
    weight_decay: float | None
    optimizer: Optimizer
    schedule: Schedule
    warmup: float | None
    label_smoothing: float
    recipe: str | None
    layer_decay: float | None
    unfreeze_every: int | None
    l2_sp: float | None
    ema: float | None
    mixing: Mixing | None
    class_weights: Literal["auto"] | None
    balanced: bool
    resizing: bool
    flips: Literal["alternating"] | None
    augment: Augment | None
    patience: int | None
    val_share: float
    test_share: float
    on_error: Literal["raise", "skip"]
    baseline: bool | None
    mixed_precision: MixedPrecision | None
    gradient_accumulation: int
    sharded: bool | None
    sync_batch_norm: bool
    seed: int
    workers: int | None
    resume: bool
    checkpoint_every: str
    channels_last: bool | None
    compile: bool
    trackers: tuple[Tracker, ...]
    cpu: bool
    quiet: bool
    as_json: bool
    typed: frozenset[str]  # the names of those that are no defaults
