"""Batch normalisation taken into the layer before it, exactly, as evaluation has it."""

from __future__ import annotations

import copy
from collections import Counter
from typing import cast

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from convzoo._engines._threads import tracing
from convzoo.errors import InputError

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def folded(net: nn.Module) -> tuple[nn.Module, str]:
    """A copy of a network for evaluation, with batch norms folded where they follow a layer.

    Args:
        net: The network; it is left as it is.

    Returns:
        The copy, and what was done to it. A network that torch.fx cannot trace is only copied.

    Raises:
        InputError: The network cannot be copied.
    """
    try:
        net = copy.deepcopy(net)
    except (RuntimeError, TypeError) as error:  # tensors with a history, locks, open files
        raise InputError(f"net: it cannot be copied: {error!s:.200}") from error
    for module in net.modules():
        module.training = False
    for parameter in net.parameters():
        parameter.requires_grad = False
    try:
        with tracing():
            traced = fx.symbolic_trace(net)
    except (AttributeError, IndexError, KeyError, NameError, RuntimeError, TypeError, ValueError,
            NotImplementedError, AssertionError, fx.proxy.TraceError) as error:  # fmt: skip
        # A network's own code runs on stand-ins for tensors, and raises whatever it raises.
        return net, f"batch norms are not folded: torch.fx cannot trace the network ({error!s:.80})"
    return traced, _fold(traced)


def _fold(net: fx.GraphModule) -> str:
    modules = dict(net.named_modules(remove_duplicate=False))
    calls = [node for node in net.graph.nodes if node.op == "call_module"]
    uses = Counter(modules[node.target] for node in calls)
    norms = [node for node in calls if isinstance(modules[node.target], _NORMS)]
    count = 0
    for node in norms:
        before = node.args[0] if len(node.args) == 1 else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        norm, layer = modules[node.target], modules[str(before.target)]
        if uses[layer] > 1 or type(norm) not in _NORMS or norm.running_mean is None:
            continue  # weights that another place uses too; statistics of the batch
        if type(layer) in _CONVOLUTIONS:
            fused: nn.Module = fuse_conv_bn_eval(
                cast("nn.Conv2d", layer), cast("nn.BatchNorm2d", norm)
            )
        elif type(layer) is nn.Linear:
            fused = fuse_linear_bn_eval(layer, cast("nn.BatchNorm1d", norm))
        else:
            continue
        net.set_submodule(str(before.target), fused)
        node.replace_all_uses_with(before)
        net.graph.erase_node(node)
        count += 1
    net.delete_all_unused_submodules()
    net.recompile()
    return f"{count} of {len(norms)} batch norms are folded" if norms else "no batch norm to fold"
