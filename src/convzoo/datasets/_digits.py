"""The handwritten digits that come with the package."""

from __future__ import annotations

import torch

from convzoo.datasets._labelled import LabelledImages, Splits


def digits(*, val: float = 0.1, test: float = 0.2, seed: int = 0) -> Splits:
    """The bundled handwritten digits: 1,797 grey images of 8 x 8 pixels, ten classes.

    They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak,
    1998, CC BY 4.0), which is also scikit-learn's `load_digits`: white ink on black, 17 grey
    levels, here scaled to 0 to 255. The parts are drawn at random, class by class, so that all
    writers appear in each of them.

    Args:
        val: Share of the images for validation, in [0, 1).
        test: Share of the images for the final test, in [0, 1).
        seed: Of the draw.

    Returns:
        By default 1,259 images to train on, 179 to validate and 359 to test.

    Examples:
        >>> from convzoo import datasets
        >>> data = datasets.digits()
        >>> image, label = data.train[0]
        >>> tuple(image.shape), image.dtype, data.classes[label]
        ((1, 8, 8), torch.uint8, '0')
    """
    from importlib.resources import files

    from safetensors.torch import load

    stored = load(files("convzoo").joinpath("bundled", "digits.safetensors").read_bytes())
    levels = stored["images"].to(torch.int32)  # (1797, 8, 8), 0 to 16
    images = ((levels * 255 + 8) // 16).to(torch.uint8).unsqueeze(1)
    whole = LabelledImages(images, stored["labels"].tolist(), map(str, range(10)))
    train, held_out, judge = whole.split(val, test, seed=seed)
    return Splits(train, held_out, judge)
