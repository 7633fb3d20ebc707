"""A CSV map from a web server: what is a map, what is none, and what is too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.directories import MapUnavailable
from gateway.config.recipients import HttpMap
from gateway.net.http_map import HttpSource
from tests.support.webserver import WebServer

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
