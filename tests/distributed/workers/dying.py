"""A training that writes checkpoints, and of which rank 1 may be killed after its second epoch."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from leave import leave
from torch.utils.data import TensorDataset

import convzoo
from convzoo import training

FOLDER, WHAT = Path(sys.argv[1]), sys.argv[2]


def on_epoch(record: training.EpochRecord) -> None:
    if WHAT == "die" and record.epoch == 2 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = convzoo.lenet5(num_classes=3, activation="relu")
    images = TensorDataset(torch.randn(64, 1, 28, 28), torch.arange(64) % 3)
    history = training.fit(
        net,
        images,
        images,
        epochs=4,
        batch_size=8,
        cpu=True,
        checkpoint=FOLDER / ("whole" if WHAT == "whole" else "half"),
        resume=WHAT == "resume",
        on_epoch=on_epoch,
    )
    losses = [(record.train_loss, record.val_loss) for record in history.epochs]
    leave({"losses": losses, "state": net.state_dict()})


main()
