"""A small server of files on loopback, with faults to order.

with DataServer({"a.gz": b"..."}) as server:
    server.faults = [Fault(keep=100)]  # of the first request; those after it go well
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with one request.

    Attributes:
        keep: Close the connection after so many bytes of the body.
        flip: Change a byte in its middle.
        status: Answer with this status and these headers.
        headers: Of such an answer.
        page: Answer with an HTML page.
        whole: Pay no heed to the range that was asked for.
        longer: Append so many bytes.
        hidden: Say nothing of the length.
        stall: Send the first half of the body, then nothing.
    """

    keep: int | None = None
    flip: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    page: bool = False
    whole: bool = False
    longer: int = 0
    hidden: bool = False
    stall: bool = False


class DataServer:
    """The server; use it as a context manager."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str | None]] = []  # path, range
        self.gone = threading.Event()
        handler = type("Handler", (_Handler,), {"data": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gone.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    data: DataServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.data.requests.append((self.path, asked))
        fault = self.data.faults.pop(0) if self.data.faults else Fault()
        self.close_connection = True
        body = self.data.files.get(self.path.rpartition("/")[2])
        if fault.status is not None or body is None:
            self.send_response(fault.status or 404)
            for name, value in {"Content-Length": "0", **fault.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        if fault.page:
            body = b"<html>Please log in</html>"
        if fault.flip:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        body += b"x" * fault.longer
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        if match and not fault.whole and not fault.page:
            begin = int(match[1])
            if begin >= len(body):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            body = body[begin:]
        else:
            self.send_response(200)
        if not fault.hidden:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault.stall:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.data.gone.wait(20)
            return
        self.wfile.write(body if fault.keep is None else body[: fault.keep])
