"""Every lesson runs whole, and its page, pictures and notebook are what its script gives."""

from __future__ import annotations

import gc
import importlib.util
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ROOT / "docs" / "lessons"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_lessons", ROOT / "docs/write_lessons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


WRITE = script()
NAMES = WRITE.names()
SHORT = """# %% [markdown]
# # A title
#
# A question?

# %%
print("a line")

# %%
# picture: A rising line
from matplotlib.figure import Figure

figure = Figure(layout="constrained")
figure.subplots().plot([1, 2])
figure
"""


@pytest.mark.filterwarnings("ignore")  # a script is not warned of what it leaves to the end
@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_runs_whole(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Here and not in a process of its own, which would import everything again.
    path = LESSONS / f"{name}.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
    gc.collect()  # its end


@pytest.mark.parametrize("name", NAMES)
def test_a_page_and_its_notebook_are_what_the_script_gives(name: str) -> None:
    assert WRITE.stale(name) == [], f"python docs/write_lessons.py {name}"
    # The numbers on a page are of the real thing, not of the quick run.
    text = (LESSONS / f"{name}.md").read_text("utf-8")
    assert re.search(r"--data (fashion_mnist|all_digits)` on 20", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_has_exercises_with_answers_and_a_summary(name: str) -> None:
    text = (LESSONS / f"{name}.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[-2:] == ["Exercises", "Summary"]
    exercises = text.partition("## Exercises")[2].partition("## Summary")[0]
    answers = exercises.count("<details markdown><summary>Answer</summary>\n\n")
    assert answers >= 2
    assert exercises.count("</details>") == answers
    assert text.index("![") < 3000, "a lesson begins with a picture"


def test_every_lesson_is_listed_under_its_title() -> None:
    index = (LESSONS / "index.md").read_text("utf-8")
    nav = (ROOT / "mkdocs.yml").read_text("utf-8")
    for name in NAMES:
        title = (LESSONS / f"{name}.md").read_text("utf-8").partition("\n")[0].removeprefix("# ")
        assert f"[{title}]({name}.md)" in index
        assert f"{title}: lessons/{name}.md" in nav.replace('"', "")
    assert {p.stem.rpartition("_")[0] for p in WRITE.PICTURES.iterdir()} == set(NAMES)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(WRITE, "LESSONS", tmp_path)
    monkeypatch.setattr(WRITE, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(sys, "argv", sys.argv)
    (tmp_path / "one.py").write_text(SHORT, "utf-8")
    return tmp_path


def test_a_changed_script_makes_its_page_stale(place: Path) -> None:
    WRITE.write("one", "digits")
    assert WRITE.stale("one") == []
    text = (place / "one.md").read_text("utf-8")
    assert "```output\na line\n```" in text
    assert "![A rising line](../images/lessons/one_1.png)" in text
    assert "# picture" not in text
    (place / "one.py").write_text(SHORT.replace("a line", "another"), "utf-8")
    assert [line.partition(":")[0] for line in WRITE.stale("one")] == ["one.md", "one.ipynb"]
    with pytest.raises(WRITE.LessonError, match="not that of the page"):
        WRITE.rewrite("one")
    (place / "one.py").write_text(SHORT.replace("A question?", "Another?"), "utf-8")
    assert WRITE.stale("one")
    WRITE.rewrite("one")
    assert WRITE.stale("one") == []
    assert (place / "one.md").read_text("utf-8") == text.replace("A question?", "Another?")
    WRITE.write("one", "digits")
    (place / "pictures" / "one_1.png").rename(place / "pictures" / "one_2.png")
    assert [line.partition(":")[0] for line in WRITE.stale("one")] == ["one_1.png", "one_2.png"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# picture: A rising line\n", "", "what it shows"),
        ('print("a line")', '# picture: Nothing\nprint("a line")', "what it shows"),
        ('print("a line")', '"a line"', "print it"),
        ('print("a line")', "import matplotlib.pyplot as plt\nprint(plt.figure())", "twice"),
    ],
)
def test_a_cell_without_its_form_writes_nothing(
    place: Path, old: str, new: str, message: str
) -> None:
    (place / "one.py").write_text(SHORT.replace(old, new), "utf-8")
    with pytest.raises(WRITE.LessonError, match=message):
        WRITE.write("one", "digits")
    assert [p.name for p in place.iterdir()] == ["one.py"]
