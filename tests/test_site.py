"""The pages that are written from the code, and the site as a reader finds it."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import convzoo
from convzoo import datasets
from convzoo.registry import MODELS
from convzoo.weights import weights_info

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
DEEP = ("CIFAR ResNet", "CIFAR pre-activation ResNet", "Pre-activation ResNet", "ResNet", "LeNet")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_pages", DOCS / "write_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


WRITE = script()
FAMILIES = WRITE.families()


@pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=pytest.mark.long if f in DEEP else ()) for f in FAMILIES],
)
def test_the_page_of_a_family_is_what_the_code_says(family: str) -> None:
    place = DOCS / "families" / f"{WRITE.slug(family)}.md"
    assert place.read_text("utf-8") == WRITE.page(family, FAMILIES[family]), "make generated"


def test_the_list_of_families_is_what_the_code_says() -> None:
    assert (DOCS / "models.md").read_text("utf-8") == WRITE.models_page(), "make generated"
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    text = ""
    for family in FAMILIES:
        page = f"families/{WRITE.slug(family)}.md"
        assert f": {page}" in nav
        assert (DOCS / "images" / page.replace(".md", ".svg")).is_file()
        text += (DOCS / page).read_text("utf-8")
    for name in convzoo.list_models():
        assert f"| `{name}` |" in text
    for name in convzoo.list_weights():
        assert f"| `{name}` |" in text


def test_a_changed_figure_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    place = DOCS / "families" / "mlp.md"
    text = place.read_text("utf-8")
    numbers = re.findall(
        r"\d[\d,.]*\d", text.partition("## Builders")[2].partition("## Predict")[0]
    )
    assert len(numbers) > 5
    for number in set(numbers):
        wrong = text.replace(number, f"{number}9", 1)
        assert wrong != WRITE.page("MLP", FAMILIES["MLP"])
    record = json.loads((DOCS / "families" / "measured.json").read_text("utf-8"))
    assert set(MODELS) >= set(record["milliseconds"]) >= {"mlp", "resnet50", "vgg16"}
    record["milliseconds"]["mlp"] += 1
    monkeypatch.setattr(WRITE, "measured", lambda: record)
    assert WRITE.page("MLP", FAMILIES["MLP"]) != text


def test_the_result_on_the_first_screen_is_the_catalogues() -> None:
    known = weights_info("cifar_resnet20.fashion_mnist")
    for page in ("README.md", "docs/index.md"):
        first = (ROOT / page).read_text("utf-8")[:2500]
        assert f"{known.top1:.2f} %" in first, page


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(f, marks=() if f in ("MLP", "CIFAR ResNet") else pytest.mark.long)
        for f in FAMILIES
    ],
)
def test_the_code_of_a_family_runs(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for kind, grey in (("bright", 200), ("dark", 20)):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(6):
            Image.new("RGB", (40, 30), (grey, grey, i)).save(tmp_path / f"photos/{kind}/{i}.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "picture.jpg")
    text = (DOCS / "families" / f"{WRITE.slug(family)}.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    blocks.sort(key=lambda code: 'Predictor("kept")' in code)  # that one needs what another saves
    for code in blocks:
        # Published weights cannot be had here; the package's own can.
        code = re.sub(r'weights="(?!fashion_mnist)\w+"(, )?', "", code)
        code = re.sub(
            r'Predictor\("(\w+)\.(?!fashion_mnist)\w+"\)', r"Predictor(convzoo.\1())", code
        )
        code = code.replace("epochs=8", "epochs=1, batch_size=4, cpu=True")
        exec(compile(code, str(family), "exec"), {"datasets": datasets})


def test_what_a_reader_searches_for_is_there() -> None:
    pages = [*DOCS.glob("*.md"), *DOCS.glob("families/*.md")]
    titles = "\n".join(
        line for page in pages for line in page.read_text("utf-8").splitlines() if line[:1] == "#"
    )
    for words in ("Transfer learning", "Grad-CAM", "verfitting", "CIFAR-10"):
        assert words in titles, words


def test_the_reference_has_every_name_of_the_pictures() -> None:
    pages = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("visual*.md"))
    listed = re.findall(r"^::: convzoo\.visualize\.(\w+)$", pages, re.MULTILINE)
    assert sorted(listed) == sorted(convzoo.visualize.__all__)
