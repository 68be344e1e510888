"""Layers that the classic networks need and PyTorch lacks, or gets wrong in some case."""

from convzoo.layers.local_response_norm import LocalResponseNorm, local_response_norm

__all__ = ["LocalResponseNorm", "local_response_norm"]
