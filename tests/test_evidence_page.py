"""The tables of docs/evidence.md, and transfer's, are what the scripts print from their logs."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module(request.param)


def rows_of(name: str) -> list[dict[str, Any]]:
    lines = (DOCS / "logs" / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def shown(script: ModuleType, page: str, rows: list[dict[str, Any]]) -> bool:
    """Whether the page shows the tables of these runs, each whole, and no others."""
    names = {row["experiment"] for row in rows}
    tables = [script.table(rows, name) for name in script.EXPERIMENTS if name in names]
    lines = [line for table in tables for line in table]
    return sorted(table_lines(page)) == sorted(lines) and all("\n".join(t) in page for t in tables)


@pytest.mark.parametrize("script", ["evidence"], indirect=True)
def test_the_evidence_is_that_of_the_log(script: ModuleType) -> None:
    page = (DOCS / "evidence.md").read_text("utf-8")
    rows = rows_of("evidence")
    assert shown(script, page, rows)
    for name in {row["experiment"] for row in rows}:
        assert f"--only {name}`" in page
        runs = sorted((r["variant"], r["seed"]) for r in rows if r["experiment"] == name)
        assert runs == sorted((v, seed) for v in script.EXPERIMENTS[name].runs for seed in range(3))


@pytest.mark.parametrize("script", ["evidence"], indirect=True)
def test_a_changed_figure_is_found(script: ModuleType) -> None:
    page, rows = (DOCS / "evidence.md").read_text("utf-8"), rows_of("evidence")
    for line in table_lines(page):
        if number := re.search(r"\d+\.\d\d", line):
            wrong = line.replace(number[0], f"{number[0]}1")
            assert not shown(script, page.replace(line, wrong), rows)
    rows[0]["result"]["test"] += 1
    assert not shown(script, page, rows)


@pytest.mark.parametrize("script", ["transfer_evidence"], indirect=True)
def test_transfers_evidence_is_that_of_the_log(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    script.table(rows_of("transfer_evidence"))
    section = (DOCS / "transfer.md").read_text("utf-8").partition("\n## Evidence\n")[2]
    assert table_lines(section.partition("\n## ")[0]) == table_lines(capsys.readouterr().out)
