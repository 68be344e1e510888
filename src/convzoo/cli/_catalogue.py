"""Commands that look things up, and that move weights."""

from __future__ import annotations

import click

from convzoo.cli._console import columns, echo


@click.command()
@click.argument("pattern", default="*")
def models(pattern: str) -> None:
    """List the networks whose name matches PATTERN, e.g. 'resnet*'."""
    from convzoo.by_name import list_models
    from convzoo.errors import UnknownNameError
    from convzoo.registry import MODELS, model_info
    from convzoo.weights import list_weights

    names = list_models(pattern)
    if not names:
        raise UnknownNameError("model", pattern, MODELS)
    tags: dict[str, list[str]] = {}
    for weights in list_weights():
        model, _, tag = weights.partition(".")
        tags.setdefault(model, []).append(tag)
    rows = []
    for name in names:
        known = model_info(name)
        weights = f"weights: {' '.join(tags[name])}" if name in tags else ""
        rows.append((name, known.family, str(known.paper.year), weights))
    echo(columns(rows))


@click.command()
@click.argument("name")
@click.option("--size", type=click.IntRange(min=1), help="Side of the input image in pixels.")
def info(name: str, size: int | None) -> None:
    """Show a network's paper, weights and layers.

    Layers come with output shape, parameters, multiply-adds and receptive field.
    """
    from convzoo._summary import summary
    from convzoo.registry import model_info
    from convzoo.weights import list_weights, weights_info

    known = model_info(name)
    net = known.builder(device="meta")
    echo(f"{name} ({known.paper.year}): {known.paper.title}\n{known.paper.url}")
    if known.departs:
        echo(f"Departs from the paper: {known.departs}")
    for full_name in list_weights(f"{name}.*"):
        weights = weights_info(full_name)
        top1 = "" if weights.top1 is None else f", top-1 {weights.top1:.2f} %"
        licence = weights.licence or "none stated"
        echo(f"weights {weights.tag}: {weights.num_classes} classes{top1}, licence {licence}")
    echo(f"\n{summary(net, size)}")


@click.command()
@click.argument("names", nargs=-1, required=True)
def fetch(names: tuple[str, ...]) -> None:
    """Download weights into the cache and check them.

    NAMES are names of the catalogue such as resnet50.a1_in1k, patterns of them such as 'resnet*',
    or hf-hub:owner/name.
    """
    from convzoo import hub

    for entry in hub.fetch(names):
        echo(f"{entry.name}: {entry.status}, {entry.path}")


@click.command()
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Hash cached weights again; without NAMES all that are there. A folder of save is a NAME, too.

    The exit status is 2 if a file is not what was published, or is missing.
    """
    from convzoo import hub

    entries = hub.verify(names)
    for entry in entries:
        echo(f"{entry.name}: {entry.status}")
    bad = [entry.name for entry in entries if entry.status != "ok"]
    if bad:
        raise click.ClickException(f"not as published: {', '.join(bad)}")


@click.command()
@click.argument("model")
@click.argument("repo_id")
@click.option("--private/--public", default=None, help="Of a new repository.")
@click.option("--message", help="Of the commit.")
@click.option("--licence", help="For the model card, as the Hub spells it, e.g. apache-2.0.")
@click.option("--dataset", help="For the model card: what it was trained on.")
def push(
    model: str,
    repo_id: str,
    private: bool | None,
    message: str | None,
    licence: str | None,
    dataset: str | None,
) -> None:
    """Put MODEL, a folder that finetune wrote, on the Hugging Face Hub as REPO_ID (owner/name)."""
    from convzoo import by_name, hub

    commit = hub.push(
        by_name.load(model),
        repo_id,
        private=private,
        message=message,
        licence=licence,
        dataset=dataset,
    )
    echo(f"hf-hub:{repo_id}@{commit}")
