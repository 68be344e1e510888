"""The two losses of the LeNet-5 paper, on the scores of `lenet5_1998`.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998,
section II.C. The scores are negative squared distances, -y in the paper's notation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convzoo.errors import InputError


class LeNetMSELoss(nn.Module):
    """The mean squared distance of F6 to the code of the right class (equation 8).

    It needs fixed codes: trainable ones would all become the same.

    Examples:
        >>> import torch
        >>> from convzoo.models import LeNetMSELoss
        >>> scores = torch.tensor([[-3.0, -50.0], [-7.0, -5.0]])  # distances 3 and 50, 7 and 5
        >>> LeNetMSELoss()(scores, torch.tensor([0, 1]))
        tensor(4.)
    """

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Scores (B, C) and right classes (B,) -> the mean distance, a scalar."""
        return -_of_target(scores, target).mean()

    if TYPE_CHECKING:

        def __call__(self, scores: Tensor, target: Tensor) -> Tensor: ...  # noqa: D102


class LeNetMAPLoss(nn.Module):
    """The maximum a posteriori loss, which also pushes the wrong classes away (equation 9).

    The mean of `y_D + log(exp(-j) + sum_i exp(-y_i))`, where `y_D` is the right class's distance:
    cross-entropy with one more class, of rubbish, at the constant distance `j`.

    Args:
        j: Distance of the rubbish class, above 0. The paper does not give its value; 0.1 is what
            others have used.

    Raises:
        InputError: `j` is not positive.

    Examples:
        >>> import torch
        >>> from convzoo.models import LeNetMAPLoss
        >>> LeNetMAPLoss(j=3.0)(torch.tensor([[-3.0, -50.0]]), torch.tensor([0]))  # log(1 + 1)
        tensor(0.6931)
    """

    def __init__(self, j: float = 0.1) -> None:
        super().__init__()
        if not j > 0:
            raise InputError(f"j: expected a number above 0, got {j!r}")
        self.j: float = j

    def forward(self, scores: Tensor, target: Tensor) -> Tensor:
        """Scores (B, C) and right classes (B,) -> the mean loss, a scalar."""
        right = _of_target(scores, target)
        rubbish = torch.full_like(scores[:, :1], -self.j)
        return (torch.cat([scores, rubbish], dim=1).logsumexp(1) - right).mean()

    def extra_repr(self) -> str:
        """What `print(loss)` shows."""
        return f"j={self.j}"

    if TYPE_CHECKING:

        def __call__(self, scores: Tensor, target: Tensor) -> Tensor: ...  # noqa: D102


def _of_target(scores: Tensor, target: Tensor) -> Tensor:
    """Each row's score of its right class, (B,)."""
    if scores.ndim != 2 or target.shape != scores.shape[:1]:
        raise InputError(
            "scores, target: expected shapes (B, C) and (B,), "
            f"got {tuple(scores.shape)} and {tuple(target.shape)}"
        )
    return scores.gather(1, target[:, None]).squeeze(1)
