"""A real browser: Debian's packages `chromium` and `chromium-driver`, with Selenium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from selenium.webdriver import Chrome


@contextmanager
def _opened(page: Path) -> Iterator[Chrome]:
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.support.ui import WebDriverWait

    driver_path = shutil.which("chromedriver")
    if driver_path is None:
        pytest.skip("needs chromium-driver")
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1400"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        driver.get(page.as_uri())
        WebDriverWait(driver, 60).until(
            lambda d: d.execute_script("return document.body.dataset.ready") == "yes"
        )
        yield driver
        assert driver.get_log("browser") == []  # no error, and nothing that it tried to load
    finally:
        driver.quit()


@pytest.fixture
def opened() -> Callable[[Path], AbstractContextManager[Chrome]]:
    """Opens a page in a browser; skips the test where there is none."""
    return _opened
