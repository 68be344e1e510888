"""Our networks in other people's libraries; each module asks for its library when it is used."""

from convzoo.integrations import timm as timm

__all__ = ["timm"]
