"""Putting a folder on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from convzoo.errors import WeightsError
from convzoo.hub._cache import COMMIT, HubFile
from convzoo.hub._download import check_names, translated


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
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision not in (None, "main"):
            api.create_branch(repo_id, branch=str(revision), exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id, folder_path=folder, revision=revision, commit_message=message
        )
    except Exception as error:  # whatever the HTTP library of the day raises
        raise translated(place, error) from error
    if not COMMIT.fullmatch(done.oid):
        raise WeightsError(f"{repo_id}: the Hub names no commit")
    return done.oid
