"""A web server with one file, whose answers go wrong as a test says."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(kw_only=True)
class Answer:
    """How one request is answered; all else is as a good server does it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    #: After so many bytes of the body the connection is closed.
    cut: int | None = None
    #: After so many bytes of the body nothing comes until the server stops.
    hang: int | None = None
    ignores_range: bool = False
    ignores_if_range: bool = False
    #: Sends the content compressed, whatever was asked for.
    zipped: bool = False
    #: The first byte of the range that is sent, whatever was asked for.
    first: int | None = None
    #: Says no size: the body ends with the connection.
    endless: bool = False


class FileServer:
    """Serves `content` at every path; the first answers are those of `answers`."""

    def __init__(self, content: bytes, etag: str = "", changed: float = 0) -> None:
        self.content = content
        self.etag = etag
        #: When the file was changed, in seconds since the epoch; 0 if that is not told.
        self.changed = changed
        self.answers: deque[Answer] = deque()
        #: The path and the headers of each request.
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.hanging = threading.Event()
        self.is_over = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def ranges(self) -> list[str | None]:
        """Return the `Range` of each request."""
        return [headers.get("range") for _, headers in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, request: Any) -> None:
        """Answer one request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.path, headers))
        answer = self.answers.popleft() if self.answers else Answer()
        if answer.status != 200:
            self._send(request, answer, b"no", answer.headers)
            return
        body, status, sent = self.content, 200, dict(answer.headers)
        if self.etag:
            sent.setdefault("ETag", self.etag)
        if self.changed:
            sent["Last-Modified"] = formatdate(self.changed, usegmt=True)
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        wanted = headers.get("if-range")
        is_same = wanted in (None, self.etag, sent.get("Last-Modified"))
        if asked and not answer.ignores_range and (is_same or answer.ignores_if_range):
            first, size = int(asked[1]), len(body)
            if first >= size:
                more = {"Content-Range": f"bytes */{size}"}
                self._send(request, Answer(status=416), b"", more)
                return
            first = first if answer.first is None else answer.first
            sent["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
            status, body = 206, body[first:]
        if answer.zipped:
            body, sent["Content-Encoding"] = gzip.compress(body), "gzip"
        self._send(request, Answer(status=status, **_faults(answer)), body, sent)

    def _send(
        self, request: Any, answer: Answer, body: bytes, headers: dict[str, str]
    ) -> None:
        request.close_connection = True
        request.send_response(answer.status)
        for name, value in headers.items():
            request.send_header(name, value)
        if not answer.endless:
            request.send_header("Content-Length", str(len(body)))
        request.send_header("Connection", "close")
        request.end_headers()
        most = answer.cut if answer.hang is None else answer.hang
        request.wfile.write(body[:most])
        if answer.hang is not None:
            request.wfile.flush()
            self.hanging.set()
            self.is_over.wait(30)


def _faults(answer: Answer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in ("cut", "hang", "endless")}
