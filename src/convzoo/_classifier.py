"""The class that every network of the zoo derives from: the contract, and how it is kept."""

from __future__ import annotations

import os
from typing import Self

import torch

from convzoo._idioms import Idioms


class Classifier(Idioms):
    """A convolutional network that scores the classes of an image.

    Subclasses set `head_path`, `in_channels`, `num_features`, `min_size` and `stages`, and
    implement `forward_features`, `forward_head` and `reset_parameters`. Submodules are registered
    in the order in which they run, so that "everything up to `layer3`" has a meaning.
    """

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        num_classes: int | None = None,
        in_channels: int | None = None,
        device: torch.device | str | None = None,
        token: str | None = None,
    ) -> Self:
        """A network with its weights, in evaluation mode, where people expect this name.

        [load][convzoo.load] does the same, in training mode. Keys are checked strictly, and a
        pickle is never read.

        Args:
            source: A folder, a name of the catalogue, or a repository `owner/name` on the Hub.
            revision: The repository's branch, tag or commit.
            num_classes: As in `load`.
            in_channels: As in `load`.
            device: As in `load`.
            token: As in `load`.

        Returns:
            The network, an instance of the class that was asked.

        Raises:
            InputError: The weights are those of another class's network.

        Examples:
            >>> import convzoo
            >>> convzoo.cifar_resnet20(num_classes=3).save_pretrained("three")
            >>> convzoo.Classifier.from_pretrained("three").training
            False
        """
        from convzoo.hub import from_pretrained

        return from_pretrained(
            source,
            cls,
            revision=revision,
            num_classes=num_classes,
            in_channels=in_channels,
            device=device,
            token=token,
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Keep the network in a folder; [save][convzoo.save] says how, and takes more.

        Args:
            folder: Where to keep it.
        """
        from convzoo.hub import save

        save(self, folder)

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: str | None = None
    ) -> str:
        """Put the network on the Hugging Face Hub; [push][convzoo.push] takes more.

        Args:
            repo_id: `owner/name`.
            private: Whether a new repository is private.
            token: An access token with the right to write.

        Returns:
            The commit.
        """
        from convzoo.hub import push

        return push(self, repo_id, private=private, token=token)
