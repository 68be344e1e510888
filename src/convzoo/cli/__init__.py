"""The `convzoo` command.

The modules of this package import torch inside the commands only, so that `--help` and a mistyped
option answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from convzoo.cli._catalogue import info, models, push, verify
from convzoo.cli._errors import status_of
from convzoo.cli._export import export
from convzoo.cli._fetch import fetch
from convzoo.cli._finetune import finetune
from convzoo.cli._predict import predict
from convzoo.cli._see import draw, filters, look
from convzoo.cli._use import evaluate


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="convzoo", prog_name="convzoo")
def command() -> None:
    """Classic convolutional networks: fine-tune, predict, evaluate, look up.

    `convzoo finetune` without arguments fine-tunes a bundled network on bundled images.
    """


for _command in (
    *(finetune, predict, evaluate),
    *(models, info),
    *(look, draw, filters),
    *(fetch, verify, push, export),
):
    command.add_command(_command)


def main(args: Sequence[str] | None = None) -> int:
    """Run the `convzoo` command.

    Args:
        args: Its arguments; None takes those of the process.

    Returns:
        The exit status: 0 if it worked, 1 if `predict` could not read some of its images, 2 after
        any other error, 130 after Ctrl-C.

    Examples:
        >>> from convzoo.cli import main
        >>> main(["models", "lenet*"])
        lenet5       LeNet  1998         61,706 parameters
          weights:  fashion_mnist  10 classes  top-1 91.18 %  licence apache-2.0  0.2 MB
        lenet5_1998  LeNet  1998         60,000 parameters
        0
    """
    given = sys.argv[1:] if args is None else list(args)

    def run() -> None:
        if any("\0" in word for word in given):  # a shell cannot pass one, a caller can
            raise click.UsageError("expected words without NUL characters, which no name holds")
        status: object = command.main(args=given, prog_name="convzoo", standalone_mode=False)
        if isinstance(status, int) and status:  # what click returns for --help is 0
            raise click.exceptions.Exit(status)

    return status_of(run)


__all__ = ["command", "main"]
