"""A small Hugging Face Hub on loopback, for the real clients, with faults to order.

It serves what the clients ask when they download and push models: file metadata and contents
(directly or by a redirect to another origin, as the real one does for large files), repository
information, and the steps of a commit. Every request is logged, so that tests can count them.

    with HubServer() as hub:
        hub.add("me/boats", {"config.json": b"{}", "model.safetensors": weights})
        hub.order(Fault("GET", "model.safetensors", flip_byte=True), times=1)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from hub_handler import Handler
from hub_store import Fault, Repository


class HubServer:
    """The server; use it as a context manager."""

    TOKEN = "hf_of_the_tests"  # the one that this server accepts

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.messages: list[str] = []
        self.on_request: Callable[[str, str], object] = lambda method, path: None
        self._faults: list[list[Any]] = []  # [fault, times left]
        self._lock = threading.Lock()
        handler = type("Handler", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def other_origin(self) -> str:
        return f"http://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, repo: str, files: Mapping[str, bytes], **flags: bool) -> str:
        """Commit files to a repository's main branch; returns the commit."""
        with self._lock:
            repository = self.repositories.setdefault(repo, Repository())
            for name, value in flags.items():
                setattr(repository, name, value)
            return repository.commit(files)

    def order(self, fault: Fault, times: int | None = None) -> None:
        """Let a fault happen `times` times, or for ever."""
        with self._lock:
            self._faults.append([fault, times])

    def repair(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def count(self, method: str, path: str) -> int:
        """How often a request came."""
        with self._lock:
            return sum(m == method and path in p for m, p in self.requests)

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for entry in self._faults:
                fault, left = entry
                if left != 0 and fault.method == method and re.search(fault.path, path):
                    if left is not None:
                        entry[1] -= 1
                    return fault
        return None
