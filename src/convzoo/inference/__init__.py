"""From images to the names of what is in them, here or in another runtime."""

from convzoo.inference._accelerate import accelerate
from convzoo.inference._accelerated import Accelerated, AccelerationReport
from convzoo.inference._export import Exported, export
from convzoo.inference._formats import ExportFormat
from convzoo.inference._predictor import Prediction, Predictor

__all__ = [
    "Accelerated",
    "AccelerationReport",
    "ExportFormat",
    "Exported",
    "Prediction",
    "Predictor",
    "accelerate",
    "export",
]
