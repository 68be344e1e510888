"""Arbitrary files: whatever a weights file or a config.json holds, only a ConvzooError comes out.

`benchmarks/fuzz_files.py` runs longer over the same entry points.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from convzoo import models
from convzoo.errors import ConvzooError
from convzoo.hub import load, save

quick = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["F32", "resnet18", "cifar_resnet20", "float32", "none", "squash"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The smallest network there is, so that a try takes milliseconds.
    return save(models.linear_classifier(num_classes=3), tmp_path_factory.mktemp("fuzz") / "net")


@pytest.fixture(scope="module")
def original(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def only_our_errors(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    try:
        net = load(folder)
    except ConvzooError:
        pass  # anything else fails the test
    else:
        assert net.num_classes >= 1
        assert not any(tensor.is_meta for tensor in net.state_dict().values())


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path into a JSON value."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [at] + [path for key, below in inner for path in places(below, (*at, key))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@quick
@given(data=st.binary(max_size=200))
def test_any_bytes_as_weights(folder: Path, original: dict[str, bytes], data: bytes) -> None:
    only_our_errors(folder, {**original, "model.safetensors": data})


@quick
@given(data=st.binary(max_size=200))
def test_any_bytes_as_config(folder: Path, original: dict[str, bytes], data: bytes) -> None:
    only_our_errors(folder, {**original, "config.json": data})


@quick
@given(position=st.integers(0, 1 << 20), byte=st.integers(0, 255), name=st.sampled_from([0, 1]))
def test_one_byte_changed(
    folder: Path, original: dict[str, bytes], position: int, byte: int, name: int
) -> None:
    file = ("config.json", "model.safetensors")[name]
    changed = bytearray(original[file])
    changed[position % min(len(changed), 2000)] = byte  # where the header is
    only_our_errors(folder, {**original, file: bytes(changed)})


@quick
@given(data=st.data())
def test_any_value_anywhere_in_the_config(
    folder: Path, original: dict[str, bytes], data: st.DataObject
) -> None:
    config = json.loads(original["config.json"])
    path = data.draw(st.sampled_from(places(config)))
    changed = replaced(config, path, data.draw(json_values))
    only_our_errors(folder, {**original, "config.json": json.dumps(changed).encode()})


OPTIONS = {
    "lenet5": ("activation", "pool", "input_size"),
    "mlp": ("hidden", "activation"),
    "resnet18": ("stem", "shortcut", "stride_in", "zero_init_residual", "inplace"),
    "googlenet": ("stem", "aux_heads", "dropout", "dropout_aux", "inplace"),
    "vgg11": ("dropout", "paper_init", "inplace"),
}


@quick
@given(data=st.data(), architecture=st.sampled_from(sorted(OPTIONS)))
def test_any_options_in_the_config(
    folder: Path, original: dict[str, bytes], data: st.DataObject, architecture: str
) -> None:
    names = st.sampled_from((*OPTIONS[architecture], "nothing", "device", "weights"))
    config = json.loads(original["config.json"])
    config["convzoo"] |= {
        "architecture": architecture,
        "options": data.draw(st.dictionaries(names, json_values, max_size=3)),
    }
    only_our_errors(folder, {**original, "config.json": json.dumps(config).encode()})


@quick
@given(data=st.data())
def test_any_value_anywhere_in_the_header(
    folder: Path, original: dict[str, bytes], data: st.DataObject
) -> None:
    weights = original["model.safetensors"]
    (length,) = struct.unpack("<Q", weights[:8])
    header = json.loads(weights[8 : 8 + length])
    path = data.draw(st.sampled_from(places(header)))
    text = json.dumps(replaced(header, path, data.draw(json_values))).encode()
    changed = struct.pack("<Q", len(text)) + text + weights[8 + length :]
    only_our_errors(folder, {**original, "model.safetensors": changed})


@quick
@given(
    architecture=st.sampled_from(["resnet18", "cifar_resnet20", "vgg11", "googlenet", "alexnet"]),
    classes=st.integers(0, 1 << 20),
    channels=st.integers(1, 1 << 16),
    dropout=st.floats(0, 1),
)
def test_another_architecture_in_the_config(
    folder: Path,
    original: dict[str, bytes],
    architecture: str,
    classes: int,
    channels: int,
    dropout: float,
) -> None:
    config = json.loads(original["config.json"])
    config["num_classes"] = classes
    config["convzoo"] |= {
        "architecture": architecture,
        "in_channels": channels,
        "head_dropout": dropout,
    }
    only_our_errors(folder, {**original, "config.json": json.dumps(config).encode()})
