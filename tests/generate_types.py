"""Write what only text can tell a type checker, from the registry and the catalogue.

Tags of published weights (`_tags.py`, and where builders name them), and the overloads of
`create_model` and `load`. `make generated` runs this; a test fails when its result is stale.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import textwrap
import typing
from pathlib import Path

import convzoo
from convzoo import by_name
from convzoo.registry import MODELS, ModelInfo
from convzoo.weights import find_weights

PACKAGE = Path(convzoo.__file__).parent
OURS = {
    name: info for name, info in MODELS.items() if info.builder.__module__.startswith("convzoo.")
}

TAGS_HEAD = '''"""The tags that each builder takes for `weights`, so that an editor completes them.

Written by `make generated`, from the catalogue.
"""

from typing import Literal

# fmt: off'''


def tags() -> dict[str, list[str]]:
    """Builder -> tags of its published weights."""
    found: dict[str, list[str]] = {}
    for full_name in convzoo.list_weights():
        model, _, tag = full_name.partition(".")
        found.setdefault(model, []).append(tag)
    for model, theirs in found.items():
        if find_weights(model, "default"):
            theirs.insert(0, "default")
    return found


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def literal(names: list[str]) -> str:
    return "Literal[{}]".format(", ".join(f'"{name}"' for name in names))


def wrapped(statement: str) -> str:
    """One statement on lines of at most 100 characters; the formatter would take one a name."""
    head, arrow, returned = statement.partition(" -> ")
    whole = head + (arrow + returned).replace(" ", "\0")  # nothing may be broken after the bracket
    lines = textwrap.wrap(
        whole, 100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(lines).replace("\0", " ")


def options_of(info: ModelInfo) -> str:
    """The name of the TypedDict that a builder's `**options` are."""
    (unpacked,) = typing.get_args(typing.get_type_hints(info.builder)["options"])
    return f"models.{unpacked.__name__}"


def create_model_overloads() -> str:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name, info in OURS.items():
        aux = f"models.{info.with_aux.__name__}" if info.with_aux else ""
        key = (f"models.{info.network.__name__}", aux, options_of(info))
        groups.setdefault(key, []).append(name)
    text = ""
    for (network, aux, options), names in groups.items():
        kinds = {"": network}
        if aux:
            kinds = {
                "aux_heads: Literal[False] = False, ": network,
                "aux_heads: Literal[True], ": aux,
                "aux_heads: bool, ": f"{network} | {aux}",
            }
        for heads, returned in kinds.items():
            signature = (
                f"def create_model(name: {literal(names)}, *, weights: str | None = None, {heads}"
                f"**options: Unpack[{options}]) -> {returned}: ..."
            )
            text += f"@overload\n{wrapped(signature)}\n"
    return text


def load_overloads() -> str:
    groups: dict[str, list[str]] = {}
    for model, found in sorted(tags().items()):
        names = groups.setdefault(MODELS[model].network.__name__, [])
        names += [f"{model}.{tag}" for tag in found]
    signatures = (
        f"def load(source: {literal(names)}, **options: Unpack[LoadOptions]) -> models.{net}: ..."
        for net, names in groups.items()
    )
    return "".join(f"@overload\n{wrapped(signature)}\n" for signature in signatures)


def with_region(text: str, region: str, body: str) -> str:
    pattern = rf"(# generated: {region}\n).*?(# generated: end\n)"
    return re.sub(
        pattern,
        lambda m: f"{m[1]}# fmt: off\n{body}# fmt: on\n{m[2]}",
        text,
        count=1,
        flags=re.DOTALL,
    )


def with_tags(text: str, path: Path) -> str:
    """A model file whose builders name the tags that there are, and no others."""
    for name, info in OURS.items():
        if Path(inspect.getsourcefile(info.builder) or "") == path:
            offered = f"_tags.{camel(name)} | " if name in tags() else ""
            text = re.sub(
                rf"(^def {name}\(\s*\*,\s*weights: )(?:_tags\.\w+ \| )?str \| None",
                lambda m, offered=offered: f"{m[1]}{offered}str | None",
                text,
                flags=re.MULTILINE,
            )
    line = "from convzoo import _tags\n"
    text = text.replace(line, "")
    return (
        re.sub(r"^from convzoo", f"{line}\\g<0>", text, count=1, flags=re.MULTILINE)
        if "_tags." in text
        else text
    )


def generated() -> dict[Path, str]:
    """Every file that this writes, as it ought to be."""
    rows = [
        wrapped(f"{camel(model)} = {literal(found)}") for model, found in sorted(tags().items())
    ]
    files = {PACKAGE / "_tags.py": "\n".join([TAGS_HEAD, *rows]) + "\n"}
    for info in OURS.values():
        path = Path(inspect.getsourcefile(info.builder) or "")
        files[path] = with_tags(path.read_text(encoding="utf-8"), path)
    path = Path(by_name.__file__)
    text = with_region(path.read_text(encoding="utf-8"), "create_model", create_model_overloads())
    files[path] = with_region(text, "load", load_overloads())
    return {path: formatted(text, path) for path, text in files.items()}


def formatted(text: str, path: Path) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(path), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for file, content in generated().items():
        if file.read_text(encoding="utf-8") != content:
            file.write_text(content, encoding="utf-8")
            print(f"wrote {file.relative_to(PACKAGE.parent)}")
