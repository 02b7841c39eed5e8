"""A real HTTP server on loopback that can be told to misbehave."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class FileServer(ThreadingHTTPServer):
    """Serves one content under every path, in ranges; notes which ranges were asked for."""

    daemon_threads = True
    content = b""
    etag: str | None = '"1"'
    has_ranges = True
    tells_size = True
    status: int | None = None  # answer with this one instead
    location = ""  # redirect there
    cut_after: int | None = None  # close the connection after so many bytes of the body

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []

    def url(self, path: str = "weights.h5") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/release/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers["Range"]
        server.asked.append(asked)
        if server.status is not None:
            self.send_response(server.status)
            self.send_header("Location", server.location)
            self.end_headers()
            return
        start, total = 0, len(server.content)
        same = self.headers["If-Range"] in (None, server.etag)
        if asked and server.has_ranges and same:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= total > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if server.tells_size:
            self.send_header("Content-Length", str(total - start))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        self.wfile.write(server.content[start:][: server.cut_after])

    def log_message(self, *arguments: object) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of 1,000,000 bytes; no proxy stands between."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FileServer() as server:
        server.content = bytes(range(250)) * 4000
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
