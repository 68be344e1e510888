"""From images to the names of what is in them."""

from convzoo.inference._accelerate import accelerate
from convzoo.inference._accelerated import Accelerated, AccelerationReport
from convzoo.inference._predictor import Prediction, Predictor

__all__ = ["Accelerated", "AccelerationReport", "Prediction", "Predictor", "accelerate"]
