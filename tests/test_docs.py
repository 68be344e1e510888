"""Every Python block of the README, the pages and the docstrings runs; the site builds strictly."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import convzoo
import processes
from convzoo.registry import MODELS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
# These run where the tool is there, and always with `make test-clients`.
PAGES_OF_TOOLS = {
    "fastai.md": "fastai",
    "lightning.md": "lightning",
    "skorch.md": "skorch",
    "trainer.md": "transformers",
    "detection.md": "torchvision",
    "retrieval.md": "torchvision",
    "segmentation.md": "torchvision",
}
# What these show has tests of its own, and takes long.
LONG_PAGES = {
    *("aids.md", "data.md", "export.md", "scale.md", "see.md", "training.md", "transfer.md"),
    *PAGES_OF_TOOLS,
}
SHOWN = {
    name
    for page in (ROOT / "docs").rglob("*.md")
    for name in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}
MODULES = sorted(m.name for m in pkgutil.walk_packages(convzoo.__path__, "convzoo."))


@pytest.fixture(autouse=True)
def _networks_of_pages_go_with_the_test() -> Iterator[None]:
    before = dict(MODELS)
    yield
    MODELS.clear()
    MODELS.update(before)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, id=p.name, marks=pytest.mark.long if p.name in LONG_PAGES else ())
        for p in PAGES
    ],
)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    if page.name in PAGES_OF_TOOLS:
        pytest.importorskip(PAGES_OF_TOOLS[page.name])
        warnings.simplefilter("ignore")  # what other people's packages warn of is theirs
    namespace: dict[str, object] = {"__name__": "__main__"}
    for match in re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        line = text[: match.start()].count("\n") + 1  # so that a traceback names the page's line
        code = compile("\n" * line + match[1], str(page), "exec")
        exec(code, namespace)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_the_pages_show_is_there(name: str) -> None:
    assert pkgutil.resolve_name(name) is not None


def test_pages_and_links_are_there(tmp_path: Path) -> None:
    commands, configuration = (
        pytest.importorskip(f"mkdocs.{part}") for part in ("commands.build", "config")
    )
    # The reference, which takes ten times as long, is built with the whole site.
    config = configuration.load_config(
        str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), plugins=["search"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its themes'
        commands.build(config)
    check_search(tmp_path)


@pytest.mark.long
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = processes.run(command, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    check_search(tmp_path)
    # No page is too long to be read, or to be loaded over a telephone.
    assert max(page.stat().st_size for page in tmp_path.rglob("*.html")) < 1_500_000


def check_search(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    for words in ("Transfer learning", "Grad-CAM", "overfitting", "CIFAR-10", "resnet50"):
        assert words in index
