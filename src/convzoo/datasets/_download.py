"""A published file over HTTP: whole and checked, however often the connection breaks."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from convzoo.errors import DataError

_SILENCE: Final = 20.0  # seconds without a byte after which a server counts as gone
_PATIENCE: Final = 30.0  # seconds over which a server has to send ...
_LEAST: Final = 30_000  # ... this many bytes
_BREAKS: Final = 5  # a connection may break as often, not counting breaks after ...
_PROGRESS: Final = 1 << 20  # ... this many new bytes
_PAUSE: Final = 1.0  # seconds before another try; twice as many before the next
_LONGEST_PAUSE: Final = 30.0  # seconds that a busy server may ask for
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class _BrokenError(Exception):
    """The connection broke, or the server asks to come again."""

    def __init__(self, said: object, wait: float = 0.0) -> None:
        super().__init__(str(said))
        self.wait = wait


class _RefusedError(Exception):
    """This server will not give the file."""


def md5_of(path: Path) -> str:
    """A file's md5, which is the checksum that torchvision publishes."""
    begin = functools.partial(hashlib.md5, usedforsecurity=False)
    with path.open("rb") as file:
        return hashlib.file_digest(file, begin).hexdigest()


def download(urls: Sequence[str], md5: str, place: Path, *, most: int, progress: bool) -> None:
    """Fetch a file from the first of some mirrors that gives it.

    What arrives is written beside the place, where a later call goes on with it, and is put in
    place when its checksum is right.

    Args:
        urls: Where it is published, the first one first.
        md5: Its checksum.
        place: Where it belongs.
        most: Bytes beyond which a server is lying.
        progress: Whether to show a bar, where there is a terminal.

    Raises:
        DataError: No mirror gives it, or it cannot be kept.
    """
    part = place.with_name(f".{place.name}.part")
    troubles: list[str] = []
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for url in urls:
            try:
                _from_mirror(url, md5, part, most, progress)
            except _RefusedError as error:
                host = url.split("/")[2] if url.startswith("http") and url.count("/") > 1 else url
                troubles.append(f"{host}: {error}")
            else:
                part.replace(place)
                return
    except OSError as error:  # the network's have become the other two
        raise DataError(f"{place}: cannot be kept: {error.strerror or error}") from error
    raise DataError(
        f"{place.name}: cannot be fetched ({'; '.join(troubles)}). Where there is a connection, "
        f"`convzoo fetch` fetches it; or put the file itself at {place}"
    )


def _from_mirror(url: str, md5: str, part: Path, most: int, progress: bool) -> None:
    """The whole file from one mirror, with as many connections as it takes."""
    if not url.startswith(("http://", "https://")):
        raise _RefusedError("expected an address that begins with http:// or https://")
    breaks, wrong = 0, 0
    while True:
        before = _size(part)
        try:
            _go_on(url, part, most, progress)
        except _BrokenError as error:
            breaks += _size(part) - before < _PROGRESS
            if breaks >= _BREAKS:
                raise _RefusedError(error) from None
            time.sleep(max(error.wait, _PAUSE * 2 ** (breaks - 1)) if breaks else 0.0)
            continue
        found = md5_of(part)
        if found == md5:
            return
        page = _looks_like_a_page(part)
        part.unlink()
        wrong += 1
        if not before or wrong > 1:  # else its beginning was of another time or mirror
            what = "a web page" if page else f"a file with md5 {found}"
            raise _RefusedError(f"sent {what} instead of the published one ({md5})")


def _go_on(url: str, part: Path, most: int, progress: bool) -> None:
    """Append what is missing of the file; raises where the connection ends too early."""
    begin = _size(part)
    headers = {"User-Agent": "convzoo", "Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    with _opened(url, headers, part) as response:
        if response.status != 206 or not _continues(response, begin):
            begin = 0  # the server sends it all again
        length = response.length
        total = None if length is None else begin + length
        if total is not None and total > most:
            raise _RefusedError(f"sends {total:,} bytes, where at most {most:,} are expected")
        with part.open("r+b" if begin else "wb") as file, _bar(part, begin, total, progress) as bar:
            file.seek(begin)
            file.truncate()
            got = begin
            for chunk in _chunks(response):
                file.write(chunk)
                got += len(chunk)
                bar.update(len(chunk))
                if got > most:
                    raise _RefusedError(f"sends more than the {most:,} bytes that are expected")
            file.flush()
            os.fsync(file.fileno())
    if total is not None and got < total:
        raise _BrokenError(f"the connection ended after {got:,} of {total:,} bytes")


@contextlib.contextmanager
def _opened(url: str, headers: dict[str, str], part: Path) -> Iterator[http.client.HTTPResponse]:
    try:
        request = urllib.request.Request(url, headers=headers)
        response = urllib.request.urlopen(request, timeout=_SILENCE)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # what is here is longer than the file
            part.unlink(missing_ok=True)
            raise _BrokenError("does not have the rest of the file") from None
        if error.code in _BUSY:
            said = error.headers.get("Retry-After", "")
            wait = min(float(said), _LONGEST_PAUSE) if said.isdecimal() else 0.0
            raise _BrokenError(f"answers with status {error.code}", wait) from None
        raise _RefusedError(f"answers with status {error.code}") from None
    except urllib.error.URLError as error:
        raise _RefusedError(f"cannot be reached: {error.reason}") from None
    except (http.client.InvalidURL, ValueError) as error:
        raise _RefusedError(f"is no address: {error}") from None
    except (OSError, http.client.HTTPException) as error:  # reset before an answer
        raise _BrokenError(f"{type(error).__name__}: {error}".strip(": ")) from None
    with response:
        yield response


def _continues(response: http.client.HTTPResponse, begin: int) -> bool:
    """Whether a partial answer begins where it was asked to."""
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {begin}-")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body as it comes, until it ends, breaks off or trickles."""
    since, received = time.monotonic(), 0
    while True:
        try:
            chunk = response.read1(1 << 16)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _BrokenError(f"{type(error).__name__}: {error}".strip(": ")) from None
        if not chunk:
            return
        yield chunk
        received += len(chunk)
        if time.monotonic() - since > _PATIENCE:
            if received < _LEAST:
                raise _BrokenError(f"sent {received:,} bytes in {_PATIENCE:.0f} s")
            since, received = time.monotonic(), 0


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def _looks_like_a_page(part: Path) -> bool:
    with part.open("rb") as file:
        return file.read(200).lstrip()[:1] == b"<"


@contextlib.contextmanager
def _bar(part: Path, begin: int, total: int | None, progress: bool) -> Iterator[Any]:
    """A progress bar, where there is a terminal."""
    from tqdm import tqdm

    with tqdm(
        desc=part.name[1:].removesuffix(".part"),
        initial=begin,
        total=total,
        unit="B",
        unit_scale=True,
        disable=None if progress else True,
    ) as bar:
        yield bar
