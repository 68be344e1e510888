"""What the Hub of the tests holds, and what goes wrong with it to order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong with requests that match.

    Attributes:
        method: `"HEAD"`, `"GET"`, `"POST"` or `"PUT"`.
        path: Regular expression, found somewhere in the path.
        status: Answer with this status.
        headers: And these headers.
        truncate: Close the connection after half of the body.
        reset: Reset it there instead.
        flip_byte: Change one byte in the middle of the body.
        longer: Append this to the body.
        page: Answer with an HTML page.
        stall: Wait this many seconds before the body.
        redirect: Redirect to this path.
        no_hash: Announce no hash.
    """

    method: str
    path: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate: bool = False
    reset: bool = False
    flip_byte: bool = False
    longer: bytes = b""
    page: bool = False
    stall: float = 0.0
    redirect: str | None = None
    no_hash: bool = False


@dataclass
class Repository:
    """A model repository: every commit with all its files."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    large: set[str] = field(default_factory=set)
    private: bool = False
    gated: bool = False
    redirected: bool = False

    def commit(self, files: Mapping[str, bytes], ref: str = "main") -> str:
        whole = {**self.commits.get(self.refs.get(ref, ""), {}), **files}
        seed = json.dumps([(k, hashlib.sha256(v).hexdigest()) for k, v in sorted(whole.items())])
        name = hashlib.sha1((seed + self.refs.get(ref, "")).encode()).hexdigest()
        self.commits[name] = whole
        self.refs[ref] = name
        self.large |= {path for path in files if path.endswith((".safetensors", ".bin"))}
        return name
