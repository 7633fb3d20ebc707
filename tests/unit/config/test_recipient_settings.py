"""Settings about recipients, and their faults."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.config.load import load
from gateway.config.maps import routing_table
from gateway.config.mistakes import ConfigErrors

TEXT = """\
[server]
hostname = "mx.own.example"
[[listener]]
address = "127.0.0.1:0"
[[domain]]
name = "own.example"
backend = "google"
{domain}
[backend.google]
hosts = "google.example"
{backend}
{more}
"""


def write(directory: Path, domain: str = "", backend: str = "", more: str = "") -> Path:
    file = directory / "waypost.toml"
    file.write_text(TEXT.format(domain=domain, backend=backend, more=more))
    return file


def test_what_the_table_takes_from_them(tmp_path: Path) -> None:
    more = '[routing.addresses]\n"a@own.example" = "google"'
    file = write(tmp_path, 'mailboxes = "listed"\ncallout = true', 'networks = ["192.0.2.0/28", "2001:db8::/64"]', more)
    table = routing_table(load(file, {}))
    assert (table.listed, table.callout) == ({"own.example"}, {"own.example"})
    assert table.origins == {"google": (ip_network("192.0.2.0/28"), ip_network("2001:db8::/64"))}
    plain = routing_table(load(write(tmp_path), {}))
    assert (plain.listed, plain.callout, plain.origins, plain.stale) == (set(), set(), {}, False)


@pytest.mark.parametrize(
    ("domain", "backend", "complaint"),
    [
        ('mailboxes = "listed"', "", "domain[0].mailboxes: no mailbox is listed; add [routing] addresses or maps"),
        ('mailboxes = "all"', "", 'domain[0].mailboxes: "all" is not known; write "listed" or "unknown"'),
        (
            "",
            'networks = ["192.0.2.1", "40.92.0.0/24"]',
            "backend.google.networks[1]: 40.92.0.0/24 reaches into 40.92.0.0/15, which all tenants of Microsoft 365 "
            "send from; list machines of your own only",
        ),
        ("", 'networks = "209.85.220.41"', "which all tenants of Google send from; list machines of your own only"),
    ],
)
def test_mistakes(tmp_path: Path, domain: str, backend: str, complaint: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(write(tmp_path, domain, backend), {})
    assert complaint in caught.value.format()
