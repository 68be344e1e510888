"""What `convzoo finetune --recipe` and the aids of training make of the other options."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final, cast

from convzoo.cli._options import Options
from convzoo.errors import InputError
from convzoo.training import FitOptions, Recipe

_OPTIONS: Final = {field.name for field in fields(Options)}
_OF_EVERY_PHASE: Final = ("ema", "mixing", "class_weights", "balanced", "resizing", "flips")
_OF_THE_NETWORK: Final = ("layer_decay", "unfreeze_every", "l2_sp")
_BELONG_TO: Final = {
    "optimizer_options": "optimizer",
    "milestones": "schedule",
    "gamma": "schedule",
}


def with_recipe(options: Options) -> tuple[Options, Recipe | None]:
    """The options with what the recipe says in place of those that nobody typed."""
    if options.recipe is None:
        return options, None
    if options.freeze == "backbone":
        raise InputError("--recipe: it trains the network, which --freeze backbone holds still")
    recipe = Recipe.load(options.recipe)
    own = {name: value for name, value in recipe.options.items() if name in _OPTIONS}
    given = {"head_epochs": 0, **own}
    untyped = {name: value for name, value in given.items() if name not in options.typed}
    return replace(options, **untyped), recipe  # type: ignore[arg-type] # checked by `fit`


def aids(options: Options, recipe: Recipe | None, *, head_only: bool) -> FitOptions:
    """The arguments of `fit` for a phase that the command has no word of its own for.

    Args:
        options: With the recipe's.
        recipe: The recipe.
        head_only: Whether the phase trains the head on a frozen backbone, as no recipe does.
    """
    names = _OF_EVERY_PHASE if head_only else (*_OF_EVERY_PHASE, *_OF_THE_NETWORK)
    found = {name: getattr(options, name) for name in names}
    if recipe is not None and not head_only:
        found |= {
            name: value
            for name, value in recipe.options.items()
            if name not in _OPTIONS and _BELONG_TO.get(name) not in options.typed
        }
    return cast("FitOptions", found)
