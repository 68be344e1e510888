"""The auxiliary heads of GoogLeNet and Inception-v3: outputs, loss, and the heads themselves.

An auxiliary head scores the classes from a map half-way up, so that the lower layers get a
gradient of their own in training. It plays no part in evaluation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn

from convzoo.errors import InputError
from convzoo.models.inception.blocks import ConvUnit

GOOGLENET_AUX_WEIGHT: Final = 0.3
"""Weight of each auxiliary loss of GoogLeNet (the paper, section 5)."""

INCEPTION_V3_AUX_WEIGHT: Final = 0.4
"""Weight of Inception-v3's auxiliary loss. The paper gives none; this is the authors' TensorFlow
code (`inception_model.loss`), and what PyTorch's fine-tuning tutorial uses."""


class GoogLeNetOutput(NamedTuple):
    """What a GoogLeNet with auxiliary heads returns in training mode, in torchvision's order.

    Attributes:
        logits: Class scores, (B, num_classes).
        aux2: Scores of the head on `inception4d`, (B, num_classes).
        aux1: Scores of the head on `inception4a`, (B, num_classes).
    """

    logits: Tensor
    aux2: Tensor
    aux1: Tensor

    @property
    def aux_weight(self) -> float:
        """Weight of each auxiliary loss: 0.3."""
        return GOOGLENET_AUX_WEIGHT


class InceptionV3Output(NamedTuple):
    """What an Inception-v3 with its auxiliary head returns in training mode.

    Attributes:
        logits: Class scores, (B, num_classes).
        aux: Scores of the head on `Mixed_6e`, (B, num_classes).
    """

    logits: Tensor
    aux: Tensor

    @property
    def aux_weight(self) -> float:
        """Weight of the auxiliary loss: 0.4."""
        return INCEPTION_V3_AUX_WEIGHT


def loss_with_aux(
    output: Tensor | tuple[Tensor, ...],
    target: Tensor,
    *,
    criterion: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    weight: float | None = None,
) -> Tensor:
    """The loss of the class scores plus the weighted losses of the auxiliary heads.

    Takes plain scores too, so that one training loop serves every network, with or without
    auxiliary heads, in training and in evaluation.

    Args:
        output: What a network returned: scores (B, num_classes), or a tuple of them with the main
            ones first.
        target: Whatever `criterion` compares scores with, e.g. class numbers (B,).
        criterion: Loss of one head's scores; `nn.CrossEntropyLoss(label_smoothing=0.1)` is
            Inception-v3's.
        weight: Weight of each auxiliary loss; None means the output's own, 0.3 for GoogLeNet and
            0.4 for Inception-v3.

    Returns:
        `criterion(logits) + weight * sum(criterion(aux))`.

    Raises:
        InputError: A tuple that is not of this library came without a `weight`.

    Examples:
        >>> import torch
        >>> from convzoo.models import googlenet, loss_with_aux
        >>> net = googlenet(num_classes=2, aux_heads=True, stem="small")
        >>> loss = loss_with_aux(net(torch.zeros(2, 3, 28, 28)), torch.tensor([0, 1]))
        >>> loss.shape
        torch.Size([])
    """
    if isinstance(output, Tensor):
        return criterion(output, target)
    if weight is None:
        if not isinstance(output, (GoogLeNetOutput, InceptionV3Output)):
            raise InputError(
                f"weight: expected a number for an output of type {type(output).__name__}, got "
                "None; only GoogLeNetOutput and InceptionV3Output bring a weight of their own"
            )
        weight = output.aux_weight
    loss = criterion(output[0], target)
    for scores in output[1:]:
        loss = loss + weight * criterion(scores, target)
    return loss


def pool_to_4(x: Tensor) -> Tensor:
    """The paper's 5x5 pooling with stride 3 where it leaves 4x4, else adaptive pooling to that."""
    if 14 <= x.shape[2] <= 16 and 14 <= x.shape[3] <= 16:
        return F.avg_pool2d(x, 5, stride=3)
    return F.adaptive_avg_pool2d(x, 4)


def pool_to_5(x: Tensor) -> Tensor:
    """5x5 pooling with stride 3 where it leaves 5x5 at least, else adaptive pooling to that."""
    if x.shape[2] >= 17 and x.shape[3] >= 17:
        return F.avg_pool2d(x, 5, stride=3)
    return F.adaptive_avg_pool2d(x, 5)


# torch.fx sees one call each: a trace does not know the sizes that they look at.
torch.fx.wrap("pool_to_4")
torch.fx.wrap("pool_to_5")


class GoogLeNetAux(nn.Module):
    """An auxiliary head: pooling to 4x4, 1x1 convolution, two linear layers.

    Args:
        in_channels: Channels of the map it looks at, 512 or 528.
        num_classes: Classes to score.
        batch_norm: Batch-normalise the convolution and pool adaptively, as torchvision does.
        dropout: Probability of dropping an input of the last layer.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        batch_norm: bool = False,
        dropout: float = 0.7,
        inplace: bool = True,
    ) -> None:
        super().__init__()
        self.adaptive: bool = batch_norm
        self.conv: ConvUnit = ConvUnit(in_channels, 128, 1, batch_norm=batch_norm, inplace=inplace)
        self.fc1: nn.Linear = nn.Linear(128 * 4 * 4, 1024)
        self.relu: nn.ReLU = nn.ReLU(inplace)
        self.dropout: nn.Dropout = nn.Dropout(dropout)
        self.fc2: nn.Linear = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> class scores (B, num_classes)."""
        x = F.adaptive_avg_pool2d(x, 4) if self.adaptive else pool_to_4(x)  # (B, in_channels, 4, 4)
        x = torch.flatten(self.conv(x), 1)  # (B, 2048)
        x = self.dropout(self.relu(self.fc1(x)))  # (B, 1024)
        x = self.fc2(x)
        return x


class InceptionV3Aux(nn.Module):
    """The auxiliary head: pooling to 5x5, 1x1 and 5x5 convolutions, one linear layer.

    Args:
        in_channels: Channels of the map it looks at, 768.
        num_classes: Classes to score.
        inplace: Let ReLU overwrite its input.
    """

    def __init__(self, in_channels: int, num_classes: int, *, inplace: bool = True) -> None:
        super().__init__()
        self.conv0: ConvUnit = ConvUnit(in_channels, 128, 1, inplace=inplace)
        self.conv1: ConvUnit = ConvUnit(128, 768, 5, inplace=inplace)
        self.fc: nn.Linear = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> class scores (B, num_classes)."""
        x = pool_to_5(x)  # (B, in_channels, 5, 5) from 17x17
        x = self.conv1(self.conv0(x))  # (B, 768, 1, 1)
        x = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)  # (B, 768)
        x = self.fc(x)
        return x
