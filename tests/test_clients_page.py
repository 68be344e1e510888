"""docs/clients.md lists every test of other people's tools, and nothing else."""

from __future__ import annotations

import re

import clients_page


def test_the_table_lists_every_use() -> None:
    rows = re.findall(
        r"^\| \[(.+?)\]\(#.+?\) \| (.+?) \| (.+?) \| (.+?) \|$",
        clients_page.PAGE.read_text("utf-8"),
        re.MULTILINE,
    )
    expected = [(t.name, use.what, use.verdict) for t in clients_page.tools() for use in t.uses]
    assert [(tool, use) for tool, _, use, _ in rows] == [row[:2] for row in expected], (
        "run `make test-clients`"
    )
    for (tool, _, use, said), (*_, verdict) in zip(rows, expected, strict=True):
        assert said in (verdict, "**fails**", "not tried"), (tool, use)


def test_the_lines_are_those_that_ran() -> None:
    page = clients_page.PAGE.read_text("utf-8")
    shown = page[page.index("\n## ") :]
    expected = []
    for tool in clients_page.tools():
        expected.append(f"\n## {tool.name}\n")
        expected += map(clients_page.section, tool.uses)
    assert shown == "".join(expected), "run `make test-clients`"
