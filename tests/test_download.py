"""One file over HTTP, from a server that breaks off, lies and throttles."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from convzoo.datasets import _download
from convzoo.datasets._download import download
from convzoo.errors import DataError
from data_server import DataServer, Fault

BODY = random.Random(0).randbytes(3_000_000)
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DataServer]:
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    monkeypatch.setattr(_download, "_SILENCE", 0.2)
    with DataServer({"a.bin": BODY}) as server:
        yield server


def fetched(server: DataServer, folder: Path, *mirrors: str, most: int = 4_000_000) -> Path:
    urls = mirrors or (f"{server.url}/a.bin",)
    download(urls, MD5, folder / "kept" / "a.bin", most=most, progress=False)
    assert (folder / "kept" / "a.bin").read_bytes() == BODY
    assert [path.name for path in (folder / "kept").iterdir()] == ["a.bin"]  # nothing left over
    return folder


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([], [None]),
        ([Fault(keep=1000)], [None, "bytes=1000-"]),
        (
            [Fault(keep=0), Fault(keep=2_000_000), Fault(keep=10)],
            [None, None, "bytes=2000000-", "bytes=2000010-"],
        ),
        ([Fault(keep=1000), Fault(whole=True)], [None, "bytes=1000-"]),
        ([Fault(stall=True)], [None, "bytes=1500000-"]),
        ([Fault(hidden=True)], [None]),
        # Without a length a short body looks whole, until its checksum is taken.
        ([Fault(keep=1000), Fault(hidden=True, keep=500)], [None, "bytes=1000-", None]),
        ([Fault(status=503), Fault(status=429, headers={"Retry-After": "0"})], [None] * 3),
        # The beginning was wrong: once more from the start, and no more than that.
        ([Fault(flip=True, keep=2_000_000)], [None, "bytes=2000000-", None]),
        ([Fault(keep=3_000_000, longer=9)], [None, "bytes=3000000-", None]),
    ],
)
def test_what_breaks_off_is_gone_on_with(
    server: DataServer, tmp_path: Path, faults: list[Fault], ranges: list[str | None]
) -> None:
    server.faults = list(faults)
    fetched(server, tmp_path)
    assert [asked for _, asked in server.requests] == ranges


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ([Fault(flip=True)], r"sent a file with md5 \w+ instead of the published one"),
        ([Fault(page=True)], "sent a web page instead of the published one"),
        ([Fault(status=403)], "answers with status 403"),
        ([Fault(longer=2_000_000)], "sends 5,000,000 bytes, where at most 4,000,000"),
        ([Fault(longer=2_000_000, hidden=True)], "sends more than the 4,000,000 bytes"),
        ([Fault(status=503)] * 9, "answers with status 503"),
        ([Fault(keep=9, whole=True)] * 9, "the connection ended after 9 of 3,000,000 bytes"),
    ],
)
def test_a_mirror_that_lies_or_fails_is_named_and_the_next_one_asked(
    server: DataServer, tmp_path: Path, faults: list[Fault], said: str
) -> None:
    server.faults = list(faults)
    with pytest.raises(DataError, match=rf"a.bin: cannot be fetched \(127.0.0.1:\d+: {said}"):
        fetched(server, tmp_path / "alone")
    assert len(server.requests) <= 5
    assert not (tmp_path / "alone" / "kept" / "a.bin").exists()
    server.faults = list(faults[: len(server.requests)])
    fetched(server, tmp_path / "two", f"{server.url}/1/a.bin", f"{server.url}/2/a.bin")
    assert server.requests[-1][0] == "/2/a.bin"


def test_what_a_killed_process_left_is_gone_on_with(server: DataServer, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / ".a.bin.part").write_bytes(BODY[:2_999_000])
    fetched(server, tmp_path)
    assert server.requests == [("/a.bin", "bytes=2999000-")]


def test_a_trickle_is_no_download(
    server: DataServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_download, "_PATIENCE", -1.0)  # so every chunk is the last of its time
    monkeypatch.setattr(_download, "_LEAST", 1 << 40)
    with pytest.raises(DataError, match=r"sent [\d,]+ bytes in -1 s"):
        fetched(server, tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("file:///etc/passwd", "expected an address that begins with http"),
        ("http://", "is no address|cannot be reached"),
        ("http://127.0.0.1:1/a.bin", "cannot be reached"),
        ("http://[", "is no address"),
    ],
)
def test_what_is_no_mirror(server: DataServer, tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        fetched(server, tmp_path / "alone", url)
    fetched(server, tmp_path / "two", url, f"{server.url}/a.bin")


def test_a_server_that_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "_PAUSE", 0.0)
    monkeypatch.setattr(_download, "_SILENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin"
        with pytest.raises(DataError, match=r"a.bin: cannot be fetched \(127.0.0.1.*timed out"):
            download([url], MD5, tmp_path / "a.bin", most=10, progress=False)


def test_a_place_that_cannot_be_written(server: DataServer, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file", "utf-8")
    with pytest.raises(DataError, match=r"a.bin: cannot be kept: File exists|Not a directory"):
        fetched(server, tmp_path)
    assert not server.requests
