"""From images to the names of what is in them, here or in another runtime."""

from convzoo._engines._accelerate import accelerate
from convzoo._engines._accelerated import Accelerated, AccelerationReport
from convzoo.inference._export import Exported, export
from convzoo.inference._formats import ExportFormat
from convzoo.inference._predictor import FilePredictions, Prediction, Predictor
from convzoo.inference._views import TTA, Views, mean_scores

__all__ = [
    "TTA",
    "Accelerated",
    "AccelerationReport",
    "ExportFormat",
    "Exported",
    "FilePredictions",
    "Prediction",
    "Predictor",
    "Views",
    "accelerate",
    "export",
    "mean_scores",
]
