"""Putting a folder on the Hugging Face Hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from convzoo.errors import WeightsError
from convzoo.hub._cache import COMMIT, HubFile
from convzoo.hub._download import check_names, named, on_a_terminal

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, HfApi


def upload_folder(
    folder: Path,
    repo_id: str,
    *,
    private: bool | None,
    token: str | None,
    revision: str | None,
    message: str,
) -> str:
    """Make a model repository if need be, and put a folder's files there in one commit.

    Args:
        folder: What to upload.
        repo_id: `owner/name`.
        private: Whether a new repository is private; None takes the owner's default.
        token: An access token; None takes the one the user logged in with.
        revision: The branch; None means `main`.
        message: The commit's message.

    Returns:
        The commit.

    Raises:
        InputError: `repo_id` or `revision` is malformed.
        WeightsError: The Hub refuses, or cannot be reached.
    """
    place = HubFile(repo_id, "model.safetensors", revision or "main")
    check_names(place)
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise WeightsError(f"{repo_id}: the Hub must not be asked (HF_HUB_OFFLINE is set)")
    api = HfApi(endpoint=constants.ENDPOINT, token=token)
    try:
        with _bars_on_a_terminal_only():
            done = _upload(api, folder, repo_id, private, revision, message)
    except Exception as error:  # whatever the HTTP library of the day raises
        raise named(place, error, plain=True) from error
    if not COMMIT.fullmatch(done.oid):
        raise WeightsError(f"{repo_id}: the Hub names no commit")
    return done.oid


def _upload(
    api: HfApi, folder: Path, repo_id: str, private: bool | None, revision: str | None, message: str
) -> CommitInfo:
    api.create_repo(repo_id, private=private, exist_ok=True)
    if revision not in (None, "main"):
        api.create_branch(repo_id, branch=str(revision), exist_ok=True)
    return api.upload_folder(
        repo_id=repo_id, folder_path=folder, revision=revision, commit_message=message
    )


@contextlib.contextmanager
def _bars_on_a_terminal_only() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    quiet = not on_a_terminal() and not are_progress_bars_disabled()
    if quiet:
        disable_progress_bars()
    try:
        yield
    finally:
        if quiet:
            enable_progress_bars()
