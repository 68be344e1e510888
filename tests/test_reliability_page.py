"""The table of docs/reliability.md names tests; they exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent


def test_every_row_names_a_test_that_exists() -> None:
    page = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| Test |" not in line]
    code = "\n".join(path.read_text("utf-8") for path in TESTS.rglob("test_*.py"))
    assert len(rows) > 40
    for row in rows:
        names = re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1])
        assert names, row
        for name in names:
            assert f"def {name}(" in code, name
