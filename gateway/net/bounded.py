"""Requests that block a thread, within limits of time and octets, even if the other side sends slowly."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

_CUT_SECONDS = 0.1
"""Between two cuts of an expired connection: a library may try the host's next address."""
_CHUNK = 65_536


class Watch:
    """Cuts a connection when its time is over, during any wait of its thread. A socket's own timeout limits each wait
    only."""

    def __init__(self, find: Callable[[], object], seconds: float) -> None:
        """`find` gives the current socket; None before there is one."""
        self._find = find
        self._seconds = seconds
        self._done = threading.Event()
        self.late = False
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    def stop(self) -> None:
        self._done.set()

    def _run(self) -> None:
        pause = self._seconds
        while not self._done.wait(pause):
            self.late, pause = True, _CUT_SECONDS
            held = self._find()
            if isinstance(held, socket.socket):
                with suppress(OSError):  # not connected yet, or closed already
                    # Not the method of a TLS socket: that would remove the TLS while the thread reads.
                    socket.socket.shutdown(held, socket.SHUT_RDWR)


class WebTrouble(Exception):
    """A web server gave no correct answer, or not in time; the text gives the reason."""


class WebAnswer:
    """A status, and a body that is read once."""

    def __init__(self, answer: http.client.HTTPResponse, seconds: float) -> None:
        self._answer = answer
        self._seconds = seconds
        self.status = answer.status
        self.headers = answer.headers

    def read_whole(self, most_octets: int) -> Iterator[bytes]:
        """The whole body, in pieces. Raises WebTrouble if it is too long, or not known to be complete."""
        if self._answer.length is None and not self._answer.chunked:
            raise WebTrouble("the answer does not say how long it is (Content-Length), so it could be cut short")
        octets = 0
        while chunk := self._answer.read1(_CHUNK):
            octets += len(chunk)
            if octets > most_octets:
                raise WebTrouble(f"it has more than {most_octets} octets (most_octets)")
            yield chunk
        if self._answer.length:
            raise WebTrouble("the answer ended too early")


@contextmanager
def ask_web(request: urllib.request.Request, seconds: float, authorities: Any = None) -> Iterator[WebAnswer]:
    """The answer to a request, whatever its status; no redirect is followed. Raises WebTrouble, also for errors while
    the body is read. `authorities`: a file of them to trust instead of the system's."""
    sockets: list[socket.socket] = []
    watch = Watch(lambda: sockets[-1] if sockets else None, seconds)
    try:
        context = ssl.create_default_context(cafile=authorities)
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            _Plain(sockets),
            _Secured(sockets, context),
            urllib.request.UnknownHandler(),
        ):
            opener.add_handler(handler)
        with opener.open(request, timeout=seconds) as answer:
            yield WebAnswer(answer, seconds)
    except (OSError, http.client.HTTPException, ValueError, WebTrouble) as error:
        late = f"it takes longer than {seconds:g} s (timeout)"
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        timed_out = watch.late or isinstance(reason, TimeoutError)
        raise WebTrouble(late if timed_out else str(error) or type(error).__name__) from None
    finally:
        watch.stop()


class _Plain(urllib.request.AbstractHTTPHandler):
    """Notes the socket of each connection."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Connection, sockets=self._sockets), request)

    http_request = urllib.request.AbstractHTTPHandler.do_request_


class _Secured(_Plain):
    def __init__(self, sockets: list[socket.socket], context: ssl.SSLContext) -> None:
        super().__init__(sockets)
        self._context = context

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        make = partial(_Connection, sockets=self._sockets, context=self._context)
        return self.do_open(make, request)

    https_request = urllib.request.AbstractHTTPHandler.do_request_


class _Connection(http.client.HTTPConnection):
    """A connection whose socket is known before the TLS handshake begins."""

    def __init__(
        self, host: str, *, sockets: list[socket.socket], context: ssl.SSLContext | None = None, **more: Any
    ) -> None:
        super().__init__(host, **more)
        self._sockets = sockets
        self._context = context
        if context is not None and ":" not in host.rpartition("]")[2]:
            self.port = http.client.HTTPS_PORT

    def connect(self) -> None:
        super().connect()
        self._sockets.append(self.sock)
        if self._context is not None:
            named = getattr(self, "_tunnel_host", None) or self.host
            self.sock = self._context.wrap_socket(self.sock, server_hostname=named, do_handshake_on_connect=False)
            self._sockets.append(self.sock)
            self.sock.do_handshake()
