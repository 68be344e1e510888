"""Names that are imported when they are first used, so that `import convzoo` stays quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence


def lazy(
    package: str, names: Mapping[str, Sequence[str]], submodules: Sequence[str] = ()
) -> Callable[[str], object]:
    """A module's `__getattr__` (PEP 562) that imports what is asked for.

    Type checkers read the same names from imports under `TYPE_CHECKING`; a test holds the two
    lists against each other.

    Args:
        package: The package's `__name__`.
        names: Module -> the names that come from it.
        submodules: Submodules that can be reached without an import of their own.

    Returns:
        The function to be bound to `__getattr__`.
    """
    home = {name: module for module, group in names.items() for name in group}

    def getattr_(name: str) -> object:
        if name in home:
            value: object = getattr(importlib.import_module(home[name]), name)
        elif name in submodules:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name)
        setattr(sys.modules[package], name, value)  # the next time it is simply there
        return value

    return getattr_


def exported(package: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """A package's `__all__`: what is defined in it, and what comes lazily; submodules apart.

    Args:
        package: The package's `__name__`.
        names: As in `lazy`.

    Returns:
        The names, sorted.
    """
    there = {
        name
        for name, value in vars(sys.modules[package]).items()
        if not name.startswith("_") and (getattr(value, "__module__", "") or "").startswith(package)
    }
    return sorted(there.union(*names.values()))
