"""What the tests of the command share: a small folder of images, few digits.

Test modules take the fixtures with `pytest_plugins = ["cli_fixtures"]`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from convzoo import datasets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten small images, dark and bright."""
    root = tmp_path / "data"
    for name, grey in (("dark", 20), ("bright", 200)):
        (root / name).mkdir(parents=True)
        for i in range(10):
            Image.new("L", (9, 9), grey + 3 * i).save(root / name / f"{i}.png")
    return root


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled digits, but few of them and 8 x 8 as they are, so that the job is quick."""
    whole = datasets.digits()
    few = whole._replace(
        train=whole.train.subset(range(0, 1250, 25)),
        val=whole.val.subset(range(0, 170, 8)),
        test=whole.test.subset(range(0, 350, 12)) if whole.test else None,
    )
    monkeypatch.setattr("convzoo.datasets.digits", lambda: few)
