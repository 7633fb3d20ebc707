"""Through a real HAProxy with PROXY v2 and STARTTLS: SPF, Received and the trace see the client, not the balancer."""

from __future__ import annotations

import json
import re
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import Gateway, free_port, send, wait_for_port
from tests.support.samples import plain

CLIENT = "127.0.0.77"


@pytest.fixture
def balancer(gateway: Gateway, tmp_path: Path) -> Iterator[int]:
    """The port of an HAProxy in front of the gateway."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("haproxy is not installed")
    port = free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        f"listen smtp\n  bind 127.0.0.1:{port}\n  server gateway 127.0.0.1:{gateway.port} send-proxy-v2\n"
    )
    process = subprocess.Popen([program, "-f", str(config), "-db"])
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def test_the_true_client_is_judged(gateway: Gateway, balancer: int) -> None:
    gateway.zone["sender.example"] = {"TXT": [f"v=spf1 ip4:{CLIENT} -all"]}
    gateway.listener = 'proxy_from = ["127.0.0.1"]'
    gateway.start()
    with smtplib.SMTP(
        "127.0.0.1", balancer, local_hostname="client.sender.example", timeout=30, source_address=(CLIENT, 0)
    ) as client:
        client.ehlo()
        client.starttls(context=gateway.client_tls)
        client.ehlo()
        code, text = send(client, "author@sender.example", ["alice@corp.example"], plain("author@sender.example"))
    assert code == 250, text
    [(octets, _)] = gateway.google.wait(1)
    received = octets.partition(b"Received: ")[2].partition(b"\r\nFrom:")[0]
    assert f"[{CLIENT}]".encode() in received
    assert b"with ESMTPS" in received
    assert b"127.0.0.1]" not in received
    assert b"spf=pass smtp.mailfrom=sender.example" in octets
    found = re.search(r"\((\w+)\)$", text)
    assert found
    story = json.loads(gateway.run("explain", found[1], "--config", str(gateway.config_path), "--json").stdout)
    assert story["ingress"]["client"] == CLIENT
    assert story["ingress"]["source"] == "proxy"
    assert story["results"]["spf"]["result"] == "pass"
