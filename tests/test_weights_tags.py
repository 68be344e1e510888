"""What an editor offers for `weights=` is what the catalogue holds."""

from __future__ import annotations

import inspect
import typing

import pytest

import convzoo
from contract_nets import ARCHITECTURES
from convzoo.weights import _tags

TAGS: dict[str, list[str]] = {}
for full_name in convzoo.list_weights():
    model, _, tag = full_name.partition(".")
    TAGS.setdefault(model, []).append(tag)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_tags_for_editors_are_the_catalogues(name: str) -> None:
    annotation = inspect.signature(ARCHITECTURES[name].builder).parameters["weights"].annotation
    alias = annotation.removesuffix(" | None").removesuffix("str").removesuffix(" | ")
    offered = typing.get_args(getattr(_tags, alias)) if alias else ()
    assert sorted(offered) == sorted(TAGS.get(name, []))
