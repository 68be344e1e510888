"""The names that other libraries give to the same tensors.

convzoo's state-dict keys are torchvision's wherever torchvision has the network. Three published
sets of files have others; each is declared here once, as a table that reads both ways.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from torch import Tensor

from convzoo.errors import InputError, UnknownNameError


@dataclass(frozen=True)
class Layout:
    """A way to name a network's tensors.

    Attributes:
        name: The layout's name, as the catalogue has it.
        models: Shell pattern of the builders that it is a layout of.
        modules: Their path of a module -> our path of it; all other paths are the same.
        kernels: Our key -> height and width of the convolution that stands for our linear layer.
    """

    name: str
    models: str
    modules: Mapping[str, str]
    kernels: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def our_key(self, key: str) -> str:
        """Their key -> ours."""
        module, _, name = key.rpartition(".")
        return f"{self.modules[module]}.{name}" if module in self.modules else key

    def their_key(self, key: str) -> str:
        """Our key -> theirs."""
        module, _, name = key.rpartition(".")
        theirs = {ours: theirs for theirs, ours in self.modules.items()}
        return f"{theirs[module]}.{name}" if module in theirs else key

    def our_shape(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Their shape of the tensor with our `key` -> our shape."""
        kernel = self.kernels.get(key)
        if kernel is None or len(shape) != 4 or shape[2:] != kernel:
            return shape
        return (shape[0], shape[1] * shape[2] * shape[3])

    def to_theirs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our state dict -> theirs; the tensors share memory."""
        return {
            self.their_key(key): value.reshape(value.shape[0], -1, *self.kernels[key])
            if key in self.kernels and value.ndim == 2
            else value
            for key, value in tensors.items()
        }


LAYOUTS: Final[dict[str, Layout]] = {
    layout.name: layout
    for layout in (
        Layout("torchvision", "*", {}),
        # timm runs VGG's first two linear layers as convolutions over the 7 x 7 map.
        Layout(
            "timm-vgg",
            "vgg*",
            {
                "pre_logits.fc1": "classifier.0",
                "pre_logits.fc2": "classifier.3",
                "head.fc": "classifier.6",
            },
            {"classifier.0.weight": (7, 7), "classifier.3.weight": (1, 1)},
        ),
        Layout(
            "lucid-alexnet",
            "alexnet",
            {"fc6": "classifier.1", "fc7": "classifier.4", "classifier": "classifier.6"},
        ),
        Layout("lucid-googlenet", "googlenet", {"classifier": "fc"}),
    )
}
"""Every layout by name; `"torchvision"` is our own."""


def renamed(keys: Iterable[str], rename: Mapping[str, str]) -> dict[str, str]:
    """A file's keys with other names for its modules.

    Args:
        keys: The keys.
        rename: A name of the file, one part of a key or several joined by dots -> the network's.

    Returns:
        New key -> key of the file.

    Raises:
        InputError: A name is in no key, or two keys become one.
    """
    longest_first = sorted(map(re.escape, rename), key=len, reverse=True)
    name = re.compile(rf"(?<![^.])(?:{'|'.join(longest_first)})(?![^.])")
    used: set[str] = set()

    def other(found: re.Match[str]) -> str:
        used.add(found[0])
        return rename[found[0]]

    new_keys: dict[str, str] = {}
    for key in keys:
        new = name.sub(other, key) if rename else key
        if new in new_keys:
            raise InputError(f"rename: {new_keys[new]} and {key} would both be {new}")
        new_keys[new] = key
    for theirs in rename:
        if theirs not in used:
            parts = {part for key in new_keys.values() for part in key.split(".")}
            raise UnknownNameError("name in the file, rename:", theirs, parts)
    return new_keys


def get(name: str) -> Layout:
    """The layout with this name.

    Args:
        name: E.g. `"timm-vgg"`.

    Returns:
        The layout.

    Raises:
        UnknownNameError: There is no such layout.
    """
    if name not in LAYOUTS:
        raise UnknownNameError("key layout", name, LAYOUTS)
    return LAYOUTS[name]


def detect(architecture: str, keys: Collection[str]) -> Layout:
    """The layout of a file that does not say.

    Args:
        architecture: A builder's name.
        keys: The file's keys.

    Returns:
        The layout all of whose modules the file has, the head (the last) aside where there are
        others; our own if there is none.
    """
    modules = {key.rpartition(".")[0] for key in keys}
    for layout in LAYOUTS.values():
        fits = layout.modules and fnmatch.fnmatchcase(architecture, layout.models)
        if fits and modules.issuperset(list(layout.modules)[:-1] or layout.modules):
            return layout
    return LAYOUTS["torchvision"]


def timms(architecture: str) -> Layout:
    """The layout of a network that timm has.

    Args:
        architecture: A builder's name.

    Returns:
        The layout.
    """
    return LAYOUTS["timm-vgg" if architecture.startswith("vgg") else "torchvision"]
