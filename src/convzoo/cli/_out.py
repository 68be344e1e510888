"""The folder that `convzoo finetune` writes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from convzoo.errors import InputError
from convzoo.hub import SAVED, check_ours, says

CHECKPOINT = "checkpoint"
HISTORY = "history.json"
METRICS = "metrics"


@contextmanager
def output_folder(out: Path, data: Path | None) -> Iterator[None]:
    """The folder for the length of a run; one that is empty after it goes again.

    Args:
        out: The folder; made if need be.
        data: The folder of images, None where they are in none of the user's.

    Raises:
        InputError: The run would replace files that no run of the command has written, or its
            folder would be a class of the next one.
    """
    _check_apart(out, data)
    check_ours("--out", out, _WRITTEN)
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    # Fails now rather than after the training, where the folder cannot be made.
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _check_apart(out: Path, data: Path | None) -> None:
    if data is None:
        return
    place, images = out.resolve(), data.resolve()
    if not place.is_relative_to(images):
        return
    if not any(name.startswith(".") for name in place.relative_to(images).parts):
        raise InputError(
            f"--out: {out} is inside {data}, where the next run would take it for a class; "
            "give a folder elsewhere"
        )


def _is_of_a_run(picture: Path) -> bool:
    return picture.is_file() and _records(picture.with_name(HISTORY))


def _is_checkpoint(path: Path) -> bool:
    """Whether a folder holds what the phases leave, `1/best`, `1/last.pt`, ..., and no more."""
    if not path.is_dir():
        return False
    inside = [item for item in path.iterdir() if item.name[0] != "."]
    return all(
        item.is_dir()
        and item.name.isdecimal()
        and all(one.name in ("best", "last.pt") or one.name[0] == "." for one in item.iterdir())
        for item in inside
    )


def _is_metrics(path: Path) -> bool:
    """Whether a folder holds what trackers leave of the phases, `1/metrics.csv`, ..., alone."""
    return path.is_dir() and all(
        item.is_dir() and item.name.isdecimal() for item in path.iterdir() if item.name[0] != "."
    )


_records = says(b'"kept"')
_WRITTEN: dict[str, Callable[[Path], bool]] = {
    **SAVED,
    HISTORY: _records,
    "learning_curve.png": _is_of_a_run,
    "confusion_matrix.png": _is_of_a_run,
    CHECKPOINT: _is_checkpoint,
    METRICS: _is_metrics,
}
