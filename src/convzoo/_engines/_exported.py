"""A network as torch.export has it, which is what the engines read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from convzoo._engines._job import EngineName, Run
from convzoo._engines._threads import tracing
from convzoo.errors import ConvzooError, InputError

if TYPE_CHECKING:
    from torch.export import ExportedProgram

_MOST = 1 << 20
"""More images than any batch has."""


def exported(net: nn.Module, x: Tensor) -> ExportedProgram:
    """The network for images of one size, in batches of any.

    Args:
        net: The network in evaluation mode.
        x: Images of that size.

    Returns:
        The program.

    Raises:
        InputError: torch.export cannot take it.
    """
    from torch.export import Dim, export  # takes a second to import

    # A batch of one would be taken for a constant.
    two = x[:1].expand(2, *x.shape[1:]).contiguous()
    try:
        with quietly(), torch.no_grad():
            return export(net, (two,), dynamic_shapes=({0: Dim("b", max=_MOST)},))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        # All that torch.export raises: its own errors are RuntimeErrors.
        raise InputError(
            f"net: torch.export cannot take it, so that only engine='torch' runs it: {error!s:.300}"
        ) from error


def by_size(engine: EngineName, build: Callable[[Tensor], Run]) -> Run:
    """Build for each size of image that comes.

    Args:
        engine: The engine, for messages.
        build: Makes what runs images of one size, given some of them.

    Returns:
        What runs images of any size; the first of another size wait for the building. It raises
        InputError where the engine cannot be built.
    """
    built: dict[tuple[int, ...], Run] = {}

    def run(x: Tensor) -> Tensor:
        size = tuple(x.shape[1:])
        if size not in built:
            try:
                with tracing(), torch.inference_mode(False):
                    if size not in built:  # by another thread, meanwhile
                        built[size] = build(x)
            except ConvzooError:
                raise
            except Exception as error:  # the engines' own errors derive from no narrower class
                raise InputError(
                    f"engine: {engine!r} cannot run this network for images of {size}: "
                    f"{type(error).__name__}: {error!s:.300}"
                ) from error
        return built[size](x)

    return run


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what other libraries tell their own developers from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
