"""What the site's pages take from the code, so that they cannot disagree with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in the tables and texts that a page asks for by a comment."""
    if "<!-- models -->" in markdown:
        markdown = markdown.replace("<!-- models -->", models_table())
    if "<!-- changelog -->" in markdown:
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        markdown = markdown.replace("<!-- changelog -->", text)
    if "<!-- training logs -->" in markdown:
        logs = [p.read_text(encoding="utf-8") for p in sorted(ROOT.glob("docs/logs/*.md"))]
        markdown = markdown.replace(
            "<!-- training logs -->", "\n".join(["", *logs]).replace("\n# ", "\n## ")
        )
    return markdown


def models_table() -> str:
    """Every model by family: year, paper, size and work as measured, departures as stated."""
    import torch

    import convzoo
    from convzoo.registry import MODELS

    rows: list[str] = []
    family = None
    for info in MODELS.values():
        if info.family != family:
            family = info.family
            rows += [
                "",
                f"## {family}",
                "",
                f"[{info.paper.title}]({info.paper.url}), {info.paper.year}.",
                "",
                "| builder | input | parameters | multiply-adds | departs from the paper in |",
                "|---|---|---:|---:|---|",
            ]
        with torch.device("meta"):
            net = info.builder()
        table = convzoo.summary(net, info.input_shape[1:])
        size = " x ".join(map(str, info.input_shape))
        work = table.multiply_adds
        amount = f"{work / 1e9:.2f} G" if work >= 1e9 else f"{work / 1e6:.2f} M"
        rows.append(
            f"| `{info.name}` | {size} | {table.parameters:,} | {amount} | {info.departs or '-'} |"
        )
    return "\n".join(rows)
