"""Where a training's figures go: Accelerate's trackers, and a table of our own."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args

from convzoo.errors import InputError, MissingExtraError, UnknownNameError

TrackerName = Literal["csv", "tensorboard", "trackio", "wandb", "mlflow"]
"""Where `fit` can send its figures."""

PROJECT: Final = "convzoo"
_CSV: Final = "metrics.csv"
_COLUMNS: Final = (
    "step",
    "epoch",
    "loss",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
)


class Tracker(Protocol):
    """What Accelerate's trackers can do."""

    def start(self) -> None:
        """Begin a run."""

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Note what was chosen."""

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """Note figures."""

    def finish(self) -> None:
        """End the run."""


class Trackers:
    """The trackers of one training, in the one process that speaks.

    Args:
        names: Which.
        folder: Where those that write files do so.

    Raises:
        InputError: There is no such tracker, or it has nowhere to write to.
        MissingExtraError: One is not installed.
    """

    def __init__(self, names: Sequence[TrackerName], folder: Path | None) -> None:
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise InputError(f"trackers: expected a tuple of names, got {names!r:.80}")
        known: tuple[str, ...] = get_args(TrackerName)
        for name in names:
            if name not in known:
                raise UnknownNameError("tracker", str(name), known)
            if name in ("csv", "tensorboard") and folder is None:
                raise InputError(
                    f"logging_dir: {name} writes files; give a folder, here or as checkpoint"
                )
            found = name if name == "csv" else find_spec(name)
            # A folder of that name, which some of them make where they run, is no package.
            if getattr(found, "origin", found) is None:
                raise MissingExtraError(
                    f"trackers: {name} is not installed: pip install 'convzoo[{name}]'"
                )
        self.names = tuple(dict.fromkeys(names))
        self.folder = folder
        self.started: list[Tracker] = []

    def start(self, config: Mapping[str, object], done: int) -> None:
        """Begin; after a resumption what was noted beyond `done` steps is noted again.

        Args:
            config: What was chosen for the training.
            done: Steps.
        """
        for name in self.names:
            tracker = self._made(name, done)
            tracker.start()
            self.started.append(tracker)
            tracker.store_init_configuration(_flat(config))

    def log(self, step: int, **values: float | None) -> None:
        """Note figures of this step; None is nothing to note, and a flag no figure."""
        known = {
            name: value
            for name, value in values.items()
            if value is not None and not isinstance(value, bool)
        }
        for tracker in self.started:
            tracker.log(dict(known), step=step)

    def finish(self) -> None:
        """End what was begun."""
        while self.started:
            self.started.pop().finish()

    def _made(self, name: TrackerName, done: int) -> Tracker:
        from accelerate import tracking

        folder = str(self.folder or ".")
        made: Any
        if name == "csv":
            made = CsvTracker(Path(folder) / _CSV, done)
        elif name == "tensorboard":
            made = tracking.TensorBoardTracker("tensorboard", folder, purge_step=done + 1)
        elif name == "trackio":
            made = tracking.TrackioTracker(PROJECT, embed=False)
        elif name == "wandb":
            made = tracking.WandBTracker(PROJECT, dir=folder)
        else:
            made = tracking.MLflowTracker(PROJECT, logging_dir=folder)
        tracker: Tracker = made
        return tracker


class CsvTracker:
    """A table with a row for every noted step and one for every epoch.

    Args:
        path: The file.
        done: Rows of later steps, of a run that was cut off, go.

    Raises:
        InputError: The file is of somebody else.
    """

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        self.columns: list[str] = list(_COLUMNS)
        self.rows: list[dict[str, Any]] = []
        if not path.exists():
            return
        with path.open(encoding="utf-8", newline="", errors="replace") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or ())
            if columns[: len(_COLUMNS)] != list(_COLUMNS):
                raise InputError(
                    f"logging_dir: {path} is no table of a training; move it, or give another "
                    "folder"
                )
            if done:
                self.columns = columns
                self.rows = [row for row in reader if _number(row["step"]) <= done]

    def start(self) -> None:
        """Write what is known so far."""
        from convzoo.training._checkpoint import write_whole

        lines = [self.columns, *([row.get(one, "") for one in self.columns] for row in self.rows)]
        write_whole(self.path, "".join(_line(line) for line in lines).encode())

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Nothing: it is no figure."""

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        """A row more."""
        row = {"step": step, **values}
        self.rows.append(row)
        new = [name for name in row if name not in self.columns]
        if new:
            self.columns += new
            self.start()
            return
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(_line([row.get(name, "") for name in self.columns]))

    def finish(self) -> None:
        """Nothing: every row is written."""


def _line(values: Sequence[object]) -> str:
    return ",".join(map(str, values)) + "\n"  # names and numbers need no quotes


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")  # of a line that a kill cut short


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, int | float | str | bool]:
    """A configuration as all trackers take it: one level, of plain values."""
    found: dict[str, int | float | str | bool] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            plain = isinstance(value, (bool, int, float, str))
            found[f"{prefix}{name}"] = value if plain else str(value)  # type: ignore[assignment]
    return found
