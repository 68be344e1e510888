"""`convzoo fetch`: weights and data sets ahead of time."""

from __future__ import annotations

import click

from convzoo.cli._catalogue import as_row
from convzoo.cli._console import JSON, echo, print_json


@click.command()
@click.argument("names", nargs=-1, required=True)
@JSON
def fetch(names: tuple[str, ...], as_json: bool) -> None:
    """Download weights and data sets ahead of time, and check them.

    NAMES are names of the catalogue such as resnet50.a1_in1k, patterns of them such as 'resnet*',
    hf-hub:owner/name for weights of the Hub, or data sets such as cifar10. Data sets go to the
    folder that CONVZOO_DATA names, else to ~/.cache/convzoo/datasets.
    """
    from convzoo import datasets, hub, weights
    from convzoo.datasets._named import NAMED
    from convzoo.errors import UnknownNameError

    rows: list[dict[str, str | None]] = []
    for name in names:
        if name.startswith(NAMED) or name in datasets.NAMES:
            word = name.removeprefix(NAMED)
            place = datasets.fetch(f"{NAMED}{word}", progress=not as_json)
            found = [{"name": word, "path": str(place), "status": "ok", "hash": None}]
        else:
            try:
                found = [as_row(entry) for entry in hub.fetch(name)]
            except UnknownNameError as error:
                known = (*weights.list_weights(), *datasets.NAMES)
                raise UnknownNameError("weights or data set", error.name, known) from None
        rows += found
        if not as_json:
            for row in found:
                echo(f"{row['name']}: {row['status']}, {row['path']}")
    if as_json:
        print_json(rows)
