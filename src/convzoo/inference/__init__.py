"""From images to the names of what is in them."""

from convzoo.inference._predictor import Prediction, Predictor

__all__ = ["Prediction", "Predictor"]
