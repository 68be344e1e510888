"""Diagrams: what stands in the SVG, measured against the network."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torchvision

import convzoo
from contract_nets import FIRSTS, build_meta, parameters
from convzoo import visualize
from convzoo._trace import trace
from convzoo.visualize._plan import Box, Parallel, Repeat, plan


def titles(svg: str) -> list[str]:
    return re.findall(r"<title>(.*?)</title>", svg)


def parts_of(name: str) -> list[object]:
    net = build_meta(name)
    tracer, shape = trace(net, None)
    parts, left_out = plan(tracer.nodes, shape, getattr(net, "towers", 1))
    assert left_out == 0
    return parts


NAMES = parameters(FIRSTS, quick=["alexnet_2012", "googlenet_2014", "lenet5_1998", "vgg11_bn"])


@pytest.mark.parametrize("name", NAMES)
def test_every_family_is_drawn_within_its_frame(name: str) -> None:
    svg = visualize.architecture(build_meta(name))
    root = ElementTree.fromstring(svg)
    width, height = (float(root.get(side, "")) for side in ("width", "height"))
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        x, y = float(text.get("x", "")), float(text.get("y", ""))
        half = 0 if text.get("text-anchor") == "start" else 2.5 * len(text.text or "")
        assert half - 2 <= x <= width - half + 2, text.text
        assert 0 < y < height, text.text
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(rect.get("y", "0")) >= 0
        assert float(rect.get("y", "0")) + float(rect.get("height", "0")) <= height + 0.1


def test_boxes_are_to_scale() -> None:
    svg = visualize.architecture(convzoo.vgg11(device="meta"))
    boxes = re.findall(
        r"<title>features\S+ (\d+) x (\d+) x \d+ conv.*?</title>.*?"
        r'<rect [^>]*width="([\d.]+)" height="([\d.]+)"',
        svg,
        re.DOTALL,
    )
    assert len(boxes) == 5  # three pairs of the eight are alike and drawn once
    for channels, side, wide, high in boxes:
        assert float(high) == pytest.approx(max(5, 120 * int(side) / 224), abs=0.1)
        assert float(wide) == pytest.approx(max(3, 46 * int(channels) / 512), abs=0.1)


def test_the_towers_cross_where_they_exchange_maps() -> None:
    svg = visualize.architecture(build_meta("alexnet_2012"))
    red = re.findall(r'<path d="M[\d.]+ ([\d.]+) L[\d.]+ ([\d.]+)" stroke="#c0392b"', svg)
    # Before conv3, fc6 and fc7, two lines each; conv2, conv4 and conv5 keep to their tower.
    assert len(red) == 6
    assert not re.findall("#c0392b", visualize.architecture(build_meta("alexnet")))


def test_residual_blocks_have_an_arc_and_repeats_a_number() -> None:
    parts = parts_of("resnet152")
    repeats = [part for part in parts if isinstance(part, Repeat)]
    assert [part.count for part in repeats] == [2, 7, 35, 2]
    assert all(isinstance(part.part, Parallel) and [] in part.part.branches for part in repeats)
    svg = visualize.architecture(build_meta("resnet152"))
    assert svg.count('stroke="#c0392b"') == 4
    assert "x 35" in svg


def test_inception_has_its_branches() -> None:
    parts = parts_of("googlenet")
    modules = [part for part in parts if isinstance(part, Parallel)]
    assert [len(module.branches) for module in modules] == [4] * 9
    assert all(module.join is not None and module.join.kind == "concatenate" for module in modules)
    last = [part for part in parts_of("inception_v3") if isinstance(part, Parallel)][-1]
    inner = [part for branch in last.branches for part in branch if isinstance(part, Parallel)]
    assert [part.join for part in inner] == [None, None]  # their halves meet in the outer one


def test_each_layer_is_told_once_or_in_a_repeat() -> None:
    def count(parts: list[object]) -> int:
        total = 0
        for part in parts:
            if isinstance(part, Repeat):
                total += part.count * count([part.part])
            elif isinstance(part, Parallel):
                total += sum(count(branch) for branch in part.branches)
            else:
                assert isinstance(part, Box)
                total += part.kind in ("conv", "linear")
        return total

    for name in ("resnet50", "googlenet", "inception_v3", "vgg16", "cifar_preact110"):
        layers = [row for row in convzoo.summary(build_meta(name)).layers if row.multiply_adds]
        assert count(parts_of(name)) == len(layers), name


def test_normalisation_that_begins_a_block_stands_with_it() -> None:
    svg = visualize.architecture(build_meta("cifar_preact110"))
    assert any("BN ReLU, conv 3 x 3" in title for title in titles(svg))


def test_networks_of_others_and_a_file(tmp_path: Path) -> None:
    net = torchvision.models.densenet121()
    svg = visualize.architecture(net, 64, path=tmp_path / "dense.svg")
    assert (tmp_path / "dense.svg").read_text(encoding="utf-8") == svg
    assert ElementTree.fromstring(svg) is not None
    assert "7,978,856 parameters" in svg
    # Woven branches cannot lie side by side, and the diagram says so.
    assert re.search(r"\d+ of its connections are not drawn", svg)
