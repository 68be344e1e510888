"""The `convzoo` command.

The modules of this package import torch inside the commands only, so that `--help` and a mistyped
option answer at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from convzoo.cli._catalogue import fetch, info, models, push, verify
from convzoo.cli._errors import status_of
from convzoo.cli._finetune import finetune
from convzoo.cli._use import evaluate, predict


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="convzoo", prog_name="convzoo")
def command() -> None:
    """Classic convolutional networks: fine-tune, predict, evaluate, look up.

    `convzoo finetune` without arguments fine-tunes a bundled network on bundled images.
    """


for _command in (finetune, predict, evaluate, models, info, fetch, verify, push):
    command.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the `convzoo` command.

    Args:
        args: Its arguments; None takes those of the process.

    Returns:
        The exit status: 0 if it worked, 2 after an error, 130 after Ctrl-C.

    Examples:
        >>> from convzoo.cli import main
        >>> main(["models", "lenet*"])
        lenet5       LeNet  1998  weights: fashion_mnist
        lenet5_1998  LeNet  1998
        0
    """

    def run() -> None:
        status: object = command.main(
            args=None if args is None else list(args), prog_name="convzoo", standalone_mode=False
        )
        if isinstance(status, int) and status:  # what click returns for --help is 0
            raise click.exceptions.Exit(status)

    return status_of(run)


__all__ = ["command", "main"]
