"""From the call to the ready network with its weights: convzoo, torchvision, timm.

python benchmarks/bench_load.py [rounds]

Random weights are written once, in each library's own format, and read back by what each library's
users call. Every sample is a process of its own, which imports its library first, so that nothing
is warm but the page cache; the libraries take turns, and medians are compared. Memory is what the
process's peak grows by in the call.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

CHECKPOINTS = {"resnet50": "resnet50-0676ba61.pth", "vgg16": "vgg16-397923af.pth"}

SAMPLE = """
import json, resource, sys, time
library, name, place = sys.argv[1:]
import torch
begin = time.perf_counter()
if library == "convzoo":
    import convzoo
    build = lambda: convzoo.create_model(name, weights=f"{place}/{name}.safetensors")
elif library == "torchvision":
    import torchvision
    build = lambda: torchvision.models.get_model(name, weights="IMAGENET1K_V1")
else:
    import timm
    overlay = {"file": f"{place}/timm-{name}.safetensors"}
    build = lambda: timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
imported = time.perf_counter()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
net = build()
ready = time.perf_counter()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin_again = time.perf_counter()
net = build()
again = time.perf_counter()
print(json.dumps({
    "import": 1e3 * (imported - begin),
    "load": 1e3 * (ready - start),
    "again": 1e3 * (again - begin_again),
    "memory": (after - before) / 1024,
}))
"""

WRITE = """
import sys
from pathlib import Path
import safetensors.torch, timm, torch, torchvision
place, checkpoints = Path(sys.argv[1]), dict(zip(sys.argv[2::2], sys.argv[3::2]))
(place / "hub" / "checkpoints").mkdir(parents=True)
for name, file in checkpoints.items():
    state = torchvision.models.get_model(name).state_dict()
    torch.save(state, place / "hub" / "checkpoints" / file)
    safetensors.torch.save_file(state, place / f"{name}.safetensors")
    state = timm.create_model(name).state_dict()
    safetensors.torch.save_file(state, place / f"timm-{name}.safetensors")
"""


def sample(library: str, name: str, place: str) -> dict[str, float]:
    """One process's figures, in milliseconds and MB."""
    environment = {**os.environ, "TORCH_HOME": place, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", SAMPLE, library, name, place]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(rounds: int) -> None:
    """Take turns, then print medians and ratios."""
    libraries = ("convzoo", "timm", "torchvision")
    with tempfile.TemporaryDirectory() as place:
        names = [part for pair in CHECKPOINTS.items() for part in pair]
        subprocess.run([sys.executable, "-c", WRITE, place, *names], check=True)
        for name in CHECKPOINTS:
            taken: dict[str, list[dict[str, float]]] = {library: [] for library in libraries}
            for turn in range(rounds + 1):
                for library in libraries:
                    figures = sample(library, name, place)
                    if turn:  # the first one fills the page cache
                        taken[library].append(figures)
            print(f"{name}, median of {rounds}")
            median = {
                library: {key: statistics.median(s[key] for s in samples) for key in samples[0]}
                for library, samples in taken.items()
            }
            for library, figures in median.items():
                ratio = figures["load"] / median["convzoo"]["load"]
                print(
                    f"  {library:12} load {figures['load']:8.1f} ms ({ratio:6.1f} x)  "
                    f"again {figures['again']:8.1f} ms  import {figures['import']:7.1f} ms  "
                    f"memory {figures['memory']:7.1f} MB"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
