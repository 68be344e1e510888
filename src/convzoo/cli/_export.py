"""The command that writes networks for other runtimes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from convzoo.cli._console import JSON, echo, print_json

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "pt2": ".pt2", "safetensors": ".safetensors"}


@click.command()
@click.argument("model")
@click.option("--to", type=click.Choice(tuple(_SUFFIXES)), required=True, help="The format.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; by default MODEL's name here, with the format's suffix.",
)
@click.option(
    "--preprocessing",
    is_flag=True,
    help="Take uint8 images of any size, give probabilities.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@JSON
def export(
    model: str,
    to: Literal["onnx", "openvino", "pt2", "safetensors"],
    out: Path | None,
    preprocessing: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write MODEL for another runtime, and check the file.

    MODEL is a folder that finetune wrote, a name of the catalogue such as resnet50.a1_in1k, or
    hf-hub:owner/name. Nothing is left behind by a file that fails its check. onnx and openvino need
    the extra `fast`.
    """
    from convzoo import by_name, inference

    net = by_name.load(model)
    name = model.partition("@")[0].rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    place = out or Path((name or "net") + _SUFFIXES[to])
    made = inference.export(net, place, to, preprocessing=preprocessing, overwrite=overwrite)
    if as_json:
        print_json({**asdict(made), "path": str(made.path)})
        return
    echo(f"{made.path}: {made.path.stat().st_size / 1e6:.1f} MB")
    if made.input_shape:
        axes = ", ".join(map(str, made.input_shape))
        echo(f"image, {made.dtype} ({axes}) -> {made.output}")
    echo(f"checked: at most {made.difference:.1e} of the network's largest output off")
