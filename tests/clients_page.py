"""docs/clients.md, made of the tests in tests/clients: nothing on it is typed by hand.

A module there tries one tool: its docstring names it, `DISTRIBUTION` is what pip calls it, and
each test is one use. The test's docstring says which, its lines up to the first check are what the
page shows, and its mark `verdict`, where it has one, what the page says instead of "works".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent / "clients"
PAGE = TESTS.parent.parent / "docs" / "clients.md"

INTRODUCTION = """\
# Other people's tools

Networks of the zoo in the hands of {tools} other tools, {uses} uses. The page is written by
`make test-clients`, which installs the tools into an environment of its own and runs a test for
each row: versions, verdicts and lines are those of that run ({platform}), nothing is typed by hand.
In the lines `net` is a network of the zoo in evaluation mode, `x` a batch of images for it and `y`
their classes; `folder`, `files` and `tmp_path` are places on the disk.

| tool | version | use | verdict |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Use:
    """One use of a tool: a test."""

    test: str
    what: str
    lines: str
    verdict: str


@dataclass(frozen=True)
class Tool:
    """One tool: a module of tests."""

    module: str
    name: str
    distribution: str
    uses: tuple[Use, ...]


def tools() -> list[Tool]:
    """What the modules of tests/clients say, in the order of the tools' names."""
    return sorted(map(_tool, TESTS.glob("test_*.py")), key=lambda tool: tool.name.lower())


def page(versions: Mapping[str, str], passed: Mapping[tuple[str, str], bool], platform: str) -> str:
    """The page as Markdown.

    Args:
        versions: Module -> the tool's version.
        passed: (module, test) -> whether all its cases passed; what is not here was not tried.
        platform: Versions of Python and torch.
    """
    every = tools()
    count = sum(len(tool.uses) for tool in every)
    rows, sections = [], []
    for tool in every:
        sections.append(f"\n## {tool.name}\n")
        for use in tool.uses:
            right = passed.get((tool.module, use.test))
            verdict = {True: use.verdict, False: "**fails**", None: "not tried"}[right]
            version = versions.get(tool.module, "-")
            anchor = re.sub(r"[^\w\s-]", "", tool.name.lower()).replace(" ", "-")
            rows.append(f"| [{tool.name}](#{anchor}) | {version} | {use.what} | {verdict} |\n")
            sections.append(section(use))
    head = INTRODUCTION.format(tools=len(every), uses=count, platform=platform)
    return head + "".join(rows) + "".join(sections)


def section(use: Use) -> str:
    """What the page says of a use below its table."""
    note = "" if use.verdict == "works" else f" ({use.verdict})"
    return f"\n{use.what}{note}:\n\n```py\n{use.lines}\n```\n"


def _tool(path: Path) -> Tool:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    assert docstring, path
    (distribution,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DISTRIBUTION"
    )
    tests = (
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    uses = tuple(_use(test, text.splitlines()) for test in tests)
    return Tool(path.stem, docstring.split(":")[0], distribution, uses)


def _use(test: ast.FunctionDef, text: list[str]) -> Use:
    docstring = ast.get_docstring(test)
    assert docstring, test.name
    verdict = "works"
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.verdict":
            verdict = ast.literal_eval(mark.args[0])
    shown = test.body[1:]
    for number, statement in enumerate(shown):
        if any(_checks(node) for node in ast.walk(statement)):
            shown = shown[:number]
            break
    first, last = shown[0].lineno - 1, shown[-1].end_lineno
    lines = "\n".join(line[4:] for line in text[first:last])
    return Use(test.name, " ".join(docstring.split()).rstrip("."), lines, verdict)


def _checks(node: ast.AST) -> bool:
    raises = isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.raises"
    return raises or isinstance(node, ast.Assert)
