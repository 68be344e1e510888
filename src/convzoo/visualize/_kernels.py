"""Kernels that have a name: edges, blurs, shifts, and letters and digits."""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import Tensor

from convzoo.errors import InputError, UnknownNameError

KernelName = Literal[
    "identity",
    "sobel_x",
    "sobel_y",
    "laplacian",
    "box_blur",
    "gaussian_blur",
    "sharpen",
    "emboss",
    "shift_left",
    "shift_right",
    "shift_up",
    "shift_down",
]
"""The kernels with a name; a single letter or digit is one as well."""

# fmt: off
_ROWS: Final[dict[str, tuple[tuple[float, ...], ...]]] = {
    "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "sobel_x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),  # bright on the right: upright edges
    "sobel_y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),  # bright below: level edges
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    "box_blur": ((1 / 9,) * 3,) * 3,
    "gaussian_blur": (
        (1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)
    ),
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "emboss": ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
    # Each output takes the pixel on the other side: the picture moves.
    "shift_left": ((0, 0, 0), (0, 0, 1), (0, 0, 0)),
    "shift_right": ((0, 0, 0), (1, 0, 0), (0, 0, 0)),
    "shift_up": ((0, 0, 0), (0, 0, 0), (0, 1, 0)),
    "shift_down": ((0, 1, 0), (0, 0, 0), (0, 0, 0)),
}
# 5 columns of 7 dots each, two hexadecimal digits a column, the lowest bit on top.
_GLYPHS: Final[dict[str, str]] = {
    "0": "3e5149453e", "1": "00427f4000", "2": "4261514946", "3": "2141454b31",
    "4": "1814127f10", "5": "2745454539", "6": "3c4a494930", "7": "0171090503",
    "8": "3649494936", "9": "064949291e", "A": "7e1111117e", "B": "7f49494936",
    "C": "3e41414122", "D": "7f4141221c", "E": "7f49494941", "F": "7f09090901",
    "G": "3e4149497a", "H": "7f0808087f", "I": "00417f4100", "J": "2040413f01",
    "K": "7f08142241", "L": "7f40404040", "M": "7f020c027f", "N": "7f0408107f",
    "O": "3e4141413e", "P": "7f09090906", "Q": "3e4151215e", "R": "7f09192946",
    "S": "4649494931", "T": "01017f0101", "U": "3f4040403f", "V": "1f2040201f",
    "W": "3f4038403f", "X": "6314081463", "Y": "0708700807", "Z": "6151494543",
    " ": "0000000000",
}
# fmt: on


def kernel(name: KernelName | str) -> Tensor:
    """A kernel by its name, or one that looks for a letter or a digit.

    Args:
        name: A [KernelName][convzoo.visualize.KernelName], or one character of A to Z and 0 to 9.

    Returns:
        The kernel, float32, (3, 3). That of a character is (7, 5): its ink adds up to 1 and its
        background to -1, so that it gives 1 on white ink of the same shape on black, and 0 on
        anything even.

    Raises:
        UnknownNameError: There is no such kernel.

    Examples:
        >>> from convzoo import visualize
        >>> visualize.kernel("sobel_x").tolist()
        [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]
        >>> (visualize.kernel("L") > 0).int().tolist()[-2:]
        [[1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
    """
    if isinstance(name, str) and name.upper() in _GLYPHS and name.strip():
        ink = _glyph(name.upper())
        return ink / ink.sum() - (1 - ink) / (1 - ink).sum()
    if not isinstance(name, str) or name not in _ROWS:
        raise UnknownNameError("kernel", name, get_args(KernelName))
    return torch.tensor(_ROWS[name], dtype=torch.float32)


def text(words: str) -> Tensor:
    """Words as a picture, in the letters that [kernel][convzoo.visualize.kernel] looks for.

    Args:
        words: Letters, digits and spaces.

    Returns:
        White ink on black, (1, 11, 6 n + 3) for n characters, in [0, 1]: 7 pixels high, with 2
        around them and 1 between the characters.

    Raises:
        InputError: There is a character that has no picture, or none at all.

    Examples:
        >>> from convzoo import visualize
        >>> picture = visualize.text("BANANA")
        >>> found = visualize.convolve(picture, "A")
        >>> (found[0, 2] > 0.99).nonzero().flatten().tolist()  # where an A begins
        [8, 20, 32]
    """
    if not isinstance(words, str) or not words or any(c not in _GLYPHS for c in words.upper()):
        raise InputError(f"words: expected letters A to Z, digits and spaces, got {words!r:.80}")
    picture = torch.zeros(1, 11, 6 * len(words) + 3)
    for index, character in enumerate(words.upper()):
        picture[0, 2:9, 6 * index + 2 : 6 * index + 7] = _glyph(character)
    return picture


def _glyph(character: str) -> Tensor:
    """The ink of a character, (7, 5), 0 or 1."""
    columns = bytes.fromhex(_GLYPHS[character])
    return torch.tensor([[float(column >> row & 1) for column in columns] for row in range(7)])
