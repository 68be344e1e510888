"""`python -m convzoo`, and with it `torchrun -m convzoo` and `accelerate launch -m convzoo`."""

from __future__ import annotations

import sys

from convzoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
