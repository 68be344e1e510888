"""How the Hub of the tests answers one request."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from hub_store import Fault, Repository


class Handler(BaseHTTPRequestHandler):
    hub: Any  # the HubServer, which knows this class
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        with self.hub._lock:
            self.hub.requests.append((self.command, path))
        self.hub.on_request(self.command, path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            fault = self.hub.fault_for(self.command, path)
            if fault is not None and fault.status is not None:
                return self._answer(fault.status, {"error": "as ordered"}, fault.headers)
            if fault is not None and fault.redirect is not None:
                return self._answer(307, {}, {"Location": fault.redirect})
            self._route(path, fault)
        return None

    def _route(self, path: str, fault: Fault | None) -> None:
        for pattern, serve in (
            (r"/cdn/([^/]+/[^/]+)/([^/]+)/(.+)", self._file),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._file),
            (r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)", self._paths_info),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self._tree),
            (r"/api/models/([^/]+/[^/]+)/preupload/([^/]+)", self._preupload),
            (r"/api/models/([^/]+/[^/]+)/branch/([^/]+)", self._branch),
            (r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", self._commit),
            (r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._info),
            (r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self._lfs_batch),
            (r"/lfs/(\w+)", self._lfs_put),
            (r"/api/repos/create", self._create),
            (r"/api/validate-yaml", self._validate),
        ):
            match = re.fullmatch(pattern, path)
            if match:
                serve(*match.groups(), fault=fault)
                return
        self._answer(404, {"error": f"nothing at {path}"})

    # Reading

    def _find(self, repo: str, revision: str | None) -> tuple[Repository, str] | None:
        """The repository and the commit; None once an error has been answered."""
        repository = self.hub.repositories.get(repo)
        known = self.headers.get("Authorization") == f"Bearer {self.hub.TOKEN}"
        if repository is None or (repository.private and not known):
            self._answer(401 if not known else 404, {}, {"X-Error-Code": "RepoNotFound"})
            return None
        if repository.gated and not known:
            self._answer(403, {}, {"X-Error-Code": "GatedRepo"})
            return None
        commit = repository.refs.get(revision or "main", revision or "")
        if commit not in repository.commits:
            self._answer(404, {}, {"X-Error-Code": "RevisionNotFound"})
            return None
        return repository, commit

    def _file(self, repo: str, revision: str, path: str, fault: Fault | None) -> None:
        found = self._find(repo, revision)
        if found is None:
            return
        repository, commit = found
        data = repository.commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if data is None:
            self._answer(404, {}, {**headers, "X-Error-Code": "EntryNotFound"})
            return
        if fault is None or not fault.no_hash:
            git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            headers["ETag"] = f'"{git}"'
            if path in repository.large:
                headers["X-Linked-Etag"] = f'"{hashlib.sha256(data).hexdigest()}"'
        else:
            headers["ETag"] = '"weak"'
        headers["X-Linked-Size"] = str(len(data))
        if repository.redirected and not self.path.startswith("/cdn/"):
            place = f"{self.hub.other_origin}/cdn/{repo}/{commit}/{path}"
            self._answer(302, {}, {**headers, "Location": place})
            return
        self._send(data, headers, fault)

    def _send(self, data: bytes, headers: dict[str, str], fault: Fault | None) -> None:
        fault = fault or Fault("", "")
        if fault.page:
            data, headers = b"<html><body>Please log in</body></html>", {}
        data += fault.longer
        if fault.flip_byte:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        status, wanted = 200, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted:
            begin, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
            headers = {**headers, "Content-Range": f"bytes {begin}-{end}/{len(data)}"}
            status, data = 206, data[begin : end + 1]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.stall:
            threading.Event().wait(fault.stall)  # time.sleep is the clients', tests cut it short
        if fault.truncate or fault.reset:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            if fault.reset:  # closing with nothing to linger for sends a reset
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(data)

    def _described(self, repository: Repository, commit: str, path: str) -> dict[str, object]:
        data = repository.commits[commit][path]
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": git}
        if path in repository.large:
            sha256 = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
        return entry

    def _paths_info(self, repo: str, revision: str, fault: Fault | None) -> None:
        found = self._find(repo, revision)
        if found is not None:
            wanted = re.findall(r'(?:paths=|")([\w./-]+)', unquote(self.body.decode()))
            files = [path for path in found[0].commits[found[1]] if path in wanted]
            self._answer(200, [self._described(*found, path) for path in files])

    def _tree(self, repo: str, revision: str, fault: Fault | None) -> None:
        found = self._find(repo, revision)
        if found is not None:
            files = found[0].commits[found[1]]
            self._answer(200, [self._described(*found, path) for path in files])

    def _info(self, repo: str, revision: str | None, fault: Fault | None) -> None:
        found = self._find(repo, revision)
        if found is not None:
            repository, commit = found
            siblings = [{"rfilename": path} for path in repository.commits[commit]]
            about = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings}
            self._answer(200, {**about, "private": repository.private, "tags": []})

    # Writing

    def _known(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {self.hub.TOKEN}":
            return True
        self._answer(401, {"error": "Invalid username or password."})
        return False

    def _create(self, fault: Fault | None) -> None:
        if not self._known():
            return
        asked = json.loads(self.body)
        name = f"{asked.get('organization', 'me')}/{asked['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            self._answer(409, {"error": "exists", "url": url})
            return
        private = bool(asked.get("private")) or asked.get("visibility") == "private"
        repository = Repository(private=private)
        repository.commit({".gitattributes": b""})
        self.hub.repositories[name] = repository
        self._answer(200, {"url": url, "name": name, "id": name})

    def _validate(self, fault: Fault | None) -> None:
        self._answer(200, {"errors": [], "warnings": []})

    def _preupload(self, repo: str, revision: str, fault: Fault | None) -> None:
        if self._known():
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in json.loads(self.body)["files"]
            ]
            self._answer(200, {"files": files})

    def _lfs_batch(self, repo: str, fault: Fault | None) -> None:
        if self._known():
            objects = [
                {
                    **wanted,
                    "actions": {"upload": {"href": f"{self.hub.url}/lfs/{wanted['oid']}"}},
                }
                for wanted in json.loads(self.body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})

    def _lfs_put(self, oid: str, fault: Fault | None) -> None:
        same = hashlib.sha256(self.body).hexdigest() == oid
        if same:
            self.hub.lfs[oid] = self.body
        self._answer(200 if same else 400, {})

    def _branch(self, repo: str, branch: str, fault: Fault | None) -> None:
        if self._known():
            refs = self.hub.repositories[repo].refs
            there = branch in refs
            refs.setdefault(branch, refs["main"])
            self._answer(409 if there else 200, {})

    def _commit(self, repo: str, revision: str, fault: Fault | None) -> None:
        if not self._known():
            return
        files: dict[str, bytes] = {}
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.lfs[value["oid"]]
            elif entry["key"] == "header":
                self.hub.messages.append(value["summary"])
        repository, pull = self.hub.repositories[repo], "create_pr=1" in self.path
        if pull:
            repository.refs["refs/pr/1"] = repository.refs[revision]
        commit = repository.commit(files, "refs/pr/1" if pull else revision)
        url = f"{self.hub.url}/{repo}/commit/{commit}"
        made = {"pullRequestUrl": f"{self.hub.url}/{repo}/discussions/1"} if pull else {}
        self._answer(200, {"commitUrl": url, "commitOid": commit, "success": True, **made})

    def _answer(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, text in {**sent, **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
