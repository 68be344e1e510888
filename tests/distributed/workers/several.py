"""What the ranks of the other workers find, in one launch: importing takes longer than the rest."""

from __future__ import annotations

import importlib
import sys

from leave import leave

found = {}
for name, *arguments in (
    ("training", sys.argv[2]),
    ("sharding", "cifar_resnet20,mlp"),
    ("towers", "20", "narrow"),
):
    sys.argv[2:] = arguments
    found[name] = importlib.import_module(name).main()
leave(found)
