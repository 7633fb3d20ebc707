"""How near a configured certificate is to its end, and whether it fits the host name."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from gateway.config.model import Config
from gateway.service.certificates import examine_certificates


def configure(directory: Path, name: str, days: float) -> Config:
    issued = trustme.CA().issue_cert(name, not_after=datetime.now(UTC) + timedelta(days=days))
    file = directory / "server.pem"
    file.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    return Config.model_validate(
        {
            "server": {"hostname": "mx.gateway.example", "spool": str(directory / "spool")},
            "listener": [{"name": "mx", "address": "127.0.0.1:25", "certificate": str(file)}],
            "domain": [{"name": "corp.example", "backend": "inside"}],
            "backend": {"inside": {"hosts": ["192.0.2.1"], "certificate": str(file)}},
        }
    )


@pytest.mark.parametrize(
    ("name", "days", "state"),
    [
        ("mx.gateway.example", 20, "good"),
        ("mx.gateway.example", 13.9, "soon"),
        ("mx.gateway.example", 2.9, "urgent"),
        ("mx.gateway.example", -1, "ended"),
        ("*.gateway.example", 20, "good"),
        ("mail.gateway.example", 20, "foreign"),
        ("*.example", 20, "foreign"),
    ],
)
def test_state_of_a_listeners_certificate(tmp_path: Path, name: str, days: float, state: str) -> None:
    listener, backend = examine_certificates(configure(tmp_path, name, days), time.time())
    assert (listener.where, listener.state, listener.names) == ("listener mx", state, (name,))
    # A client certificate is not shown to clients, so its name is not compared.
    assert (backend.where, backend.state) == ("backend inside", "good" if state == "foreign" else state)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    config = configure(tmp_path, "mx.gateway.example", 20)
    (tmp_path / "server.pem").write_text("nothing")
    assert [one.state for one in examine_certificates(config, time.time())] == ["unreadable", "unreadable"]
