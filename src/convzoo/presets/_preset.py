"""The record that says how images are prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack, get_args

from torch import nn

from convzoo._checks import check_choice, check_count, check_flags, check_number
from convzoo.errors import InputError, UnknownNameError
from convzoo.presets._images import ConvertImage
from convzoo.presets._transforms import (
    AutoAugment,
    CropImage,
    ImageTransform,
    Interpolation,
    NormalizeImage,
    ResizeImage,
    ToTensor,
    TrainCrop,
    UnitScale,
    auto_augment_steps,
    choose_crop,
    random_resized_crop,
    rotate,
    short_side_crop,
)

Crop = Literal["center", "squash", "none"]
"""How evaluation gets from the resized image to `input_size`."""

Augmentation = Literal["photo", "small", "digit"]
"""Which defaults `Preset.train` starts from."""

_MAX_SIDE = 10_000  # pixels; as a square 300 MB in RGB


class PresetFields(TypedDict, total=False):
    """The fields of a [Preset][convzoo.presets.Preset], as `Preset.replace` takes them."""

    input_size: int | tuple[int, int]
    resize: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: Crop
    interpolation: Interpolation
    antialias: bool
    channels: int
    augmentation: Augmentation


@dataclasses.dataclass(frozen=True)
class Preset:
    """How an image becomes the tensor that a network was trained on.

    Two presets with the same fields are equal and hash alike.

    Args:
        input_size: What the network gets, in pixels: the side of a square, or (height, width),
            up to 10,000. A pair of equal sides is kept as one number.
        resize: The short side after resizing, in pixels, aspect ratio kept; None leaves the size
            as it is. For an oblong `input_size` the image is scaled until it just covers a box of
            the same proportions whose short side is `resize`.
        mean: Per channel, of pixels scaled to [0, 1].
        std: Per channel, likewise; above 0.
        crop: `"center"` cuts `input_size` from the middle, and pads with black (0) where the image
            is smaller; `"squash"` resizes height and width separately, then cuts the middle;
            `"none"` keeps the whole resized image, so that sizes differ from image to image.
        interpolation: How pixels are resampled. uint8 tensors come within one grey level of PIL
            images (on the CPU, with antialias; `"nearest"` and `"bicubic"` go through Pillow then).
        antialias: Whether tensors are smoothed when they shrink. PIL images always are.
        channels: Of the network's input: 1 (grey), 3 (RGB), or another number for tensors that
            already have it.
        augmentation: What `train()` does by default: `"photo"` a random resized crop and a
            horizontal flip, `"small"` a crop from the image padded by 4 pixels and a flip,
            `"digit"` the same crop and no flip.

    Raises:
        InputError: A field is not what it should be.

    Examples:
        >>> from convzoo.presets import Preset
        >>> grey = Preset(input_size=64, resize=72, mean=(0.5,), std=(0.25,), channels=1)
        >>> grey.replace(crop="squash").crop
        'squash'
        >>> Preset.from_dict(grey.to_dict()) == grey
        True
    """

    input_size: int | tuple[int, int]
    resize: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: Crop = "center"
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    channels: int = 3
    augmentation: Augmentation = "photo"

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)  # the dataclass is frozen

        put("input_size", _side_or_sides(self.input_size))
        if self.resize is not None:
            put("resize", check_count("resize", self.resize, most=_MAX_SIDE))
        check_choice("crop", self.crop, get_args(Crop))
        check_choice("interpolation", self.interpolation, get_args(Interpolation))
        check_choice("augmentation", self.augmentation, get_args(Augmentation))
        check_flags(antialias=self.antialias)
        put("channels", check_count("channels", self.channels))
        put("mean", _per_channel("mean", self.mean, self.channels))
        put("std", _per_channel("std", self.std, self.channels))
        if min(self.std) <= 0:
            raise InputError(f"std: expected numbers above 0, got {self.std}")

    @property
    def height_width(self) -> tuple[int, int]:
        """`input_size` as (height, width), in pixels."""
        size = self.input_size
        return (size, size) if isinstance(size, int) else size

    def to_dict(self) -> dict[str, object]:
        """The fields as plain JSON values (tuples become lists).

        Returns:
            A new dict that [from_dict][convzoo.presets.Preset.from_dict] takes back, also after a
            way through JSON.
        """
        fields: dict[str, object] = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Preset:
        """A preset from what [to_dict][convzoo.presets.Preset.to_dict] gave.

        Args:
            fields: Every field by name; lists stand for tuples.

        Returns:
            The preset.

        Raises:
            InputError: A field is missing, unknown or wrong; missing and unknown ones are named
                together.
        """
        if not isinstance(fields, Mapping):
            raise InputError(f"fields: expected a mapping of a preset's fields, got {fields!r:.80}")
        known = [field.name for field in dataclasses.fields(cls)]
        missing = ", ".join(repr(name) for name in known if name not in fields)
        wrong = [f"missing {missing}"] if missing else []
        wrong += [
            str(UnknownNameError("field", name, known)) for name in fields if name not in known
        ]
        if wrong:
            raise InputError(f"fields: expected {', '.join(known)}; {'; '.join(wrong)}")
        preset: Preset = cls(**fields)  # type: ignore[arg-type] # __post_init__ checks every value
        return preset

    def replace(self, **changes: Unpack[PresetFields]) -> Preset:
        """A copy with some fields changed.

        Args:
            **changes: Fields and their new values.

        Returns:
            The new preset.

        Raises:
            InputError: There is no such field (`UnknownNameError`), or a value is wrong.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise UnknownNameError("field of a preset", name, known)
        return dataclasses.replace(self, **changes)

    def for_channels(self, channels: int) -> Preset:
        """The preset for a network with another number of input channels.

        Args:
            channels: Of the network's input, at least 1.

        Returns:
            A copy with mean and standard deviation averaged over the channels where there are
            fewer than before, taken in turn where there are more.

        Raises:
            InputError: `channels` is no such number.

        Examples:
            >>> from convzoo import presets
            >>> presets.INCEPTION.for_channels(5).mean
            (0.5, 0.5, 0.5, 0.5, 0.5)
        """
        count = check_count("channels", channels)

        def fit(numbers: tuple[float, ...]) -> tuple[float, ...]:
            if count < self.channels:
                return (sum(numbers) / self.channels,) * count
            return tuple(numbers[index % self.channels] for index in range(count))

        return self.replace(channels=count, mean=fit(self.mean), std=fit(self.std))

    def small_images(self, side: int = 32) -> Preset:
        """The preset for a network built for small images, where the usual one takes large ones.

        Args:
            side: Of the small images, in pixels, at least 1.

        Returns:
            A copy at that side, with the augmentation of small images; a preset of small or oblong
            images stays as it is.

        Raises:
            InputError: `side` is no such number.

        Examples:
            >>> from convzoo import presets
            >>> small = presets.IMAGENET.small_images()
            >>> small.input_size, small.resize, small.augmentation
            (32, 32, 'small')
        """
        if not isinstance(self.input_size, int) or self.input_size < 96:
            return self
        return self.replace(input_size=side, resize=side, augmentation="small")

    def eval(self) -> ImageTransform:
        """The transform for evaluation and prediction; it draws nothing at random.

        Returns:
            A module that takes a PIL image, a tensor (C, H, W), or a batch (B, C, H, W), of dtype
            uint8, or floating point in [0, 1], and returns float32 of shape (channels, height,
            width) with the batch axis where one came. It pickles, so that a DataLoader's
            workers can use it.
        """
        steps = [self._convert(batches=True), *self._resize(), ToTensor()]
        return ImageTransform(*steps, NormalizeImage(self.mean, self.std))

    def train(
        self,
        *,
        crop: TrainCrop | None = None,
        scale: tuple[float, float] | None = None,
        ratio: tuple[float, float] | None = None,
        padding: int | None = None,
        short_side: int | tuple[int, int] | None = None,
        hflip: float | None = None,
        vflip: float = 0.0,
        rotation: float | tuple[float, float] = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        grayscale: float = 0.0,
        auto_augment: AutoAugment | None = None,
        num_ops: int | None = None,
        magnitude: int | None = None,
        noise: float = 0.0,
        erasing: float = 0.0,
    ) -> ImageTransform:
        """The transform for training, with torchvision's random augmentations.

        They are applied in this order: crop, flips, rotation, colour jitter, grey, automatic
        policy, noise, normalisation, erasing. What is not asked for is not in the transform.

        Args:
            crop: `"resized"` cuts a random part and resizes it to `input_size`; `"short_side"`
                resizes as that says and cuts `input_size` at random; `"pad"` resizes as `eval()`
                does, pads, and cuts `input_size` at random; `"eval"` resizes and crops as `eval()`
                does. None takes what the following four imply, else the preset's default.
            scale: For `"resized"`: the part's area as a share of the image, (least, most) in
                (0, 1]; None is (0.08, 1).
            ratio: For `"resized"`: the part's width over its height, (least, most); None is
                (3/4, 4/3).
            padding: For `"pad"`: pixels of black added on every side; None is 4.
            short_side: Pixels that the short side is resized to, at least `input_size`: one length,
                whose central square is then cut from (AlexNet), or the range to draw it from (VGG).
            hflip: Probability of a mirror image, in [0, 1]; None is 0.5, or 0 for digits.
            vflip: Probability of turning it upside down.
            rotation: In degrees: an angle drawn from [-rotation, rotation], or from the pair
                given. Corners are filled with black.
            brightness: Factor drawn from [1 - brightness, 1 + brightness]; at least 0.
            contrast: Likewise.
            saturation: Likewise; no effect on grey images.
            hue: Shift drawn from [-hue, hue] of the colour circle; in [0, 0.5].
            grayscale: Probability of losing the colour.
            auto_augment: `"randaugment"` (Cubuk et al., 2019) or `"trivialaugment"` (the wide
                version of Mueller and Hutter, 2021).
            num_ops: Operations an image, for RandAugment; None is 2.
            magnitude: Their strength in [0, 30], for RandAugment; None is 9.
            noise: Standard deviation of Gaussian noise on pixels in [0, 1]; the result is clipped
                to [0, 1].
            erasing: Probability that a random rectangle is set to the mean colour (Zhong et al.,
                2017).

        Returns:
            A module that takes one PIL image or one tensor (C, H, W), as `eval()` does, and returns
            float32 of shape (channels, height, width). It draws from torch's global generator.

        Raises:
            InputError: An argument is out of range, or belongs to another choice than the one made,
                or changes colours where the preset has neither 1 nor 3 channels.
        """
        from torchvision.transforms import v2

        if hflip is None:
            hflip = 0.0 if self.augmentation == "digit" else 0.5
        probabilities = {"hflip": hflip, "vflip": vflip, "grayscale": grayscale, "erasing": erasing}
        for name, value in probabilities.items():
            check_number(name, value, 0, 1)
        jitter = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for name, value in {**jitter, "noise": noise}.items():
            check_number(name, value, 0)
        check_number("hue", hue, 0, 0.5)
        colour = {**jitter, "hue": hue, "grayscale": grayscale, "auto_augment": auto_augment}
        asked = [name for name, given in colour.items() if given]
        if asked and self.channels not in (1, 3):  # before the first image
            raise InputError(
                f"{', '.join(asked)}: expected 1 (grey) or 3 (RGB) channels, and the preset has "
                f"{self.channels}; crops, flips, rotation, noise and erasing take any number"
            )

        crops = {"scale": scale, "ratio": ratio, "padding": padding, "short_side": short_side}
        steps = [self._convert(batches=False), *self._random_crop(crop, crops)]
        if hflip:
            steps.append(v2.RandomHorizontalFlip(hflip))
        if vflip:
            steps.append(v2.RandomVerticalFlip(vflip))
        steps += rotate(rotation)
        if any(jitter.values()) or hue:
            steps.append(v2.ColorJitter(brightness, contrast, saturation, hue))
        if grayscale:
            steps.append(v2.RandomGrayscale(grayscale))
        steps += auto_augment_steps(auto_augment, num_ops=num_ops, magnitude=magnitude)
        steps += [v2.PILToTensor(), UnitScale()]
        if noise:
            steps.append(v2.GaussianNoise(sigma=noise))
        steps.append(v2.Normalize(list(self.mean), list(self.std)))
        if erasing:
            steps.append(v2.RandomErasing(erasing))  # after normalisation, 0 is the mean colour
        return ImageTransform(*steps)

    def _convert(self, *, batches: bool) -> nn.Module:
        return ConvertImage(
            self.channels, self.interpolation, antialias=self.antialias, batches=batches
        )

    def _resize(self) -> list[nn.Module]:
        """Resize and centre crop, as evaluation does."""
        height, width = self.height_width
        steps: list[nn.Module] = []
        if self.resize is not None:
            scale = self.resize / min(height, width)
            box, squash = (round(height * scale), round(width * scale)), self.crop == "squash"
            steps.append(ResizeImage(box, self.interpolation, self.antialias, squash=squash))
        if self.crop != "none":
            steps.append(CropImage((height, width)))
        return steps

    def _random_crop(self, crop: TrainCrop | None, given: dict[str, Any]) -> list[nn.Module]:
        from torchvision.transforms import v2

        crop = choose_crop(crop, "resized" if self.augmentation == "photo" else "pad", **given)
        size, how, antialias = self.height_width, self.interpolation, self.antialias
        if crop == "resized":
            return random_resized_crop(size, given["scale"], given["ratio"], how, antialias)
        if crop == "short_side":
            return short_side_crop(size, given["short_side"], how, antialias)
        steps = self._resize()
        if crop == "pad":
            wanted = given["padding"]
            padding = 4 if wanted is None else check_count("padding", wanted, least=0)
            steps.append(v2.RandomCrop(size, padding=padding or None, pad_if_needed=True))
        return steps


def _side_or_sides(value: object) -> int | tuple[int, int]:
    """A side or (height, width), in pixels; equal sides become one number."""
    if not isinstance(value, (tuple, list)):
        return check_count("input_size", value, most=_MAX_SIDE)
    if len(value) != 2:
        raise InputError(f"input_size: expected a side or (height, width), got {value!r:.80}")
    height, width = (check_count("input_size", side, most=_MAX_SIDE) for side in value)
    return height if height == width else (height, width)


def _per_channel(name: str, value: object, channels: int) -> tuple[float, ...]:
    """One finite number a channel, as a tuple of floats."""
    if not isinstance(value, (tuple, list)) or len(value) != channels:
        raise InputError(
            f"{name}: expected a number for each of {channels} channels, got {value!r:.80}"
        )
    return tuple(check_number(name, number) for number in value)
