"""The class that every network of the zoo derives from: the contract, and how it is kept."""

from __future__ import annotations

import os
from typing import Self, TypedDict, Unpack

import torch

from convzoo._checks import check_flags
from convzoo._idioms import Idioms
from convzoo.errors import InputError


class PushOptions(TypedDict, total=False):
    """What `push_to_hub` takes besides the repository."""

    commit_message: str | None
    branch: str | None
    create_pr: bool
    private: bool | None
    token: str | None


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
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
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
            token: As in `load`; False sends none.
            cache_dir: Where repositories of the Hub are kept; None is its client's usual place.
            local_files_only: Whether to leave the Hub alone and take what is in the cache.
            force_download: Whether to fetch again what is in the cache.

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
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            force_download=force_download,
        )

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **options: Unpack[PushOptions],
    ) -> str | None:
        """Keep the network in a folder; [save][convzoo.save] says how, and takes more.

        Args:
            folder: Where to keep it.
            push_to_hub: Whether to put it on the Hugging Face Hub, too, as `push_to_hub` does,
                which takes what follows.
            repo_id: See `push_to_hub`.
            **options: See `push_to_hub`.

        Returns:
            The commit where it was pushed, else None.

        Raises:
            InputError: It is to be pushed, and nothing says where to.
        """
        from convzoo.hub import save

        check_flags(push_to_hub=push_to_hub, create_pr=options.get("create_pr", False))
        if push_to_hub and repo_id is None:
            raise InputError("repo_id: expected owner/name, to push to, got None")
        save(self, folder)
        if not push_to_hub or repo_id is None:
            return None
        return self.push_to_hub(repo_id, **options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        branch: str | None = None,
        create_pr: bool = False,
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Put the network on the Hugging Face Hub; [push][convzoo.push] takes more.

        Args:
            repo_id: `owner/name`.
            commit_message: The commit's message.
            branch: The branch, made if need be; None means `main`.
            create_pr: Whether to open a pull request with the commit instead.
            private: Whether a new repository is private.
            token: An access token with the right to write.

        Returns:
            The commit.
        """
        from convzoo.hub import push

        check_flags(create_pr=create_pr)
        return push(
            self,
            repo_id,
            message=commit_message,
            revision=branch,
            create_pr=create_pr,
            private=private,
            token=token,
        )
