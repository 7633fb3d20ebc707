"""Invariant: a DKIM tag list, signature or key is read or refused, without an exception; a value that is read reads
back the same."""

from __future__ import annotations

from collections.abc import Callable

from gateway.authentication.body import wanted_digests
from gateway.authentication.dkim import read_identity
from gateway.authentication.dkimpy import MAX_BITS, MIN_BITS, read_key
from gateway.authentication.signature import read_signature
from gateway.mail.header import parse_header, unfold
from gateway.mail.tokens import parse_tags
from tests.fuzz.mutation import CASES, run, values
from tests.support.signing import ed25519_key, key_record, rsa_key

WORDS = [
    b"; v=1",
    b"; a=rsa-sha1",
    b"; l=5",
    b"; x=1",
    b"; t=9",
    b"; i=@b",
    b"; c=simple",
    b"; q=dns/txt",
    b"b=",
    b"h=from:",
    b"p=",
]


def check_signature(octets: bytes) -> None:
    block = b"DKIM-Signature:" + octets.replace(b"\r\n", b"\r\n ") + b"\r\n"
    header = parse_header(block)
    field = header[0]
    tags = parse_tags(unfold(field.value))
    if tags is not None:
        assert parse_tags(";".join(f"{name}={value}" for name, value in tags.items())) == tags
    signature = read_signature(field, "v bh h", "simple/simple")
    assert signature.problem or (signature.domain and signature.selector and signature.octets and signature.body_hash)
    if not signature.problem:
        assert len(signature.question.name) <= 253
        assert all(name == name.strip().lower() and name for name in signature.names)
    read_identity(signature)
    assert len(wanted_digests(header)) <= 2


def check_key(octets: bytes) -> None:
    key = read_key(octets.decode("latin-1"))
    assert bool(key.public) is not bool(key.problem)
    if key.type == "rsa" and key.public:
        assert MIN_BITS <= getattr(key.public, "key_size", 0) <= MAX_BITS
    assert not key.verifies(b"x" * 64, b"y" * 32)


def test_signatures(full_count: Callable[[int], int]) -> None:
    run(values(b"DKIM-Signature"), full_count(CASES), check_signature, WORDS)


def test_keys(full_count: Callable[[int], int]) -> None:
    samples = [
        key_record().encode(),
        key_record(rsa_key(1024), "t=s; h=sha256;").encode(),
        key_record(ed25519_key()).encode(),
    ]
    run([*samples, b"v=DKIM1; p="], full_count(CASES), check_key, WORDS)
