"""Monte Carlo dropout: ask a network with dropout many times how sure it is.

Paper: Gal, Ghahramani, *Dropout as a Bayesian Approximation: Representing Model Uncertainty in
Deep Learning*, 2016; the mutual information as in Houlsby et al., *Bayesian Active Learning
for Classification and Preference Learning*, 2011.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from convzoo._checks import check_count
from convzoo._heads import DropoutConv2d, DropoutLinear
from convzoo._modes import check_network, evaluation
from convzoo.errors import InputError
from convzoo.layers.dropblock import DropBlock1d, DropBlock2d, DropBlock3d
from convzoo.layers.dropconnect import DropConnectConv2d, DropConnectLinear

_DROPOUT_LIKE = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    DropBlock1d,
    DropBlock2d,
    DropBlock3d,
    DropConnectLinear,
    DropConnectConv2d,
    DropoutLinear,
    DropoutConv2d,
)
# Of torchvision and timm; by name, since neither is imported for this.
_DROPOUT_LIKE_NAMES = {"StochasticDepth", "DropBlock2d", "DropBlock3d", "DropPath", "PatchDropout"}


class MCDropout(NamedTuple):
    """What [mc_dropout][convzoo.layers.mc_dropout] returns; entropies in nats."""

    probabilities: Tensor
    """Mean over the samples of the class probabilities, `(B, num_classes)`."""
    entropy: Tensor
    """Entropy of that mean, `(B,)`: how unsure the prediction is, for whatever reason."""
    mutual_information: Tensor
    """`entropy` minus the mean entropy of the samples, `(B,)`: the part on which the samples
    disagree, which more training data could remove."""


def mc_dropout(net: nn.Module, x: Tensor, samples: int = 30) -> MCDropout:
    """Predict with the ensemble that a network with dropout contains.

    Runs the network `samples` times with its dropout-like layers active and everything else,
    BatchNorm above all, in evaluation. Modes are restored afterwards. Dropout by function
    (`F.dropout(x, training=self.training)`) is not a layer and stays inactive.

    Args:
        net: A classifier with layers of dropout: torch's, those of this package, or
            torchvision's and timm's.
        x: Inputs `(B, C, H, W)`, or whatever `net` takes.
        samples: Number of forward passes, at least 1.

    Returns:
        Mean probabilities, predictive entropy and mutual information, without gradient.

    Raises:
        InputError: `samples` is below 1, `net` has no dropout-like layer, or it does not
            return logits `(B, num_classes)`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from convzoo.layers import mc_dropout
        >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))
        >>> result = mc_dropout(net, torch.randn(4, 8), samples=10)
        >>> result.probabilities.shape, bool((result.mutual_information >= 0).all())
        (torch.Size([4, 3]), True)
    """
    check_network(net)
    samples = check_count("samples", samples)
    active = [module for module in net.modules() if _is_dropout_like(module)]
    if not active:
        raise InputError("net: expected layers of dropout or its kin, found none")
    with torch.no_grad(), evaluation(net):
        for module in active:
            module.training = True
        mean = _probabilities(net, x)
        mean_entropy = _entropy(mean)
        for _ in range(samples - 1):
            probabilities = _probabilities(net, x)
            mean = mean + probabilities
            mean_entropy = mean_entropy + _entropy(probabilities)
        mean, mean_entropy = mean / samples, mean_entropy / samples
        total = _entropy(mean)
    # Never negative but for rounding, as the entropy is concave.
    return MCDropout(mean, total, (total - mean_entropy).clamp(min=0))


def _probabilities(net: nn.Module, x: Tensor) -> Tensor:
    logits: object = net(x)
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"net: expected it to return (B, num_classes), got {got}")
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(1)


def _entropy(probabilities: Tensor) -> Tensor:
    entropies: Tensor = torch.special.entr(probabilities)
    return entropies.sum(1)


def _is_dropout_like(module: nn.Module) -> bool:
    if isinstance(module, _DROPOUT_LIKE):
        return True
    kind = type(module)
    return kind.__module__.startswith(("torchvision.", "timm.")) and (
        kind.__name__ in _DROPOUT_LIKE_NAMES
    )
