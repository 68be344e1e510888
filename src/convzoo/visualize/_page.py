"""Pages that are one HTML file, and load nothing."""

from __future__ import annotations

import html
from importlib import resources
from string import Template


def written(template: str, title: str, data: str) -> str:
    """A page of this package with the style that all of them share.

    Args:
        template: The name of its file here.
        title: Its title.
        data: What its script reads, as JSON.
    """
    here = resources.files(__package__)
    return Template(here.joinpath(template).read_text("utf-8")).substitute(
        style=here.joinpath("page.css").read_text("utf-8"),
        title=html.escape(title),
        # A label may hold "</script>": in JSON the slash may be escaped, and means the same.
        data=data.replace("</", "<\\/").replace("<!--", "<\\u0021--"),
    )
