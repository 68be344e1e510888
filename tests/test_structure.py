"""The shape of the package: imports go one way, and no room has two names."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import types
from graphlib import TopologicalSorter
from pathlib import Path

import convzoo

SRC = Path(convzoo.__file__).parent.parent


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by name, parsed."""
    found = {}
    for path in sorted((SRC / "convzoo").rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(tree: ast.Module, known: set[str]) -> set[str]:
    """What a module imports of the package; inside functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else str(node.module) for name in names}
    return found & known


def test_imports_go_one_way() -> None:
    trees = modules()
    graph = {name: imports(tree, set(trees)) - {name} for name, tree in trees.items()}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the circle
    assert set(order) == set(trees)


def test_who_may_import_whom() -> None:
    trees = modules()
    graph = {name: imports(tree, set(trees)) - {name} for name, tree in trees.items()}

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for one in graph[waiting.pop()] - found:
                found.add(one)
                waiting.append(one)
        return found

    for name in trees:
        below = reached(name)
        for lower, upper in (
            ("convzoo._contract", "convzoo.hub"),
            ("convzoo._contract", "convzoo.registry"),
            ("convzoo.registry", "convzoo.models"),
            ("convzoo.hub", "convzoo.models"),
            ("convzoo.transfer", "convzoo.models"),
            ("convzoo.transfer", "convzoo.inference"),
            ("convzoo._engines", "convzoo.transfer"),
            ("convzoo.layers", "convzoo._contract"),
            ("convzoo.presets", "convzoo._contract"),
        ):
            if name == lower or name.startswith(f"{lower}."):
                assert not any(b == upper or b.startswith(f"{upper}.") for b in below), (
                    name,
                    upper,
                )


def test_no_module_has_the_name_of_something_else() -> None:
    # `convzoo.layers.drop_block` was a module and a function: which one, depended on the import.
    for info in pkgutil.walk_packages(convzoo.__path__, "convzoo."):
        if info.name == "convzoo.__main__":
            continue
        importlib.import_module(info.name)
        package, _, name = info.name.rpartition(".")
        there = getattr(importlib.import_module(package), name)
        assert isinstance(there, types.ModuleType), f"{info.name} is a module and {there!r}"


def test_nothing_needs_posix() -> None:
    posix = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "posix"}
    for name, tree in modules().items():
        nodes = list(ast.walk(tree))
        imported = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
        imported |= {str(n.module) for n in nodes if isinstance(n, ast.ImportFrom)}
        assert not imported & posix, name
        assert not [n.attr for n in nodes if isinstance(n, ast.Attribute) and n.attr == "pread"], (
            name
        )
