"""The explorer's example page and its picture: `python docs/draw_explorer.py FASHION_MNIST`.

FASHION_MNIST is the folder of the data set's files, as Debian's `dataset-fashion-mnist` has them.
Needs Selenium and `chromium-driver`.
"""

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import convzoo

HERE = Path(__file__).parent / "images"
# Places in the test part.
SHOWN = {"ankle boot": 0, "trousers": 2, "sandal": 11}


def main(folder: Path) -> None:
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    images = [Image.fromarray(pixels[index]) for index in SHOWN.values()]
    net = convzoo.load("cifar_resnet20.fashion_mnist")
    page = convzoo.visualize.explore(net, images, HERE / "explorer.html", names=list(SHOWN))
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    options.add_argument("--window-size=1240,1480")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get(page.resolve().as_uri())
        wait = WebDriverWait(browser, 60)
        wait.until(lambda b: b.execute_script("return document.body.dataset.ready") == "yes")
        browser.find_elements(By.CSS_SELECTOR, "#stages button")[2].click()
        wait.until(lambda b: b.find_element(By.ID, "stage-title").text.startswith("layer1"))
        conv = browser.find_element(By.ID, "conv")
        side = conv.size["width"] / 28
        ActionChains(browser).move_to_element_with_offset(conv, -1.5 * side, 2.5 * side).perform()
        wait.until(lambda b: b.find_elements(By.ID, "total"))
        browser.save_screenshot(str(HERE / "explorer.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
