"""What is known of a model besides its code: its paper, its year, where it departs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convzoo._classifier import Classifier


@dataclass(frozen=True)
class Paper:
    """A paper that describes a network.

    Attributes:
        title: The paper's title.
        year: Year of first publication.
        url: Where to read it.
    """

    title: str
    year: int
    url: str


@dataclass(frozen=True)
class ModelInfo:
    """A builder and what the documentation says of it.

    Attributes:
        name: The builder's name.
        builder: The function itself.
        family: The family's name, for grouping.
        paper: Where the network comes from.
        input_shape: Channels, height and width of the paper's input.
        departs: Where the network departs from the paper; empty where it does not.
    """

    name: str
    builder: Callable[..., Classifier]
    family: str
    paper: Paper
    input_shape: tuple[int, int, int]
    departs: str = ""
