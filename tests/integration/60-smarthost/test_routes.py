"""The outgoing routes: to the MX of each recipient's domain, through the next smarthost with a login, and real Postfix
at both ends."""

from __future__ import annotations

import os
import smtplib
from pathlib import Path

import pytest

from tests.support.gateway_process import send
from tests.support.mtas import missing, run_postfix
from tests.support.smarthost import MACHINE, Pair

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]

MESSAGE = b"From: ann@corp.example\r\nTo: carl@far.example\r\nSubject: out\r\n\r\nText.\r\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="port 25 needs root")
def test_direct_to_the_mx_of_each_domain(tmp_path: Path) -> None:
    pair = Pair(tmp_path, route="direct")
    pair.a.delivery += '\nmx_networks = ["127.0.0.60/30"]'
    pair.b.settings = f"""
[[domain]]
name = "backup.example"
backend = "google"
[[listener]]
name = "port 25"
address = "127.0.0.61:25"
certificate = "{pair.b.certificate}"
key = "{pair.b.key}"
"""
    pair.a.zone = {
        **pair.zone(),
        "null.example": {"MX": ["0 ."]},
        "backup.example": {"MX": ["10 dead.backup.example", "20 mx.far.example"]},
        "dead.backup.example": {"A": ["127.0.0.62"]},
        "dead.example": {"MX": ["10 dead.backup.example"]},
    }
    pair.start()
    try:
        with pair.login() as client:
            for number in range(4):  # nothing listens there: that must not make other mail wait
                assert send(client, "ann@corp.example", [f"x{number}@dead.example"], MESSAGE)[0] == 250
            pair.wait_for("deferred")
            rcpts = ["carl@far.example", "dora@far.example", "bob@corp.example"]
            assert send(client, "ann@corp.example", rcpts, MESSAGE)[0] == 250
            octets, facts = pair.b.google.wait(1, 4)[0]
            assert send(client, "ann@corp.example", ["x@null.example"], MESSAGE)[0] == 250
            assert send(client, "ann@corp.example", ["eve@backup.example"], MESSAGE)[0] == 250
        assert facts["rcpts"] == ["carl@far.example", "dora@far.example"], "one transaction for a domain"
        assert octets.count(b"dkim=pass") == 2
        assert b"with ESMTPS id" in octets, "opportunistic TLS"
        assert len(pair.a.microsoft.wait(1)) == 1
        (bounce,) = [octets for octets, facts in pair.a.google.wait(1) if facts["mail_from"] == ""]
        assert b"x@null.example" in bounce
        assert b"5.1.10" in bounce  # RFC 7505 section 4.2
        assert any(facts["rcpts"] == ["eve@backup.example"] for _, facts in pair.b.google.wait(2))
    finally:
        pair.stop()


def test_through_the_next_smarthost_with_a_login(tmp_path: Path) -> None:
    """The first pair's A logs in at the second's as ann, who may send as herself alone."""
    (tmp_path / "next").mkdir()
    (tmp_path / "first").mkdir()
    provider = Pair(tmp_path / "next")
    first = Pair(
        tmp_path / "first",
        route="provider",
        settings=f"""
[backend.provider]
hosts = ["127.0.0.1:{provider.submission}"]
tls = "required"
tls_names = ["mx.gateway.example"]
ca_file = "{provider.a.ca_file}"
login = "ann"
password = "right"
""",
    )
    provider.start()
    first.a.start()
    try:
        with first.login() as client:
            assert send(client, "ann@corp.example", ["carl@far.example"], MESSAGE)[0] == 250
        octets, _ = provider.b.google.wait(1)[0]
        assert b"with ESMTPSA id" in octets
    finally:
        first.stop()
        provider.stop()


def test_a_wrong_password_at_the_next_smarthost_bounces_nothing_and_alarms(tmp_path: Path) -> None:
    (tmp_path / "next").mkdir()
    (tmp_path / "first").mkdir()
    provider = Pair(tmp_path / "next")
    lines = f"""
[backend.provider]
hosts = ["127.0.0.1:{provider.submission}"]
tls = "required"
tls_names = ["mx.gateway.example"]
ca_file = "{provider.a.ca_file}"
login = "ann"
password = "wrong"
"""
    first = Pair(tmp_path / "first", route="provider", settings=lines)
    provider.start()
    first.a.start()
    try:
        with first.login() as client:
            assert send(client, "ann@corp.example", ["carl@far.example"], MESSAGE)[0] == 250
        deferred = first.wait_for("deferred")
        assert "535" in str(deferred["reply"])
        assert deferred["scope"] == "ours"
        assert first.a.google.received() + first.a.microsoft.received() == []
    finally:
        first.stop()
        provider.stop()


def test_a_real_postfix_as_client_and_another_as_next_hop(tmp_path: Path) -> None:
    """An application's Postfix, A, another Postfix, B: SPF is judged at B alone, and every signature survives."""
    (tmp_path / "pair").mkdir()
    receiving = Pair(tmp_path / "pair")
    with run_postfix({"far.example": receiving.b.port}) as hop:
        receiving.route = "postfix"
        receiving.settings = f'[backend.postfix]\nhosts = ["127.0.0.1:{hop.port}"]\n'
        receiving.compose()
        receiving.start()
        try:
            with (
                run_postfix({"far.example": receiving.smarthost}, source=MACHINE) as application,
                smtplib.SMTP("127.0.0.1", application.port, timeout=20) as client,
            ):
                assert send(client, "ann@corp.example", ["carl@far.example"], MESSAGE)[0] == 250
                octets, _ = receiving.b.google.wait(1, 40)[0]
        finally:
            receiving.stop()
    assert octets.count(b"dkim=pass") == 2
    assert octets.count(b"spf=") == 1
    assert b"spf=pass" in octets
    assert b"dmarc=pass" in octets
