"""The arguments of `fit` as a dictionary, for what passes them on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, TypedDict

from torch import Tensor
from torch.optim import Optimizer

from convzoo.datasets._prepared import Columns, ImageTransform
from convzoo.training._accelerator import MixedPrecision
from convzoo.training._early_stopping import EarlyStopping
from convzoo.training._loop import Monitor
from convzoo.training._mixing import Mixing, MixingName
from convzoo.training._recipe import Loss, LossName, OptimizerName
from convzoo.training._records import EpochRecord, StepRecord
from convzoo.training._resizing import ProgressiveResizing
from convzoo.training._schedules import Schedule, ScheduleEvery
from convzoo.training._trackers import TrackerName


class FitOptions(TypedDict, total=False):
    """Arguments of [fit][convzoo.fit] by name, as [Recipe][convzoo.training.Recipe] takes them."""

    epochs: int
    batch_size: int
    columns: Columns | None
    lr: float | None
    head_lr: float | None
    layer_decay: float | None
    weight_decay: float | None
    l2_sp: float | None
    optimizer: OptimizerName | Optimizer
    optimizer_options: Mapping[str, Any] | None
    schedule: Schedule
    schedule_every: ScheduleEvery
    warmup: float | None
    milestones: int | Sequence[float] | None
    gamma: float | None
    unfreeze_every: int | None
    ema: float | None
    label_smoothing: float
    class_weights: Literal["auto"] | Tensor | Sequence[float] | None
    balanced: bool
    loss: Loss | LossName | None
    mixing: MixingName | Mixing | None
    resizing: bool | ProgressiveResizing
    flips: Literal["alternating"] | None
    train_transform: ImageTransform | None
    eval_transform: ImageTransform | None
    monitor: Monitor | None
    early_stopping: EarlyStopping | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int | timedelta | None
    resume: bool
    mixed_precision: MixedPrecision | None
    channels_last: bool | None
    compile: bool
    gradient_accumulation: int
    max_grad_norm: float | None
    sharded: bool | None
    sync_batch_norm: bool
    seed: int
    num_workers: int
    cpu: bool
    progress: bool | None
    on_step: Callable[[StepRecord], None] | None
    on_epoch: Callable[[EpochRecord], None] | None
    trackers: Sequence[TrackerName]
    logging_dir: str | os.PathLike[str] | None
