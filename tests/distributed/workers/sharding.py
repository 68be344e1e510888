"""How `fully_shard` is laid over networks, stage by stage."""

from __future__ import annotations

import sys
from typing import Any

import torch
from leave import leave
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

import convzoo
from convzoo.training._replica import shard

NAMES = sys.argv[2].split(",")


def main() -> dict[str, Any]:
    torch.set_num_threads(1)
    mesh = init_device_mesh("cpu", (2,))
    found: dict[str, Any] = {}
    for name in NAMES:
        torch.manual_seed(0)
        net = convzoo.create_model(name, num_classes=4)
        whole = {key: value.clone() for key, value in net.named_parameters()}
        shard(net, mesh)
        shares = dict(net.named_parameters())
        assert all(isinstance(share, DTensor) for share in shares.values())
        found[name] = {
            "numbers": sum(value.numel() for value in whole.values()),
            "own numbers": sum(share.to_local().numel() for share in shares.values()),
            "equal": all(torch.equal(shares[k].full_tensor(), v) for k, v in whole.items()),
            "units": [path for path, m in net.named_modules() if isinstance(m, FSDPModule)],
        }
    return found


if __name__ == "__main__":
    leave(main())
