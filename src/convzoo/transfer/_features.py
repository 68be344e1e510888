"""Features of a frozen backbone, computed once."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import batched, count as counting
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, default_collate

from convzoo._checks import check_choice, check_count
from convzoo._modes import evaluation
from convzoo.datasets import LabelledImages
from convzoo.datasets._prepared import (
    Columns,
    ImageData,
    ImageTransform,
    Prepared,
    Reader,
    usual_transform,
)
from convzoo.errors import InputError
from convzoo.transfer._feature_store import Cache, FeatureStore, digest, open_store
from convzoo.transfer._find_heads import find_heads, unwrap
