"""Milliseconds for one image of every network, for the pages of the families.

    python benchmarks/bench_networks.py --threads 2 --processor "two cores of ..."

Writes docs/families/measured.json, from which docs/write_pages.py takes its figures. The weights
are all alike, which changes no time: nothing depends on their values.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

import convzoo
from convzoo.registry import MODELS

OUT = Path(__file__).resolve().parent.parent / "docs" / "families" / "measured.json"


def milliseconds(name: str, rounds: int) -> float:
    """The median of one forward pass of one image, after one to warm up."""
    info = MODELS[name]
    net = info.builder(device="meta").to_empty(device="cpu").eval()
    with torch.no_grad():
        for tensor in net.state_dict().values():
            tensor.fill_(0.01 if tensor.is_floating_point() else 1)
    x = torch.rand(1, *info.input_shape)
    samples = []
    with torch.inference_mode():
        for turn in range(rounds + 1):
            started = time.perf_counter()
            net(x)
            if turn:
                samples.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(samples), 2)


def main() -> None:
    """Time them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processor", required=True, help="As the pages are to name it.")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = {}
    for name in convzoo.list_models():
        found[name] = milliseconds(name, arguments.rounds)
        print(f"{name}: {found[name]} ms", flush=True)
    record = {
        "processor": arguments.processor,
        "threads": arguments.threads,
        "torch": torch.__version__.partition("+")[0],
        "milliseconds": found,
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
