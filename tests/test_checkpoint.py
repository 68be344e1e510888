"""Weights files: what is read, what is refused, and how a misfit is reported."""

from __future__ import annotations

import argparse
import pickle
import re
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

import convzoo
from convzoo import models
from convzoo._meta_device import garbage_collection_paused
from convzoo.errors import CheckpointError, ConvzooError, WeightsError
from convzoo.hub import _slots, load, save
from convzoo.hub._safetensors import SafetensorsFile, tensors_with_nan
from hub_helpers import Edit, rewritten, same, three


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(three(), tmp_path / "net")


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "model.safetensors"


def test_the_header_lists_every_tensor(file: Path) -> None:
    header = SafetensorsFile(file)
    state = three().state_dict()
    assert {key: entry.shape for key, entry in header.entries.items()} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    assert header.entries["bn1.num_batches_tracked"].dtype == torch.int64
    assert header.metadata["format"] == "pt"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a safetensors file: it has 0 bytes"),
        (b"1234567", "it has 7 bytes"),
        (b"<!DOCTYPE html><html>not found</html>", "begins like a web page"),
        (
            struct.pack("<Q", 1 << 60) + b"{}",
            f"header should have {1 << 60} bytes, the file has 10",
        ),
        (struct.pack("<Q", 2) + b"{]", "header: not valid JSON"),
        (struct.pack("<Q", 2) + b"[]", "expected an object, got list"),
        (struct.pack("<Q", 3) + b'{"a', "header: not valid JSON"),
        (struct.pack("<Q", 2) + b"\xff\xfe", "header: not valid JSON"),
        (struct.pack("<Q", 200_000) + b"[" * 200_000, "header: not valid JSON"),
    ],
    ids=["empty", "short", "page", "huge", "bad", "list", "cut", "unicode", "deep"],
)
def test_what_is_no_safetensors_file(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=re.escape(message)) as caught:
        SafetensorsFile(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda h: h["fc.bias"].update(dtype="F7"), "fc.bias: unknown dtype 'F7'"),
        (lambda h: h["fc.bias"].update(dtype=["F32"]), "fc.bias: unknown dtype"),
        (lambda h: h["fc.bias"].update(shape=[4]), "takes 16 bytes, its place in the file has 12"),
        (lambda h: h["fc.bias"].update(shape=[-3]), "lists of integers from 0"),
        (lambda h: h["fc.bias"].update(shape=[3.0]), "lists of integers from 0"),
        (lambda h: h["fc.bias"].update(shape=[True, 3]), "lists of integers from 0"),
        (lambda h: h["fc.bias"].update(shape=[1 << 60, 0]), "lists of integers from 0"),
        (lambda h: h["fc.bias"].update(shape=[0, 1 << 47, 1 << 47]), "no tensor has the shape"),
        (lambda h: h["fc.bias"].update(shape=[1 << 47] * 100_000), "no tensor has the shape"),
        (lambda h: h["fc.bias"].update(data_offsets=[0, 12]), "begins at"),
        (lambda h: h["fc.bias"].pop("shape"), "expected dtype, shape and data_offsets"),
        (lambda h: h.update({"fc.bias": 3}), "expected dtype, shape and data_offsets"),
        (lambda h: h.pop("fc.bias"), "fc.weight begins at|promises"),
        (lambda h: h.update(__metadata__={"a": 1}), "__metadata__ must map strings to strings"),
        (lambda h: h.update(__metadata__=[1]), "__metadata__ must map strings to strings"),
    ],
)
def test_a_header_that_lies(file: Path, edit: Edit, message: str) -> None:
    rewritten(file, edit)
    with pytest.raises(WeightsError, match=message):
        load(file.parent)


def test_a_key_that_comes_twice(file: Path) -> None:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    text = data[8 : 8 + length].strip()
    twice = text[:-1] + b',"fc.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'
    file.write_bytes(struct.pack("<Q", len(twice)) + twice + data[8 + length :])
    with pytest.raises(WeightsError, match=r"the key 'fc\.bias' comes twice"):
        load(file.parent)


@pytest.mark.parametrize("cut", [-1, 1], ids=["truncated", "longer"])
def test_a_file_of_the_wrong_length(file: Path, cut: int) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-1] if cut < 0 else data + b"\0")
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load(file.parent)


def test_nan_is_flagged(folder: Path) -> None:
    save(three(), folder)
    file = folder / "model.safetensors"
    with safetensors.safe_open(file, "pt") as reader:  # `save` itself refuses NaN
        metadata = reader.metadata()
    tensors = {key: value.clone() for key, value in safetensors.torch.load_file(file).items()}
    tensors["layer2.0.conv1.weight"].fill_(float("nan"))
    tensors["bn1.running_var"][5] = float("nan")
    safetensors.torch.save_file(tensors, file, metadata=metadata)
    with pytest.raises(WeightsError, match=r"NaN in bn1\.running_var, layer2\.0\.conv1\.weight"):
        load(folder)


def test_one_nan_deep_in_a_long_tensor_is_found_by_a_thorough_look(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(3), "w": torch.zeros(100, 100), "i": torch.zeros(2).int()}
    tensors["w"][50, 50] = float("nan")
    path = tmp_path / "nan.safetensors"
    safetensors.torch.save_file(tensors, path)
    file = SafetensorsFile(path)
    assert file.quick_look_for_nan() == []
    assert tensors_with_nan(file.tensors(file.entries)) == ["w"]


def test_a_file_that_aligns_nothing_is_read_all_the_same(file: Path) -> None:
    for pad in range(9):  # at least one of these puts the tensors off any boundary
        rewritten(file, lambda header, pad=pad: header.update(__metadata__={"pad": "x" * pad}))
        assert same(load(file.parent), three())


def test_one_message_holds_all_that_does_not_fit(tmp_path: Path) -> None:
    state = models.cifar_resnet20().state_dict()
    del state["layer1.0.bn1.weight"]
    del state["fc.bias"]
    state["layer9.weight"] = torch.zeros(1)
    state["layer2.0.conv1.weight"] = torch.zeros(7, 7, 3, 3)
    path = tmp_path / "odd.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(CheckpointError) as caught:
        models.cifar_resnet20(weights=str(path))
    text = str(caught.value)
    assert "odd.safetensors does not fit cifar_resnet20" in text
    assert "2 missing: layer1.0.bn1.weight, fc.bias" in text
    assert "1 unexpected: layer9.weight" in text
    assert "layer2.0.conv1.weight: network (32, 16, 3, 3), checkpoint (7, 7, 3, 3)" in text


def test_long_lists_of_keys_are_cut() -> None:
    text = _slots.mismatch({f"k{i}": (1,) for i in range(50)}, {})
    assert text is not None
    assert text.startswith("  50 missing: k0, k1")
    assert text.endswith("and 30 more")


def test_a_network_that_fits_has_no_mismatch() -> None:
    assert _slots.mismatch({"a": (1, 2)}, {"a": [1, 2]}) is None


def test_training_a_mapped_network_leaves_the_file_alone(folder: Path, file: Path) -> None:
    before = file.read_bytes()
    net = load(folder)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.randn(4, 3, 16, 16)).sum().backward()
    optimiser.step()
    assert not same(net, three())
    assert file.read_bytes() == before
    assert same(load(folder), three())


def test_a_loaded_network_is_an_ordinary_one(folder: Path) -> None:
    import copy
    import pickle

    net = load(folder)
    assert all(p.requires_grad and p.is_leaf for p in net.parameters())
    assert not any(t.is_meta for t in net.state_dict().values())
    assert net.training
    assert same(copy.deepcopy(net), net)
    assert same(pickle.loads(pickle.dumps(net)), net)
    fresh = models.cifar_resnet20(num_classes=3)
    fresh.load_state_dict(net.state_dict())
    assert same(fresh, net)
    assert net.to(torch.float64)(torch.zeros(1, 3, 8, 8, dtype=torch.float64)).shape == (1, 3)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_tensors_are_the_files_pages_not_a_copy(folder: Path, file: Path) -> None:
    net = load(folder)
    assert str(file.resolve()) in Path("/proc/self/maps").read_text()
    del net
    assert str(file.resolve()) not in Path("/proc/self/maps").read_text()


def test_the_floating_point_type_is_kept_by_save_and_converted_from_other_files(
    tmp_path: Path,
) -> None:
    net = three().to(torch.bfloat16)
    assert {p.dtype for p in load(save(net, tmp_path / "half")).parameters()} == {torch.bfloat16}
    path = tmp_path / "half.safetensors"
    safetensors.torch.save_file(net.state_dict(), path)
    loaded = models.cifar_resnet20(weights=str(path))
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert loaded.num_classes == 3  # read off the file's head


def test_torchs_default_device_decides_where_a_network_goes(folder: Path) -> None:
    with torch.device("meta"):
        assert all(value.is_meta for value in load(folder).state_dict().values())
        assert same(load(folder, device="cpu"), three_on_cpu())
    assert all(value.is_meta for value in load(folder, device="meta").state_dict().values())


def three_on_cpu() -> torch.nn.Module:
    with torch.device("cpu"):
        return three()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_network_goes_straight_to_a_gpu(folder: Path) -> None:
    net = load(folder, device="cuda", num_classes=5, in_channels=1)
    assert {value.device.type for value in net.state_dict().values()} == {"cuda"}
    assert net.eval()(torch.zeros(1, 1, 8, 8, device="cuda")).shape == (1, 5)


def test_a_tensor_of_the_wrong_kind_of_number(tmp_path: Path) -> None:
    state = three().state_dict()
    state["fc.bias"] = torch.zeros(3, dtype=torch.int64)
    path = tmp_path / "ints.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(CheckpointError, match=r"fc\.bias: expected torch\.float32, got torch\.int"):
        models.cifar_resnet20(weights=str(path))


def test_garbage_collection_is_left_as_it_was(folder: Path) -> None:
    import gc

    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            load(folder)
            assert gc.isenabled() is enabled
            with pytest.raises(ConvzooError):
                load(folder, num_classes=-1)
            assert gc.isenabled() is enabled
        finally:
            gc.enable()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, frozen)


def test_no_full_collection_while_a_network_is_built(folder: Path) -> None:
    import gc

    seen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        seen.append(info["generation"])

    load(folder)  # imports
    old = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    gc.callbacks.append(note)
    try:
        with garbage_collection_paused():
            seen.clear()
            models.resnet18(device="meta")
            inside = list(seen)
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*old)
    assert inside == []


def test_nested_and_concurrent_pauses_restore_once() -> None:
    import gc

    with garbage_collection_paused():
        with garbage_collection_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_pickle_is_read_only_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in three().state_dict().items()}}, path)
    with pytest.raises(WeightsError, match="allow_pickle=True"):
        load(path, architecture="cifar_resnet20")
    with pytest.raises(WeightsError, match="allow_pickle=True"):
        models.cifar_resnet20(weights=str(path))
    assert same(load(path, architecture="cifar_resnet20", allow_pickle=True), three())


def test_a_pickle_may_be_written_over_while_its_network_lives(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save(three().state_dict(), path)
    net = load(path, architecture="cifar_resnet20", allow_pickle=True)
    torch.save(net.state_dict(), path)  # were the file mapped, this would kill the process
    assert same(load(path, architecture="cifar_resnet20", allow_pickle=True), three())


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module.model.", "net."])
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.pth", None),
        ("a.pth.tar", "state_dict"),
        ("a.th", "net"),
        ("a.ckpt", "model_state_dict"),
        ("a.bin", "state_dict_ema"),
        ("a.pt", "model_ema"),
    ],
)
def test_the_checkpoints_that_people_have(
    tmp_path: Path, name: str, place: str | None, prefix: str
) -> None:
    state = {
        prefix + key: value
        for key, value in three().state_dict().items()
        if not key.endswith("num_batches_tracked")  # files of old have none
    }
    beside = {"epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(state if place is None else {place: state, **beside}, tmp_path / name)
    with pytest.raises(WeightsError, match="allow_pickle=True"):
        load(tmp_path / name, architecture="cifar_resnet20")
    net = load(tmp_path / name, architecture="cifar_resnet20", allow_pickle=True)
    assert same(net, three())


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("pwned"),))


@pytest.mark.parametrize(
    "content", [{"a": Payload()}, [1, 2], {"a": 1}], ids=["code", "list", "int"]
)
def test_a_pickle_that_holds_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "net.pth")
    with pytest.raises(WeightsError) as caught:
        load("net.pth", architecture="cifar_resnet20", allow_pickle=True)
    assert "weights_only" not in str(caught.value)  # whose advice is to run the file's code
    assert not Path("pwned").exists()


def test_a_broken_pickle(tmp_path: Path) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(WeightsError, match="cannot be read"):
        load(path, architecture="cifar_resnet20", allow_pickle=True)


def test_what_was_mapped_goes_through_torch_save(tmp_path: Path) -> None:
    net = convzoo.cifar_resnet20(num_classes=3)
    convzoo.save(net, tmp_path / "kept")
    again = convzoo.load(tmp_path / "kept")
    torch.save(again.state_dict(), tmp_path / "state.pth")  # two types of numbers in one file
    torch.save(again.fc.weight, tmp_path / "one.pth")
    assert (tmp_path / "one.pth").stat().st_size < 10_000  # not the whole file with it
    back = torch.load(tmp_path / "state.pth", weights_only=True)
    assert all(torch.equal(value, back[key]) for key, value in net.state_dict().items())
    copied = pickle.loads(pickle.dumps(again))
    assert torch.equal(copied.conv1.weight, net.conv1.weight)
