"""From a folder of images to a table of labels, whatever happens on the way."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convzoo
import processes
from convzoo._engines._threads import calling_modules, in_threads, tracing
from convzoo.cli import main
from convzoo.errors import DataError, InputError
from convzoo.inference import Predictor
from convzoo.inference._files import image_files
from convzoo.presets import IMAGENET, Preset, load_image
from convzoo.presets._files import read_image

COLUMNS = ["image", "error", "label", "index", "probability", "label_2", "index_2", "probability_2"]


class Means(nn.Module):
    """Scores an image by the logarithm of its channels' means, so that softmax gives shares."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).clamp_min(1e-6).log()


PLAIN = Preset(input_size=4, resize=4, mean=(0.0,) * 3, std=(1.0,) * 3)


@pytest.fixture
def predict() -> Predictor:
    return Predictor(Means(), preset=PLAIN, labels=["red", "green", "blue"], top_k=2)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    net = convzoo.create_model("lenet5", num_classes=2)
    net.labels = ("day", "night")
    return str(convzoo.save(net, tmp_path_factory.mktemp("net"), dataset="sky"))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine images in three folders, a file that is none, and what is to be passed over."""
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate(("a", "b/deep", "b")):
        Path("photos", folder).mkdir(parents=True, exist_ok=True)
        for i in range(3):
            picture(number + 3 * i).save(f"photos/{folder}/{i}.png")
    Path("photos/b/broken.jpg").write_bytes(b"no image")
    Path("photos/b/notes.txt").write_text("no image")
    Path("photos/.hidden").mkdir()
    picture(1).save("photos/.hidden/0.png")
    picture(1).save("photos/.hidden.png")
    return Path("photos")


def picture(seed: int = 0, size: tuple[int, int] = (28, 28)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


IN_ORDER = [
    *(f"photos/a/{i}.png" for i in range(3)),
    *(f"photos/b/{i}.png" for i in range(3)),
    "photos/b/broken.jpg",
    *(f"photos/b/deep/{i}.png" for i in range(3)),
]


def table(path: str | Path) -> list[dict[str, object]]:
    """What a table holds, read by others' means; empty cells are None."""
    path = Path(path)
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row in rows:
        for name, value in row.items():
            kind = {"index": int, "probability": float}.get(name.partition("_")[0], str)
            row[name] = kind(value) if value else None
    return rows


def names(path: str | Path) -> list[object]:
    return [row["image"] for row in table(path)]


# Which files ----------------------------------------------------------------------------


def test_files_come_in_the_order_of_their_names(photos: Path, monkeypatch) -> None:
    assert list(map(str, image_files("photos"))) == IN_ORDER
    assert list(image_files(photos)) == sorted(Path(name) for name in IN_ORDER)
    monkeypatch.setattr("convzoo.inference._files._AT_ONCE", 2)  # as in a folder of millions
    assert list(map(str, image_files("photos"))) == IN_ORDER
    if hasattr(os, "symlink"):
        Path("photos/b/loop").symlink_to(photos.resolve(), target_is_directory=True)
        Path("photos/b/folder.jpg").symlink_to(photos.resolve(), target_is_directory=True)
        assert list(map(str, image_files("photos"))) == IN_ORDER


def test_patterns_and_files_whose_names_look_like_one(photos: Path) -> None:
    assert list(map(str, image_files("photos/?/[01].*"))) == [
        *("photos/a/0.png", "photos/a/1.png"),
        *("photos/b/0.png", "photos/b/1.png"),
    ]
    assert len(list(image_files("photos/**/*"))) == 10
    picture().save("photos/a[1].png")
    assert list(image_files("photos/a[1].png")) == [Path("photos/a[1].png")]
    assert list(map(str, image_files(["gone.png", "photos/a", Path("*.png")]))) == [
        *("gone.png", "photos/a/0.png", "photos/a/1.png", "photos/a/2.png", "*.png"),
    ]
    Path("empty").mkdir()
    for nothing in ("empty", "*.tif"):
        with pytest.raises(DataError, match="no image"):
            list(image_files(nothing))


# Decoding -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True, "subsampling": 0}])
@pytest.mark.parametrize("size", [(375, 500), (301, 233)])
def test_a_jpegs_pixels_are_within_a_grey_level_of_pillows(mode, options, size, tmp_path) -> None:
    smooth = picture(3, (9, 12)).resize(size[::-1], Image.Resampling.BICUBIC)
    smooth.convert(mode).save(tmp_path / "a.jpg", **options)
    plain = Preset(input_size=224, resize=256, mean=(0.0,) * 3, std=(1.0,) * 3)
    transform = plain.eval()
    expected = transform(load_image(tmp_path / "a.jpg"))
    for many in (True, False):
        found = transform(read_image(tmp_path / "a.jpg", transform, many=many))
        assert (found - expected).abs().max() <= 1.001 / 255
    again = transform(read_image((tmp_path / "a.jpg").read_bytes(), transform))
    assert (again - expected).abs().max() <= 1.001 / 255


@pytest.mark.parametrize("orientation", range(10))
def test_a_quick_jpeg_is_turned_as_load_image_turns_it(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "turned.jpg"
    picture(size=(40, 56)).resize((56, 40)).save(file, exif=exif, quality=95)
    found = read_image(file, IMAGENET.eval())
    assert isinstance(found, Tensor)
    expected = np.asarray(load_image(file)).astype(int)
    assert np.abs(found.movedim(0, -1).numpy() - expected).max() <= 1


def test_a_damaged_jpeg_is_what_load_image_makes_of_it(tmp_path: Path) -> None:
    file = tmp_path / "damaged.jpg"
    picture(size=(64, 64)).save(file)
    data = file.read_bytes()
    transform = IMAGENET.eval()
    for share in (0.1, 0.5, 0.95):
        file.write_bytes(data[: int(share * len(data))])
        with pytest.raises(DataError, match=r"damaged\.jpg: "):
            read_image(file, transform)
    for seed in range(30):  # bits that flipped: Pillow reads some of these
        draw = np.random.default_rng(seed)
        broken = bytearray(data)
        for place in draw.integers(2, len(data), 4):
            broken[place] ^= int(draw.integers(1, 256))
        file.write_bytes(broken)
        try:
            expected: Tensor | None = transform(load_image(file))
        except DataError:
            expected = None
        try:
            found: Tensor | None = transform(read_image(file, transform))
        except DataError:
            found = None
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert found.shape == expected.shape


def test_an_evaluation_takes_torch_and_pillow_alone(tmp_path: Path) -> None:
    picture(size=(300, 400)).save(tmp_path / "a.jpg")
    code = """
import sys
from convzoo.presets import IMAGENET
from convzoo.presets._files import read_image
bicubic, grey = IMAGENET.replace(interpolation="bicubic"), IMAGENET.for_channels(1)
for preset in (IMAGENET, bicubic, grey):
    transform = preset.eval()
    transform(read_image(sys.argv[1], transform, many=False))
assert "torchvision" not in sys.modules
"""
    done = processes.run([sys.executable, "-c", code, str(tmp_path / "a.jpg")])
    assert done.returncode == 0, done.stderr


# The Predictor --------------------------------------------------------------------------


def test_every_kind_of_image_gives_the_same(predict: Predictor, tmp_path: Path) -> None:
    image = Image.new("RGB", (7, 5), (30, 60, 10))
    image.save(tmp_path / "green.png")
    array = np.asarray(image)
    data = (tmp_path / "green.png").read_bytes()
    kinds = [
        *(tmp_path / "green.png", str(tmp_path / "green.png"), data, bytearray(data)),
        *(image, array, array[::-1], array[:, ::-1], np.asfortranarray(array)),
        *(torch.from_numpy(array.copy()).movedim(-1, 0), image.convert("RGBA")),
    ]
    expected = predict(image)
    assert expected[0].label == "green"
    for found in (*map(predict, kinds), *predict.batch(kinds), *predict.batch(iter(kinds))):
        assert [p.label for p in found] == ["green", "red"]
        assert found[0].probability == pytest.approx(expected[0].probability)
    assert predict.batch(tmp_path) == predict.batch(str(tmp_path / "*.png")) == [expected]
    grey = predict.batch([array[..., 0], array[..., :1]])
    assert grey[0] == grey[1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 7, 3)), r"of uint8, got shape \(5, 7, 3\) of float64"),
        (np.zeros((2, 5, 7, 3), np.uint8), r"got shape \(2, 5, 7, 3\)"),
        (np.zeros((3, 5, 7), np.uint8), r"looks like \(C, H, W\)"),
        (np.zeros((5, 0, 3), np.uint8), "at least one pixel"),
        (b"no image", "image: not an image"),
        (b"", "image: not an image"),
        (3, "expected a PIL image or a tensor"),
    ],
)
def test_what_is_no_picture_is_refused(predict: Predictor, array, message: str) -> None:
    for call in (predict, lambda image: predict.batch([image])):
        with pytest.raises((InputError, DataError), match=message):
            call(array)


def test_a_folder_comes_in_order_and_a_broken_file_is_a_row(photos: Path, network: str) -> None:
    predict = Predictor(network)
    for workers in (None, 0, 3):
        found = list(predict.folder("photos", batch_size=4, workers=workers))
        assert [str(each.image) for each in found] == IN_ORDER
        assert [each.error is None for each in found] == [name[-3:] == "png" for name in IN_ORDER]
        for each in found:
            if each.error is None:
                (alone,) = predict.batch([each.image])
                assert [p.label for p in each.predictions] == [p.label for p in alone]
            else:
                assert each.predictions == ()
                assert "broken.jpg: not an image" in each.error
    assert len(list(predict.folder(["photos/a", "photos/b/deep/*.png"]))) == 6


def test_a_folder_is_checked_before_the_first_image(photos: Path, predict: Predictor) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        predict.folder("nowhere")
    with pytest.raises(DataError, match="there is no image"):
        predict.folder("photos/*.tif")
    with pytest.raises(InputError, match="workers: expected an integer of at least 0"):
        predict.folder("photos", workers=-1)
    assert list(predict.folder([])) == []


def test_only_what_is_asked_for_is_read(photos: Path, predict: Predictor, monkeypatch) -> None:
    for i in range(40):
        shutil.copy("photos/a/0.png", f"photos/a/more{i}.png")
    read: list[object] = []

    def counting(source, transform, *, many):
        read.append(source)
        return read_image(source, transform, many=many)

    monkeypatch.setattr("convzoo.inference._preparation.read_image", counting)
    stream = predict.folder("photos", batch_size=2, workers=1)
    next(stream)
    stream.close()  # type: ignore[attr-defined] # a generator
    assert 2 <= len(read) <= 8


def test_embeddings_are_what_the_last_layer_gets(network: str) -> None:
    net = convzoo.load(network).eval()
    x = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    predict = Predictor(net)
    found = predict.embed(x, batch_size=2)
    inputs = net.preset.eval()(x)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(inputs), pre_logits=True)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(net.get_submodule(net.head_path)(found), net(inputs))
    assert net.num_classes == 2  # the network keeps its head
    assert predict.labels == ("day", "night")
    with pytest.raises(InputError, match="expected at least one, got none"):
        predict.embed([])


def test_embeddings_of_somebody_elses_network() -> None:
    import torchvision

    net = torchvision.models.resnet18(num_classes=3).eval()
    predict = Predictor(net, preset=IMAGENET.replace(input_size=64, resize=64))
    images = torch.randint(0, 256, (3, 3, 70, 80), dtype=torch.uint8)
    found = predict.embed(images)
    assert found.shape == (3, 512)
    with torch.no_grad():
        scores = net.fc(found).softmax(1)
    assert [p[0].index for p in predict.batch(images)] == scores.argmax(1).tolist()


def test_an_engine_gives_the_same_labels(photos: Path, network: str) -> None:
    plain, fast = Predictor(network), Predictor(network, engine="torch")
    files = [name for name in IN_ORDER if name.endswith("png")]
    for one, other in zip(plain.batch(files), fast.batch(files), strict=True):
        assert [p.label for p in one] == [p.label for p in other]
        assert one[0].probability == pytest.approx(other[0].probability, rel=1e-4)
    torch.testing.assert_close(fast.embed(files), plain.embed(files), rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="engine"):
        Predictor(network, engine="steam")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="calibration: expected some hundred images"):
        Predictor(network, precision="int8")
    with pytest.raises(InputError, match=r"calibration: .* none for others"):
        Predictor(network, calibration=files)


@pytest.mark.parametrize("broken", [0, 1])
def test_no_image_is_prepared_while_an_engine_is_set_up(tmp_path: Path, broken: int) -> None:
    traced = threading.Event()

    class Traced(Means):
        def forward(self, x: Tensor) -> Tensor:
            if isinstance(x, torch.fx.Proxy):
                traced.set()
                time.sleep(0.05)  # for the other threads to go on in
            return super().forward(x)

    class View(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inside = nn.Identity()

        def forward(self, image: Image.Image) -> Tensor:
            traced.wait(0.05)  # in which the set-up has to wait
            pixels = torch.from_numpy(np.array(image)).movedim(-1, 0) / 255
            ready: Tensor = self.inside(pixels)  # a trace would take it for a layer
            return ready

    for name in range(broken):
        (tmp_path / f"{name}.png").write_bytes(b"no image")
    for name in range(broken, 6):
        Image.new("RGB", (4, 4), (30, 60, 10)).save(tmp_path / f"{name}.png")
    predict = Predictor(Traced(), preset=PLAIN, tta=[View()], engine="torch", top_k=1)
    found = list(predict.folder(tmp_path, batch_size=1, workers=2))
    assert traced.is_set()
    assert [each.error is None for each in found] == [n >= broken for n in range(6)]
    assert {p.index for each in found for p in each.predictions} == {1}


def test_a_trace_waits_for_the_others_and_for_no_other_trace() -> None:
    inside, told = threading.Barrier(3), []

    def work(number: int) -> int:
        with calling_modules():
            inside.wait(10)  # three threads in there want to trace, one after the other
            with tracing():
                told.append(number)
                list(in_threads(told.index, [number], workers=2, ahead=1))
                told.append(number)
        return number

    assert list(in_threads(work, range(3), workers=3, ahead=3)) == [0, 1, 2]
    assert told[::2] == told[1::2]
    with ThreadPoolExecutor(1) as pool, tracing():
        (later,) = waiting = [pool.submit(lambda: list(in_threads(abs, [-1], workers=0, ahead=1)))]
        with tracing():  # from within
            assert not wait(waiting, 0.05).done
        assert not wait(waiting, 0.05).done
    assert later.result() == [1]


def test_an_accelerated_network_is_taken_as_it_is(photos: Path, network: str) -> None:
    fast = convzoo.accelerate(convzoo.load(network), engine="torch")
    predict = Predictor(fast)
    assert predict("photos/a/0.png")[0].label in ("day", "night")
    with pytest.raises(InputError, match="pass the network itself, with engine="):
        predict.embed(["photos/a/0.png"])


# Tables ---------------------------------------------------------------------------------


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def out(request: pytest.FixtureRequest) -> str:
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return f"labels.{request.param}"


def run(network: str, out: str, *more: str) -> int:
    return main(["predict", network, "photos", "--out", out, "--batch-size", "3", *more])


def test_a_table_has_a_row_an_image(photos: Path, network: str, out: str, capsys) -> None:
    assert run(network, out) == 1
    said = capsys.readouterr()
    assert f"{out}: 9 images and 1 that could not be read" in said.out
    assert "Error: photos/b/broken.jpg: not an image" in said.err
    rows = table(out)
    assert [row["image"] for row in rows] == IN_ORDER
    assert all(list(row) == COLUMNS for row in rows)
    predict = Predictor(network)
    for row in rows:
        if row["image"] == "photos/b/broken.jpg":
            assert "not an image" in str(row["error"])
            assert row["label"] is row["index_2"] is None
        else:
            first, second = predict(str(row["image"]))
            assert (row["error"], row["label"], row["index"]) == (None, first.label, first.index)
            assert row["label_2"] == second.label
            assert row["probability"] == pytest.approx(first.probability, rel=1e-4)
    assert [path.name for path in Path().glob("*labels*")] == [out]
    Path("photos/b/broken.jpg").unlink()
    assert run(network, out) == 2  # what took hours is not written over
    assert "is there already; go on with it by --resume" in capsys.readouterr().err
    Path(out).unlink()
    assert run(network, out, "--top-k", "1", "--json", "--engine", "torch") == 0
    assert json.loads(capsys.readouterr().out) == {"out": out, "images": 9, "errors": 0}
    assert list(table(out)[0]) == COLUMNS[:5]


def test_resume_does_what_is_missing(photos: Path, network: str, out: str, capsys) -> None:
    assert run(network, out, "--on-error", "skip") == 0
    assert "broken.jpg" not in str(table(out))
    picture().save("photos/a/00.png")
    assert run(network, out, "--resume") == 1
    assert "2 of them now" in capsys.readouterr().out
    assert sorted(map(str, names(out))) == sorted([*IN_ORDER, "photos/a/00.png"])
    before = table(out)
    assert run(network, out, "--resume") == 1  # the table still holds an error
    assert "0 of them now" in capsys.readouterr().out
    assert table(out) == before
    assert run(network, out, "--resume", "--top-k", "1") == 2
    assert "give the --top-k it was made with" in capsys.readouterr().err
    other = convzoo.create_model("lenet5", num_classes=2)
    other.labels = ("cat", "dog")
    convzoo.save(other, "other", dataset="pets")
    assert run("other", out, "--resume") == 2
    assert "give the network it was made with" in capsys.readouterr().err
    assert table(out) == before


def interrupted_after(count: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have Ctrl-C come with the image of that number; the result takes it away again."""
    whole = Predictor.folder

    def folder(self, path, **options) -> Iterator[object]:
        for number, found in enumerate(whole(self, path, **options)):
            if number == count:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(Predictor, "folder", folder)
    return lambda: monkeypatch.setattr(Predictor, "folder", whole)


@pytest.mark.parametrize("count", [0, 5])
def test_ctrl_c_leaves_a_whole_file(
    photos: Path, network: str, out: str, count: int, capsys, monkeypatch
) -> None:
    go_on = interrupted_after(count, monkeypatch)
    assert run(network, out) == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert names(out) == IN_ORDER[:count]
    go_on()
    assert run(network, out, "--resume") == 1
    assert names(out) == IN_ORDER
    assert [path.name for path in Path().glob("*labels*")] == [out]


def test_a_row_cut_in_two_is_done_again(photos: Path, network: str, out: str) -> None:
    """What `kill -9` and a full disk leave."""
    picture().save('photos/a/a "quoted\n,name.png')
    assert run(network, out) == 1
    whole = table(out)
    if out.endswith("parquet"):  # until it is whole, the rows are in lines beside it
        Path(out).unlink()
        written = Path(f"{out}.0-of-1.jsonl")
        written.write_text("".join(json.dumps(row) + "\n" for row in whole))
    else:
        written = Path(out)
    data = written.read_bytes()
    for size in (0, 10, *range(len(data) // 3, len(data), len(data) // 7)):
        Path(out).unlink(missing_ok=True)
        written.write_bytes(data[:size])
        assert run(network, out, "--resume") == 1
        assert names(out) == [row["image"] for row in whole]


@pytest.mark.parametrize("name", ["labels.txt", "labels", "no/such/labels.csv", "photos"])
def test_where_no_table_can_be(photos: Path, network: str, name: str, capsys) -> None:
    assert run(network, name) == 2
    assert "out" in capsys.readouterr().err
    assert main(["predict", network, "photos", "--resume"]) == 2
    assert "--resume: expected --out" in capsys.readouterr().err


def test_what_is_no_table_is_left_alone(photos: Path, network: str, out: str, capsys) -> None:
    Path(out).write_text("dear diary,\nnothing\n" * 3)
    before = Path(out).read_text()
    assert run(network, out) == 2
    assert run(network, out, "--resume") == 2
    assert "--resume" in capsys.readouterr().err
    assert Path(out).read_text() == before


def test_pyarrow_is_asked_for_by_name(photos: Path, network: str, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert run(network, "labels.parquet") == 2
    assert "pip install 'convzoo[tables]'" in capsys.readouterr().err
    assert run(network, "labels.csv") == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_names_that_are_not_utf8_come_as_escapes(photos: Path, network: str, out: str) -> None:
    shutil.copy(b"photos/a/0.png", b"photos/a/caf\xe9.png")
    assert run(network, out) == 1
    assert r"photos/a/caf\udce9.png" in names(out)
    assert run(network, out, "--resume") == 1
    assert len(names(out)) == 11


# Several processes ----------------------------------------------------------------------


def as_rank(rank: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world))


def test_processes_share_a_folder(photos: Path, network: str, out: str, monkeypatch) -> None:
    as_rank(1, 2, monkeypatch)
    assert run(network, out) == 0
    assert not Path(out).exists()
    (part,) = Path().glob("labels*")
    assert part.name == f"{out}.1-of-2.jsonl"
    assert 0 < len(table(part)) < 10
    as_rank(0, 2, monkeypatch)
    assert run(network, out) == 1  # only now: torchrun ends all when one ends so
    assert names(out) == IN_ORDER
    assert [path.name for path in Path().glob("*labels*")] == [out]


def test_a_process_that_died_loses_nothing(
    photos: Path, network: str, out: str, monkeypatch, capsys
) -> None:
    as_rank(0, 2, monkeypatch)
    go_on = interrupted_after(2, monkeypatch)
    assert run(network, out) == 130
    go_on()
    as_rank(1, 2, monkeypatch)
    assert run(network, out) == 0
    assert run(network, out) == 2  # its own part is there
    as_rank(2, 3, monkeypatch)
    assert run(network, out) == 2  # parts of other numbers of processes are
    assert "is there already" in capsys.readouterr().err
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    as_rank(1, 2, monkeypatch)
    assert run(network, out) == 0
    as_rank(0, 2, monkeypatch)
    assert run(network, out) == 1
    assert names(out) == IN_ORDER


def test_another_number_of_processes_goes_on(
    photos: Path, network: str, out: str, monkeypatch
) -> None:
    as_rank(1, 3, monkeypatch)
    assert run(network, out) == 0
    as_rank(0, 1, monkeypatch)
    assert run(network, out, "--resume") == 1
    assert names(out) == IN_ORDER
    assert [path.name for path in Path().glob("*labels*")] == [out]


# Whole processes ------------------------------------------------------------------------


def many(count: int) -> None:
    for i in range(count):
        shutil.copy("photos/a/0.png", f"photos/a/more{i:05}.png")


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
@pytest.mark.parametrize("sent", ["SIGKILL", "SIGINT"])
def test_a_killed_command_goes_on(photos: Path, network: str, out: str, sent: str) -> None:
    many(3000)
    command = [sys.executable, "-m", "convzoo", "predict", network, "photos", "--out", out]
    command += ["--batch-size", "4", "--cpu"]
    live = Path(out if not out.endswith("parquet") else f"{out}.0-of-1.jsonl")
    with processes.started(command) as process:
        while not (live.exists() and live.read_bytes().count(b"\n") > 100):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(getattr(signal, sent))
        status = process.wait(timeout=60)
    assert status == (130 if sent == "SIGINT" else -signal.SIGKILL)
    if sent == "SIGINT":
        assert 100 <= len(table(out)) < 3010
    assert processes.run([*command, "--resume"]).returncode == 1
    assert len(set(names(out))) == len(names(out)) == 3010


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs libuv there")
def test_torchrun_shares_a_folder_and_survives_a_kill(photos: Path, network: str, out: str) -> None:
    many(2000)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    torchrun += ["--nproc-per-node", "2", "--max-restarts", "0", "-m", "convzoo", "predict"]
    command = [*torchrun, network, "photos", "--out", out, "--batch-size", "4", "--cpu"]
    part = Path(f"{out}.1-of-2.jsonl")
    with processes.started(command) as process:
        while not (part.exists() and part.read_bytes().count(b"\n") > 50):
            assert process.poll() is None
            time.sleep(0.01)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        assert process.wait(timeout=60) != 0
    assert not Path(out).exists()
    done = processes.run([*command, "--resume"])
    assert "2009 images and 1 that could not be read" in done.stdout
    assert names(out) == list(map(str, image_files("photos")))


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_files(photos: Path, network: str) -> None:
    many(6000)
    code = """
import sys, tracemalloc
from convzoo.inference import Predictor
predict = Predictor(sys.argv[1])
stream = predict.folder("photos", batch_size=16)
tracemalloc.start()
peaks = []
for number, found in enumerate(stream):
    if number in (1000, 5900):
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()
print(peaks[1] / peaks[0])
"""
    done = processes.run([sys.executable, "-c", code, network])
    assert float(done.stdout) < 1.1, done
