"""Alternating flips: each image and its mirror image in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Dataset

from convzoo._checks import check_count
from convzoo.datasets._prepared import Columns, ImageData, Reader
from convzoo.errors import InputError


class AlternatingFlips(Dataset[Any]):
    """A data set whose images are mirrored every other epoch, in place of at random.

    Jordan (2024): which images are mirrored is drawn at random for the first epoch; after that each
    one alternates, so that any two epochs in a row show both sides of every image, where random
    flips show a half of them the same side again. No other flips must be in the transform:
    `preset.train(hflip=0)`.

    Args:
        data: Any data set that [fit][convzoo.fit] takes, of PIL images or tensors (C, H, W).
        seed: Of the first epoch's draw.
        columns: Names of image and label in rows by name; None finds the usual ones.

    Raises:
        InputError: An argument is wrong.

    Examples:
        >>> import torch
        >>> from convzoo.training import AlternatingFlips
        >>> data = AlternatingFlips([(torch.tensor([[[0.0, 1.0]]]), 0)])
        >>> seen = []
        >>> for epoch in (1, 2, 3):
        ...     data.start_epoch(epoch)
        ...     seen.append(data[0][0].flatten().tolist())
        >>> seen[0] != seen[1], seen[0] == seen[2]
        (True, True)
    """

    def __init__(self, data: ImageData, *, seed: int = 0, columns: Columns | None = None) -> None:
        if isinstance(data, Mapping) or not (
            hasattr(data, "__len__") and hasattr(data, "__getitem__")
        ):
            raise InputError(
                f"data: expected a data set with __len__ and __getitem__, got {type(data).__name__}"
            )
        self.data: ImageData = data
        self._reader = Reader("data", None, None, columns=columns)
        generator = torch.Generator().manual_seed(check_count("seed", seed, least=-(2**63)))
        self._first = torch.randint(2, (len(data),), generator=generator, dtype=torch.uint8)
        # Shared, so that the workers of a DataLoader that keeps them see the epoch change.
        self._epoch = torch.ones((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def start_epoch(self, epoch: int) -> None:
        """Show the images as this epoch has them.

        Args:
            epoch: The epoch's number, from 1.
        """
        self._epoch.fill_(check_count("epoch", epoch))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        item = self.data[index]
        if (int(self._first[index]) + int(self._epoch)) % 2:
            return item
        from torchvision.transforms.v2 import functional

        what = f"item {index}"
        image, label = self._reader.pair(item, what)
        try:
            mirrored = functional.horizontal_flip(image)
        except TypeError:
            raise InputError(
                f"data: {what} is a {type(image).__name__}; expected PIL images or tensors"
            ) from None
        if not isinstance(item, Mapping):
            return mirrored, label
        name = (self._reader.columns or self._reader.usual_columns(item))[0]
        return {**item, name: mirrored}
