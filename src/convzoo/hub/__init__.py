"""Keeping networks and getting them back: load, save, fetch, verify, push.

Weights come from the catalogue, the Hugging Face Hub, a folder or a file; what is loaded is
verified first, and a network is built around the file rather than filled from it. Each part is
imported when it is first used: loading a file needs nothing that saves, fetches or unpickles.
"""

from typing import TYPE_CHECKING

from convzoo._lazy import lazy as _attributes

if TYPE_CHECKING:
    from convzoo.hub._fetch import CachedWeights as CachedWeights, fetch as fetch, verify as verify
    from convzoo.hub._fill import adapt_first_convolution as adapt_first_convolution
    from convzoo.hub._load import (
        build_with_weights as build_with_weights,
        from_pretrained as from_pretrained,
        load as load,
    )
    from convzoo.hub._replace import SAVED as SAVED, check_ours as check_ours, says as says
    from convzoo.hub._save import push as push, save as save
else:
    __getattr__ = _attributes(
        __name__,
        {
            "convzoo.hub._fetch": ["CachedWeights", "fetch", "verify"],
            "convzoo.hub._fill": ["adapt_first_convolution"],
            "convzoo.hub._load": ["build_with_weights", "from_pretrained", "load"],
            "convzoo.hub._replace": ["SAVED", "check_ours", "says"],
            "convzoo.hub._save": ["push", "save"],
        },
    )

__all__ = [
    "SAVED",
    "CachedWeights",
    "adapt_first_convolution",
    "build_with_weights",
    "check_ours",
    "fetch",
    "from_pretrained",
    "load",
    "push",
    "save",
    "says",
    "verify",
]
