"""The Hugging Face cache on disk: where a file is, and whether it was verified since it changed.

Nothing here needs the network or imports huggingface_hub, so that a network whose weights are
cached and pinned is ready without either.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Final, Literal, NamedTuple

Verify = Literal["changed", "always"]
"""When a cached file is hashed: if it changed since the last time, or whenever it is used."""

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")


class HubFile(NamedTuple):
    """A file on the Hub.

    Attributes:
        repo: The repository, `owner/name`.
        path: The file's path in it.
        revision: A branch, a tag or a commit.
    """

    repo: str
    path: str
    revision: str = "main"

    def __str__(self) -> str:
        """`owner/name/path`, and the revision where it is not the usual one."""
        at = "" if self.revision == "main" else f" at {self.revision}"
        return f"{self.repo}/{self.path}{at}"


def cache_folder() -> Path:
    """Where huggingface_hub keeps repositories; the same rules, without importing it."""
    return _place("HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "hub")


def notes_folder() -> Path:
    """Where convzoo notes what it has verified: the Hub client's place for other libraries."""
    return _place("ASSETS_CACHE", "HUGGINGFACE_ASSETS_CACHE", "assets") / "convzoo"


def _place(name: str, old_name: str, usual: str) -> Path:
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:  # it has read the environment already, and keeps to what it read
        return Path(getattr(constants, f"HF_{name}"))
    given = os.environ.get(f"HF_{name}") or os.environ.get(old_name)
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{caches}/huggingface"
    # As the client does it: a home that there is not stays as it is written.
    return Path(os.path.expanduser(os.path.expandvars(given or f"{home}/{usual}")))  # noqa: PTH111


def repository_folder(repo: str) -> Path:
    """The cache's folder of a repository."""
    return cache_folder() / ("models--" + repo.replace("/", "--"))


def cached_commit(file: HubFile) -> str | None:
    """The commit that a revision meant when it was last asked for, where that is known."""
    if COMMIT.fullmatch(file.revision):
        return file.revision
    with contextlib.suppress(OSError, UnicodeDecodeError):
        noted = (repository_folder(file.repo) / "refs" / file.revision).read_text("utf-8").strip()
        return noted if COMMIT.fullmatch(noted) else None
    return None


def cached_path(file: HubFile, sha256: str | None = None) -> Path | None:
    """Where the file is in the cache, or None.

    Args:
        file: The file.
        sha256: Its hash where that is known; a file with that name is it, at any revision.

    Returns:
        An existing path.
    """
    folder = repository_folder(file.repo)
    if sha256 is not None and (folder / "blobs" / sha256).is_file():
        return folder / "blobs" / sha256
    commit = cached_commit(file)
    if commit is None:
        return None
    path = folder / "snapshots" / commit / file.path
    return path if path.is_file() else None


def announced_hash(path: Path) -> str | None:
    """The hash under which the Hub announced a cached file: the name of what the path links to.

    It is a sha256 (large files) or git's blob hash (small ones); None where the cache has no links.
    """
    name = Path(os.path.realpath(path)).name
    return name if SHA256.fullmatch(name) or COMMIT.fullmatch(name) else None


def hash_like(path: Path, expected: str) -> str:
    """The file's hash, of the kind that `expected` is."""
    with path.open("rb") as file:
        if SHA256.fullmatch(expected):
            return hashlib.file_digest(file, "sha256").hexdigest()
        start = b"blob %d\0" % path.stat().st_size
        begin = functools.partial(hashlib.sha1, start, usedforsecurity=False)
        return hashlib.file_digest(file, begin).hexdigest()


# What this process has verified, for caches where no notes can be left.
_verified: dict[str, tuple[list[int], str]] = {}


def actual_hash(path: Path, expected: str, verify: Verify = "changed") -> str:
    """The file's hash; taken now, unless it was taken before and the file has not changed since.

    Args:
        path: The file.
        expected: What the hash should be.
        verify: `"always"` takes it in any case.

    Returns:
        The hash, of the kind that `expected` is. If it is the expected one, that is noted.
    """
    real = os.path.realpath(path)
    stat = Path(real).stat()
    # ctime cannot be set back: even a change of the same size that restores mtime shows.
    state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    note = notes_folder() / "verified" / hashlib.sha256(os.fsencode(real)).hexdigest()
    if verify == "changed":
        if _verified.get(real) == (state, expected):
            return expected
        with contextlib.suppress(OSError, ValueError):
            if json.loads(note.read_bytes()) == {"state": state, "hash": expected}:
                return expected
    found = hash_like(Path(real), expected)
    if found == expected:
        _verified[real] = (state, expected)
        with contextlib.suppress(OSError):  # a read-only cache is hashed once a process
            note.parent.mkdir(parents=True, exist_ok=True)
            fresh = note.with_name(f"{note.name}.{os.getpid()}")
            fresh.write_text(json.dumps({"state": state, "hash": expected}), "utf-8")
            fresh.replace(note)
    return found
