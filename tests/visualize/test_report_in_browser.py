"""An evaluation's page in a real browser: what is clicked, and what it shows then.

Skipped where there is none.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from convzoo import training, visualize

pytest.importorskip("selenium.webdriver")
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Selenium's pipes to the driver


class Fixed(torch.nn.Module):
    """Its input is its scores."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


@pytest.fixture
def result() -> training.Evaluation:
    scores = torch.rand(30, 3, 1, 1)
    return training.evaluate(
        Fixed(), [(x, i % 3) for i, x in enumerate(scores)], labels=["ant", "bee", "<i>"], cpu=True
    )


@pytest.fixture
def browser(result: training.Evaluation, tmp_path: Path, opened) -> Iterator[Chrome]:
    pictures = [(torch.randint(256, (3, 8, 8), dtype=torch.uint8), i % 3) for i in range(30)]
    page = visualize.evaluation_report(result, tmp_path / "report.html", data=pictures, count=8)
    with opened(page) as driver:
        yield driver


def test_the_page(browser: Chrome, result: training.Evaluation) -> None:
    def texts(selector: str) -> list[str]:
        return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]

    def names() -> list[str]:
        return [text.split("\n")[-1] for text in texts("#images figcaption")]

    assert texts("#figures dd")[0] == f"{result.top1:.2%}"
    assert names() == [f"image {one.index}" for one in result.top_losses(8)]
    wide = "return [...document.images].every((one) => one.naturalWidth === 8)"
    assert browser.execute_script(wide)

    # A click on the most confused pair shows images of that pair and no others.
    pair = result.most_confused()[0]
    first = browser.find_elements(By.CSS_SELECTOR, "#pairs button")[0]
    assert first.text.startswith(f"{pair.truth} taken for {pair.prediction}")
    first.click()
    captions = texts("#images figcaption")
    assert len(captions) == min(pair.images, 6) or len(captions) >= 6
    start = f"{pair.truth} taken for {pair.prediction}\n"
    assert all(caption.startswith(start) for caption in captions)
    assert first.get_attribute("aria-pressed") == "true"
    browser.find_element(By.ID, "clear").click()
    assert len(names()) == 8

    # The table of classes sorts by what is clicked.
    recall = [one.recall for one in result.per_class]
    assert texts("#classes tbody td:first-child") == ["ant", "bee", "<i>"]
    browser.find_elements(By.CSS_SELECTOR, "#classes th button")[2].click()
    assert texts("#classes tbody td:nth-child(3)") == [f"{100 * r:.1f} %" for r in sorted(recall)]
    assert len(browser.find_elements(By.CSS_SELECTOR, "#matrix tbody td")) == 9
    assert len(browser.find_elements(By.CSS_SELECTOR, "#curve circle")) == len(
        result.calibration.samples
    )

    # A phone, and a dark one.
    browser.set_window_size(500, 900)
    across, seen = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert across <= seen  # nothing sticks out to the side
    colours = []
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        colours.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    assert colours == ["rgb(251, 250, 248)", "rgb(22, 23, 26)"]
