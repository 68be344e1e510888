"""AlexNet's augmentation of colours."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from convzoo._checks import check_number
from convzoo.errors import InputError

# Of ImageNet's pixels in [0, 1], as cuda-convnet's and Facebook's code has them.
_VALUES: Final = (0.2175, 0.0188, 0.0045)
_VECTORS: Final = (  # a row a channel, a column an eigenvector
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


class PCALighting(nn.Module):
    """Shift an image's colour along the principal components of ImageNet's (AlexNet).

    Krizhevsky et al. (2012): the light of a scene changes, its object does not. The shift is a sum
    of the three components, each times its eigenvalue and a number drawn from N(0, std^2), anew for
    every image; it comes to some 3 grey levels.

    Args:
        std: Of those numbers, at least 0; the paper's is 0.1.

    Raises:
        InputError: `std` is out of range.

    Examples:
        >>> import torch
        >>> from convzoo.presets import PCALighting
        >>> shifted = PCALighting()(torch.full((3, 2, 2), 0.5))
        >>> bool((shifted == shifted[:, :1, :1]).all())  # each channel as a whole
        True
    """

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.std: float = check_number("std", std, 0)

    def forward(self, image: Tensor) -> Tensor:
        """Shift floats (..., 3, H, W) in [0, 1], before normalisation; each image by its own."""
        if image.ndim < 3 or image.shape[-3] != 3 or not image.is_floating_point():
            raise InputError(
                "image: expected floats (..., 3, H, W) in [0, 1], got "
                f"{image.dtype} of shape {tuple(image.shape)}"
            )
        drawn = torch.randn(*image.shape[:-3], 3) * self.std * torch.tensor(_VALUES)
        shift = drawn @ torch.tensor(_VECTORS).T  # (..., 3)
        return image + shift.to(image)[..., None, None]

    def extra_repr(self) -> str:
        """The strength, for printing."""
        return f"std={self.std:g}"
