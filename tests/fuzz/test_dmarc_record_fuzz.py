"""Invariant: any TXT record is a DMARC policy with every default filled in or none, and its text is printable."""

from __future__ import annotations

from collections.abc import Callable

from gateway.authentication.dmarc import list_walk, select_records
from gateway.mail.domain import a_label
from gateway.model.result import DmarcPolicy, DmarcVerdict
from tests.fuzz.mutation import CASES, run

SAMPLES = [
    b"v=DMARC1; p=reject; sp=quarantine; np=none; rua=mailto:a@b.example!10m,https://x.example/; adkim=s; pct=0",
    b"v=DMARC1;p=none",
    b"v = DMARC1 ; psd=y; t=y; p=quarantine",
    b"v=DMARC1; rua=mailto:x@y.example",
    b"v=spf1 -all",
    b"",
    b"a.b.c.d.e.f.g.h.i.j.example",
]
WORDS = [b"p=reject", b"sp=", b";", b"t=y", b"psd=n", b"np=reject", b"v=DMARC1;", b"rua=mailto:"]


def check(octets: bytes) -> None:
    text = octets.decode("latin-1")
    found = select_records([text, "v=DMARC1; p=none"])
    assert 1 <= len(found) <= 2
    for record in found:
        assert record.text.isprintable()
        assert record.verdict in (None, DmarcVerdict.NONE, DmarcVerdict.PERMERROR)
        assert (record.verdict is None) is not bool(record.reason)
        assert record.psd in ("y", "n", "u")
        for policy in (record.policy, record.subdomain_policy, record.nonexistent_policy):
            assert record.apply(policy) in DmarcPolicy
            assert record.testing or record.apply(policy) is policy
    domain = a_label(text)
    if domain:
        names = list_walk(domain)
        assert names[0] == domain
        assert len(names) <= 8


def test_records(full_count: Callable[[int], int]) -> None:
    run(SAMPLES, full_count(CASES), check, WORDS)
