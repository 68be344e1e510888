"""A table of predictions that grows on the disk, and outlives whatever happens on the way."""

from __future__ import annotations

import contextlib
import csv
import heapq
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from convzoo.errors import InputError, MissingExtraError
from convzoo.inference import FilePredictions

Row = dict[str, Any]
"""Column -> value; of a CSV file every value is text."""

_PART: Final = re.compile(r"\d+-of-\d+\.jsonl")
_GROUP: Final = 10_000  # rows that are written at once when files are put together


def column_names(top_k: int) -> tuple[str, ...]:
    """The columns of a table: the file, what was wrong with it, and three for each prediction."""
    ranks = ["", *(f"_{rank}" for rank in range(2, top_k + 1))]
    names = (f"{name}{rank}" for rank in ranks for name in ("label", "index", "probability"))
    return ("image", "error", *names)


def row_of(found: FilePredictions, columns: Sequence[str]) -> Row:
    """One file's row."""
    values: list[object] = [spelled(found.image), found.error and _utf8(found.error)]
    for prediction in found.predictions:
        values += [prediction.label, prediction.index, prediction.probability]
    values += [None] * (len(columns) - len(values))
    return dict(zip(columns, values, strict=True))


def spelled(image: Path) -> str:
    """A file's name as tables hold it: bytes that are not UTF-8 come as escapes."""
    return _utf8(str(image))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Table:
    """A table that several processes may write at once, and that may be gone on with.

    One process appends to a CSV or JSON lines file as it goes. A Parquet file ends with an index
    without which nothing in it can be read, and several processes cannot append to one file: there
    each writes JSON lines beside the place, `labels.parquet.0-of-2.jsonl`, and whoever finds all
    images in them puts them together.

    Args:
        out: The file.
        columns: Names of its columns.
        resume: Whether to go on with what is there.
        rank: The number of this process.
        world: How many there are.

    Raises:
        InputError: The file's name ends in nothing known, its folder is missing, or it is there
            already and not to be gone on with.
        MissingExtraError: It is Parquet, and pyarrow is not installed.
    """

    def __init__(
        self, out: Path, columns: Sequence[str], *, resume: bool, rank: int, world: int
    ) -> None:
        if out.suffix not in _FORMATS:
            raise InputError(f"--out: expected a name in {', '.join(_FORMATS)}, got {out}")
        if not out.parent.is_dir():
            raise InputError(f"--out: expected a place in a folder that is there, got {out}")
        self.out = out
        self.columns = tuple(columns)
        self._format: _Csv | _JsonLines | _Parquet = _FORMATS[out.suffix]()
        part = out.with_name(f"{out.name}.{rank}-of-{world}.jsonl")
        direct = world == 1 and not isinstance(self._format, _Parquet)
        self._live = out if direct else part
        # Parts of as many processes are this run's; their own processes look after them.
        others = [path for path in self._parts() if not path.name.endswith(f"-of-{world}.jsonl")]
        there = [path for path in (out, part, *others) if os.path.lexists(path)]
        if there and not resume:
            raise InputError(
                f"--out: {there[0]} is there already; go on with it by --resume, or remove it"
            )
        self._file: IO[bytes] | None = None
        self._good = 0  # bytes of whole rows in it

    def rows(self) -> Iterator[Row]:
        """The whole rows that are there, of all processes, in the order of the images.

        Raises:
            InputError: They have other columns, or a file is no table.
        """
        before = None
        for row in heapq.merge(*map(self._rows_of, self._sources()), key=_place_of):
            # Two processes may have put the same parts together at the same time.
            if row["image"] != before:
                before = row["image"]
                yield row

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows, all of them or none."""
        if self._file is None:
            self._file = self._opened()
        text = _lines(self._live).text(rows, None if self._good else self.columns)
        data = memoryview(text.encode("utf-8"))
        size = len(data)
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            self._file.truncate(self._good)
            raise
        self._good += size

    def close(self, *, keep_errors: bool, together: bool) -> tuple[int, int]:
        """End the writing, and put what was written apart together.

        Args:
            keep_errors: Whether files that could not be read stay in the table.
            together: Whether all is there that is to be put together.

        Returns:
            How many rows hold predictions, and how many an error.
        """
        if self._file is not None:
            self._file.close()
        counts = [0, 0]

        def counted() -> Iterator[Row]:
            for row in self.rows():
                counts[bool(row["error"])] += 1
                if keep_errors or not row["error"]:
                    yield row

        while together and (self._parts() or not self.out.exists()):
            counts[:] = 0, 0
            try:
                self._put_together(counted())
            except FileNotFoundError:  # another process was quicker, and has removed the parts
                continue
            return counts[0], counts[1]
        counts[:] = 0, 0
        for _ in counted():
            pass
        return counts[0], counts[1]

    def _put_together(self, rows: Iterator[Row]) -> None:
        parts = self._parts()
        fresh = self.out.with_name(f".{self.out.name}.{secrets.token_hex(4)}.tmp")
        try:
            self._format.write(fresh, rows, self.columns)
            fresh.replace(self.out)
        finally:
            fresh.unlink(missing_ok=True)
        for part in parts:
            part.unlink(missing_ok=True)

    def _parts(self) -> list[Path]:
        start = f"{self.out.name}."
        return sorted(
            path
            for path in self.out.parent.iterdir()
            if path.name.startswith(start) and _PART.fullmatch(path.name[len(start) :])
        )

    def _sources(self) -> list[Path]:
        return [*([self.out] if self.out.exists() else []), *self._parts()]

    def _rows_of(self, path: Path) -> Iterator[Row]:
        kind = self._format if path == self.out else _JsonLines()
        for _, row in kind.read(path):
            if tuple(row) != self.columns:
                raise InputError(
                    f"--resume: {path} has the columns {', '.join(map(str, row))}, expected "
                    f"{', '.join(self.columns)}; give the --top-k it was made with"
                )
            yield row

    def _opened(self) -> IO[bytes]:
        """The file that this process appends to, without the beginning of a row at its end."""
        self._live.touch()
        for end, _ in _lines(self._live).read(self._live):
            self._good = end
        file = self._live.open("r+b", buffering=0)
        file.truncate(self._good)
        file.seek(self._good)
        return file


def _place_of(row: Row) -> tuple[str, ...]:
    return Path(row["image"]).parts


class _Lines:
    """Tables that are lines of text."""

    def text(self, rows: Iterable[Row], header: Sequence[str] | None) -> str:
        """Rows as they stand in the file, after the header where it begins with them."""
        raise NotImplementedError

    def write(self, path: Path, rows: Iterator[Row], columns: Sequence[str]) -> None:
        """A whole file, forced to the disk."""
        header: Sequence[str] | None = columns
        with path.open("x", encoding="utf-8", newline="") as file:
            while (some := list(islice(rows, _GROUP))) or header:
                file.write(self.text(some, header))
                header = None
            file.flush()
            os.fsync(file.fileno())


class _JsonLines(_Lines):
    def text(self, rows: Iterable[Row], _header: object) -> str:
        return "".join(json.dumps(row) + "\n" for row in rows)

    def read(self, path: Path) -> Iterator[tuple[int, Row]]:
        end = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):  # a process was killed while it wrote
                    return
                end += len(line)
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    raise InputError(f"--resume: {path} holds what is no row: {line[:80]!r}")
                yield end, row


class _Csv(_Lines):
    def text(self, rows: Iterable[Row], header: Sequence[str] | None) -> str:
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerows([header] if header else [])
        lines.writerows(row.values() for row in rows)
        return text.getvalue()

    def read(self, path: Path) -> Iterator[tuple[int, Row]]:
        end = 0

        def whole(file: IO[bytes]) -> Iterator[str]:
            nonlocal end
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                yield line.decode("utf-8", "replace")

        with path.open("rb") as file, contextlib.suppress(csv.Error):  # ends in a name cut in two
            for row in csv.DictReader(whole(file), strict=True):
                yield end, row


class _Parquet:
    def __init__(self) -> None:
        try:
            import pyarrow.parquet as parquet
        except ModuleNotFoundError as error:
            if error.name not in ("pyarrow", "pyarrow.parquet"):
                raise
            raise MissingExtraError(
                "--out: Parquet needs pyarrow, which is not installed: "
                "pip install 'convzoo[tables]'; .csv and .jsonl need nothing"
            ) from None
        self._parquet: Any = parquet

    def write(self, path: Path, rows: Iterator[Row], columns: Sequence[str]) -> None:
        import pyarrow

        kinds = {"index": pyarrow.int32(), "probability": pyarrow.float32()}
        fields = [(name, kinds.get(name.partition("_")[0], pyarrow.string())) for name in columns]
        schema = pyarrow.schema(fields)
        with self._parquet.ParquetWriter(path, schema) as file:
            while some := list(islice(rows, _GROUP)):
                file.write_table(pyarrow.Table.from_pylist(some, schema))

    def read(self, path: Path) -> Iterator[tuple[int, Row]]:
        import pyarrow

        try:
            with self._parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(_GROUP):
                    yield from ((0, row) for row in batch.to_pylist())
        except pyarrow.ArrowInvalid as error:
            raise InputError(f"--resume: {path} is no Parquet file: {error}") from None


_FORMATS: Final[dict[str, type[_Csv | _JsonLines | _Parquet]]] = {
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}


def _lines(path: Path) -> _Csv | _JsonLines:
    """How the file that a process appends to is written."""
    return _Csv() if path.suffix == ".csv" else _JsonLines()
