"""`python -m convzoo`, and with it `torchrun -m convzoo` and `accelerate launch -m convzoo`."""

from __future__ import annotations

import os
import sys

from convzoo.cli import main


def run() -> None:
    """Run the command as the whole of a process."""
    status = main()
    if "RANK" not in os.environ:  # set by what starts several processes
        sys.exit(status)
    from convzoo.training import leave

    leave(status)


if __name__ == "__main__":
    run()
