"""Training and evaluation, for any network that scores the classes of images.

[fit][convzoo.training.fit] trains, [evaluate][convzoo.training.evaluate] scores. Both need the
`train` extra: Accelerate takes care of devices, precision and processes, torchmetrics of metrics.
"""

from convzoo.datasets._prepared import Columns, ImageData, ImageTransform
from convzoo.training._accelerator import MissingExtraError, MixedPrecision
from convzoo.training._early_stopping import EarlyStopping, EarlyStoppingState
from convzoo.training._evaluate import evaluate
from convzoo.training._fit import fit
from convzoo.training._loop import Monitor, TrainingDivergedError, TrainingInterrupted
from convzoo.training._processes import ProcessLostError, leave
from convzoo.training._recipe import Loss, OptimizerName, Schedule
from convzoo.training._records import (
    ClassResult,
    EpochRecord,
    Evaluation,
    History,
    StepRecord,
    StopReason,
)
from convzoo.training._speed import NoCompilerError, tune_allocator
from convzoo.training._trackers import TrackerName

__all__ = [
    "ClassResult",
    "Columns",
    "EarlyStopping",
    "EarlyStoppingState",
    "EpochRecord",
    "Evaluation",
    "History",
    "ImageData",
    "ImageTransform",
    "Loss",
    "MissingExtraError",
    "MixedPrecision",
    "Monitor",
    "NoCompilerError",
    "OptimizerName",
    "ProcessLostError",
    "Schedule",
    "StepRecord",
    "StopReason",
    "TrackerName",
    "TrainingDivergedError",
    "TrainingInterrupted",
    "evaluate",
    "fit",
    "leave",
    "tune_allocator",
]
