"""`convzoo predict`."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from convzoo.cli._console import (
    JSON,
    bars_wanted,
    columns,
    complain,
    echo,
    print_json,
    warn,
)
from convzoo.cli._errors import FAILED, INTERRUPTED, SOME_FAILED, Stop
from convzoo.cli._use import CPU

if TYPE_CHECKING:
    from torch import nn

    from convzoo.cli._table import Row
    from convzoo.inference import Predictor


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--top-k", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a table into this file, a row an image: .csv, .jsonl or .parquet.",
)
@click.option("--resume", is_flag=True, help="Go on with --out; what is in it is not done again.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "torch", "compile", "onnxruntime", "openvino"]),
    help="What runs the network; auto times what is installed. By default the network as it is.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "int8"]),
    default="fp32",
    show_default=True,
    help="Numbers that the engine runs in; int8 is calibrated on the first 256 images.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Threads that read and resize images; by default one a processor.",
)
@JSON
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="Whether an unreadable image counts as a failure or is left out; it is named either way.",
)
@CPU
def predict(
    model: str,
    images: tuple[str, ...],
    top_k: int,
    out: Path | None,
    resume: bool,
    engine: Literal["auto", "torch", "compile", "onnxruntime", "openvino"] | None,
    precision: Literal["auto", "fp32", "bf16", "int8"],
    batch_size: int,
    workers: int | None,
    as_json: bool,
    on_error: Literal["raise", "skip"],
    cpu: bool,
) -> None:
    """Name what is on each IMAGE.

    IMAGE is a file, a folder with its subfolders, or a pattern in quotes.

    MODEL is a folder that finetune wrote, a name of the catalogue such as resnet50.a1_in1k, or
    hf-hub:owner/name. The exit status is 1 if some images could not be read, 2 if none could.
    Started by torchrun, the processes share the images of --out.
    """
    if resume and out is None:
        raise click.UsageError("--resume: expected --out with it, for what is to be gone on with")
    from convzoo.inference import Predictor

    predictor = Predictor(
        model,
        device=_device(cpu),
        top_k=top_k,
        engine=engine,
        precision=precision,
        calibration=_some(images) if precision == "int8" else None,
    )
    if (untrained := _untrained(predictor.net)) is not None:
        warn(f"{model}: {untrained}")
    skip = on_error == "skip"
    if out is not None:
        _fill(out, predictor, images, resume, skip, batch_size, workers, as_json)
        return
    listed: list[object] = []
    done = failed = 0
    for found in predictor.folder(images, batch_size=batch_size, workers=workers):
        if found.error is not None:
            _tell(found.error, skip)
            failed += not skip
            continue
        done += 1
        if as_json:
            said = [vars(prediction) for prediction in found.predictions]
            listed.append({"image": str(found.image), "predictions": said})
        else:
            echo(str(found.image))
            echo(columns([("", f"{p.probability:7.2%}", p.label) for p in found.predictions]))
    if as_json:
        print_json(listed)
    if failed:
        raise Stop(SOME_FAILED if done else FAILED)


def _fill(
    out: Path,
    predictor: Predictor,
    images: tuple[str, ...],
    resume: bool,
    skip: bool,
    batch_size: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write the table, or this process's share of it."""
    from convzoo.cli._table import Table, column_names, row_of, spelled
    from convzoo.inference._files import image_files

    rank, world = (int(os.environ.get(name, usual)) for name, usual in _PLACE)
    classes = getattr(predictor.net, "num_classes", predictor.top_k)
    names = column_names(min(predictor.top_k, classes))
    # torchrun starts all processes again after one has died.
    resume = resume or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
    table = Table(out, names, resume=resume, rank=rank, world=world)
    there = _names(lambda: _checked(table.rows(), predictor))

    def share() -> Iterator[Path]:
        for path in image_files(images):
            # By the name, so that all processes agree whatever else comes into the folder.
            mine = zlib.crc32(os.fsencode(path)) % world == rank
            if mine and spelled(path) not in there:
                yield path

    interrupted = False
    fresh: list[Row] = []
    started, count = time.perf_counter(), 0
    try:
        with _bar(share, as_json) as step:
            for found in predictor.folder(share(), batch_size=batch_size, workers=workers):
                count += 1
                step()
                if found.error is not None:
                    _tell(found.error, skip)
                # Where there are several processes, each has to see what the others are done with.
                if found.error is None or world > 1 or not skip:
                    fresh.append(row_of(found, names))
                if len(fresh) == batch_size:
                    table.add(fresh)
                    fresh = []
    except KeyboardInterrupt:
        interrupted = True
    table.add(fresh)
    rate = count / (time.perf_counter() - started)
    whole = world == 1
    if not (whole or interrupted):
        all_there = _names(table.rows)
        whole = all(spelled(path) in all_there for path in image_files(images))
    done, failed = table.close(keep_errors=not skip, together=whole)
    if whole and as_json:
        print_json({"out": str(out), "images": done, "errors": failed})
    elif whole:
        unread = f" and {failed} that could not be read" if failed else ""
        echo(f"{out}: {done} images{unread}; {count} of them now, {rate:.1f} images/s")
    if interrupted:
        complain(f"Interrupted; {out} holds what was done, --resume goes on.")
        raise Stop(INTERRUPTED)
    # torchrun ends the other processes when one leaves with a status: the last one tells.
    if whole and failed and not skip:
        raise Stop(SOME_FAILED if done else FAILED)


_PLACE = (("RANK", "0"), ("WORLD_SIZE", "1"))


class _Names:
    """The images of a table, eight bytes each."""

    def __init__(self, rows: Iterable[Row]) -> None:
        import numpy as np

        # Of ten million names two share their 64 bits once in four hundred thousand tables.
        self._sorted = np.sort(np.fromiter((hash(row["image"]) for row in rows), np.int64))

    def __contains__(self, image: str) -> bool:
        place = int(self._sorted.searchsorted(hash(image)))
        return place < len(self._sorted) and int(self._sorted[place]) == hash(image)


def _checked(rows: Iterator[Row], predictor: Predictor) -> Iterator[Row]:
    """The rows of an earlier run, as long as it had the same classes."""
    from convzoo.errors import InputError

    for row in rows:
        if not row["error"]:
            index, label = int(row["index"]), row["label"]
            if label != predictor.label(index):
                raise InputError(
                    f"--resume: the table calls class {index} {label!r}, the network "
                    f"{predictor.label(index)!r}; give the network it was made with"
                )
        yield row


def _names(rows: Callable[[], Iterator[Row]]) -> _Names:
    for _ in range(10):
        with suppress(FileNotFoundError):  # another process has put the parts together meanwhile
            return _Names(rows())
    return _Names(rows())


@contextmanager
def _bar(share: Callable[[], Iterator[Path]], quiet: bool) -> Iterator[Callable[[], object]]:
    """What is called after each image, to show how many a second there are."""
    if not bars_wanted(quiet):
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(total=sum(1 for _ in share()), unit=" images", smoothing=0.1, leave=False) as bar:
        yield bar.update


def _tell(error: str, skip: bool) -> None:
    if skip:
        complain(f"Warning: left out: {error}")
    else:
        complain(f"Error: {error}")


def _some(images: tuple[str, ...]) -> Iterator[Path]:
    """The images that int8 is calibrated on."""
    from convzoo.errors import DataError
    from convzoo.inference._files import image_files
    from convzoo.presets import load_image

    def readable(path: Path) -> bool:
        try:
            load_image(path)
        except DataError:
            return False
        return True

    return islice(filter(readable, image_files(images)), 256)


def _untrained(net: nn.Module) -> str | None:
    """What shows that a network's scores are those of chance, where something does."""
    from torch.nn.modules.batchnorm import _NormBase

    means = [m.running_mean for m in net.modules() if isinstance(m, _NormBase)]
    if tracked := [mean for mean in means if mean is not None]:
        seen = any(bool(mean.count_nonzero()) for mean in tracked)
        return None if seen else "never trained: its batch normalisation has seen no image"
    known = {"base", "dataset", "metrics", "repo", "trained", "weights"}
    if known & set(getattr(net, "provenance", known)):
        return None
    return "untrained, as far as its file says (save takes dataset= and metrics=)"


def _device(cpu: bool) -> str | None:
    import torch

    if cpu or not torch.cuda.is_available():
        return None
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
