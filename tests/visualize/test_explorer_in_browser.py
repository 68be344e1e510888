"""The explorer's page in a real browser: clicks happen, and what appears is what torch computes.

Skipped where there is none.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import convzoo
from convzoo import datasets, visualize

pytest.importorskip("selenium.webdriver")
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Selenium's pipes to the driver


@pytest.fixture
def net() -> convzoo.ResNet:
    return convzoo.cifar_resnet20(weights="fashion_mnist").eval().requires_grad_(False)


@pytest.fixture
def x(net: convzoo.ResNet) -> torch.Tensor:
    digits = datasets.digits().test
    return torch.stack([net.preset.eval()(digits[i][0]) for i in (0, 1)])


@pytest.fixture
def browser(net: convzoo.ResNet, x: torch.Tensor, tmp_path: Path, opened) -> Iterator[Chrome]:
    page = visualize.explore(net, x, tmp_path / "look.html", names=["nought", "one"])
    with opened(page) as driver:
        yield driver


def text(browser: Chrome, element: str) -> str:
    return browser.find_element(By.ID, element).text


def buttons(browser: Chrome, parent: str) -> list:
    return browser.find_elements(By.CSS_SELECTOR, f"#{parent} button")


def test_scores_stages_maps_and_sums(browser: Chrome, net: convzoo.ResNet, x: torch.Tensor) -> None:
    wait = WebDriverWait(browser, 30)
    best = net(x).softmax(1).topk(5)
    shown = [button.text.split("\n") for button in buttons(browser, "scores")]
    assert shown == [
        [net.labels[n], f"{100 * p:.1f} %"]
        for p, n in zip(best.values[0].tolist(), best.indices[0].tolist(), strict=True)
    ]
    buttons(browser, "scores")[0].click()
    assert text(browser, "where") == (
        f'Grad-CAM: what speaks for "{net.labels[best.indices[0, 0]]}"'
    )

    # A stage, one of its maps, and a pixel of it.
    buttons(browser, "stages")[3].click()
    wait.until(lambda d: text(d, "stage-title") == "layer2: 32 maps of 14 x 14")
    assert "A pixel sees 37 x 37 pixels" in text(browser, "stage-text")
    wait.until(lambda d: len(buttons(d, "maps")) == 32)
    buttons(browser, "maps")[4].click()
    unit = int(buttons(browser, "maps")[4].text)
    wait.until(lambda d: text(d, "unit-title") == f"layer2, map {unit}")
    maps = net.intermediates(x)["layer2"]
    canvas = browser.find_element(By.ID, "map")
    side = canvas.size["width"] / 14
    ActionChains(browser).move_to_element_with_offset(canvas, 0.5 * side, -1.5 * side).perform()
    row, column, value = re.fullmatch(
        r"row (\d+), column (\d+): (\S+)", text(browser, "map-value")
    ).groups()
    assert (int(row), int(column)) == (5, 7)
    assert float(value) == pytest.approx(maps[0, unit, 5, 7].item(), rel=2e-3, abs=2e-3)
    # Its square of 37 pixels, 2 further a row, begins 18 outside: -8 to 28, cut at the edges.
    assert text(browser, "where") == "seen by this pixel: rows 0 to 27, columns 0 to 27"

    # The sum that the convolution makes there, whose numbers are on the page.
    kept: list[torch.Tensor] = []
    net.layer2[2].conv2.register_forward_hook(lambda _m, _i, out: kept.append(out.clone()))
    net(x)
    canvas = browser.find_element(By.ID, "conv")
    ActionChains(browser).move_to_element_with_offset(canvas, 0.5 * side, -1.5 * side).perform()
    total = text(browser, "total")
    assert total.startswith("sum at row 5, column 7: ")
    assert float(total.rpartition("= ")[2]) == pytest.approx(
        kept[0][0, unit, 5, 7].item(), rel=5e-3, abs=5e-3
    )
    first = browser.find_element(By.CSS_SELECTOR, "#sum .term")
    channel = int(first.text.split()[1])
    kernel = [float(cell.text) for cell in first.find_elements(By.TAG_NAME, "td")[9:]]
    assert kernel == pytest.approx(
        net.layer2[2].conv2.weight[unit, channel].flatten().tolist(), abs=6e-3
    )


def test_keyboard_images_and_a_phone(browser: Chrome, net: convzoo.ResNet, x: torch.Tensor) -> None:
    wait = WebDriverWait(browser, 30)
    tab = buttons(browser, "stages")[0]
    tab.send_keys(Keys.ARROW_RIGHT)
    wait.until(lambda d: text(d, "stage-title").startswith("stem"))
    assert browser.switch_to.active_element.text.startswith("stem")
    canvas = browser.find_element(By.ID, "map")
    canvas.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert text(browser, "map-value").startswith("row 2, column 1:")
    buttons(browser, "pictures")[1].click()
    best = int(net(x)[1].argmax())
    wait.until(lambda d: buttons(d, "scores")[0].text.startswith(net.labels[best]))
    browser.set_window_size(500, 900)
    wide, seen = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert wide <= seen  # nothing sticks out to the side


def test_light_and_dark(browser: Chrome) -> None:
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
