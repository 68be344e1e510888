"""The classic convolutional networks for PyTorch: true to their papers, typed, quick to load."""

from __future__ import annotations
