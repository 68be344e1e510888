"""Labelled images: known data sets by name, the bundled digits, folders, and the Hub's tables.

All come as [Splits][convzoo.datasets.Splits] of [LabelledImages][convzoo.datasets.LabelledImages],
raw: PIL images or uint8 tensors, which a network's preset turns into its input. `fit` and
`evaluate` apply the preset themselves; any other data set of (image, label) pairs will do as well.
"""

from convzoo.datasets._digits import digits
from convzoo.datasets._folds import Fold, folds
from convzoo.datasets._image_folder import (
    IMAGE_SUFFIXES,
    OnError,
    Part,
    class_names,
    image_folder,
    labelled_folder,
)
from convzoo.datasets._labelled import LabelledImages, Splits, StoredImage
from convzoo.datasets._named import NAMES, DatasetName, fetch, load

__all__ = [
    "IMAGE_SUFFIXES",
    "NAMES",
    "DatasetName",
    "Fold",
    "LabelledImages",
    "OnError",
    "Part",
    "Splits",
    "StoredImage",
    "class_names",
    "digits",
    "fetch",
    "folds",
    "image_folder",
    "labelled_folder",
    "load",
]
