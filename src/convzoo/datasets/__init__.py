"""Labelled images: the bundled digits, and folders with one subfolder a class.

Both come as [Splits][convzoo.datasets.Splits] of [LabelledImages][convzoo.datasets.LabelledImages],
raw: PIL images or uint8 tensors, which a network's preset turns into its input. `fit` and
`evaluate` apply the preset themselves; any other data set of (image, label) pairs will do as well.
"""

from convzoo.datasets._digits import digits
from convzoo.datasets._image_folder import (
    IMAGE_SUFFIXES,
    OnError,
    Part,
    class_names,
    image_folder,
    labelled_folder,
)
from convzoo.datasets._labelled import LabelledImages, Splits

__all__ = [
    "IMAGE_SUFFIXES",
    "LabelledImages",
    "OnError",
    "Part",
    "Splits",
    "class_names",
    "digits",
    "image_folder",
    "labelled_folder",
]
