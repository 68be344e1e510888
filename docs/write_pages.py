"""Write the pages that are made of the code: families of networks, and their list.

    python docs/write_pages.py

Plain Markdown and SVG under docs/, so that any builder of sites can take it from there. `make
generated` runs this; a test fails when its result is stale. Every figure comes from the network
itself, from the catalogue, or from docs/families/measured.json, which
benchmarks/bench_networks.py has measured.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import convzoo
from convzoo import visualize
from convzoo.registry import MODELS, ModelInfo
from convzoo.weights import BUNDLED, WeightsInfo, find_weights, list_weights, weights_info

DOCS = Path(__file__).resolve().parent
FAMILIES = DOCS / "families"


@dataclass(frozen=True)
class Facts:
    """What is counted on a network, for one image of its paper's size."""

    parameters: int
    multiply_adds: int
    bytes: int
    smallest: int
    largest: int | None


@cache
def facts(name: str) -> Facts:
    """Build a network without memory and count."""
    info = MODELS[name]
    net = info.builder(device="meta")
    table = convzoo.summary(net, info.input_shape[1:])
    held = sum(t.numel() * t.element_size() for t in net.state_dict().values())
    return Facts(table.parameters, table.multiply_adds, held, net.min_size, net.max_size)


@cache
def measured() -> dict[str, object]:
    """What the benchmark has recorded."""
    found: dict[str, object] = json.loads((FAMILIES / "measured.json").read_text("utf-8"))
    return found


def families() -> dict[str, list[ModelInfo]]:
    """Every family with its networks, in the order of ideas.toml."""
    known = tomllib.loads((FAMILIES / "ideas.toml").read_text("utf-8"))
    found: dict[str, list[ModelInfo]] = {family: [] for family in known}
    for info in MODELS.values():
        if info.builder.__module__.startswith("convzoo."):
            found[info.family].append(info)  # one that is missing has to be added to ideas.toml
    return found


@cache
def ideas() -> dict[str, dict[str, str]]:
    """What is written by hand: the idea of each family, and the network that stands for it."""
    return tomllib.loads((FAMILIES / "ideas.toml").read_text("utf-8"))


def slug(family: str) -> str:
    """The name of a family's page."""
    return re.sub(r"[^a-z0-9]+", "_", family.lower())


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown; a column whose name ends in a colon is one of numbers."""
    names = list(head)
    lines = [[name.removesuffix(":") for name in names]]
    lines.append(["---:" if name.endswith(":") else "---" for name in names])
    lines += [[str(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def work(count: int) -> str:
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.2f} M"


def megabytes(count: int) -> str:
    return f"{count / 1e6:.{1 if count < 1e7 else 0}f} MB"


def sizes(found: Facts) -> str:
    if found.largest is None:
        return f"{found.smallest} and more"
    same = found.smallest == found.largest
    return f"{found.smallest}" if same else f"{found.smallest} to {found.largest}"


def builders(infos: Iterable[ModelInfo]) -> str:
    times = measured()["milliseconds"]
    assert isinstance(times, Mapping)
    rows = []
    for info in infos:
        found = facts(info.name)
        took = f"{times[info.name]:,.1f} ms" if info.name in times else "not measured"
        rows.append(
            (
                f"`{info.name}`",
                f"{info.input_shape[1]}",
                sizes(found),
                f"{found.parameters:,}",
                work(found.multiply_adds),
                megabytes(found.bytes),
                took,
            )
        )
    head = (
        "builder",
        "image:",
        "sizes accepted",
        "parameters:",
        "multiply-adds:",
        "file:",
        "time:",
    )
    return table(head, rows)


def departures(infos: Iterable[ModelInfo]) -> str:
    """Where the networks depart from their papers, the same words once."""
    said: dict[str, list[str]] = {}
    for info in infos:
        said.setdefault(info.departs or "nothing that is known", []).append(f"`{info.name}`")
    return "\n".join(f"- {', '.join(names)}: {words}." for words, names in said.items())


def weights(infos: Iterable[ModelInfo]) -> str:
    rows = []
    for info in infos:
        for name in list_weights(f"{info.name}.*"):
            known = weights_info(name)
            size = (BUNDLED / known.file).stat().st_size if known.bundled else known.size
            tested = known.preset.input_size
            rows.append(
                (
                    f"`{name}`",
                    known.labels or f"{known.num_classes} classes"
                    if known.num_classes
                    else "no head",
                    "" if known.top1 is None else f"{known.top1:.2f} %",
                    known.train_size or tested,
                    tested,
                    known.licence or "none stated",
                    "in the package"
                    if known.bundled
                    else ("" if size is None else megabytes(size)),
                )
            )
    if not rows:
        return "None that this package knows of are published; these networks train from scratch."
    head = ("weights", "classes", "top-1:", "trained at:", "tested at:", "licence", "file")
    return table(head, rows)


def stands_for(family: str, infos: list[ModelInfo]) -> tuple[ModelInfo, WeightsInfo | None]:
    """The network that the examples show, and the weights that `weights="default"` means."""
    wanted = ideas()[family].get("example")
    info = next(i for i in infos if wanted in (None, i.name))
    return info, find_weights(info.name, "default")


def examples(info: ModelInfo, known: WeightsInfo | None) -> str:
    """Code to predict, to take features and to fine-tune."""
    name = info.name
    tag = f'weights="{known.tag}", ' if known else ""
    predict = (
        f"""```python
import convzoo

predict = convzoo.Predictor("{known.name}")
for guess in predict("picture.jpg"):
    print(f"{{guess.label}}: {{guess.probability:.1%}}")
```
"""
        if known
        else """No weights are published; `"kept"` is what the last example on this page has saved.

```python
import convzoo

predict = convzoo.Predictor("kept")
print(predict("picture.jpg")[0].label)
```
"""
    )
    stages = (
        """maps = net.intermediates(x, [stage.name for stage in net.stages])
"""
        if facts_of_stages(name)
        else ""
    )
    return f"""## Predict

{predict}
## Take features

```python
import convzoo

net = convzoo.{name}({tag}num_classes=0).eval()  # without its head
image = convzoo.presets.load_image("picture.jpg")
x = net.preset.eval()(image).unsqueeze(0)
vector = net(x)  # (1, {width(name)})
{stages}```

## Fine-tune

```python
import convzoo

data = convzoo.datasets.load("photos")  # a folder a class, or a data set's name
net = convzoo.{name}({tag.removesuffix(", ")})
net = convzoo.replace_head(net, len(data.classes), labels=data.classes)
convzoo.fit(net, data.train, data.val, epochs=8)
convzoo.save(net, "kept")
```
"""


@cache
def facts_of_stages(name: str) -> bool:
    return bool(MODELS[name].builder(device="meta").stages)


@cache
def width(name: str) -> str:
    net = MODELS[name].builder(device="meta", num_classes=0)
    return f"{net.head_hidden_size:,}"


def page(family: str, infos: list[ModelInfo]) -> str:
    """The page of a family."""
    idea, (info, known) = ideas()[family], stands_for(family, infos)
    papers = {i.paper.url: i.paper for i in infos}
    sources = "; ".join(f"[{p.title}]({p.url}), {p.year}" for p in papers.values())
    net = info.builder(device="meta")
    layers = convzoo.summary(net, info.input_shape[1:]).to_markdown()
    record = measured()
    file = info.builder.__module__.replace(".", "/")
    drawing = f"../images/families/{slug(family)}.svg"
    return f"""<!-- Written by docs/write_pages.py; edit that, or docs/families/ideas.toml. -->

# {family}

{idea["idea"].strip()}

{sources}.

<div class="diagram" markdown>

[![{info.name} as a diagram, boxes to scale]({drawing})]({drawing})

</div>

`{info.name}`, measured on the network itself: the height of a box is that of its maps, the depth
their number. `convzoo draw {info.name} --out {info.name}.svg` draws it.

## Builders

{builders(infos)}

An image's side is in pixels, the paper's first. Multiply-adds are those of convolutions and linear
layers for one image of that size, as papers count them; the file holds float32. Time is one
image's forward pass on {record["processor"]}, {record["threads"]} threads, PyTorch
{record["torch"]}: the median of several.

Departs from the paper in:

{departures(infos)}

## Weights

{weights(infos)}

{examples(info, known)}
## Layers

??? note "Every layer of {info.name}"

{indented(layers)}

The source is `{file}.py`, shown in the [reference](../reference/{reference(info)}.md).
"""


def reference(info: ModelInfo) -> str:
    """The page of the reference that documents a builder."""
    return "models_" + info.builder.__module__.split(".")[2]


def indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def overview() -> str:
    """The list of families."""
    rows = []
    for family, infos in families().items():
        years = sorted({i.paper.year for i in infos})
        names = ", ".join(f"`{i.name}`" for i in infos)
        span = f"{years[0]}" if len(years) == 1 else f"{years[0]} to {years[-1]}"
        rows.append(
            (f"[{family}](families/{slug(family)}.md)", span, ideas()[family]["short"], names)
        )
    return table(("family", "year", "its idea", "builders"), rows)


def pages() -> dict[str, str]:
    """Every page by its path below docs/, families and their list."""
    found = {
        f"families/{slug(family)}.md": page(family, infos) for family, infos in families().items()
    }
    return {**found, "models.md": models_page()}


def models_page() -> str:
    """models.md with its list brought up to date."""
    text = (DOCS / "models.md").read_text("utf-8")
    begin, end = "<!-- families: docs/write_pages.py -->", "<!-- end of families -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{overview()}\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    for place, text in pages().items():
        (DOCS / place).write_text(text, encoding="utf-8")
    drawings = DOCS / "images" / "families"
    drawings.mkdir(exist_ok=True)
    for family, infos in families().items():
        net = stands_for(family, infos)[0].builder(device="meta")
        visualize.architecture(net, path=drawings / f"{slug(family)}.svg")


if __name__ == "__main__":
    sys.exit(main())
