"""The model card: what somebody who finds a saved network needs to know before using it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import torch

from convzoo._contract import Contract
from convzoo.errors import InputError
from convzoo.weights import is_commercial


@dataclass(frozen=True)
class CardInfo:
    """What only the person who trained a network can say of it.

    Attributes:
        licence: The licence's name as the Hub spells it, e.g. `"apache-2.0"`; None takes that of
            the base weights.
        dataset: What it was trained on, in words or as a data set's name on the Hub.
        metrics: Name -> value, e.g. `{"accuracy": 0.974}`.
        description: A paragraph of your own.
    """

    licence: str | None = None
    dataset: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: str | None = None

    def __post_init__(self) -> None:
        for name, value in self.metrics.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InputError(f"metrics: {name}: expected a number, got {value!r:.80}")


def provenance(net: Contract, info: CardInfo) -> dict[str, object]:
    """What config.json keeps of where the weights come from.

    Args:
        net: The network to be saved.
        info: What its owner says of it.

    Returns:
        Base weights (name, repository, revision, sha256), licence, data, metrics and versions.
    """
    base = {k: v for k, v in net.provenance.items() if k in _BASE}
    kept: dict[str, object] = dict(base)
    inherited = net.provenance.get("base")
    if not base and isinstance(inherited, Mapping):
        kept = {"base": dict(inherited)}
    elif base:
        kept = {"base": base}
    licence = info.licence or net.provenance.get("licence")
    for key, value in (
        ("licence", licence),
        ("dataset", info.dataset),
        ("metrics", dict(info.metrics) or None),
    ):
        if value is not None:
            kept[key] = value
    kept["versions"] = {"convzoo": version("convzoo"), "torch": torch.__version__}
    return kept


_BASE = ("weights", "repo", "revision", "sha256")


def model_card(net: Contract, about: Mapping[str, object], info: CardInfo, address: str) -> str:
    """The text of README.md.

    Args:
        net: The network to be saved.
        about: Its provenance.
        info: What its owner says of it.
        address: The repository it goes to.

    Returns:
        Markdown, with the front matter that the Hub reads.
    """
    base = about.get("base")
    base = base if isinstance(base, Mapping) else {}
    licence = about.get("licence")
    front: list[str] = ["pipeline_tag: image-classification", "library_name: convzoo"]
    front.append(f"tags: [convzoo, image-classification, {_yaml(net.architecture)}]")
    if isinstance(licence, str):
        front.append(f"license: {_yaml(licence)}")
    if isinstance(base.get("repo"), str):
        front.append(f"base_model: {_yaml(base['repo'])}")
    if info.metrics:
        front.append(f"metrics: [{', '.join(_yaml(name) for name in info.metrics)}]")
    size = sum(parameter.numel() for parameter in net.parameters())
    channels = "1 channel" if net.in_channels == 1 else f"{net.in_channels} channels"
    versions = f"convzoo {version('convzoo')}, torch {torch.__version__}"
    lines = [
        "---",
        *front,
        "---",
        "",
        f"# {net.architecture}, {net.num_classes} classes",
        "",
        *([info.description, ""] if info.description else []),
        f"A {net.architecture} with {size:,} parameters; its images have {channels}.",
        "",
        "```python",
        "import convzoo",
        "",
        f'net = convzoo.load("hf-hub:{address}").eval()  # or the path of this folder',
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| Licence | {_licence_line(licence)} |",
        f"| Trained on | {_cell(about.get('dataset') or 'not stated')} |",
    ]
    lines += [f"| {_cell(name)} | {value:g} |" for name, value in info.metrics.items()]
    if base:
        lines.append(f"| Base weights | {_cell(base.get('weights', base.get('repo')))} |")
        lines += [
            f"| Their {key} | `{_cell(base[key])}` |"
            for key in ("repo", "revision", "sha256")
            if key in base
        ]
    lines.append(f"| Made with | {versions}, Python {platform.python_version()} |")
    if net.labels is not None:
        shown = ", ".join(_cell(name) for name in net.labels[:50])
        more = f" and {len(net.labels) - 50} more" if len(net.labels) > 50 else ""
        lines += ["", f"Classes, in the order of the scores: {shown}{more}."]
    return "\n".join(lines) + "\n"


def _yaml(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)  # a JSON string is a YAML string


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _licence_line(licence: object) -> str:
    if not isinstance(licence, str):
        return "not stated"
    return licence if is_commercial(licence) else f"{licence} (non-commercial)"
