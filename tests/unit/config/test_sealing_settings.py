"""[seal], `seal = true` and `trusted_sealers`: off by default, and every mistake named before the gateway starts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.app import make_runtime, make_sealing
from gateway.config.load import load
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.config.policies import fact_settings
from gateway.net.system import load_signer
from tests.support.sealing import pem
from tests.support.signing import rsa_key

FILE = """\
[server]
hostname = "mx.own.example"
[[listener]]
address = "127.0.0.1:2525"
[[domain]]
name = "own.example"
backend = "google"
[backend.google]
hosts = "mx"
{google}
[backend.microsoft]
hosts = "mx"
{microsoft}
[policy]
{policy}
{seal}
"""
SEAL = '[seal]\ndomain = "OWN.example"\nselector = "arc1"\nkey = "arc.pem"'


def read(directory: Path, seal: str = SEAL, google: str = "seal = true", policy: str = "") -> Config:
    file = directory / "waypost.toml"
    file.write_text(FILE.format(seal=seal, google=google, microsoft="", policy=policy))
    return load(file, {})


def problems(directory: Path, seal: str = SEAL) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        read(directory, seal)
    return [f"{one.setting}: {one.problem}; {one.fix}" for one in caught.value.mistakes]


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "arc.pem"
    file.write_bytes(pem(rsa_key()))
    return file


def test_it_is_off_by_default(tmp_path: Path) -> None:
    config = read(tmp_path, seal="", google="")
    assert config.seal is None
    assert not any(backend.seal for backend in config.backend.values())
    assert make_runtime(config).context.sealing is None
    assert fact_settings(config).trusted_sealers == frozenset()


def test_a_key_alone_seals_nothing(tmp_path: Path, key: Path) -> None:
    assert make_runtime(read(tmp_path, google="")).context.sealing is None


def test_the_backends_that_want_it_get_it(tmp_path: Path, key: Path) -> None:
    sealing = make_sealing(read(tmp_path))
    assert sealing is not None
    assert (sealing.sealer.domain, sealing.sealer.selector) == ("own.example", "arc1")
    assert sealing.backends == {"google"}


def test_the_signer_signs_a_digest(key: Path) -> None:
    digest = hashlib.sha256(b"octets").digest()
    rsa_key().public_key().verify(load_signer(key).sign(digest), b"octets", PKCS1v15(), SHA256())


def test_trusted_sealers_are_names(tmp_path: Path) -> None:
    config = read(tmp_path, seal="", google="", policy='trusted_sealers = ["Bücher.example", "lists.example"]')
    assert fact_settings(config).trusted_sealers == {"xn--bcher-kva.example", "lists.example"}


def test_a_backend_wants_a_seal_and_there_is_no_key(tmp_path: Path) -> None:
    assert problems(tmp_path, seal="") == [
        "backend.google.seal: there is no key to seal with; add [seal] with domain, selector and key, or remove this"
    ]


def test_the_file_is_not_there(tmp_path: Path) -> None:
    [said] = problems(tmp_path)
    assert said == f"seal.key: no file {tmp_path / 'arc.pem'}; create it or fix its path"


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"nothing", "holds no private key in PEM"),
        (pem(rsa_key(), b"secret"), "is encrypted"),
        (pem(rsa_key(1024)), "has 1024 bits; 2048 to 4096 are wanted"),
        (
            generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "is no RSA key",
        ),
    ],
)
def test_a_key_that_cannot_be_used(tmp_path: Path, octets: bytes, said: str) -> None:
    (tmp_path / "arc.pem").write_bytes(octets)
    [problem] = problems(tmp_path)
    assert problem.startswith(f"seal.key: {said}")


def test_a_directory_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "arc.pem").mkdir()
    [problem] = problems(tmp_path)
    assert problem.startswith("seal.key: cannot read ")


def test_every_setting_is_needed(tmp_path: Path) -> None:
    assert [one.partition(":")[0] for one in problems(tmp_path, "[seal]")] == [
        "seal.domain",
        "seal.selector",
        "seal.key",
    ]


def test_a_key_that_goes_away_before_the_start_is_a_mistake_too(tmp_path: Path, key: Path) -> None:
    config = read(tmp_path)
    key.unlink()
    with pytest.raises(ConfigErrors, match=r"seal\.key"):
        make_runtime(config)
