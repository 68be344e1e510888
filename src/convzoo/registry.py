"""Every network by name: its builder, class, paper, preset, and where it departs from the paper.

A builder enters by its decorator, `@architecture`; a builder of yours or of another package does so
as well, and joins `create_model`, `list_models`, `summary`, `save` and `load`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from convzoo._contract import Contract
from convzoo.errors import InputError, UnknownNameError
from convzoo.presets import Preset

F = TypeVar("F", bound=Callable[..., Contract])


@dataclass(frozen=True)
class Paper:
    """A paper that describes a network; where there is none, what does: a book, an example.

    Attributes:
        title: The paper's title, or what it is.
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

    `load` builds from what the decorator says, without calling the function: its body is
    `construct` alone.

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
        InputError: Another builder has that name, the class has no argument of a setting's name, or
            the function says that it returns something else.

    Examples:
        One more ResNet:

            @convzoo.architecture(ResNet, PAPER, IMAGENET, block=Bottleneck, layers=(2, 2, 2, 2))
            def resnet26(*, weights: str | None = None, **options: Unpack[ResNetOptions]) -> ResNet:
                return convzoo.construct(resnet26, weights, options)
    """
    if not (isinstance(network, type) and issubclass(network, Contract)):
        raise InputError(f"architecture: expected a class of Classifier, got {network!r:.80}")

    takes = inspect.signature(network).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
        for setting in settings:
            if setting not in takes:
                raise UnknownNameError(f"argument of {network.__name__}", setting, takes)

    def enter(builder: F) -> F:
        name = getattr(builder, "__name__", repr(builder))
        if not name.isidentifier():
            raise InputError(f"architecture: expected a function with a name, got {name!r:.80}")
        # A class or its name, as the module spells its annotations; unions say too much to compare.
        returns = builder.__annotations__.get("return", network)
        said = getattr(returns, "__name__", str(returns)).strip("'\"").rpartition(".")[2]
        if said.isidentifier() and said not in {kind.__name__ for kind in network.__mro__}:
            raise InputError(
                f"architecture: {name} is said to return {said}, but {network.__name__} is built; "
                "name that class in both places"
            )
        there = MODELS.get(name)
        # A notebook's cell, or a script that is imported too, may define its own builder again.
        if there is not None and not _same_place(there.builder, builder):
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


def _same_place(one: Callable[..., Contract], other: Callable[..., Contract]) -> bool:
    files = [getattr(getattr(b, "__code__", None), "co_filename", b) for b in (one, other)]
    return one.__module__ == other.__module__ or files[0] == files[1]


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
