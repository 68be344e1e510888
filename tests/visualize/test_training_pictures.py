"""Pictures: what is drawn, and that nothing global is touched."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
from PIL import Image

import processes
from convzoo.errors import InputError
from convzoo.training import EpochRecord, Evaluation, History
from convzoo.visualize import confusion_matrix, learning_curve


def history(*val_losses: float | None) -> History:
    epochs = tuple(
        EpochRecord(n, 1 / n, 0.5, loss, None if loss is None else 0.25, 0.1, 1.0)
        for n, loss in enumerate(val_losses, start=1)
    )
    return History(epochs, None, "finished")


def test_a_learning_curve_has_two_lines_in_each_half(tmp_path: Path) -> None:
    figure = learning_curve(history(0.9, 0.8, 0.7), tmp_path / "curve.png")
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["training", "validation"]
    assert list(loss.lines[0].get_ydata()) == [1, 1 / 2, 1 / 3]
    assert list(loss.lines[1].get_ydata()) == [0.9, 0.8, 0.7]
    assert list(accuracy.lines[1].get_ydata()) == [0.25, 0.25, 0.25]
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size == (900, 400)


def test_without_validation_there_is_one_line() -> None:
    assert len(learning_curve(history(None, None)).axes[0].lines) == 1


def test_the_kept_epoch_is_marked_and_names_stay_inside() -> None:
    best = History(history(0.9, 0.8, 0.85).epochs, 2, "finished")
    figure = learning_curve([history(0.9), best], phases=["head", "a name that is quite long"])
    loss, accuracy = figure.axes
    assert loss.collections[0].get_offsets().tolist() == [[3, 0.8]]
    assert accuracy.collections[0].get_offsets().tolist() == [[3, 0.25]]
    assert "kept: epoch 3" in [text.get_text() for text in loss.get_legend().get_texts()]
    figure.canvas.draw()
    for axes in figure.axes:
        for text in axes.texts:
            assert text.get_window_extent().x1 <= figure.bbox.x1
    assert not learning_curve(history(0.9, 0.8)).axes[0].collections


def test_phases_are_drawn_one_after_the_other() -> None:
    figure = learning_curve([history(0.9, 0.8), history(0.7)], phases=["head", "all"])
    loss = figure.axes[0]
    assert list(loss.lines[1].get_xdata()) == [1, 2, 3]
    assert list(loss.lines[2].get_xdata()) == [2.5, 2.5]  # the border between them
    assert [text.get_text() for text in loss.texts] == ["head", "all"]


def test_an_empty_history_is_refused() -> None:
    with pytest.raises(InputError, match="history: has no epoch to draw"):
        learning_curve([])


def test_a_confusion_matrix_shows_counts_and_shares(tmp_path: Path) -> None:
    result = Evaluation(8, 0.1, 0.75, None, ((3, 1), (1, 3)), ("cat", "dog"))
    figure = confusion_matrix(result, tmp_path / "confusion.png")
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "1", "3"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.get_title() == "top-1 75.00%"
    assert (tmp_path / "confusion.png").stat().st_size > 0


def test_many_classes_stay_legible_and_an_absent_one_is_blank() -> None:
    n = 100
    rows = tuple(tuple(int(i == j and i > 0) for j in range(n)) for i in range(n))
    result = Evaluation(n - 1, 0.0, 1.0, 1.0, rows, tuple(f"class {i}" for i in range(n)))
    figure = confusion_matrix(result)
    assert len(figure.axes[0].get_xticks()) <= 40
    assert figure.get_size_inches()[0] <= 16
    assert sum(figure.axes[0].images[0].get_array()[0].tolist()) == 0


@pytest.mark.long
def test_pyplot_is_not_touched(tmp_path: Path) -> None:
    code = (
        "import sys; from convzoo.training import Evaluation;"
        "from convzoo.visualize import confusion_matrix;"
        "assert 'matplotlib' not in sys.modules;"
        "confusion_matrix(Evaluation(1, 0., 1., None, ((1,),), ('a',)), 'a.png');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = processes.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_notebooks_show_figures() -> None:
    figure = learning_curve([history(0.9)])
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert pickle.loads(pickle.dumps(figure))._repr_png_()


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_long_names_of_phases_do_not_squeeze_the_axes(tmp_path: Path, epochs: int) -> None:
    phases = [history(*[0.9] * epochs), history(*[0.8] * epochs)]
    names = ["only the new head, the rest of the network as it was loaded" * 2, "everything"]
    figure = learning_curve(phases, tmp_path / "curve.png", phases=names)
    # pytest turns matplotlib's warning of a collapsed layout into an error.
    assert all(axes.get_position().width > 0.3 for axes in figure.axes)


def test_one_epoch_of_one_phase_can_be_drawn(tmp_path: Path) -> None:
    learning_curve([history(0.9)], tmp_path / "curve.png", phases=["head only", "everything"])


def test_the_names_of_phases_are_in_the_picture() -> None:
    figure = learning_curve([history(0.9), history(0.8)], phases=["head only", "everything"])
    figure.canvas.draw()
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["head only", "everything"]
        assert all(text.get_window_extent().y1 <= figure.bbox.y1 for text in axes.texts)
