"""Recipes: how the papers trained, as data."""

from __future__ import annotations

import inspect
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Unpack, cast, get_args

from torch import Tensor, nn
from torch.utils.data import DataLoader

from convzoo._checks import check_choice, check_path
from convzoo._modes import check_network
from convzoo.datasets._prepared import Columns, ImageData, Reader
from convzoo.errors import InputError, UnknownNameError
from convzoo.inference._views import TTA
from convzoo.presets import ImageTransform, PCALighting, Preset
from convzoo.training._fit import fit
from convzoo.training._fit_options import FitOptions
from convzoo.training._records import History

RecipeName = Literal["alexnet_2012", "cifar_resnet", "finetune", "inception", "resnet", "vgg"]
"""The recipes that come with the package."""

_INPUT: Final = 224  # the side that `short_side` belongs to
_AUGMENT: Final = {*inspect.signature(Preset.train).parameters, "lighting"} - {"self"}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: arguments of `fit`, augmentation, test.

    Those of the papers come with the package; [load][convzoo.training.Recipe.load] gets them by
    name, or one of your own from a TOML file.

    Attributes:
        options: Arguments of [fit][convzoo.fit] by name.
        augment: Arguments of `Preset.train` by name, and `lighting`, the strength of PCA lighting
            (0.1 in AlexNet's paper), which needs three channels. `short_side` belongs to an input
            of 224 pixels and is scaled to that of the network. Empty is what the preset does.
        tta: How to test: the `tta` of [evaluate][convzoo.evaluate]; None is one view.
        source: The paper.
        departs: Where the recipe differs from it, and what it leaves open.

    Raises:
        InputError: There is no such argument.

    Examples:
        >>> import convzoo
        >>> from convzoo import datasets
        >>> from convzoo.training import Recipe
        >>> recipe = Recipe.load("cifar_resnet")
        >>> recipe.options["epochs"], recipe.options["lr"], recipe.options["milestones"]
        (182, 0.1, (0.5, 0.75))
        >>> net, data = convzoo.lenet5(), datasets.digits()
        >>> history = recipe.fit(net, data.train.subset(range(128)), data.val, epochs=1, lr=0.01)
    """

    options: FitOptions
    augment: Mapping[str, Any] = field(default_factory=dict)
    tta: TTA | None = None
    source: str = ""
    departs: str = ""

    def __post_init__(self) -> None:
        if self.tta is not None:
            check_choice("tta", self.tta, get_args(TTA))
        for name, known in (("options", FitOptions.__annotations__), ("augment", _AUGMENT)):
            given = getattr(self, name)
            if not isinstance(given, Mapping):
                raise InputError(f"{name}: expected a mapping of arguments, got {given!r:.80}")
            for key in given:
                if key not in known:
                    raise UnknownNameError(f"argument in {name}", str(key), known)
            # TOML has lists; and nobody changes a frozen record by the mapping it was made from.
            object.__setattr__(self, name, {k: _frozen(v) for k, v in given.items()})

    @classmethod
    def load(cls, source: RecipeName | str | os.PathLike[str]) -> Recipe:
        """One of the package's recipes, or one from a file.

        Args:
            source: The recipe's name, or the path of a TOML file with the fields of a recipe:
                tables `options` and `augment`, strings `tta`, `source` and `departs`.

        Returns:
            The recipe.

        Raises:
            InputError: There is neither, or the file holds something else.
        """
        if isinstance(source, str) and source in get_args(RecipeName):
            text = Path(__file__).with_name("recipes.toml").read_text("utf-8")
            return cls(**tomllib.loads(text)[source])
        path = check_path("recipe", source)
        if not path.is_file():
            if path.suffix == ".toml":
                raise InputError(f"recipe: there is no file {path}")
            raise UnknownNameError("recipe", str(source), get_args(RecipeName))
        try:
            return cls(**tomllib.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"recipe: {path} holds no Recipe: {error}") from None

    def train_transform(self, preset: Preset) -> ImageTransform:
        """The augmentation, for a network's inputs.

        Args:
            preset: The network's.

        Returns:
            The transform for training images.

        Raises:
            InputError: The preset has no colours to change.
        """
        from torchvision.transforms import v2

        given = dict(self.augment)
        if "short_side" in given:
            share = min(preset.height_width) / _INPUT
            sides = given["short_side"]
            given["short_side"] = (
                tuple(round(side * share) for side in sides)
                if isinstance(sides, tuple)
                else round(sides * share)
            )
        lighting = given.pop("lighting", 0.0)
        transform = preset.train(**given)
        if not lighting:
            return transform
        if preset.channels != 3:
            raise InputError(
                f"lighting: expected 3 channels, whose colours it changes, and the preset has "
                f"{preset.channels}; take a recipe with other `augment`"
            )
        steps: list[nn.Module] = []
        for step in transform:
            if isinstance(step, v2.Normalize):  # it works on pixels in [0, 1]
                steps.append(PCALighting(lighting))
            steps.append(step)
        return ImageTransform(*steps)

    def fit(
        self,
        net: nn.Module,
        train: ImageData | DataLoader[Any],
        val: ImageData | DataLoader[Any] | None = None,
        **options: Unpack[FitOptions],
    ) -> History:
        """Train a network by the recipe.

        Args:
            net: As in [fit][convzoo.fit].
            train: Likewise; of raw images, for the recipe to augment. A DataLoader brings its own
                augmentation.
            val: Likewise; recipes whose rate falls on a plateau need it.
            **options: Arguments of [fit][convzoo.fit], which come before the recipe's.

        Returns:
            What happened, epoch by epoch.

        Raises:
            InputError: An argument is wrong.
        """
        check_network(net)
        given = cast("FitOptions", {**self.options, **options})
        preset = getattr(net, "preset", None)
        own = given.get("train_transform") is None and not isinstance(train, DataLoader)
        own = given.get("train_transform") is None
        if (
            self.augment
            and own
            and isinstance(preset, Preset)
            and not isinstance(train, DataLoader)
        ):
            _refuse_ready(train, given.get("columns"))
            given["train_transform"] = self.train_transform(preset)
        return fit(net, train, val, **given)


def _refuse_ready(train: ImageData, columns: Columns | None) -> None:
    """Refuse images that are the network's input already: cropping them again would harm them."""
    reader = Reader("train", None, None, columns=columns)
    if not hasattr(train, "__getitem__") or len(train) == 0:
        return  # which `fit` says
    image = reader.pair(train[0], "item 0")[0]
    if isinstance(image, Tensor) and image.is_floating_point():
        raise InputError(
            "train: expected raw images (PIL or uint8), which the recipe augments, got float "
            "tensors; pass train_transform, or take a recipe without `augment`"
        )


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
