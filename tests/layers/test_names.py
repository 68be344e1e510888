"""The names of `convzoo.layers`."""

import importlib.util

import pytest

import convzoo.layers


@pytest.mark.parametrize("name", convzoo.layers.__all__)
def test_no_module_shares_a_public_name(name):
    assert not isinstance(getattr(convzoo.layers, name), type(convzoo))
    assert importlib.util.find_spec(f"convzoo.layers.{name}") is None
