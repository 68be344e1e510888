"""The model card: what somebody who finds a saved network needs to know before using it."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import torch

from convzoo._checks import check_number
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
        for argument in ("licence", "dataset", "description"):
            text = getattr(self, argument)
            if text is not None and not (isinstance(text, str) and _is_unicode(text)):
                raise InputError(f"{argument}: expected a text, got {text!r:.80}")
        if not isinstance(self.metrics, Mapping):
            raise InputError(f"metrics: expected names and values, got {self.metrics!r:.80}")
        for name, value in self.metrics.items():
            if not isinstance(name, str):
                raise InputError(f"metrics: expected names, got {name!r:.80}")
            check_number(f"metrics: {name}", value)


def _is_unicode(text: str) -> bool:
    """Whether a text can be written; what comes from undecodable names of files cannot."""
    return text.encode("utf-8", "replace").decode("utf-8") == text


def provenance(net: Contract, info: CardInfo) -> dict[str, object]:
    """What config.json keeps of where the weights come from.

    Args:
        net: The network to be saved.
        info: What its owner says of it.

    Returns:
        Base weights (name, repository, revision, sha256), licence, data, metrics and versions.
    """
    base = {k: v for k, v in net.provenance.items() if k in _BASE}
    kept = {
        "base": base or net.provenance.get("base"),
        "licence": info.licence or net.provenance.get("licence"),
        "dataset": info.dataset,
        "metrics": {name: float(value) for name, value in info.metrics.items()},
        "versions": {"convzoo": version("convzoo"), "torch": torch.__version__},
    }
    return {key: value for key, value in kept.items() if value}


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
    base, licence, name = about.get("base"), about.get("licence"), net.architecture
    base = base if isinstance(base, Mapping) else {}
    size = sum(parameter.numel() for parameter in net.parameters())
    channels = "1 channel" if net.in_channels == 1 else f"{net.in_channels} channels"
    front = f"tags: [convzoo, image-classification, {_yaml(name)}]"
    if isinstance(licence, str):
        front += f"\nlicense: {_yaml(licence)}"
    if isinstance(base.get("repo"), str):
        front += f"\nbase_model: {_yaml(base['repo'])}"
    if info.metrics:
        front += f"\nmetrics: [{', '.join(map(_yaml, info.metrics))}]"
    rows = [("Licence", _licence_line(licence))]
    rows.append(("Trained on", _cell(about.get("dataset") or "not stated")))
    rows += [(_cell(metric), f"{value:g}") for metric, value in info.metrics.items()]
    if base:
        rows.append(("Base weights", _cell(base.get("weights", base.get("repo")))))
        rows += [(f"Their {key}", f"`{_cell(base[key])}`") for key in _BASE[1:] if key in base]
    versions = f"convzoo {version('convzoo')}, torch {torch.__version__}"
    rows.append(("Made with", f"{versions}, Python {platform.python_version()}"))
    description = f"{info.description}\n\n" if info.description else ""
    text = f"""---
pipeline_tag: image-classification
library_name: convzoo
{front}
---

# {name}, {net.num_classes} classes

{description}A {name} with {size:,} parameters; its images have {channels}.

```python
import convzoo

net = convzoo.load("hf-hub:{address}").eval()  # or the path of this folder
```

| | |
|---|---|
"""
    text += "".join(f"| {key} | {value} |\n" for key, value in rows)
    if net.labels is not None:
        shown = ", ".join(_cell(label) for label in net.labels[:50])
        more = f" and {len(net.labels) - 50} more" if len(net.labels) > 50 else ""
        text += f"\nClasses, in the order of the scores: {shown}{more}.\n"
    return text


def _yaml(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False)  # a JSON string is a YAML string


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def _licence_line(licence: object) -> str:
    if not isinstance(licence, str):
        return "not stated"
    return licence if is_commercial(licence) else f"{licence} (non-commercial)"
