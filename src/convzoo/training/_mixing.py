"""MixUp and CutMix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from convzoo._checks import LARGEST, check_choice, check_count, check_number
from convzoo.errors import InputError

if TYPE_CHECKING:
    from torchvision.transforms import v2

MixingName = Literal["mixup", "cutmix", "both"]
"""How images of a batch are mixed; `"both"` draws one of the two for each batch."""

_ALPHAS: Final = {"mixup": 0.2, "cutmix": 1.0}


class Mixing:
    """Mix the images of a batch in pairs, and their labels in the same shares.

    torchvision's `MixUp` (Zhang et al., 2017: a weighted sum of two images) and `CutMix` (Yun et
    al., 2019: a box of the one in the other), with the papers' strengths and for batches with class
    numbers. Cross-entropy takes the mixed labels as they are. Accuracy on mixed images cannot be
    compared with that on whole ones.

    Args:
        kind: `"mixup"`, `"cutmix"`, or `"both"`.
        num_classes: Classes that the network scores.
        alpha: Both parameters of the Beta distribution that the shares are drawn from, above 0;
            None is 0.2 for MixUp, 1 for CutMix.
        probability: Share of the batches that are mixed, in [0, 1].

    Raises:
        InputError: An argument is wrong.

    Examples:
        >>> import torch
        >>> from convzoo.training import Mixing
        >>> mixing = Mixing("cutmix", num_classes=3)
        >>> images, targets = mixing(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
        >>> images.shape, targets.shape, targets.sum(1).round(decimals=4).tolist()
        (torch.Size([4, 1, 8, 8]), torch.Size([4, 3]), [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        kind: MixingName,
        num_classes: int,
        *,
        alpha: float | None = None,
        probability: float = 1.0,
    ) -> None:
        from torchvision.transforms import v2

        check_choice("kind", kind, get_args(MixingName))
        self.kind: MixingName = kind
        self.num_classes: int = check_count("num_classes", num_classes, most=LARGEST)
        self.probability: float = check_number("probability", probability, 0, 1)
        if alpha is not None and check_number("alpha", alpha, 0) == 0:
            raise InputError("alpha: expected a number above 0, got 0; to mix nothing leave it out")
        self._mixers: list[v2.Transform] = [
            made(alpha=_ALPHAS[name] if alpha is None else alpha, num_classes=num_classes)
            for name, made in (("mixup", v2.MixUp), ("cutmix", v2.CutMix))
            if kind in (name, "both")
        ]

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch; draws from torch's global generator.

        Args:
            images: The batch, (B, C, H, W), floating point, in random order.
            labels: Class numbers, (B,).

        Returns:
            Images (B, C, H, W), and the share of each class in them (B, num_classes).

        Raises:
            InputError: They are not such a batch.
        """
        if not (isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point()):
            raise InputError(f"images: expected floats (B, C, H, W), {_what(images)}")
        if not (
            isinstance(labels, Tensor)
            and labels.shape == images.shape[:1]
            and labels.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
        ):
            raise InputError(f"labels: expected class numbers ({len(images)},), {_what(labels)}")
        try:
            targets = F.one_hot(labels.long(), self.num_classes).to(images.dtype)
        except RuntimeError as error:
            raise InputError(
                f"labels: expected 0 to {self.num_classes - 1}: {error!s:.80}"
            ) from None
        if self.probability < 1 and float(torch.rand(())) >= self.probability:
            return images, targets
        which = int(torch.randint(len(self._mixers), ())) if len(self._mixers) > 1 else 0
        mixed: tuple[Tensor, Tensor] = self._mixers[which](images, targets)
        return mixed


def _what(value: object) -> str:
    if isinstance(value, Tensor):
        return f"got {value.dtype} of shape {tuple(value.shape)}"
    return f"got {value!r:.80}"
