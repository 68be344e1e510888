"""Test-time augmentation: an image in several views, scored together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from convzoo._checks import check_choice
from convzoo.datasets._prepared import ImageTransform
from convzoo.errors import InputError
from convzoo.presets import Preset

TTA = Literal["flip", "five_crop", "ten_crop", "scales"]
"""Views of an image at test time.

`"flip"`: the image and its mirror image. `"five_crop"`: the four corners and the middle of the
square that the preset resizes to. `"ten_crop"`: these and their mirror images, as AlexNet was
scored (Krizhevsky et al., 2012). `"scales"`: the middle of the image at three sizes, for inputs of
224 cut from 256 those of VGG, 224, 256 and 288 (Simonyan and Zisserman, 2015, arXiv:1409.1556).
"""


class Views:
    """From an image to several views of it, for a network to score together.

    What the network says of the image is the mean of the probabilities it gives to its views, as
    AlexNet averages "the predictions made by the network's softmax layer on the ten patches" and
    VGG its "class posteriors"; [mean_scores][convzoo.inference.mean_scores] does that.

    Args:
        prepare: How an image becomes an input: a preset, or a transform of your own. A transform
            can be flipped; crops and scales need a preset, to know from what they are cut.
        tta: The name of the views, or a list of transforms, one a view, each from an image to an
            input (C, H, W) of one size.
        prepared: Whether a float tensor is an input already, as in data sets, of which `"flip"` can
            make two; without it is an image in [0, 1].

    Raises:
        InputError: The views cannot be made: there is no transform in the list, or the preset
            leaves nothing to crop from.
        UnknownNameError: `tta` names no views.

    Examples:
        >>> import torch
        >>> from convzoo import presets
        >>> from convzoo.inference import Views
        >>> ten = Views(presets.IMAGENET, "ten_crop")
        >>> ten(torch.zeros(3, 300, 400, dtype=torch.uint8)).shape
        torch.Size([10, 3, 224, 224])
    """

    def __init__(
        self,
        prepare: Preset | ImageTransform | None,
        tta: TTA | Sequence[ImageTransform],
        *,
        prepared: bool = False,
    ) -> None:
        self.tta: TTA | tuple[ImageTransform, ...]
        self._prepared = prepared
        self._size: tuple[int, int] = (0, 0)
        if isinstance(tta, str):
            check_choice("tta", tta, get_args(TTA))
            self.tta = tta
            self._steps = _steps(prepare, tta)
            if isinstance(prepare, Preset):
                self._size = prepare.height_width
        else:
            if not (isinstance(tta, Sequence) and tta and all(callable(one) for one in tta)):
                raise InputError(
                    f"tta: expected {', '.join(map(repr, get_args(TTA)))} or transforms, one for "
                    f"each view, got {tta!r:.80}"
                )
            self.tta = self._steps = tuple(cast("Sequence[ImageTransform]", tta))

    def __len__(self) -> int:
        """How many views an image has."""
        crops = {"flip": 2, "five_crop": 5, "ten_crop": 10}
        return crops.get(self.tta, 3) if isinstance(self.tta, str) else len(self.tta)

    def __call__(self, image: Any) -> Tensor:
        """The views of one image.

        Args:
            image: What the preset or the transforms take.

        Returns:
            Inputs of a network, (V, C, H, W).

        Raises:
            InputError: The image is none, is smaller than a crop, or the transforms give inputs of
                several sizes.
        """
        if self._prepared and isinstance(image, Tensor) and image.is_floating_point():
            if self.tta != "flip" and isinstance(self.tta, str):
                raise InputError(
                    f'tta: "{self.tta}" is cut from images, and the data gives inputs that are '
                    'prepared already; "flip" will do, or a list of transforms'
                )
            found = [image] if self.tta == "flip" else [step(image) for step in self._steps]
        elif not self._steps:
            raise InputError(
                f"tta: the data gives raw images ({type(image).__name__}) and the network has no "
                "preset to prepare them; pass a transform"
            )
        else:
            found = [step(image) for step in self._steps]
        if self.tta in ("five_crop", "ten_crop"):
            found = _five(found[0], *self._size)
        if len({x.shape for x in found}) > 1:
            shapes = ", ".join(str(tuple(x.shape)) for x in found)
            raise InputError(f"tta: expected views of one size, got {shapes}")
        views = torch.stack(found)
        return torch.cat([views, views.flip(-1)]) if self.tta in ("flip", "ten_crop") else views


class MeanOfViews(nn.Module):
    """A network that scores views (B, V, C, H, W) of images together."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, views: Tensor) -> Tensor:
        """Logarithms of the mean probabilities, (B, num_classes)."""
        return mean_scores(self.net, views)


def mean_scores(net: nn.Module, views: Tensor) -> Tensor:
    """What a network says of images that it sees in several views.

    Args:
        net: Any network that scores classes.
        views: As [Views][convzoo.inference.Views] makes them, stacked, (B, V, C, H, W); they go
            through the network at once.

    Returns:
        Logarithms of the mean over the views of the probabilities, (B, num_classes): scores whose
        softmax is that mean.

    Raises:
        InputError: `views` has another shape, or the network gives no scores (B, num_classes).

    Examples:
        >>> import torch, convzoo
        >>> from convzoo.inference import Views, mean_scores
        >>> net = convzoo.lenet5().eval()
        >>> views = Views(net.preset, "flip")(torch.zeros(1, 28, 28, dtype=torch.uint8))
        >>> mean_scores(net, views[None]).exp().sum().item()  # of one image
        1.0
    """
    if not isinstance(views, Tensor) or views.ndim != 5:
        shape = tuple(views.shape) if isinstance(views, Tensor) else type(views).__name__
        raise InputError(f"views: expected (B, V, C, H, W), got {shape}")
    scores: Tensor | tuple[Tensor, ...] = net(views.flatten(0, 1))
    if not isinstance(scores, Tensor):
        scores = scores[0]  # some foreign networks return auxiliary scores as well
    if scores.ndim != 2:
        raise InputError(f"net: expected scores (B, num_classes), got {tuple(scores.shape)}")
    logs = scores.float().log_softmax(1).reshape(*views.shape[:2], -1)  # (B, V, num_classes)
    return logs.logsumexp(1) - math.log(views.shape[1])


def _steps(prepare: Preset | ImageTransform | None, tta: TTA) -> tuple[ImageTransform, ...]:
    """What makes the views of a name, before they are cut and flipped."""
    if prepare is None and tta == "flip":
        return ()  # inputs that are prepared already need nothing
    if not isinstance(prepare, Preset):
        if tta == "flip" and callable(prepare):
            return (prepare,)
        raise InputError(
            f'tta: "{tta}" needs a preset, to know what to cut from, got {prepare!r:.80}; pass a '
            "list of transforms, one for each view"
        )
    if tta == "flip":
        return (prepare.eval(),)
    (height, width), resize = prepare.height_width, prepare.resize
    least = min(height, width)
    if prepare.crop == "none" or (resize is None and tta == "scales"):
        raise InputError(
            f'tta: "{tta}" needs a preset that resizes and crops, got resize={resize}, '
            f"crop={prepare.crop!r}; pass a list of transforms, one for each view"
        )
    if resize is not None and resize <= least:
        raise InputError(
            f'tta: "{tta}" needs a margin to cut from, and the preset resizes to {resize} pixels '
            f"and cuts {least}; take a larger one: preset.replace(resize={round(least * 8 / 7)})"
        )
    if resize is None:  # of the images as they are
        return (prepare.replace(crop="none").eval(),)
    if tta == "scales":
        return tuple(prepare.replace(resize=s).eval() for s in (least, resize, 2 * resize - least))
    scale = resize / least
    box = (round(height * scale), round(width * scale))
    return (prepare.replace(input_size=box, resize=min(box)).eval(),)


def _five(x: Tensor, height: int, width: int) -> list[Tensor]:
    """The four corners and the middle of (C, H, W)."""
    down, right = x.shape[-2] - height, x.shape[-1] - width
    if down < 0 or right < 0:
        raise InputError(
            f"tta: expected an image of at least {height} x {width} pixels to cut from, got "
            f"{x.shape[-2]} x {x.shape[-1]}"
        )
    places = [(0, 0), (0, right), (down, 0), (down, right), (round(down / 2), round(right / 2))]
    return [x[..., top : top + height, left : left + width] for top, left in places]
