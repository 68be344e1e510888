"""What the options of `convzoo finetune` stand for: data, network, augmentation."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch

from convzoo import by_name, datasets, weights
from convzoo._checks import check_count
from convzoo._classifier import Classifier
from convzoo.cli._console import checking, warn
from convzoo.cli._options import Options
from convzoo.datasets import Splits
from convzoo.datasets._idx import is_idx_folder
from convzoo.datasets._named import NAMED
from convzoo.errors import InputError
from convzoo.presets import Preset
from convzoo.registry import MODELS, model_info
from convzoo.training import ImageTransform, Recipe

_COLOUR = ("cifar10", "cifar100")
_SMALL = ("digits", "mnist", "fashion_mnist", *_COLOUR)
"""Data sets of images that a large network would have to blow up."""


def read_data(
    options: Options, found: str | Path, say: Callable[[str], None], *, shown: bool
) -> Splits:
    """The images, and what is told about them.

    Args:
        options: What the user asked for.
        found: The name of a data set, or the folder.
        say: What tells.
        shown: Whether progress is shown.
    """
    if options.data is None:
        data = datasets.digits()
        say("data: the bundled handwritten digits (UCI, Alpaydin and Kaynak, CC BY 4.0)")
    elif isinstance(found, str) or is_idx_folder(found):
        say(f"data: {options.data}")
        data = datasets.load(
            f"{NAMED}{found}" if found in datasets.NAMES else found,
            val=options.val_share,
            test=options.test_share,
            seed=options.seed,
            progress=shown,
        )
    else:
        with checking(shown=shown) as on_check:
            data = datasets.image_folder(
                found,
                val=options.val_share,
                test=options.test_share,
                seed=options.seed,
                on_error=options.on_error,
                on_check=on_check,
            )
        say(f"data: {options.data}")
    for reason in data.skipped:
        warn(f"left out: {reason}")
    if not len(data.val):
        raise InputError(
            f"--val-share: {options.val_share} of {len(data.train)} images leaves none to "
            "validate with"
        )
    parts = [(len(data.train), "training"), (len(data.val), "validation")]
    parts += [(len(data.test), "test")] if data.test else []
    counts = ", ".join(f"{count:,} {name}" for count, name in parts)
    say(f"images: {counts}; {len(data.classes)} classes")
    return data._replace(test=data.test or None)


def network(options: Options, found: str | Path) -> tuple[Classifier, str]:
    """The network with the head it comes with, and where its weights are from."""
    name = options.model or ("cifar_resnet20" if found in _SMALL else "resnet18")
    check_count("--seed", options.seed, least=-(2**63), most=2**63 - 1)
    torch.manual_seed(options.seed)
    tag = options.weights
    if name not in MODELS and (Path(name).exists() or name.startswith("hf-hub:")):
        if tag is not None:
            raise InputError(f"--weights: {name} brings its own, got {tag!r}")
        return by_name.load(name), f"weights of {name}"
    if tag is None and found in _COLOUR and options.model is None:
        tag = "none"  # cifar_resnet20's have learned grey pictures
    elif tag is None:
        tag = _default_tag(name)
    if tag == "none":
        return by_name.create_model(name), "fresh weights"
    return by_name.create_model(name, weights=tag), f"weights {tag}"


def augmentation(
    options: Options, preset: Preset | None, recipe: Recipe | None = None
) -> ImageTransform | None:
    """What is done to training images; None is what the preset does."""
    if recipe is not None and recipe.augment and preset and "augment" not in options.typed:
        return recipe.train_transform(preset)
    name = options.augment or ("digit" if options.data is None else "preset")
    if preset is None or name == "preset":
        return None
    if name == "none":
        return preset.train(crop="eval", hflip=0.0)
    hflip = None if options.flips is None else 0.0
    if name == "randaugment" or name == "trivialaugment":  # narrows the type
        return preset.train(auto_augment=name, hflip=hflip)
    return preset.replace(augmentation=name).train(hflip=hflip)


def often(text: str) -> int | timedelta | None:
    """What `--checkpoint-every` says: steps, a time, or never."""
    if text == "never":
        return None
    found = re.fullmatch(r"(\d{1,9}) *(s|min|h)?", text)
    if found is None or not int(found[1]):
        raise InputError(
            f"--checkpoint-every: expected steps as in 500, a time as in 30s, 10min or 2h, or "
            f"'never', got {text!r:.80}"
        )
    number, unit = int(found[1]), found[2]
    seconds = {"s": 1, "min": 60, "h": 3600}
    return number if unit is None else timedelta(seconds=number * seconds[unit])


def _default_tag(model: str) -> str | None:
    """The bundled weights of a model, else the most accurate ones with a free licence."""
    model_info(model)
    known = [weights.weights_info(name) for name in weights.list_weights(f"{model}.*")]
    known = [info for info in known if info.commercial and info.num_classes]
    if not known:
        raise InputError(
            f"--weights: there are none for {model} in the catalogue; give a folder or "
            "hf-hub:owner/name, or 'none' to train from scratch"
        )
    return max(known, key=lambda info: (info.bundled, info.top1 or 0.0)).tag
