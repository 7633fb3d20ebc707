"""A configured host without an address in DNS: the text for the admin."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.mail.refusal import classify
from gateway.model.delivery import Scope
from gateway.net import mx
from gateway.net.mx import HostFinder, NoHost
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("mail.inside.example", "/etc/hosts, which has 192.0.2.5 for it, is not read: write its address into hosts"),
        ("MAIL:2525", "/etc/hosts, which has 192.0.2.5 for it, is not read: write its address into hosts"),
        ("other.example", "has no address in DNS: write its address into hosts"),
        ("other", "has no address in DNS: write its whole name into hosts"),
    ],
)
async def test_a_host_that_dns_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, said: str
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n192.0.2.5\tmail.inside.example mail # other other.example\n")
    monkeypatch.setattr(mx, "_HOSTS_FILE", hosts)
    finder = HostFinder(
        [host], "any", ZoneResolver(build_zone({"own.example": {"A": ["192.0.2.1"]}})), "gw", lambda: 0.0
    )
    with pytest.raises(NoHost) as raised:
        [one async for one in finder.candidates("own.example")]
    assert said in raised.value.reply.text
    assert raised.value.scope is Scope.OURS
    assert "/etc/hosts" in classify(raised.value.reply, "", backend=True).advice.admin
