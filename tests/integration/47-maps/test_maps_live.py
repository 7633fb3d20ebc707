"""Maps from a file, a web server and a real LDAP server: a change counts in the stated time, and a source that is down
keeps the last good copy, also over a restart."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import ROOT, Gateway
from tests.support.slapd import ADMIN, BASE, PASSWORD, Slapd
from tests.support.webserver import WebServer

pytestmark = pytest.mark.slow

EVERY = 1.0
LOOK = 3.0
"""docs/recipients.md: 1 to 3 seconds after the file, or the copy of a fetched map, has changed."""
BUSY = 4.0
"""Seconds that this machine may take besides."""


@pytest.fixture
def slapd(tmp_path: Path) -> Iterator[Slapd]:
    server = Slapd(tmp_path / "ldap", [("lea", ["lea@listed.example"], False)])
    server.start()
    yield server
    server.stop()


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer("hugo@listed.example,google\n") as server:
        yield server


def configure(gateway: Gateway, slapd: Slapd, web: WebServer) -> None:
    (gateway.directory / "people.csv").write_text("carl@listed.example,google\n")
    (gateway.directory / "ldap.secret").write_text(PASSWORD)
    gateway.settings = f"""
[[domain]]
name = "listed.example"
backend = "google"
mailboxes = "listed"
[routing]
maps = ["people.csv"]
[[routing.http]]
name = "web"
url = "{web.url}"
every = {EVERY}
[[routing.ldap]]
name = "people"
url = "{slapd.url}"
bind_dn = "{ADMIN}"
password = "file:ldap.secret"
base = "{BASE}"
addresses = "mail"
backend = "microsoft"
every = {EVERY}
"""


def reply(gateway: Gateway, name: str) -> int:
    with gateway.smtp(tls=False) as client:
        client.mail("a@sender.example")
        return client.rcpt(f"{name}@listed.example")[0]


def wait_for(gateway: Gateway, code: int, name: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (found := reply(gateway, name)) != code:
        assert time.monotonic() < end, (name, found, gateway.log())
        time.sleep(0.1)


def test_sources_change_fail_and_come_back(gateway: Gateway, slapd: Slapd, web: WebServer) -> None:
    configure(gateway, slapd, web)
    gateway.start(backends=False)
    for name in ("carl", "hugo", "lea"):
        wait_for(gateway, 250, name, EVERY + LOOK + BUSY)
    wait_for(gateway, 550, "nobody", EVERY + LOOK + BUSY)

    (gateway.directory / "people.csv").write_text("carl@listed.example,google\nclara@listed.example,google\n")
    wait_for(gateway, 250, "clara", LOOK + BUSY)
    web.content += "helga@listed.example,microsoft\n"
    wait_for(gateway, 250, "helga", EVERY + LOOK + BUSY)
    slapd.stop()
    slapd.load([("lea", ["lea@listed.example"], False), ("lou", ["lou@listed.example"], False)])
    slapd.start()
    wait_for(gateway, 250, "lou", EVERY + LOOK + BUSY)

    slapd.stop()
    web.stop()
    (gateway.directory / "people.csv").write_text("carl@listed.example")
    time.sleep(EVERY + LOOK)
    alarms = {str(event["event"]) for event in gateway.events() if event["level"] == "alarm"}
    assert {"map-unavailable", "map-unreadable"} <= alarms
    people = ("carl", "clara", "hugo", "helga", "lea", "lou")
    assert [reply(gateway, name) for name in people] == [250] * len(people)

    gateway.kill()
    gateway.start_gateway()
    assert [reply(gateway, name) for name in people] == [250] * len(people), "the copies are on disk"
    assert reply(gateway, "nobody") == 550

    web.content = "hugo@listed.example,google\n"
    web.start()
    wait_for(gateway, 550, "helga", EVERY + LOOK + BUSY)


def test_until_a_map_was_fetched_nobody_is_refused_for_it(gateway: Gateway, slapd: Slapd, web: WebServer) -> None:
    web.stop()
    slapd.stop()
    configure(gateway, slapd, web)
    gateway.start(backends=False)
    assert reply(gateway, "carl") == 250
    assert reply(gateway, "hugo") == 451
    web.start()
    slapd.start()
    wait_for(gateway, 250, "hugo", EVERY + LOOK + BUSY)
    wait_for(gateway, 550, "nobody", EVERY + LOOK + BUSY)


MEASURE = """
import resource, sys
from pathlib import Path
from gateway.config.maps import read_map

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before = resident()
entries, wrong = read_map(Path(sys.argv[1]), {"own.example"}, {"google", "microsoft"})
assert len(entries) == 100_000 and not wrong
print(resident() - before)
"""


def test_a_hundred_thousand_addresses_take_less_than_100_mb(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("".join(f"first.last{at}@own.example,{('google', 'microsoft')[at % 2]}\n" for at in range(100_000)))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert 0 < int(ran.stdout) < 100_000_000
