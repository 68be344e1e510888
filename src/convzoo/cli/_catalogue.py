"""Commands that look things up, and that move weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from convzoo.cli._console import JSON, columns, echo, print_json

if TYPE_CHECKING:
    from convzoo._contract import Contract
    from convzoo.hub import CachedWeights
    from convzoo.registry import ModelInfo


@click.command()
@click.argument("pattern", default="*")
@JSON
def models(pattern: str, as_json: bool) -> None:
    """List networks and their published weights.

    PATTERN is a shell pattern of names, such as 'resnet*'. Of weights come the accuracy on their
    labels' own test images, the licence and the size of the file.
    """
    from convzoo.by_name import list_models
    from convzoo.errors import UnknownNameError
    from convzoo.registry import MODELS, model_info

    names = list_models(pattern)
    if not names:
        raise UnknownNameError("model", pattern, MODELS)
    if as_json:
        print_json([_counted(model_info(name)) for name in names])
        return
    infos = [model_info(name) for name in names]
    lines = columns([(info.name, info.family, str(info.paper.year)) for info in infos]).splitlines()
    for line, info in zip(lines, infos, strict=True):
        model = _counted(info)  # one by one: the deepest take a second
        echo(f"{line}  {model['parameters']:>13,} parameters")
        if model["weights"]:
            echo(columns([("", "weights:", *_weights_row(row)) for row in model["weights"]]))


def _counted(info: ModelInfo) -> dict[str, Any]:
    """What `models` says of a network, as JSON has it."""
    net = info.builder(device="meta")
    return {
        "name": info.name,
        "family": info.family,
        "year": info.paper.year,
        "parameters": sum(p.numel() for p in net.parameters()),
        "weights": _weights(info.name, net),
    }


@click.command()
@click.argument("name")
@click.option("--size", type=click.IntRange(min=1), help="Side of the input image in pixels.")
@JSON
def info(name: str, size: int | None, as_json: bool) -> None:
    """Show a network's paper, weights and layers.

    Layers come with output shape, parameters, multiply-adds and receptive field.
    """
    from dataclasses import asdict

    from convzoo._summary import summary
    from convzoo.registry import model_info

    known = model_info(name)
    net = known.builder(device="meta")
    result, weights = summary(net, size), _weights(name, net)
    if as_json:
        about = {"paper": asdict(known.paper), "departs": known.departs, "weights": weights}
        print_json({**asdict(result), **about})
        return
    echo(f"{name} ({known.paper.year}): {known.paper.title}\n{known.paper.url}")
    if known.departs:
        echo(f"Departs from the paper: {known.departs}")
    for row in weights:
        tag, *rest = filter(None, _weights_row(row))
        echo(f"weights {tag}: {', '.join(rest)}")
    echo(f"\n{result}")


def _weights(model: str, net: Contract) -> list[dict[str, Any]]:
    """What is known of a model's published weights, as JSON has it."""
    from convzoo.weights import BUNDLED, list_weights, weights_info

    found = []
    for name in list_weights(f"{model}.*"):
        info = weights_info(name)
        size = (BUNDLED / info.file).stat().st_size if info.bundled else info.size
        head = sum(p.numel() for p in net.get_submodule(net.head_path).parameters())
        body = sum(p.numel() for p in net.parameters()) - head
        # Published files hold float32, 4 bytes a number.
        about = 4 * (body + head * info.num_classes // net.num_classes)
        known = {key: getattr(info, key) for key in _SHOWN}
        found.append({**known, "bytes": size or about, "bytes_exact": size is not None})
    return found


_SHOWN = ("tag", "num_classes", "top1", "top5", "licence", "repo")


def _weights_row(weights: dict[str, Any]) -> tuple[str, ...]:
    top1, about = weights["top1"], "" if weights["bytes_exact"] else "about "
    return (
        weights["tag"],
        f"{weights['num_classes']} classes",
        "" if top1 is None else f"top-1 {top1:.2f} %",
        f"licence {weights['licence'] or 'none stated'}",
        f"{about}{weights['bytes'] / 1e6:.{1 if weights['bytes'] < 1e7 else 0}f} MB",
    )


@click.command()
@click.argument("names", nargs=-1)
@JSON
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Hash weights again and compare.

    NAMES are as in fetch, or folders that save wrote; without them all weights are taken that are
    in the cache. The exit status is 2 if a file is not what was published, or is missing.
    """
    from convzoo import hub

    entries = hub.verify(names)
    if as_json:
        print_json([as_row(entry) for entry in entries])
    else:
        for entry in entries:
            echo(f"{entry.name}: {entry.status}")
    bad = [entry.name for entry in entries if entry.status != "ok"]
    if bad:
        raise click.ClickException(f"not as published: {', '.join(bad)}")


def as_row(entry: CachedWeights) -> dict[str, str | None]:
    """A file of weights, as JSON has it."""
    path = None if entry.path is None else str(entry.path)
    return {**entry._asdict(), "path": path}


@click.command()
@click.argument("model")
@click.argument("repo_id")
@click.option("--private/--public", default=None, help="Of a new repository.")
@click.option("--message", help="Of the commit.")
@click.option("--licence", help="For the model card, as the Hub spells it, e.g. apache-2.0.")
@click.option("--dataset", help="For the model card: what it was trained on.")
@JSON
def push(
    model: str,
    repo_id: str,
    private: bool | None,
    message: str | None,
    licence: str | None,
    dataset: str | None,
    as_json: bool,
) -> None:
    """Put a network on the Hugging Face Hub.

    MODEL is a folder that finetune or save wrote, REPO_ID is owner/name.
    """
    from convzoo import by_name, hub

    commit = hub.push(
        by_name.load(model),
        repo_id,
        private=private,
        message=message,
        licence=licence,
        dataset=dataset,
    )
    address = f"hf-hub:{repo_id}@{commit}"
    if as_json:
        print_json({"repo_id": repo_id, "commit": commit, "address": address})
    else:
        echo(address)
