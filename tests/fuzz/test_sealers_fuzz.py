"""ARC sets from hostile senders: neither trust nor sealing may raise, and our own sets stay well formed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.authentication.arc import chain_fields
from gateway.authentication.signing import Sealer, seal
from gateway.mail.author import find_author
from gateway.mail.header import parse_header
from gateway.model.result import ArcResult, ArcVerdict
from gateway.policy.sealers import find_trusted
from tests.support.sealing import HOPS, pass_on, read
from tests.support.signing import MESSAGE, NOW

NAMES = ("ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results", "From", "DKIM-Signature", "To")
PIECES = (
    "i=1",
    "i=01",
    "i=99",
    ";",
    "=",
    " ",
    "(",
    ")",
    '"',
    "\\",
    "\r\n\t",
    "\t",
    "h=from",
    "d=one.example",
    "s=",
    "cv=",
)
MORE = ("dmarc=pass", "header.from=src.example", "smtp.remote-ip=", "::1", "%", "\0", "\x80", "é", "mx", ",", "<a@b.c>")
values = st.lists(st.sampled_from(PIECES + MORE) | st.text(max_size=4), max_size=25).map("".join)
headers = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=12).map(
    lambda rows: "".join(f"{name}: {value}\r\n" for name, value in rows).encode("utf-8", "surrogatepass")
)
SEALED = pass_on(MESSAGE, 2)


@given(headers, st.integers(0, 51))
@settings(max_examples=300, deadline=None)
def test_trust_never_raises_and_says_one_bounded_line(block: bytes, count: int) -> None:
    header = parse_header(block)
    found = find_trusted(
        header, ArcResult(ArcVerdict.PASS, 0, ("one.example",) * count), find_author(header), {"one.example"}
    )
    assert found == "" or (found.startswith("arc=pass as[") and len(found) <= 1000)
    assert found.isascii()
    assert found.isprintable()


@given(headers)
@settings(max_examples=200, deadline=None)
def test_sealing_whatever_header_makes_three_fields(block: bytes) -> None:
    evidence, header = read(block + b"\r\nbody\r\n")
    sealer = Sealer(HOPS[0], "arc", lambda digest: digest * 8)
    results = b"ARC-Authentication-Results: i=1; mx.one.example; dmarc=none\r\n"
    made = seal(evidence, header, results, 1, ArcVerdict.NONE, sealer, NOW)
    assert [len(parse_header(field)) for field in made] == [1, 1, 1]
    assert all(len(field) < 8192 for field in made)


@given(st.integers(0, len(SEALED) - 1), st.sampled_from([b"", b";", b"\0", b"=", b"\r\n", b"i=2; "]))
@settings(max_examples=200, deadline=None)
def test_a_damaged_chain_has_whole_sets_or_none(at: int, octets: bytes) -> None:
    header = read(SEALED[:at] + octets + SEALED[at + 1 :])[1]
    assert len(chain_fields(header)) % 3 == 0
