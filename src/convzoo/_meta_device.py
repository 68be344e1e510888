"""Building a network without filling it: no memory, no random numbers, no garbage collection.

Whoever fills the tensors next, from a file or with `reset_parameters`, does it exactly once.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

# What layers call in their constructors to make a tensor.
_FACTORIES: Final[frozenset[Callable[..., Any]]] = frozenset(
    {
        *(torch.arange, torch.as_tensor, torch.empty, torch.empty_strided, torch.eye, torch.full),
        *(torch.linspace, torch.ones, torch.rand, torch.randint, torch.randn, torch.randperm),
        *(torch.tensor, torch.zeros),
    }
)

# What they call to fill one in place. On the meta device there is nothing to fill; drawing there
# is not free either: `normal_` on a meta tensor imports torch._dynamo, well over a second.
_FILLERS: Final[frozenset[Callable[..., Any]]] = frozenset(
    {
        *(Tensor.fill_, Tensor.normal_, Tensor.uniform_, Tensor.zero_),
        *(filler for name, filler in vars(init).items() if name[0] != "_" and name[-1] == "_"),
    }
)


class OnMeta(TorchFunctionMode):
    """Inside this context new tensors are on the meta device, and filling one does nothing.

    `with torch.device("meta")` does the first half; one mode that does both costs half of two.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send factories to the meta device, skip fillers, let everything else through."""
        kwargs = kwargs or {}
        if func in _FILLERS:
            target = args[0] if args else kwargs["tensor"]
            if target.is_meta:  # a layer may keep a small tensor elsewhere on purpose
                return target
        if func in _FACTORIES and kwargs.get("device") is None:
            return func(*args, **{**kwargs, "device": "meta"})
        return func(*args, **kwargs)


_gc_lock = threading.Lock()
_gc_users = 0
_gc_was_on = False


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Keep Python's collector out of a short stretch of allocations, and leave it as it was.

    Building a network makes thousands of small objects that all stay. Counting them sets off a
    full collection over everything that torch has imported, a tenth of a second and more, that
    finds nothing. Thresholds and frozen objects are left alone; nested and concurrent uses are
    counted, so that the last one out restores what the first one found.
    """
    global _gc_users, _gc_was_on
    with _gc_lock:
        if _gc_users == 0:
            _gc_was_on = gc.isenabled()
            gc.disable()
        _gc_users += 1
    try:
        yield
    finally:
        with _gc_lock:
            _gc_users -= 1
            if _gc_users == 0 and _gc_was_on:
                gc.enable()
