"""A hostile or broken directory can only be unavailable."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from gateway.config.edge import LdapLogin
from gateway.config.recipients import LdapMap, LoginsUnavailable, MapUnavailable
from tests.support.rogue_directory import (
    BIND_RESPONSE,
    EXTENDED_RESPONSE,
    SEARCH_DONE,
    RogueDirectory,
    Script,
    answer,
    ber,
    entry,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of ldap3 about pyasn1
    from gateway.net.ldap import LdapLogins, LdapSource

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BIND, SEARCH, UNBIND = 0x60, 0x63, 0x42
OK = bytes([0x0A, 1, 0, 4, 0, 4, 0])


def logins(directory: RogueDirectory, **more: Any) -> LdapLogins:
    return LdapLogins(LdapLogin(**({"url": directory.url, "dn": "cn={login},dc=x", "timeout": 5.0} | more)))


def source(directory: RogueDirectory, **more: Any) -> LdapSource:
    given = {"name": "ad", "url": directory.url, "bind_dn": "cn=reader", "password": "secret"}
    return LdapSource(LdapMap(**(given | {"base": "dc=x", "backend": "google", "timeout": 5.0} | more)))


def bind_with(code: int, kind: int = BIND_RESPONSE, referral: str = "") -> Script:
    return lambda message, tag: answer(message, kind, code, referral) if tag == BIND else b""


def search_with(said: Script) -> Script:
    return lambda message, tag: said(message, tag) if tag == SEARCH else answer(message, BIND_RESPONSE, 0)


@pytest.mark.parametrize("code", [*range(1, 9), *range(10, 15), 16, 19, 50, 51, 52, 53, 54, 80])
def test_a_login_needs_success(code: int) -> None:
    with RogueDirectory(bind_with(code)) as directory, pytest.raises(LoginsUnavailable, match=rf"\({code}\)"):
        logins(directory).check("ann", "right")


@pytest.mark.parametrize("code", [32, 34, 48, 49])
def test_a_refused_login_is_refused(code: int) -> None:
    with RogueDirectory(bind_with(code)) as directory:
        assert not logins(directory).check("ann", "right")


def test_success_lets_in() -> None:
    with RogueDirectory(bind_with(0)) as directory:
        assert logins(directory).check("ann", "right")


@pytest.mark.parametrize("kind", [SEARCH_DONE, 0x69, 0x6B, 0x6F, EXTENDED_RESPONSE])
def test_another_kind_of_success_is_no_login(kind: int) -> None:
    with RogueDirectory(bind_with(0, kind)) as directory, pytest.raises(LoginsUnavailable):
        logins(directory).check("ann", "right")


GARBAGE = {
    "text": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "cut": answer(1, BIND_RESPONSE, 0)[:-3],
    "an empty sequence": b"\x30\x00",
    "a result that is a string": ber(0x30, bytes([2, 1, 1]) + ber(BIND_RESPONSE, ber(4, b"x"))),
    "a number that is none": ber(0x30, ber(4, b"x") + ber(BIND_RESPONSE, OK)),
    "another message": ber(0x30, bytes([2, 1, 9]) + ber(BIND_RESPONSE, OK)),
    "zeros": bytes(100),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_ldap_is_unavailable(name: str) -> None:
    with RogueDirectory(lambda message, tag: GARBAGE[name]) as directory, pytest.raises(LoginsUnavailable):
        logins(directory, timeout=1.0).check("ann", "right")


@pytest.mark.parametrize("where", ["bind", "search"])
def test_no_referral_is_followed_and_no_password_goes_elsewhere(tmp_path: Path, where: str) -> None:
    with RogueDirectory(search_with(lambda message, tag: answer(message, SEARCH_DONE, 0))) as other:
        referral = f"ldap://127.0.0.1:{other.port}/dc=x"
        script = (
            bind_with(10, referral=referral)
            if where == "bind"
            else search_with(lambda message, tag: answer(message, SEARCH_DONE, 10, referral))
        )
        with RogueDirectory(script) as directory:
            with pytest.raises(MapUnavailable, match=r"referral \(10\)|not understood"):
                source(directory).fetch(tmp_path / "map.csv")
            if where == "bind":
                with pytest.raises(LoginsUnavailable, match="not understood"):
                    logins(directory).check("ann", "right")
        assert other.connections == 0


@pytest.mark.parametrize("code", [3, 4, 5, 6, 10, 11, 14, 51])
def test_a_search_that_was_cut_short_is_no_map(tmp_path: Path, code: int) -> None:
    def said(message: int, tag: int) -> bytes:
        return entry(message, "bob@own.example") + answer(message, SEARCH_DONE, code)

    with RogueDirectory(search_with(said)) as directory, pytest.raises(MapUnavailable, match=rf"\({code}\)"):
        source(directory).fetch(tmp_path / "map.csv")


def test_a_whole_search_is_a_map(tmp_path: Path) -> None:
    def said(message: int, tag: int) -> bytes:
        return entry(message, "bob@own.example") + answer(message, SEARCH_DONE, 0)

    with RogueDirectory(search_with(said)) as directory:
        assert source(directory).fetch(tmp_path / "map.csv")
    assert (tmp_path / "map.csv").read_text() == "bob@own.example,google\n"


@pytest.mark.parametrize("code", [1, 2, 5, 10, 14, 52])
def test_a_password_does_not_follow_a_refused_starttls(tmp_path: Path, code: int) -> None:
    """An ExtendedResponse without success: nothing else is sent in clear."""
    with RogueDirectory(lambda message, tag: answer(message, EXTENDED_RESPONSE, code)) as directory:
        with pytest.raises(LoginsUnavailable):
            logins(directory, starttls=True).check("ann", "hunter2")
        with pytest.raises(MapUnavailable):
            source(directory, starttls=True).fetch(tmp_path / "map.csv")
        assert not [one for one in directory.seen if b"hunter2" in one or b"secret" in one]


@pytest.mark.parametrize("way", ["ldap", "starttls", "ldaps"])
def test_drips_do_not_hold_a_login(way: str) -> None:
    """An octet every 50 ms: no single wait is long."""

    def said(message: int, tag: int) -> bytes:
        return answer(message, EXTENDED_RESPONSE, 0) if way == "starttls" and tag == 0x77 else ber(0x30, bytes(900))

    with RogueDirectory(said, drip=0.05) as directory:
        url = directory.url.replace("ldap:", "ldaps:") if way == "ldaps" else directory.url
        began = time.monotonic()
        with pytest.raises(LoginsUnavailable, match="longer than 1 s"):
            logins(directory, url=url, starttls=way == "starttls", timeout=1.0).check("ann", "right")
        assert time.monotonic() - began < 4.0


def test_a_flood_is_cut_off(tmp_path: Path) -> None:
    flood = b"\x30\x84\x7f\xff\xff\xff" + bytes(200_000)
    with RogueDirectory(lambda message, tag: flood) as directory, pytest.raises(LoginsUnavailable, match="octets"):
        logins(directory).check("ann", "right")

    def said(message: int, tag: int) -> bytes:
        return entry(message, "x" * 5000 + "@own.example") * 40 + answer(message, SEARCH_DONE, 0)

    with RogueDirectory(search_with(said)) as directory, pytest.raises(MapUnavailable, match="most_octets"):
        source(directory, most_octets=100_000).fetch(tmp_path / "map.csv")
