"""The package from outside: what it imports, what it exports, what it says of itself."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path

import pytest

import convzoo
import processes

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torchvision", "huggingface_hub", "accelerate", "matplotlib", "torchmetrics", "PIL")


def run(code: str) -> str:
    done = processes.run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_loads_nothing_heavy() -> None:
    # Compared with torch alone: what torch itself loads is not ours to answer for.
    code = (
        "import sys, torch; before = set(sys.modules); import convzoo; "
        f"print([m for m in {HEAVY!r} if m in sys.modules], len(set(sys.modules) - before))"
    )
    heavy, _, count = run(code).rpartition(" ")
    assert heavy == "[]"
    assert int(count) < 120


def test_all_is_the_namespace() -> None:
    # What a type checker sees, lazy names included, is what there is.
    tree = ast.parse((ROOT / "src/convzoo/__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {
        alias.asname or alias.name
        for node in imports
        if node.module not in ("__future__", "typing", "convzoo")
        for alias in node.names
    }
    assert {name for name in names if not name.startswith("_")} | {"__version__"} == set(
        convzoo.__all__
    )
    submodules = {a.name for node in imports if node.module == "convzoo" for a in node.names}
    for name in submodules:
        assert getattr(convzoo, name).__name__ == f"convzoo.{name}"
    assert len(convzoo.__all__) == len(set(convzoo.__all__))
    for name in convzoo.__all__:
        assert getattr(convzoo, name) is not None
    assert set(convzoo.registry.MODELS) <= set(convzoo.__all__)


def test_lazy_names_are_what_type_checkers_see() -> None:
    assert convzoo.save is convzoo.hub.save
    assert convzoo.layers.mc_dropout is convzoo.mc_dropout
    with pytest.raises(AttributeError, match="module 'convzoo' has no attribute 'lod'"):
        convzoo.lod  # noqa: B018


def test_everything_public_is_documented() -> None:
    for name in convzoo.__all__:
        if name != "__version__":
            assert (getattr(convzoo, name).__doc__ or "").strip(), name


def test_the_version_is_the_distributions() -> None:
    assert convzoo.__version__ == importlib.metadata.version("convzoo")
    assert (Path(convzoo.__file__).parent / "py.typed").exists()


def test_no_assert_guards_users() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Assert)], path
