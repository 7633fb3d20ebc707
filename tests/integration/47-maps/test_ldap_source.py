"""Addresses from a real OpenLDAP server."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.config.recipients import LdapMap, MapUnavailable
from tests.support.slapd import ADMIN, BASE, GROUP, PASSWORD, Slapd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of ldap3 about pyasn1
    from gateway.net.ldap import LdapSource

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

PEOPLE = [
    ("bob", ["bob@own.example", "smtp:robert@own.example", "SMTP:Bob.B@own.example"], True),
    ("eve", ["eve@own.example", "sip:eve@own.example", "X500:/o=x"], False),
    ("none", ["none@stranger.example"], False),
]


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    server = Slapd(tmp_path / "ldap", [*PEOPLE, *((f"u{at}", [f"u{at}@own.example"], False) for at in range(1200))])
    server.start()
    yield server
    server.stop()


def settings(server: Slapd, **more: Any) -> LdapMap:
    values = {
        "name": "ad",
        "url": server.url,
        "bind_dn": ADMIN,
        "password": PASSWORD,
        "base": BASE,
        "addresses": ("mail",),
        "backend": "google",
        "backend_attribute": "description",
        "backends": {GROUP.upper(): "microsoft"},
    }
    return LdapMap(**{**values, **more})


def fetch(found: LdapMap, directory: Path) -> list[str]:
    LdapSource(found).fetch(directory / "out.csv")
    return (directory / "out.csv").read_text().splitlines()


def test_addresses_and_backends_come_page_by_page(slapd: Slapd, tmp_path: Path) -> None:
    rows = fetch(settings(slapd), tmp_path)
    assert {row for row in rows if not row.startswith("u")} == {
        "bob@own.example,microsoft",
        "robert@own.example,microsoft",
        "Bob.B@own.example,microsoft",
        "eve@own.example,google",
        "none@stranger.example,google",
    }
    assert len(rows) == 5 + 1200, "more than the server gives at once"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"password": "wrong"}, "invalidCredentials"),
        ({"bind_dn": "", "password": ""}, "noSuchObject|insufficient|no address"),
        ({"base": "dc=nothing"}, "noSuchObject"),
        ({"filter": "(mail=*"}, "filter"),
        ({"most": 10}, "more than 10 addresses"),
        ({"url": "ldap://127.0.0.1:1"}, "refused|connection"),
        ({"timeout": 0.001}, "longer than|timed out|timeout"),
    ],
)
def test_what_cannot_be_had_is_told(slapd: Slapd, tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(MapUnavailable, match=f"(?i){said}"):
        fetch(settings(slapd, **more), tmp_path)


def test_a_referral_is_not_followed(tmp_path: Path) -> None:
    other = Slapd(tmp_path / "other", PEOPLE)
    elsewhere = f"ou=else,{BASE}"
    more = (
        f"dn: {elsewhere}\nobjectClass: referral\nobjectClass: extensibleObject\nou: else\nref: {other.url}/{BASE}\n\n"
    )
    server = Slapd(tmp_path / "ldap", PEOPLE, more=more)
    server.start()
    other.start()
    try:
        assert len(fetch(settings(server), tmp_path)) == 5, "one that lies inside what is searched is passed over"
        with pytest.raises(MapUnavailable, match=r"referral \(10\)"):
            fetch(settings(server, base=elsewhere), tmp_path)
    finally:
        server.stop()
        other.stop()


def test_tls_is_checked(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    server = Slapd(tmp_path / "ldap", PEOPLE, (certificate, key))
    server.start()
    try:
        assert len(fetch(settings(server, ca_file=ca), tmp_path)) == 5
        with pytest.raises(MapUnavailable, match=r"(?i)certificate"):
            fetch(settings(server), tmp_path)
    finally:
        server.stop()
