"""Fetching files from the Hugging Face Hub, verified.

huggingface_hub does the transfer and keeps the cache, so that files are shared with every other
library. It does not check what it downloaded against the hash it was promised; that is done here,
and so is everything that makes a failure quick and readable.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from convzoo.errors import CorruptWeightsError, InputError, WeightsError
from convzoo.hub._cache import (
    COMMIT,
    SHA256,
    HubFile,
    Verify,
    actual_hash,
    announced_hash,
    cached_commit,
    cached_path,
    repository_folder,
)

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

HEAD_TIMEOUT: Final = 5.0  # seconds; the client's own patience with a silent Hub is 23
_PAUSES: Final = (0.5, 1.0)  # seconds before another try; transfers get only the first
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_AWAY: Final = frozenset({"ConnectError", "ConnectTimeout", "ProxyError", "ReadTimeout"})
_ORPHAN_AGE: Final = 600.0  # seconds after which an unfinished download has no owner any more

# As the Hub has them; ".." and "--" are refused besides.
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][\w./+-]{0,200}")

T = TypeVar("T")

log = logging.getLogger("convzoo")


class Fetched(NamedTuple):
    """A verified file in the cache.

    Attributes:
        path: Where it is.
        commit: The repository's commit, where it is known.
        hash: Its sha256, or git's blob hash for a small text file.
    """

    path: Path
    commit: str | None
    hash: str


class UnreachableError(WeightsError):
    """The Hub does not answer, or must not be asked."""


class MissingFileError(WeightsError):
    """The repository has no such file."""


def fetch_file(
    file: HubFile,
    *,
    sha256: str | None = None,
    verify: Verify = "changed",
    token: str | None = None,
    wanted_by: str | None = None,
) -> Fetched:
    """A file from the cache or else from the Hub, verified either way.

    Args:
        file: The file.
        sha256: Its hash where the caller knows it; else the one the Hub announces counts.
        verify: When to hash a cached file again.
        token: An access token; None takes the one the user logged in with.
        wanted_by: What the user called the weights, for messages.

    Returns:
        The file.

    Raises:
        CorruptWeightsError: What arrives, twice, is not what was announced or pinned.
        WeightsError: It cannot be had.
    """
    check_names(file)
    name = wanted_by or str(file)
    if sha256 is not None or COMMIT.fullmatch(file.revision):
        found = _from_cache(file, sha256, verify)  # nothing to ask: the content is fixed
        if found is not None:
            return found
    try:
        announced = _ask(file, token)
        fixed = file._replace(revision=str(announced.commit_hash))
        promised = _promised_hash(fixed, announced, token)
        found = _from_cache(fixed, sha256 or promised, verify)
        if found is None:  # the client lets one process at a time fetch a file
            found = _download(fixed, promised, sha256, token, name)
    except UnreachableError as error:
        found = _from_cache(file, sha256, verify)
        if found is None:
            raise UnreachableError(
                f"{name}: {file} is not in the cache ({repository_folder(file.repo)}), and "
                f"{error}. Where there is a connection, `convzoo fetch {name}` fetches it; the "
                "cache can be copied to this machine, HF_HOME says where it is"
            ) from error
        log.info("%s: %s; using the cached file", name, error)
    else:
        _remember_commit(file, fixed.revision)
    return found


def is_repository(name: str) -> bool:
    """Whether a repository on the Hub can have this name, `owner/name`."""
    return bool(_REPOSITORY.fullmatch(name)) and ".." not in name and "--" not in name


def check_names(file: HubFile) -> None:
    """Refuse a repository, revision or path that could mean a place outside the cache.

    Args:
        file: What a user or a config file named.

    Raises:
        InputError: It is malformed.
    """
    parts = file.path.split("/")
    if not is_repository(file.repo):
        raise InputError(f"repository: expected owner/name, got {file.repo!r:.100}")
    if not _REVISION.fullmatch(file.revision) or ".." in file.revision:
        raise InputError(f"revision: expected a branch, tag or commit, got {file.revision!r:.100}")
    if any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts):
        raise InputError(f"file: expected a path inside the repository, got {file.path!r:.100}")


def _from_cache(file: HubFile, expected: str | None, verify: Verify) -> Fetched | None:
    """The cached file if it is whole; None if there is none, or a bad one to be fetched again."""
    path = cached_path(file, expected if expected and SHA256.fullmatch(expected) else None)
    if path is None:
        return None
    promise = expected or announced_hash(path)
    if promise is None:
        return None  # a cache without links: the Hub has to be asked what the file should be
    found = actual_hash(path, promise, verify)
    if found != promise:
        log.warning("%s: the cached file has hash %s, expected %s", file, found, promise)
        return None
    return Fetched(path, cached_commit(file), found)


def _ask(file: HubFile, token: str | None) -> HfFileMetadata:
    """What the Hub announces of the file: commit, hash and size."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        raise UnreachableError("the Hub must not be asked (HF_HUB_OFFLINE is set)")
    url = hf_hub_url(file.repo, file.path, revision=file.revision, endpoint=constants.ENDPOINT)
    timeout = min(HEAD_TIMEOUT, constants.HF_HUB_ETAG_TIMEOUT)
    metadata = _tried(file, lambda _: get_hf_file_metadata(url, timeout=timeout, token=token))
    if not metadata.commit_hash or not COMMIT.fullmatch(metadata.commit_hash):
        raise WeightsError(f"{file}: {constants.ENDPOINT} does not answer like a Hub")
    if COMMIT.fullmatch(file.revision) and metadata.commit_hash != file.revision:
        raise WeightsError(f"{file}: {constants.ENDPOINT} sends to another commit or repository")
    return metadata


def _promised_hash(file: HubFile, announced: HfFileMetadata, token: str | None) -> str:
    """The hash that the Hub promises: in the ETag, or else in its record of the file."""
    etag = announced.etag or ""
    if SHA256.fullmatch(etag) or COMMIT.fullmatch(etag):
        return etag
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=constants.ENDPOINT, token=token)
    (info,) = _tried(
        file, lambda _: api.get_paths_info(file.repo, [file.path], revision=file.revision)
    )
    large = getattr(info, "lfs", None)
    promise = large.sha256 if large is not None else getattr(info, "blob_id", None)
    if not isinstance(promise, str):
        raise WeightsError(f"{file}: the Hub announces no hash, so it cannot be verified")
    return promise


def _download(
    file: HubFile, promised: str, sha256: str | None, token: str | None, name: str
) -> Fetched:
    """Fetch and hash; on a mismatch fetch once more, by force."""
    expected = sha256 or promised
    _sweep(file, promised)
    for force in (True,) if cached_path(file) is not None else (False, True):
        path = _transfer(file, token, force=force)
        found = ""
        with contextlib.suppress(FileNotFoundError):  # another process found it bad
            found = actual_hash(path, expected, "always")
        if found == expected:
            return Fetched(path, file.revision, found)
        log.warning("%s: fetched a file with hash %s, expected %s", name, found, expected)
        if found == promised:
            raise CorruptWeightsError(
                f"{name}: {file} is not the file that was published: its sha256 is {found}, "
                f"expected {expected}. The repository has changed it"
            )
    for bad in {path, path.resolve()}:  # so that no other library takes it for good
        with contextlib.suppress(OSError):
            bad.unlink()
    raise CorruptWeightsError(
        f"{name}: {file} arrived damaged twice: its hash is {found}, expected {expected}"
    )


def _transfer(file: HubFile, token: str | None, *, force: bool) -> Path:
    from huggingface_hub import constants, hf_hub_download

    fetch = functools.partial(
        hf_hub_download,
        file.repo,
        file.path,
        revision=file.revision,
        endpoint=constants.ENDPOINT,
        cache_dir=constants.HF_HUB_CACHE,
        etag_timeout=min(HEAD_TIMEOUT, constants.HF_HUB_ETAG_TIMEOUT),
        token=token,
    )
    # What is there may be what was wrong: the next try begins afresh.
    return Path(_tried(file, lambda again: fetch(force_download=force or again), _PAUSES[:1]))


def _tried(file: HubFile, ask: Callable[[bool], T], pauses: tuple[float, ...] = _PAUSES) -> T:
    """What the Hub answers, asked again where that may help; `ask` is told whether it is again."""
    for pause in (*pauses, None):
        try:
            return ask(pause != pauses[0])
        except Exception as error:  # whatever the HTTP library of the day raises
            wrong = translated(file, error)
            if pause is None or not _is_passing(error):
                raise wrong from error
            log.info("%s: %s; trying again", file, wrong)
            time.sleep(pause)
    raise AssertionError  # the last turn returns or raises


def _is_passing(error: Exception) -> bool:
    """Whether it may go well the next time, and the client has not tried again itself."""
    status = _status(error)
    if status is not None:
        return status in _BUSY
    if isinstance(error, OSError):
        return error.errno is None  # a body of the wrong length, not a full disk
    return type(error).__name__ in ("ReadError", "RemoteProtocolError")  # reset, or cut short


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def translated(file: HubFile, error: Exception) -> WeightsError:
    """One readable line for what the client raised.

    Args:
        file: What was being fetched or pushed.
        error: What came.

    Returns:
        The error to raise from it; all but an `UnreachableError` name the file.
    """
    from huggingface_hub import constants, errors

    hub, status = constants.ENDPOINT, _status(error)
    login = "log in with `hf auth login`, or set HF_TOKEN"
    kind = f"{type(error).__name__}: {error}".strip(": ")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return MissingFileError(f"{file}: the repository has no file {file.path!r}")
    if status in _BUSY:
        return UnreachableError(f"{hub} answered with status {status}")
    if isinstance(error, errors.GatedRepoError):
        wrong = f"access is granted on {hub}/{file.repo}, after its terms; then {login}"
    elif isinstance(error, errors.RevisionNotFoundError):
        wrong = f"the repository has no revision {file.revision!r}"
    elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403):
        wrong = f"there is no repository {hub}/{file.repo}, or it is private: {login}"
    elif status is not None:
        wrong = f"{hub} answered with status {status}"
    elif isinstance(error, errors.FileMetadataError):
        wrong = f"{hub} does not answer like a Hub: {error}"
    elif isinstance(error, OSError) and error.errno is not None:
        wrong = f"cannot be kept in {constants.HF_HUB_CACHE}: {error.strerror}"
    elif isinstance(error, errors.LocalEntryNotFoundError) or type(error).__name__ in _AWAY:
        return UnreachableError(f"{hub} cannot be reached ({kind.splitlines()[0]})")
    else:
        wrong = f"the transfer failed: {kind}"
    return WeightsError(f"{file}: {wrong}")


def _sweep(file: HubFile, promised: str) -> None:
    """Remove what killed downloads of this file left behind; nobody resumes them."""
    for orphan in (repository_folder(file.repo) / "blobs").glob(f"{promised}*.incomplete"):
        with contextlib.suppress(OSError):
            if time.time() - orphan.stat().st_mtime > _ORPHAN_AGE:
                orphan.unlink()


def _remember_commit(file: HubFile, commit: str) -> None:
    """Note which commit a branch meant, as the client does when it is asked by the branch."""
    if cached_commit(file) != commit:
        note = repository_folder(file.repo) / "refs" / file.revision
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(commit, "utf-8")
