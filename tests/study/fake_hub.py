"""A model hub on loopback: local folders served as repositories at one commit, and how it refuses.

Only what the libraries ask: a repository's description, its tree, and its files, with ranges.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)"
                 r"(?:/(revision|tree|paths-info)/([^/?]+)(?:/(.*))?)?$")
FILE = re.compile(r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        if found := FILE.match(path):
            _, repository, revision, name = found.groups()
            if folder := self._folder(repository, revision):
                self._file(folder / name)
        elif found := API.match(path):
            _, repository, kind, revision, inside = found.groups()
            if folder := self._folder(repository, revision or COMMIT):
                self._json(self._description(folder, repository) if kind in (None, "revision")
                           else self._entries(folder, kind, inside or ""))
        else:
            self._refuse(404, "RepoNotFound")

    def _folder(self, repository: str, revision: str) -> Path | None:
        """The repository's folder; None when it is refused."""
        if repository in self.server.gated:
            self._refuse(403, "GatedRepo")
        elif repository not in self.server.folders:
            self._refuse(404, "RepoNotFound")
        elif revision not in (COMMIT, "main"):
            self._refuse(404, "RevisionNotFound")
        else:
            return self.server.folders[repository]
        return None

    def _description(self, folder: Path, repository: str) -> dict:
        return {"id": repository, "sha": COMMIT, "private": False, "gated": False, "tags": [],
                "disabled": False, "downloads": 0, "likes": 0,
                "siblings": [{"rfilename": name} for name in _names(folder)]}

    def _entries(self, folder: Path, kind: str, inside: str) -> list[dict]:
        if kind == "tree":
            wanted = [name for name in _all_names(folder) if name.startswith(inside)]
        else:
            asked = json.loads(self.body)["paths"]
            wanted = [name for name in _all_names(folder) if name in asked]
        return [_entry(folder, name) for name in wanted]

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._refuse(404, "EntryNotFound")
        data = path.read_bytes()
        begin, end = 0, len(data)
        if asked := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            begin, end = int(asked[1]), min(int(asked[2] or end - 1) + 1, end)
        self.send_response(206 if asked else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if path.name in self.server.cut:  # once, half-way
            self.server.cut.remove(path.name)
            self.wfile.write(data[begin:begin + (end - begin) // 2])
            self.close_connection = True
            return None
        self.wfile.write(data[begin:end])
        return None

    def _json(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", f"refused: {code}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _all_names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _entry(folder: Path, name: str) -> dict:
    path = folder / name
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": COMMIT, "size": 0}
    return {"type": "file", "path": name, "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes()).hexdigest()}


@contextmanager
def hub(folders: dict[str, Path], gated: tuple[str, ...] = (),
        cut: tuple[str, ...] = ()) -> Iterator[ThreadingHTTPServer]:
    """A hub of these repositories; `gated` are refused, files called as in `cut` break off once."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.daemon_threads = True
    server.folders, server.gated, server.cut, server.asked = folders, gated, list(cut), []
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    yield server
    server.shutdown()
    server.server_close()
