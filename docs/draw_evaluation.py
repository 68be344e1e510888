"""The page of an evaluation, and its picture: `python docs/draw_evaluation.py FASHION_MNIST`.

FASHION_MNIST is the folder of the data set's files, as Debian's `dataset-fashion-mnist` has them.
Needs Selenium and `chromium-driver`.
"""

import shutil
import sys
from pathlib import Path

from selenium import webdriver

import convzoo
from convzoo import datasets, visualize

HERE = Path(__file__).parent / "images"


def main(folder: str) -> None:
    net = convzoo.load("lenet5.fashion_mnist")
    data = datasets.load(folder).test
    result = convzoo.evaluate(net, data, cpu=True)
    page = visualize.evaluation_report(
        result, HERE / "evaluation.html", title="LeNet-5 on Fashion-MNIST", count=16
    )
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    options.add_argument("--window-size=1240,1150")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get(page.resolve().as_uri())
        browser.save_screenshot(str(HERE / "evaluation.png"))


if __name__ == "__main__":
    main(sys.argv[1])
