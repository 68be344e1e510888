"""The layers of LeNet-5 that PyTorch lacks.

LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998,
section II.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

C3_TABLE: Final = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip
"""Which maps of S2 each map of C3 sees (the paper's table I)."""

_DIGITS: Final = """
..###.. ...#... ..###.. .#####. .....#. ####### ..####. ####### .#####. .#####.
.#...#. ..##... .#...#. #.....# ....##. #...... .#..... ......# #.....# #.....#
#.....# .#.#... #.....# ......# ...#.#. #...... #...... ......# #.....# #.....#
#.....# ...#... ......# ......# ..#..#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# .....#. .#...#. #.####. #...... .....#. #.....# #.....#
#.....# ...#... .....#. ..###.. #....#. ##....# #.####. ....#.. .#####. #....##
#.....# ...#... ....#.. .....#. #....#. ......# ##....# ....#.. #.....# .####.#
#.....# ...#... ...#... ......# ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#
#.....# ...#... .#..... ......# .....#. ......# #.....# ..#.... #.....# .....#.
.#...#. ...#... #...... #.....# .....#. #.....# #.....# ..#.... #.....# ....#..
..###.. .#####. ####### .#####. .....#. .#####. .#####. ..#.... .#####. .###...
"""
CODE_LENGTH: Final = 7 * 12  # pixels of a bitmap, units of F6


def digit_codes(num_classes: int = 10) -> Tensor:
    """The target patterns of the 84 units of F6: a bitmap of each digit, 7 wide and 12 tall.

    Args:
        num_classes: How many. Beyond ten, the codes are drawn at random, the same each time.

    Returns:
        (num_classes, 84) of -1 (white) and +1 (black), all rows different.
    """
    rows = [line.split() for line in _DIGITS.split("\n") if line]
    pixels = ["".join(row[digit] for row in rows) for digit in range(10)]
    digits = [[1.0 if pixel == "#" else -1.0 for pixel in bitmap] for bitmap in pixels]
    codes = torch.tensor(digits[:num_classes], device="cpu")
    if num_classes > 10:
        generator = torch.Generator().manual_seed(1998)
        size = (num_classes - 10, CODE_LENGTH)
        drawn = torch.randint(0, 2, size, generator=generator, device="cpu")
        codes = torch.cat([codes, 2.0 * drawn - 1.0])
    return codes


class ScaledTanh(nn.Module):
    """The paper's squashing function, 1.7159 tanh(2 x / 3): close to 1 at 1, and to -1 at -1."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return 1.7159 * torch.tanh(x * (2 / 3))


class Subsampling(nn.Module):
    """The sum of each 2 x 2 square, times a trainable coefficient, plus a trainable bias.

    Args:
        channels: Maps; each has one coefficient and one bias.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient: nn.Parameter = nn.Parameter(torch.empty(channels))
        self.bias: nn.Parameter = nn.Parameter(torch.empty(channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """U(-0.6, 0.6): 2.4 over the four inputs of a unit."""
        nn.init.uniform_(self.coefficient, -2.4 / 4, 2.4 / 4)
        nn.init.uniform_(self.bias, -2.4 / 4, 2.4 / 4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        scale = 4 * self.coefficient  # the pooling divides by four
        return F.avg_pool2d(x, 2) * scale[:, None, None] + self.bias[:, None, None]


class SparseConv2d(nn.Module):
    """A convolution each of whose maps sees some of the input's maps only.

    It holds the kernels of the links that exist, and nothing for those that do not.

    Args:
        table: For each map that goes out, the maps that it sees.
        kernel_size: Side of the kernels.

    Examples:
        >>> import torch
        >>> from convzoo.models import SparseConv2d
        >>> layer = SparseConv2d([(0,), (0, 2)], kernel_size=5)
        >>> layer.weight.shape, layer(torch.zeros(1, 3, 14, 14)).shape
        (torch.Size([3, 5, 5]), torch.Size([1, 2, 10, 10]))
    """

    def __init__(self, table: Sequence[Sequence[int]], kernel_size: int) -> None:
        super().__init__()
        self.table: tuple[tuple[int, ...], ...] = tuple(tuple(sources) for sources in table)
        self.weight: nn.Parameter = nn.Parameter(
            torch.empty(sum(map(len, table)), kernel_size, kernel_size)
        )
        self.bias: nn.Parameter = nn.Parameter(torch.empty(len(table)))
        channels = 1 + max(max(sources) for sources in self.table)
        # Which kernel links which maps, (out, in); where there is no link, one past the last.
        self.links: Tensor = nn.Buffer(torch.empty(len(table), channels, dtype=torch.int64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """U(-2.4 / F, 2.4 / F), where F, the inputs of a unit, differs from map to map."""
        rows, used = [], 0
        for sources in self.table:
            row = [len(self.weight)] * self.links.shape[1]
            for source in sorted(sources):
                row[source] = used
                used += 1
            rows.append(row)
            init_uniform_(self.weight[used - len(sources) : used], self.bias[len(rows) - 1])
        self.links.copy_(torch.tensor(rows, device="cpu"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, maps in, H, W) -> (B, maps out, H - kernel + 1, W - kernel + 1)."""
        kernels = F.pad(self.weight, (0, 0, 0, 0, 0, 1))  # the one past the last is zero
        return F.conv2d(x, kernels[self.links], self.bias)

    def multiply_adds(self, output: Tensor) -> int:
        """Multiplications of the links that exist, for the map (B, maps out, h, w) that came out.

        `summary` asks for it: the dense convolution that computes it multiplies by zeros too.
        """
        return self.weight.numel() * output.shape[2] * output.shape[3]

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        maps_out, maps_in = self.links.shape
        links, side = self.weight.shape[:2]
        return f"{maps_in}, {maps_out}, kernel_size={side}, links={links} of {maps_in * maps_out}"


class RBFOutput(nn.Module):
    """Euclidean radial basis functions: how near a vector is to the code of each class.

    Args:
        num_classes: Classes to score.
        trainable: Make the codes a parameter; the paper keeps them fixed, "at least initially".
        dropout: Probability of dropping an input in training, in [0, 1).
    """

    def __init__(self, num_classes: int, *, trainable: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.in_features: int = CODE_LENGTH
        self.out_features: int = num_classes
        self.p: float = dropout
        codes = torch.empty(num_classes, CODE_LENGTH)
        self.weight: Tensor = nn.Parameter(codes) if trainable else nn.Buffer(codes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the codes to the bitmaps of the digits."""
        with torch.no_grad():
            self.weight.copy_(digit_codes(self.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 84) -> negative squared distances, (B, num_classes)."""
        x = F.dropout(x, self.p, self.training)
        return -(x[:, None, :] - self.weight).square().sum(2)

    def extra_repr(self) -> str:
        """What `print(net)` shows of the layer."""
        trainable = isinstance(self.weight, nn.Parameter)
        return f"{self.in_features}, {self.out_features}, trainable={trainable}, p={self.p}"


def init_uniform_(weight: Tensor, bias: Tensor, fan_in: int | None = None) -> None:
    """U(-2.4 / F, 2.4 / F) in place; F is by default the size of `weight`, that of one unit."""
    bound = 2.4 / (fan_in or weight.numel())
    with torch.no_grad():
        weight.uniform_(-bound, bound)
        bias.uniform_(-bound, bound)
