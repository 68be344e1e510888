"""Files, PIL modes and tensors on their way to what a network expects."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from convzoo.errors import DataError, InputError
from convzoo.presets import Preset, load_image

COLOUR = Preset(input_size=8, resize=None, mean=(0.0,) * 3, std=(1.0,) * 3)
GREY = COLOUR.replace(mean=(0.0,), std=(1.0,), channels=1)


def levels(preset, image):
    """What the network sees, as grey levels 0 to 255."""
    return (preset.eval()(image) * 255).round().int()


def picture(seed=0, channels=3):
    values = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze())


# Modes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_opaque_modes_arrive_as_pillow_converts_them(mode):
    image = picture().convert(mode)
    for preset, target in ((COLOUR, "RGB"), (GREY, "L")):
        assert torch.equal(levels(preset, image), F.pil_to_tensor(image.convert(target)).int())


def test_grey_becomes_three_equal_channels():
    out = levels(COLOUR, picture(channels=1))
    assert torch.equal(out[0], out[1])
    assert torch.equal(out[0], out[2])


def test_an_opaque_alpha_channel_changes_nothing():
    rgb = picture()
    assert torch.equal(levels(COLOUR, rgb.convert("RGBA")), levels(COLOUR, rgb))
    grey = picture(channels=1)
    assert torch.equal(levels(GREY, grey.convert("LA")), levels(GREY, grey))


def test_transparent_pixels_show_white_whatever_lies_under_them():
    red_under_glass = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (levels(COLOUR, red_under_glass) == 255).all()
    assert (levels(GREY, red_under_glass) == 255).all()
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert (levels(COLOUR, half) == 127).all()
    for mode, fill in (("LA", (0, 128)), ("LA", (0, 0))):
        image = Image.new(mode, (8, 8), fill)
        expected = 127 if fill[1] else 255
        assert (levels(GREY, image) == expected).all()
        assert (levels(COLOUR, image) == expected).all()


def test_a_palette_with_a_transparent_entry_shows_white_there():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (0, 0, 8, 4))
    opaque = levels(COLOUR, image)
    assert opaque[:, 7, 0].tolist() == [10, 20, 30]
    for transparency in (0, bytes([0, 255])):
        image.info["transparency"] = transparency
        out = levels(COLOUR, image)
        assert out[:, 7, 0].tolist() == [255, 255, 255]
        assert out[:, 0, 0].tolist() == [200, 100, 50]


def test_a_colour_declared_transparent_shows_white(tmp_path):
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    image.save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert (levels(COLOUR, load_image(tmp_path / "key.png")) == 255).all()


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (32768, 128), (65535, 255)])
def test_16_bits_are_scaled_not_clipped(value, expected):
    values = np.full((8, 8), value, dtype=np.uint16)
    for dtype in ("<u2", ">u2"):
        image = Image.fromarray(values.astype(dtype))
        assert image.mode.startswith("I;16")
        assert (levels(GREY, image) == expected).all()
        assert (levels(COLOUR, image) == expected).all()
    assert (levels(GREY, torch.from_numpy(values)[None]) == expected).all()


def test_mode_i_is_16_bits_or_refused():
    values = np.arange(64, dtype=np.int32).reshape(8, 8)
    out = levels(GREY, Image.fromarray(values * 1040))
    assert out[0, 7, 7] == 255
    assert (levels(GREY, Image.fromarray(values * 0)) == 0).all()
    for bad in (values, values * 2000, values - 9):
        with pytest.raises(InputError, match=r"PIL mode 'I' with values .* convert it"):
            GREY.eval()(Image.fromarray(bad))


@pytest.mark.parametrize("mode", ["F", "LAB"])
def test_modes_without_a_known_range_are_refused(mode):
    with pytest.raises(InputError, match=f"PIL mode '{mode}'.*convert it first"):
        COLOUR.eval()(Image.new(mode, (8, 8)))


# Tensors --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("preset", [GREY, COLOUR], ids=["grey", "colour"])
def test_tensors_convert_to_the_bit_as_pil_images_do(mode, preset):
    image = picture(channels={"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode])
    tensor = F.pil_to_tensor(image)
    assert image.mode == mode
    assert torch.equal(levels(preset, tensor), levels(preset, image))
    difference = preset.eval()(tensor / 255) - preset.eval()(image)
    assert difference.abs().max() < 1.001 / 255
    batch = torch.stack([tensor, tensor.flip(-1)])
    assert torch.equal(levels(preset, batch)[0], levels(preset, tensor))


def test_other_numbers_of_channels_pass_as_tensors_only():
    bands = Preset(input_size=8, resize=6, mean=(0.5,) * 5, std=(1.0,) * 5, channels=5)
    assert bands.eval()(torch.zeros(5, 9, 7, dtype=torch.uint8)).shape == (5, 8, 8)
    with pytest.raises(InputError, match=r"expected a tensor \(5, H, W\).* got a PIL image"):
        bands.eval()(picture())
    with pytest.raises(InputError, match="image: expected 5 channels, got 3"):
        bands.eval()(torch.zeros(3, 9, 7, dtype=torch.uint8))


def test_torchvisions_image_tensors_come_out_plain():
    out = COLOUR.eval()(tv_tensors.Image(torch.zeros(3, 8, 8, dtype=torch.uint8)))
    assert type(out) is torch.Tensor


def test_the_input_is_left_as_it_was():
    image = torch.full((3, 8, 8), 0.5)
    COLOUR.replace(mean=(0.5,) * 3).eval()(image)
    assert (image == 0.5).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_an_empty_batch_passes(interpolation, dtype: torch.dtype) -> None:
    transform = COLOUR.replace(interpolation=interpolation).eval()
    for channels in (1, 3, 4):
        found = transform(torch.zeros(0, channels, 40, 50, dtype=dtype))
        assert (found.shape, found.dtype) == ((0, 3, 8, 8), torch.float32)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(8, 8, dtype=torch.uint8), r"got \(8, 8\); add the channel axis"),
        (torch.zeros(1, 1, 3, 8, 8), r"image: expected \(C, H, W\) or \(B, C, H, W\)"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"got 8 in shape \(8, 8, 3\); it looks like"),
        (torch.zeros(7, 8, 8, dtype=torch.uint8), "3 channels, or grey, RGB or RGBA, got 7"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), "at least one pixel"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "uint8, uint16, or floating .* got torch.int64"),
        (
            torch.full((3, 8, 8), 200.0),
            r"expected floating point in \[0, 1\], got 200 to 200; pass uint8",
        ),
        (torch.full((3, 8, 8), float("nan")), r"expected floating point in \[0, 1\], got nan"),
        (torch.full((3, 8, 8), -2.0), r"expected floating point in \[0, 1\], got -2 to -2"),
        (np.zeros((8, 8, 3), np.uint8), "PIL image or a tensor .* got numpy.ndarray"),
        ("boat.png", "PIL image or a tensor .* got builtins.str"),
        (None, "PIL image or a tensor"),
    ],
    ids=str,
)
def test_what_is_no_image_gets_a_readable_error(image, message):
    with pytest.raises(InputError, match=message):
        COLOUR.eval()(image)


# Files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 8))  # a white corner, top left
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    loaded = load_image(tmp_path / "photo.jpg")
    assert loaded.size == ((32, 16) if orientation <= 4 else (16, 32))
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "photo.jpg"))
    assert loaded.tobytes() == expected.tobytes()
    white = {1: (0, 0), 2: (-1, 0), 3: (-1, -1), 4: (0, -1), 5: (0, 0), 6: (-1, 0), 7: (-1, -1)}
    x, y = white.get(orientation, (0, -1))
    assert loaded.getpixel((x % loaded.width, y % loaded.height))[0] > 200


def test_a_loaded_image_needs_its_file_no_more(tmp_path):
    file = tmp_path / "boat.png"
    picture().save(file)
    loaded = load_image(str(file))
    file.unlink()
    assert loaded.mode == "RGB"
    assert loaded.tobytes() == picture().tobytes()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_files_keep_their_scale(tmp_path, suffix):
    file = tmp_path / f"xray.{suffix}"
    # 200 of 65535 is nearly black; taken for 8 bits it would be nearly white.
    Image.fromarray(np.full((8, 8), 200, dtype=np.uint16)).save(file)
    assert (levels(GREY, load_image(file)) == 1).all()


def test_a_jpeg_of_a_phone_with_a_preview_behind_it_is_one_image(tmp_path):
    file = tmp_path / "phone.jpg"
    picture().save(file, format="MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    assert load_image(file).size == (8, 8)


def test_a_gif_of_one_frame_is_an_image(tmp_path):
    picture().save(tmp_path / "still.gif")
    assert load_image(tmp_path / "still.gif").size == (8, 8)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_animated_files_are_named(tmp_path, suffix):
    file = tmp_path / f"dance.{suffix}"
    picture(0).save(file, save_all=True, append_images=[picture(1), picture(2)])
    with pytest.raises(
        DataError, match=rf"dance\.{suffix}: expected one still image, got 3 frames"
    ):
        load_image(file)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp", "ppm"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_files_are_named(tmp_path, suffix, share):
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(noisy).save(whole)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=rf"cut\.{suffix}: "):
        load_image(cut)


def test_what_is_no_image_file_is_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name in ("notes.jpg", "empty.png"):
        with pytest.raises(DataError, match=f"{name}: not an image"):
            load_image(tmp_path / name)
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        load_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match="expected an image file, got a folder"):
        load_image(tmp_path)
    with pytest.raises(InputError, match="path: expected a file name, got 3"):
        load_image(3)


def test_other_formats_start_no_program(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    def started(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    for kind in ("EPS", "TGA", "PCX", "ICNS", "PDF"):
        file = tmp_path / f"{kind}.jpg"
        picture().save(file, format=kind)
        with pytest.raises(DataError, match=rf"{kind}\.jpg: not an image, or of none of JPEG"):
            load_image(file)


@pytest.mark.parametrize("mode", ["F", "LAB", "I"])
def test_a_file_whose_values_have_no_known_range_is_named(tmp_path, mode):
    file = tmp_path / "odd.tif"
    Image.new(mode, (8, 8), 200).save(file)
    with pytest.raises(DataError, match=rf"odd\.tif: image: expected .* got PIL mode '{mode}'"):
        load_image(file)


def test_an_oblong_file_is_named_before_it_is_read(tmp_path):
    Image.new("L", (30_000, 10)).save(tmp_path / "line.png")
    with pytest.raises(DataError, match=r"line\.png: expected one side at most 800 .* 10 x 30000"):
        load_image(tmp_path / "line.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_pipes_and_devices_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for file in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(DataError, match="expected an image file, got a pipe, a socket or a de"):
            load_image(file)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000, "~nosuch/x.png", ""])
def test_names_that_no_file_can_have(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        load_image(name)


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
    Image.new("RGB", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match=r"bomb\.png: too many pixels"):
        load_image(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's own
def test_an_unreadable_exif_block_does_not_cost_the_image(tmp_path):
    file = tmp_path / "odd.jpg"
    picture().save(file, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + bytes(9))
    assert load_image(file).size == (8, 8)
    picture().save(file, exif=b"Exif\x00\x00garbage garbage")
    assert load_image(file).size == (8, 8)
