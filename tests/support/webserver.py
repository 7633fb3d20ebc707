"""A web server with one page, which the test changes."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class WebServer:
    """Serves `content` at every path, with an ETag, to clients with the right Authorization."""

    def __init__(self, content: str = "") -> None:
        self.content = content
        self.status = 200
        self.authorization = ""
        self.drip = 0.0
        """Seconds between the octets of an answer."""
        self.short = False
        """Fewer octets are sent than announced."""
        self.answers: list[int] = []
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/people.csv"

    def start(self) -> None:
        """Listen, on the same port as before."""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                page.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> WebServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        octets = self.content.encode()
        tag = f'"{hash(self.content)}"'
        status = self.status
        if self.authorization != request.headers.get("Authorization", ""):
            status = 401
        elif request.headers.get("If-None-Match") == tag:
            status = 304
        self.answers.append(status)
        request.send_response(status)
        if status in (301, 302):
            request.send_header("Location", self.url + "?again")
        request.send_header("ETag", tag)
        request.send_header("Content-Length", str(len(octets) + self.short if status == 200 else 0))
        request.end_headers()
        if status != 200:
            return
        if not self.drip:
            request.wfile.write(octets)
            return
        for at in range(len(octets)):
            try:
                request.wfile.write(octets[at : at + 1])
            except OSError:
                return
            time.sleep(self.drip)


class RawServer:
    """Sends the same octets to every client, and closes."""

    def __init__(self, octets: bytes, drip: float = 0.0) -> None:
        """`drip`: seconds between two octets."""
        self._octets = octets
        self._drip = drip
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.recv(65536)
            size = 1 if self._drip else len(self._octets)
            for at in range(0, len(self._octets), size or 1):
                connection.sendall(self._octets[at : at + size])
                time.sleep(self._drip)
