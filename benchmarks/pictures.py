"""JPEGs of 500 x 375, cut from the photographs that scikit-image and scikit-learn bring."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

WIDTH, HEIGHT = 500, 375


def photographs() -> list[Image.Image]:
    """Photographs in RGB, none of them fetched."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    names = ("astronaut", "cat", "coffee", "hubble_deep_field", "retina", "rocket")
    arrays = [getattr(skimage.data, name)() for name in names]
    arrays += [skimage.data.stereo_motorcycle()[0], *load_sample_images().images]
    return [Image.fromarray(array).convert("RGB") for array in arrays]


def write(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Cut `count` JPEGs of 500 x 375 at random, the same ones for the same seed."""
    draw = random.Random(seed)
    sources = photographs()
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        source = draw.choice(sources)
        width = draw.uniform(0.6, 1.0) * min(source.width, source.height * WIDTH / HEIGHT)
        height = width * HEIGHT / WIDTH
        left = draw.uniform(0, source.width - width)
        top = draw.uniform(0, source.height - height)
        box = (left, top, left + width, top + height)
        picture = source.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box)
        path = folder / f"{number:06}.jpg"
        picture.save(path, quality=92)
        paths.append(path)
    return paths


@contextmanager
def folder_of(count: int) -> Iterator[Path]:
    """A folder with that many of them, which goes again."""
    with TemporaryDirectory() as place:
        write(Path(place), count)
        yield Path(place)
