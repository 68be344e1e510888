"""What a script writes for type checkers is what registry and catalogue say today."""

from __future__ import annotations

from generate_types import generated


def test_nothing_generated_is_stale() -> None:
    stale = [path.name for path, text in generated().items() if path.read_text("utf-8") != text]
    assert not stale, "run `make generated`"
