"""The parts of the demo: messages, zone, configuration and certificates."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import dkim
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from gateway.config.load import load
from gateway.demo.authority import DemoAuthority, write_private
from gateway.demo.layout import Layout, NotRunning, State
from gateway.demo.messages import Sample, make_samples
from gateway.demo.settings import make_settings
from gateway.demo.zone import make_zone
from gateway.mail.octets import OctetScanner
from gateway.model.dnsdata import Question
from gateway.net.resolver import read_zone


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def samples(key: RSAPrivateKey) -> dict[str, Sample]:
    return {one.kind: one for one in make_samples(key, 1795295400.0, "token")}


def test_stock_dkimpy_verifies_the_signed_sample(key: RSAPrivateKey, samples: dict[str, Sample]) -> None:
    zone = read_zone(make_zone(key))

    def answer(name: bytes, timeout: int = 5) -> bytes:
        return zone.find(Question(name.decode(), "TXT")).records[0].encode()

    octets = samples["signed"].octets
    assert dkim.verify(octets, dnsfunc=answer)
    assert not dkim.verify(octets.replace(b"--inner--\r\n--outer", b"--inner--\r\n\r\n--outer"), dnsfunc=answer)
    assert not dkim.verify(octets.replace(b"A signed sample", b"A forged sample"), dnsfunc=answer)


def test_samples_are_what_they_are_for(samples: dict[str, Sample]) -> None:
    assert list(samples) == ["signed", "spoof", "plain"]
    signed = samples["signed"].octets
    assert b"--inner--\r\n--outer\r\n" in signed
    assert b"\r\n.a line" in signed
    assert not signed.isascii()
    assert b"Content-Disposition: attachment" in signed
    assert b"From: Microsoft Security <security@microsoft.com>" in samples["spoof"].octets
    assert not any(b"DKIM-Signature" in samples[kind].octets for kind in ("spoof", "plain"))
    for sample in samples.values():
        scanner = OctetScanner()
        scanner.update(sample.octets)
        assert not scanner.bare_newline
        assert max(len(line) for line in sample.octets.split(b"\r\n")) <= 998


def test_message_ids_tell_runs_apart(key: RSAPrivateKey) -> None:
    first, second = (make_samples(key, 1795295400.0, token)[2].octets for token in ("one", "two"))
    assert first != second


def test_the_configuration_is_a_valid_one(tmp_path: Path, key: RSAPrivateKey) -> None:
    layout = Layout(tmp_path)
    layout.directory.mkdir(parents=True)
    authority = DemoAuthority()
    authority.write(layout.ca_file)
    authority.issue(layout.certificate("gateway"), layout.key("gateway"), "mx.demo.example", "127.0.0.1")
    layout.zone.write_text(make_zone(key))
    layout.config.write_text(make_settings(layout, 2525, 8025, {"google": 1, "microsoft": 2}))
    config = load(layout.config, {})
    assert config.server.spool == layout.directory / "spool"
    assert config.listener[0].address == "127.0.0.1:2525"
    assert config.backend["google"].tls == config.backend["microsoft"].tls == "required"
    assert config.backend["google"].one_domain_per_transaction
    assert config.routing.addresses == {"alice@demo.example": ("google",), "bob@demo.example": ("microsoft",)}
    assert config.dns.zone == layout.zone


def test_certificates_carry_names_and_addresses(tmp_path: Path) -> None:
    DemoAuthority().issue(tmp_path / "c.pem", tmp_path / "c.key", "mx.demo.example", "127.0.0.1")
    certificate = x509.load_pem_x509_certificate((tmp_path / "c.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.demo.example"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert stat.S_IMODE((tmp_path / "c.key").stat().st_mode) == 0o600


def test_private_files_are_private_from_the_start(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"secret")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert (tmp_path / "key").read_bytes() == b"secret"


def test_state(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with pytest.raises(NotRunning, match="make run"):
        State.read(layout)
    layout.directory.mkdir(parents=True)
    State(2525, 8025).write(layout)
    assert State.read(layout) == State(2525, 8025)
    for broken in ("", "[]", "{}", '{"port": "x", "admin_port": 1}', json.dumps(None)):
        layout.state.write_text(broken)
        with pytest.raises(NotRunning):
            State.read(layout)
