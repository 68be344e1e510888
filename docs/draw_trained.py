"""Draw the curves of trained.md from the logs into docs/images.

python docs/draw_trained.py
"""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
ROW = re.compile(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+)% \|", re.MULTILINE)


def curves() -> dict[str, list[tuple[int, float, float]]]:
    """For each network: epoch, training loss and test accuracy in %, as its log has them."""
    return {
        path.stem: [(int(e), float(loss), float(top1)) for e, loss, top1 in ROW.findall(text)]
        for path in sorted((HERE / "logs").glob("*.md"))
        for text in [path.read_text("utf-8")]
    }


if __name__ == "__main__":
    figure = Figure(figsize=(9, 3.8), dpi=100, layout="constrained")
    panels = figure.subplots(1, 2)
    for name, rows in curves().items():
        epochs, *columns = zip(*rows, strict=True)
        for axes, numbers in zip(panels, columns, strict=True):
            axes.plot(epochs, numbers, marker=".", label=name)
    for axes, title in zip(panels, ("training loss", "test accuracy, %"), strict=True):
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    panels[0].set_yscale("log")
    panels[1].legend(fontsize=8)
    figure.savefig(HERE / "images" / "trained.png")
