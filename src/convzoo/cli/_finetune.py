"""`convzoo finetune`: how its options are typed."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click
from click.core import ParameterSource

from convzoo.cli._console import JSON
from convzoo.cli._options import (
    Augment,
    MixedPrecision,
    Mixing,
    Optimizer,
    Options,
    Schedule,
    Tracker,
)
from convzoo.cli._use import CPU, ON_ERROR


@click.command()
@click.argument("data", required=False)
@click.option(
    "--model",
    help="A network's name, see `convzoo models`; or a folder that finetune wrote, or "
    "hf-hub:owner/name, to go on from.  [default: resnet18; for the digits, mnist, fashion_mnist, "
    "cifar10 and cifar100 cifar_resnet20]",
)
@click.option(
    "--weights",
    help="What to start from: a tag of the catalogue, a folder, a file, hf-hub:owner/name, or "
    "'none' for fresh weights.  [default: the model's most accurate with a free licence; none for "
    "cifar10 and cifar100 without --model]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/finetune"),
    show_default=True,
    help="Folder for model, history, pictures; what it holds of an earlier run is replaced.",
)
@click.option(
    "--freeze",
    default="none",
    show_default=True,
    metavar="none|backbone|up_to:STAGE",
    help="What stays as it is in the second phase; with 'backbone' only the head ever trains.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=0),
    default=8,
    show_default=True,
    help="Of the second phase, in which the network trains.",
)
@click.option(
    "--head-epochs",
    type=click.IntRange(min=0),
    default=4,
    show_default=True,
    help="Of the first phase, in which the new head trains on the frozen backbone.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Of the second phase.")
@click.option(
    "--head-lr", type=float, help="Of the first phase.  [default: 0.01; for the digits 0.1]"
)
@click.option("--weight-decay", type=float, help="[default: as fit takes for the optimizer]")
@click.option(
    "--optimizer",
    type=click.Choice(get_args(Optimizer)),
    default="adamw",
    show_default=True,
)
@click.option(
    "--schedule",
    type=click.Choice(get_args(Schedule)),
    default="one_cycle",
    show_default=True,
)
@click.option("--warmup", type=float, help="Share of the steps over which the rate rises, [0, 1).")
@click.option("--label-smoothing", type=float, default=0.0, show_default=True)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="How the network trains: alexnet_2012, cifar_resnet, finetune, inception, resnet, vgg, "
    "or a TOML file of your own. Options given beside it come first; the head is not trained "
    "before, unless --head-epochs says so.",
)
@click.option("--layer-decay", type=float, help="Factor of the rate from stage to stage, (0, 1].")
@click.option(
    "--unfreeze-every",
    type=click.IntRange(min=1),
    help="Let the stages thaw one after the other, so many epochs apart.",
)
@click.option("--l2-sp", type=float, help="Decay towards the pretrained weights, e.g. 0.01.")
@click.option(
    "--ema", type=float, help="Decay of an average of the weights, e.g. 0.99; the better is kept."
)
@click.option("--mixing", type=click.Choice(get_args(Mixing)), help="Mix images in pairs.")
@click.option(
    "--class-weights", type=click.Choice(["auto"]), help="Let rare classes count as much."
)
@click.option("--balanced", is_flag=True, help="Draw each class equally often.")
@click.option("--resizing", is_flag=True, help="Train on small images first.")
@click.option(
    "--flips", type=click.Choice(["alternating"]), help="Mirror each image every other epoch."
)
@click.option(
    "--augment",
    type=click.Choice(get_args(Augment)),
    help="Random changes to training images.  [default: the preset's; for the digits 'digit']",
)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop a phase after this many epochs in a row without improvement.",
)
@click.option(
    "--val-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.15,
    show_default=True,
    help="Drawn from the training images where DATA has no validation part.",
)
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.15,
    show_default=True,
    help="Drawn for the final test where DATA is not split.",
)
@ON_ERROR
@click.option(
    "--baseline/--no-baseline",
    default=None,
    help="Also train a head on a frozen random network, to show what the weights are worth.  "
    "[default: for the digits only]",
)
@click.option(
    "--mixed-precision",
    type=click.Choice(get_args(MixedPrecision)),
    help="'auto' is bf16 where the processor or GPU computes in it.",
)
@click.option(
    "--channels-last/--channels-first",
    default=None,
    help="How images and weights lie in memory.  [default: what is faster]",
)
@click.option("--compile", is_flag=True, help="Compile the network; needs a C++ compiler.")
@click.option(
    "--gradient-accumulation",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Parts in which a batch goes through the network, to save memory.",
)
@click.option(
    "--sharded/--copies",
    default=None,
    help="Whether several processes share the network out (FSDP2) or hold a copy each (DDP).  "
    "[default: as `accelerate launch` was told, else copies]",
)
@click.option(
    "--sync-batch-norm",
    is_flag=True,
    help="Normalise over the batches of all processes; on GPUs only.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes that read images.  [default: up to 4, none for the digits]",
)
@click.option("--resume", is_flag=True, help="Go on from where an earlier run into --out stopped.")
@click.option(
    "--checkpoint-every",
    default="10min",
    show_default=True,
    metavar="STEPS|TIME",
    help="How often the state is kept within an epoch: 500 steps, 30s, 10min, 2h, or 'never'.",
)
@click.option(
    "--tracker",
    "trackers",
    type=click.Choice(get_args(Tracker)),
    multiple=True,
    help="Where figures go; may come several times. Files are in --out, under metrics.",
)
@CPU
@click.option("--quiet", "-q", is_flag=True, help="Print errors and warnings only.")
@JSON
def finetune(**given: object) -> None:
    """Fit a pretrained network to images of your own.

    They are in DATA, a folder with one subfolder a class, with or without train/val/test folders
    around them. Or DATA is a data set: mnist, fashion_mnist, cifar10, cifar100, imagenette,
    flowers102, oxford_pets, or hf-hub:owner/name; without it the bundled handwritten digits are
    taken. First a new head trains while
    the rest is frozen, then the network. The epoch with the best validation accuracy of both phases
    is kept.

    Ctrl-C keeps the best network so far. Runs on several processes under `torchrun` or
    `accelerate launch` as well: `torchrun --nproc-per-node 2 -m convzoo finetune ...`.
    """
    from convzoo.cli._run import run

    source = click.get_current_context().get_parameter_source
    typed = frozenset(name for name in given if source(name) is not ParameterSource.DEFAULT)
    run(Options(**given, typed=typed))  # type: ignore[arg-type] # click made them what it says
