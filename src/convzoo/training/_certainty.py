"""How sure a share is, and how sure a network may be."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final, NamedTuple

import torch
from torch import Tensor

from convzoo._checks import check_count, check_number
from convzoo.errors import InputError

BINS: Final = 15  # of confidence, as many as in Guo et al., 2017


def wilson_interval(
    correct: int, samples: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Between which bounds a share lies that was counted on a sample.

    Wilson's score interval (1927), which stays inside [0, 1] and holds for few samples and for
    shares near 0 and 1, where the usual plus and minus does not.

    Args:
        correct: How many of the samples counted.
        samples: How many there were.
        confidence: How often such an interval holds the true share, from 0 to 1, both excluded.

    Returns:
        The lower and the upper bound; None without samples.

    Raises:
        InputError: A number is out of range.

    Examples:
        >>> from convzoo.training import wilson_interval
        >>> low, high = wilson_interval(95, 100)
        >>> round(low, 3), round(high, 3)
        (0.888, 0.978)
    """
    samples = check_count("samples", samples, least=0)
    correct = check_count("correct", correct, least=0, most=samples)
    confidence = check_number("confidence", confidence, 0, 1)
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a number between 0 and 1, got {confidence:g}")
    if samples == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, weight = correct / samples, z * z / samples
    middle = (share + weight / 2) / (1 + weight)
    reach = z / (1 + weight) * math.sqrt(share * (1 - share) / samples + weight / (4 * samples))
    # At the ends the bound is the end itself, which rounding would miss.
    low = 0.0 if correct == 0 else middle - reach
    return low, 1.0 if correct == samples else middle + reach


class Calibration(NamedTuple):
    """Whether a network is as often right as it says.

    Attributes:
        confidence: Mean probability of the likeliest class in each group of images.
        accuracy: Share of the group that is right.
        samples: Images in the group.
        error: The expected calibration error: mean distance of the two, weighted by the samples.
    """

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    samples: tuple[int, ...]
    error: float


def calibrate(confidence: Tensor, right: Tensor, bins: int = BINS) -> Calibration:
    """Confidence against accuracy, in equal parts of [0, 1]; those without an image are left out.

    Args:
        confidence: Probability of the likeliest class of each image, (N,).
        right: Whether it is the image's, (N,).
        bins: How many parts.
    """
    sure = confidence.double()
    place = (sure.nan_to_num(0.0) * bins).long().clamp(0, bins - 1)
    samples = torch.bincount(place, minlength=bins)
    full = samples > 0
    sums = [
        torch.zeros(bins, dtype=torch.double).index_add_(0, place, values.double())
        for values in (sure, right)
    ]
    said, hit = (values[full] / samples[full] for values in sums)
    error = float((samples[full] * (said - hit).abs()).sum()) / len(sure)
    return Calibration(
        tuple(said.tolist()), tuple(hit.tolist()), tuple(samples[full].tolist()), error
    )
