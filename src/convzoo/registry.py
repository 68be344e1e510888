"""Every network by name: its builder, class, paper, preset, and where it departs from the paper.

A builder enters by its decorator, `@architecture`; a builder of yours or of another package does so
as well, and joins `create_model`, `list_models`, `summary`, `save` and `load`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from convzoo._contract import Contract
from convzoo.errors import InputError, UnknownNameError
from convzoo.presets import Preset

F = TypeVar("F", bound=Callable[..., Contract])


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
    """A builder, what it builds, and what the documentation says of it.

    Attributes:
        name: The builder's name.
        builder: The function itself.
        network: The class of what it builds.
        paper: Where the network comes from.
        preset: How its images are prepared when no weights bring a preset of their own.
        family: The family's name, for grouping.
        departs: Where the network departs from the paper; empty where it does not.
        with_aux: The class with auxiliary heads, which `aux_heads=True` builds instead.
        settings: Arguments of the class that make this network what it is.
    """

    name: str
    builder: Callable[..., Contract]
    network: type[Contract]
    paper: Paper
    preset: Preset
    family: str
    departs: str = ""
    with_aux: type[Contract] | None = None
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the paper's input."""
        return (self.preset.channels, *self.preset.height_width)


MODELS: Final[dict[str, ModelInfo]] = {}
"""Every builder by name, in the order of their definition."""


def architecture(
    network: type[Contract],
    paper: Paper,
    preset: Preset,
    *,
    family: str | None = None,
    departs: str = "",
    with_aux: type[Contract] | None = None,
    **settings: object,
) -> Callable[[F], F]:
    """Enter a builder into the registry, under its own name.

    Args:
        network: The class of what it builds.
        paper: Where the network comes from.
        preset: How its images are prepared when no weights bring a preset of their own.
        family: The family's name, for grouping; None takes that of the class.
        departs: Where the network departs from the paper.
        with_aux: The class with auxiliary heads, which `aux_heads=True` builds instead.
        **settings: Arguments of the class that make this network what it is.

    Returns:
        A decorator that returns the function it is given.

    Raises:
        InputError: Another builder has that name.

    Examples:
        One more ResNet:

            @convzoo.architecture(ResNet, PAPER, IMAGENET, block=Bottleneck, layers=(2, 2, 2, 2))
            def resnet26(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
                return convzoo.construct(resnet26, weights, options)
    """

    def enter(builder: F) -> F:
        name = builder.__name__
        there = MODELS.get(name)
        # A notebook's cell that runs again may define its own builder again, and no other.
        if there is not None and there.builder.__module__ != builder.__module__:
            raise InputError(
                f"architecture: {there.builder.__module__} has a builder {name!r} already; "
                f"give that of {builder.__module__} another name"
            )
        MODELS[name] = ModelInfo(
            name,
            builder,
            network,
            paper,
            preset,
            family or network.__name__,
            departs,
            with_aux,
            settings,
        )
        return builder

    return enter


def model_info(name: str) -> ModelInfo:
    """A model's builder, class, family, paper, preset and departures.

    Args:
        name: A builder's name.

    Returns:
        The registry's entry.

    Raises:
        UnknownNameError: There is no such model; the nearest names are suggested.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS)
    return MODELS[name]
