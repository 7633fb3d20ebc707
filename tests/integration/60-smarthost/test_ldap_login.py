"""People whose passwords a real directory checks."""

from __future__ import annotations

import shutil
import smtplib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.edge import LdapLogin
from gateway.config.recipients import LoginsUnavailable
from tests.support.gateway_process import send
from tests.support.slapd import ADMIN, BASE, PASSWORD, Slapd
from tests.support.smarthost import Pair

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of ldap3 about pyasn1
    from gateway.net.ldap import LdapLogins

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.skipif(shutil.which("slapd", path="/usr/sbin:/usr/bin") is None, reason="slapd is not installed"),
]

DN = f"cn={{login}},{BASE}"


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    made = Slapd(tmp_path / "slapd", [("ann", ["ann@corp.example"], False)])
    made.start()
    yield made
    made.stop()


def test_who_can_bind_may_log_in(slapd: Slapd) -> None:
    logins = LdapLogins(LdapLogin(url=slapd.url, dn=DN))
    assert DN.format(login="admin") == ADMIN
    assert logins.check("admin", PASSWORD)
    assert not logins.check("admin", "wrong")
    assert not logins.check("nobody", PASSWORD)


NAMES = ["", "admin,dc=own", "admin+cn=x", "a\0b", "*", "admin)(cn=*", '"admin"', " admin", "#admin"]
SPELLINGS = ["\uff41dmin", "ad\u00admin", "ad\u200bmin", "admin\ufe0f", "ad\x07min"]
"""Names that are `admin` to a directory, and a different sender each time to our limits, locks and suspensions."""


@pytest.mark.parametrize("name", NAMES + SPELLINGS)
def test_a_name_cannot_be_another_entry(slapd: Slapd, name: str) -> None:
    assert not LdapLogins(LdapLogin(url=slapd.url, dn=DN)).check(name, PASSWORD)


def test_an_empty_password_proves_nothing(slapd: Slapd) -> None:
    """RFC 4513 section 5.1.2: the directory would accept."""
    assert not LdapLogins(LdapLogin(url=slapd.url, dn=DN)).check("admin", "")


def test_a_directory_that_is_down_is_no_wrong_password(slapd: Slapd) -> None:
    slapd.stop()
    with pytest.raises(LoginsUnavailable):
        LdapLogins(LdapLogin(url=slapd.url, dn=DN, timeout=2)).check("admin", PASSWORD)


def test_through_the_gateway(slapd: Slapd, tmp_path: Path) -> None:
    lines = '[[sender]]\nname = "admin"\nlogin = "admin"\nowns = ["boss@corp.example"]\n'
    (tmp_path / "pair").mkdir()
    pair = Pair(tmp_path / "pair", settings=f'[submission.ldap]\nurl = "{slapd.url}"\ndn = "{DN}"\n{lines}')
    pair.start()
    try:
        for name, password in (("admin", PASSWORD), ("ann", "right")):
            with smtplib.SMTP("127.0.0.1", pair.submission, timeout=20) as client:
                client.starttls(context=pair.a.client_tls)
                client.login(name, password)
                sender = "boss@corp.example" if name == "admin" else "ann@corp.example"
                code, text = send(client, sender, ["carl@far.example"], f"From: {sender}\r\n\r\nText.\r\n".encode())
                assert code == 250, text
        slapd.stop()
        with smtplib.SMTP("127.0.0.1", pair.submission, timeout=20) as client:
            client.starttls(context=pair.a.client_tls)
            with pytest.raises(smtplib.SMTPAuthenticationError) as raised:
                client.login("admin", PASSWORD)
            assert raised.value.smtp_code == 454, "later, not never"
        assert pair.wait_for("logins-unavailable")["level"] == "alarm"
    finally:
        pair.stop()
