"""Run the lessons, and write a page, its pictures and a notebook of each.

    OMP_NUM_THREADS=1 python docs/write_lessons.py [NAME ...] [--data fashion_mnist]
    python docs/write_lessons.py [NAME ...] --prose | --check

A lesson is a script in jupytext's percent format, docs/lessons/NAME.py, and nothing else is edited.
Its cells are run one after the other. The page shows what a cell prints and the matplotlib Figure
that its last expression is; the first line of such a cell says for those who cannot see it what
there is to see: `# picture: A digit under eight kernels`. `--prose` runs nothing and writes the
words anew, where the code is still that of the page; `--check` runs nothing and says what no longer
fits the scripts. Needs the `dev` extra.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import datetime
import io
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jupytext
import matplotlib.pyplot as plt
import nbformat
import torch
from matplotlib.figure import Figure
from PIL import Image

LESSONS = Path(__file__).parent / "lessons"
PICTURES = Path(__file__).parent / "images" / "lessons"
_WIDTH = 900  # pixels, of a page's picture at most
_LARGEST = 150_000  # bytes; what is more as PNG is a photograph, and goes as JPEG
_ALT = re.compile(r"# picture: (\S.*)\n")
# What a run adds to a page, with the blank line after it.
_OUTPUT = re.compile(
    r"^(?:```output\n[\s\S]*?^```|!\[.*\]\(\.\./images/lessons/.*\))\n\n", re.MULTILINE
)
# A page's code cell, what it printed, its picture.
_CELL = re.compile(
    r"^```python\n([\s\S]*?)^```\n\n"
    r"(?:```output\n([\s\S]*?)^```\n\n)?"
    r"(?:!\[.*\]\(\.\./images/lessons/(.*)\)\n\n)?",
    re.MULTILINE,
)
_FOOTER = "---\n\nRun with"


class LessonError(Exception):
    """A lesson that makes no page."""


class Shown(NamedTuple):
    """What a code cell shows: what it printed, and its picture."""

    printed: str = ""
    picture: str | None = None  # a file name in PICTURES


def names() -> list[str]:
    """The lessons that there are."""
    return sorted(script.stem for script in LESSONS.glob("*.py"))


def read(name: str) -> nbformat.NotebookNode:
    """A script as a notebook without outputs, the same one every time."""
    book = jupytext.reads((LESSONS / f"{name}.py").read_text("utf-8"), fmt="py:percent")
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(book)
    return book


def run(name: str, data: str) -> tuple[list[Shown], dict[str, bytes], float]:
    """Run a lesson: what each code cell shows, the pictures by file name, and the seconds."""
    plt.switch_backend("agg")
    sys.argv = [f"{name}.py", "--data", data]
    # Each lesson is a program of its own, under the name that programs have.
    scope: dict[str, Any] = {"__name__": "__main__"}
    shown: list[Shown] = []
    pictures: dict[str, bytes] = {}
    start = time.perf_counter()
    for number, cell in enumerate(read(name).cells):
        if cell.cell_type != "code":
            continue
        where = f"{name}.py, cell {number} ({cell.source.strip().splitlines()[0]!r})"
        tree = ast.parse(cell.source)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        value = None
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(tree, where, "exec"), scope)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), where, "eval"), scope)
        if value is not None and not isinstance(value, Figure):
            raise LessonError(f"{where}: ends in a {type(value).__name__}; print it, or name it")
        if (value is None) == bool(_ALT.match(cell.source)):
            raise LessonError(
                f"{where}: '# picture: ...' says above a picture, and only there, what it shows"
            )
        if plt.get_fignums():
            plt.close("all")
            raise LessonError(
                f"{where}: pyplot's figures show twice in a notebook; take "
                "matplotlib.figure.Figure(figsize=..., layout='constrained')"
            )
        picture = None
        if value is not None:
            content, suffix = drawn(value)
            picture = f"{name}_{len(pictures) + 1}.{suffix}"
            pictures[picture] = content
        shown.append(Shown(out.getvalue(), picture))
    return shown, pictures, time.perf_counter() - start


def drawn(figure: Figure) -> tuple[bytes, str]:
    """A figure as a file's content, and its suffix."""
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=min(120.0, _WIDTH / figure.get_figwidth()))
    with Image.open(whole) as read_again:
        image = read_again.convert("RGB")
    small = io.BytesIO()
    image.quantize(256).save(small, "png", optimize=True)
    if len(small.getvalue()) <= _LARGEST:
        return small.getvalue(), "png"
    small = io.BytesIO()
    image.save(small, "jpeg", quality=85, optimize=True)
    return small.getvalue(), "jpg"


def page(name: str, shown: list[Shown] | None = None) -> str:
    """The page of a lesson up to its footer, with what its code cells showed."""
    parts = []
    results = iter(shown or ())
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        alt = _ALT.match(cell.source)
        parts.append(f"```python\n{code(cell)}```")
        result = next(results, Shown())
        if result.printed.strip():
            parts.append(f"```output\n{result.printed.rstrip()}\n```")
        if result.picture and alt:
            parts.append(f"![{alt[1]}](../images/lessons/{result.picture})")
    title, _, rest = parts[0].partition("\n")
    head = (
        "To try it yourself: `pip install 'convzoo[train,plot]'`, and this lesson as a "
        f"[notebook]({name}.ipynb){{ download }} or a [script]({name}.py){{ download }}."
    )
    return "\n\n".join([title, head, rest.strip(), *parts[1:]]) + "\n\n"


def code(cell: nbformat.NotebookNode) -> str:
    """A cell's code as the page has it."""
    alt = _ALT.match(cell.source)
    return f"{cell.source[alt.end() if alt else 0 :].strip()}\n"


def footer(name: str, data: str, seconds: float) -> str:
    """How a page's results came about."""
    threads = torch.get_num_threads()
    today = datetime.datetime.now(datetime.UTC).date()
    return (
        f"{_FOOTER} `python {name}.py --data {data}` on {today}, in "
        f"{seconds:.0f} seconds: {processor()}, {threads} thread{'s' * (threads > 1)}, "
        f"torch {torch.__version__.partition('+')[0]}.\n"
    )


def processor() -> str:
    """The kind of processor, such as `AMD EPYC`."""
    known = Path("/proc/cpuinfo")
    text = known.read_text("utf-8") if known.is_file() else ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def stale(name: str) -> list[str]:
    """What of a lesson's page, notebook and pictures does not fit its script."""
    found = []
    place = LESSONS / f"{name}.md"
    text = place.read_text("utf-8") if place.is_file() else ""
    body, _, end = text.partition(_FOOTER)
    if _OUTPUT.sub("", body) != page(name) or not end:
        found.append(f"{place.name}: is not what {name}.py says")
    book = LESSONS / f"{name}.ipynb"
    if not book.is_file() or book.read_text("utf-8") != notebook(name):
        found.append(f"{book.name}: is not what {name}.py says")
    named = set(re.findall(r"\(\.\./images/lessons/(.*)\)", body))
    there = {p.name for p in PICTURES.glob(f"{name}_*")}
    found += [f"{picture}: is missing" for picture in sorted(named - there)]
    found += [f"{picture}: is on no page" for picture in sorted(there - named)]
    if len(named) != sum(bool(_ALT.match(cell.source)) for cell in read(name).cells):
        found.append(f"{place.name}: has other pictures than {name}.py makes")
    return found


def notebook(name: str) -> str:
    """A lesson's notebook as its file has it."""
    book = read(name)
    first = next(cell for cell in book.cells if cell.cell_type == "code")
    # Else Jupyter shows figures that are not pyplot's, such as convzoo's, as text.
    first.source = "%matplotlib inline\n" + first.source
    return nbformat.writes(book) + "\n"


def write(name: str, data: str) -> None:
    """Run a lesson and write all that comes of it; nothing is written where it fails."""
    shown, pictures, seconds = run(name, data)
    text = page(name, shown) + footer(name, data, seconds)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob(f"{name}_*"):
        old.unlink()
    for picture, content in pictures.items():
        (PICTURES / picture).write_bytes(content)
    (LESSONS / f"{name}.ipynb").write_text(notebook(name), "utf-8")
    (LESSONS / f"{name}.md").write_text(text, "utf-8")


def rewrite(name: str) -> None:
    """Write a lesson's words anew and keep what its code gave."""
    body, _, end = (LESSONS / f"{name}.md").read_text("utf-8").partition(_FOOTER)
    cells = _CELL.findall(body)
    if [cell[0] for cell in cells] != [
        code(cell) for cell in read(name).cells if cell.cell_type == "code"
    ]:
        raise LessonError(f"{name}.py: its code is not that of the page; run it without --prose")
    shown = [Shown(printed, picture or None) for _, printed, picture in cells]
    (LESSONS / f"{name}.ipynb").write_text(notebook(name), "utf-8")
    (LESSONS / f"{name}.md").write_text(page(name, shown) + _FOOTER + end, "utf-8")


def main() -> None:
    """Write lessons, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="lessons; none are all")
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--prose", action="store_true", help="run nothing, write the words anew")
    parser.add_argument("--check", action="store_true", help="run nothing, say what is stale")
    arguments = parser.parse_args()
    unknown = sorted({*arguments.names} - {*names()})
    if unknown:
        parser.error(f"no lesson {', '.join(unknown)}; there are {', '.join(names())}")
    chosen = arguments.names or names()
    if arguments.check:
        sys.exit("\n".join(line for name in chosen for line in stale(name)) or 0)
    for name in chosen:
        if arguments.prose:
            rewrite(name)
        else:
            write(name, arguments.data)
        print(f"{name}: written")  # noqa: T201


if __name__ == "__main__":
    main()
