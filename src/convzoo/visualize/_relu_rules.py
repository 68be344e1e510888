"""Backward passes in which ReLU follows another rule than its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Rule = Literal["guided", "deconvnet"]
"""`"guided"`: back goes what is positive and came from a positive input. `"deconvnet"`: back goes
what is positive, whatever came in."""

_RELUS = {F.relu, torch.relu, Tensor.relu}
_IN_PLACE = {F.relu_, torch.relu_, Tensor.relu_}


class _Relu(torch.autograd.Function):
    """ReLU with a rule for its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Rule, inplace: bool) -> Tensor:
        if inplace:
            ctx.mark_dirty(x)
        out = x.relu_() if inplace else x.relu()
        ctx.rule = rule
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (out,) = ctx.saved_tensors
        back = gradients[0].relu()
        return (back * (out > 0) if ctx.rule == "guided" else back), None, None


class ReluRule(TorchFunctionMode):
    """While it lasts, every ReLU (module, function or method, in place or not) keeps a rule.

    Args:
        rule: The rule.

    Attributes:
        met: Whether there was a ReLU.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule: Rule = rule
        self.met: bool = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _RELUS and func not in _IN_PLACE:
            return func(*args, **kwargs)
        self.met = True
        x = args[0] if args else kwargs["input"]
        inplace = func in _IN_PLACE or bool(args[1:2] == (True,) or kwargs.get("inplace"))
        return _Relu.apply(x, self.rule, inplace)
