"""Training and evaluation, for any network that scores the classes of images.

[fit][convzoo.training.fit] trains, [evaluate][convzoo.training.evaluate] scores. Both need the
`train` extra: Accelerate takes care of devices, precision and processes, torchmetrics of metrics.
"""

from convzoo.datasets._prepared import Columns, ImageData, ImageTransform
from convzoo.errors import MissingExtraError
from convzoo.training._accelerator import MixedPrecision
from convzoo.training._certainty import Calibration, wilson_interval
from convzoo.training._class_balance import Labelled, balanced_sampler, class_weights
from convzoo.training._early_stopping import EarlyStopping, EarlyStoppingState
from convzoo.training._ema import EMA
from convzoo.training._evaluate import evaluate, evaluate_regression
from convzoo.training._evaluation import ClassResult, Confusion, Evaluation
from convzoo.training._fit import fit
from convzoo.training._fit_options import FitOptions
from convzoo.training._flips import AlternatingFlips
from convzoo.training._image_scores import ImageResult, ImageScores
from convzoo.training._l2_sp import L2SP
from convzoo.training._linear_probe import LinearProbe, linear_probe
from convzoo.training._loop import Monitor, TrainingDivergedError, TrainingInterrupted
from convzoo.training._lr_finder import LRCurve, lr_find
from convzoo.training._mixing import Mixing, MixingName
from convzoo.training._processes import ProcessLostError, leave
from convzoo.training._recipe import Loss, LossName, OptimizerName
from convzoo.training._recipes import Recipe, RecipeName
from convzoo.training._records import (
    EpochRecord,
    History,
    StepRecord,
    StopReason,
)
from convzoo.training._regression import NumberResult, RegressionEvaluation
from convzoo.training._resizing import ProgressiveResizing
from convzoo.training._schedules import (
    Schedule,
    ScheduleEvery,
    ScheduleName,
    StepSchedule,
    lr_schedule,
)
from convzoo.training._speed import NoCompilerError, tune_allocator
from convzoo.training._trackers import TrackerName
from convzoo.training._unfreezing import GradualUnfreezing

__all__ = [
    "EMA",
    "L2SP",
    "AlternatingFlips",
    "Calibration",
    "ClassResult",
    "Columns",
    "Confusion",
    "EarlyStopping",
    "EarlyStoppingState",
    "EpochRecord",
    "Evaluation",
    "FitOptions",
    "GradualUnfreezing",
    "History",
    "ImageData",
    "ImageResult",
    "ImageScores",
    "ImageTransform",
    "LRCurve",
    "Labelled",
    "LinearProbe",
    "Loss",
    "LossName",
    "MissingExtraError",
    "MixedPrecision",
    "Mixing",
    "MixingName",
    "Monitor",
    "NoCompilerError",
    "NumberResult",
    "OptimizerName",
    "ProcessLostError",
    "ProgressiveResizing",
    "Recipe",
    "RecipeName",
    "RegressionEvaluation",
    "Schedule",
    "ScheduleEvery",
    "ScheduleName",
    "StepRecord",
    "StepSchedule",
    "StopReason",
    "TrackerName",
    "TrainingDivergedError",
    "TrainingInterrupted",
    "balanced_sampler",
    "class_weights",
    "evaluate",
    "evaluate_regression",
    "fit",
    "leave",
    "linear_probe",
    "lr_find",
    "lr_schedule",
    "tune_allocator",
    "wilson_interval",
]
