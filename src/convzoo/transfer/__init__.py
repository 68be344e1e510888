"""Give a network a new head, freeze what it already knows, and see what will train.

Works on every [Classifier][convzoo.Classifier] and on torchvision's and timm's networks.
"""

from __future__ import annotations

from convzoo.transfer._features import FeatureOptions, FeaturePrecision, cached_features
from convzoo.transfer._find_heads import find_heads
from convzoo.transfer._fit_head import HeadRates, find_head_lr, fit_head
from convzoo.transfer._freeze import freeze, unfreeze
from convzoo.transfer._groups import ParamGroup, param_groups
from convzoo.transfer._replace import replace_head
from convzoo.transfer._report import Drift, PartReport, State, TransferReport, report

__all__ = [
    "Drift",
    "FeatureOptions",
    "FeaturePrecision",
    "HeadRates",
    "ParamGroup",
    "PartReport",
    "State",
    "TransferReport",
    "cached_features",
    "find_head_lr",
    "find_heads",
    "fit_head",
    "freeze",
    "param_groups",
    "replace_head",
    "report",
    "unfreeze",
]
