"""A CSV map from a web server: valid maps, other contents, and excessive ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.recipients import HttpMap, MapUnavailable
from gateway.net.http_map import HttpSource
from tests.support.webserver import RawServer, WebServer

ROWS = "bob@own.example,microsoft\n"


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer(ROWS) as server:
        yield server


def source(server: WebServer, **more: Any) -> HttpSource:
    return HttpSource(HttpMap(**{"name": "hr", "url": server.url, **more}))


def test_it_is_fetched_once_and_again_when_it_has_changed(server: WebServer, tmp_path: Path) -> None:
    one, file = source(server), tmp_path / "map.csv"
    assert one.fetch(file)
    assert file.read_text() == ROWS
    assert not one.fetch(file)
    server.content = "eve@own.example,google\n"
    assert one.fetch(file)
    assert file.read_text() == server.content
    one.forget()
    assert one.fetch(file)
    assert server.answers == [200, 304, 200, 200]


def test_the_authorization_is_sent_and_goes_nowhere_else(server: WebServer, tmp_path: Path) -> None:
    server.authorization = "Bearer secret"
    with pytest.raises(MapUnavailable, match="401"):
        source(server).fetch(tmp_path / "map.csv")
    one = source(server, authorization="Bearer secret")
    assert one.fetch(tmp_path / "map.csv")
    one.forget()
    server.status = 302
    with pytest.raises(MapUnavailable, match="302"):
        one.fetch(tmp_path / "map.csv")
    assert server.answers == [401, 200, 302], "a redirect is not followed"


def drip(server: WebServer) -> None:
    server.drip = 0.05


def fail(server: WebServer) -> None:
    server.status = 500


def shorten(server: WebServer) -> None:
    server.short = True


@pytest.mark.parametrize(
    ("trouble", "more", "said"),
    [
        (drip, {"timeout": 0.2}, r"longer than 0.2 s"),
        (fail, {}, r"answers 500"),
        (shorten, {}, r"too early|IncompleteRead|more expected"),
        (WebServer.stop, {}, r"refused"),
        (lambda server: None, {"most_octets": 10}, r"more than 10 octets"),
    ],
)
def test_what_is_no_good_answer_is_told(
    server: WebServer, tmp_path: Path, trouble: Callable[[WebServer], None], more: dict[str, Any], said: str
) -> None:
    one = source(server, **more)
    trouble(server)
    with pytest.raises(MapUnavailable, match=said):
        one.fetch(tmp_path / "map.csv")


ROW = b"bob@own.example,google\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
RAW = {
    "201": (b"HTTP/1.1 201 Created\r\nContent-Length: 24\r\n\r\n" + ROW, "answers 201 Created"),
    "203": (b"HTTP/1.1 203 x\r\nContent-Length: 24\r\n\r\n" + ROW, "answers 203"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "answers 204"),
    "206": (b"HTTP/1.1 206 x\r\nContent-Range: bytes 0-23/48\r\nContent-Length: 24\r\n\r\n" + ROW, "answers 206"),
    "304 unasked": (b"HTTP/1.1 304 Not Modified\r\n\r\n", "answers 304"),
    "no length": (OK + b"\r\n" + ROW, "how long it is"),
    "no length, HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n" + ROW, "how long it is"),
    "shorter than it says": (OK + b"Content-Length: 48\r\n\r\n" + ROW, "too early|IncompleteRead|more expected"),
    "a chunk cut": (OK + b"Transfer-Encoding: chunked\r\n\r\n30\r\n" + ROW, "IncompleteRead|too early"),
    "no last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n18\r\n" + ROW + b"\r\n", "IncompleteRead|too early"),
    "no HTTP": (b"220 smtp.example ESMTP\r\n", "220|Status|status|Disconnected"),
    "nothing": (b"", "(?i)closed|reset|response"),
}


@pytest.mark.parametrize("name", RAW)
def test_what_is_no_whole_map(tmp_path: Path, name: str) -> None:
    octets, said = RAW[name]
    with RawServer(octets) as server, pytest.raises(MapUnavailable, match=said):
        HttpSource(HttpMap(name="people", url=server.url)).fetch(tmp_path / "map.csv")


def test_chunks_are_a_map(tmp_path: Path) -> None:
    octets = OK + b"Transfer-Encoding: chunked\r\n\r\n18\r\n" + ROW + b"\r\n0\r\n\r\n"
    with RawServer(octets) as server:
        assert HttpSource(HttpMap(name="people", url=server.url)).fetch(tmp_path / "map.csv")
    assert (tmp_path / "map.csv").read_bytes() == ROW


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "octets", [OK + b"X: " + b"x" * 500, b"HTTP/1.1 100 Continue\r\n\r\n" * 50, b"\x16\x03\x03\x40\x00" + bytes(500)]
)
def test_drips_before_the_body_count_too(tmp_path: Path, scheme: str, octets: bytes) -> None:
    with RawServer(octets, drip=0.05) as server:
        one = HttpSource(HttpMap(name="people", url=server.url.replace("http:", f"{scheme}:"), timeout=0.5))
        began = time.monotonic()
        with pytest.raises(MapUnavailable):
            one.fetch(tmp_path / "map.csv")
        assert time.monotonic() - began < 3.0
