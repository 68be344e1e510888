"""A `convzoo finetune` that takes seconds."""

from __future__ import annotations

from pathlib import Path

QUICK = ["--model", "cifar_resnet20", "--weights", "none", "--head-epochs", "1", "--epochs", "1"]


def quick(data: Path | None, out: Path, *more: str) -> list[str]:
    given = [] if data is None else [str(data)]
    # No worker processes: they would cost more than all the rest.
    return ["finetune", *given, "--out", str(out), *QUICK, "--workers", "0", *more]
