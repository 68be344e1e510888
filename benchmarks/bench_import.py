"""Whole-process time of `import convzoo` beside torch, torchvision and timm.

python benchmarks/bench_import.py [rounds]
"""

from __future__ import annotations

import sys

from timing import interleave, python, report

if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    names = ("torch", "convzoo", "torchvision", "timm")
    medians = interleave({name: python(f"import {name}") for name in names}, rounds)
    report("import, whole process", medians, "torch")
