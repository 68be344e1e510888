"""What no function takes, it names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import convzoo
from convzoo import visualize
from convzoo.errors import InputError


def net() -> convzoo.Classifier:
    return convzoo.lenet5(activation="relu", pool="max", num_classes=3)


X = torch.zeros(1, 1, 28, 28)
PAIRS = [(X[0], 0)]
WRONG: dict[str, Callable[[], object]] = {
    "net": lambda: visualize.grad_cam("lenet5", X),
    "images": lambda: visualize.grad_cam(net(), torch.zeros(28)),
    "images: expected at least one": lambda: visualize.grad_cam(net(), []),
    "x: expected 1 channel": lambda: visualize.gradients(net(), torch.zeros(1, 3, 28, 28)),
    "preset": lambda: visualize.pixels(X - 5),
    "place": lambda: visualize.deconvnet(net(), X, "conv2", 0, (1,)),
    "place: row": lambda: visualize.draw_receptive_field(net(), X, "conv2", (-1, 0)),
    "judged": lambda: visualize.calibration("abc"),
    "judged: expected what": lambda: visualize.draw_predictions([]),
    "labels": lambda: visualize.predictions(net(), PAIRS, labels=["a"]),
    "curves": lambda: visualize.draw_activations([]),
    "maps": lambda: visualize.draw_feature_maps(X),
    "flows": lambda: visualize.draw_gradient_flow({}),
    "patches": lambda: visualize.draw_patches({0: ()}),
    "points": lambda: visualize.draw_embedding(torch.zeros(3)),
    "words": lambda: visualize.text(""),
    "samples": lambda: visualize.smooth_grad(net(), X, samples=0),
    "steps": lambda: visualize.integrated_gradients(net(), X, steps=-1),
    "data": lambda: visualize.embed(net(), 3),
    "input_size": lambda: visualize.architecture(net(), "large"),
    "unit": lambda: visualize.top_patches(net(), PAIRS, "conv2", [99]),
}


@pytest.mark.parametrize("argument", WRONG)
def test_it_is_named(argument: str) -> None:
    with pytest.raises(InputError, match=argument):
        WRONG[argument]()
