"""The composition of an ARC set: its coverage, its length, and its refusals."""

from __future__ import annotations

import pytest

from gateway.authentication.signing import CannotSign, Sealer, seal
from gateway.mail import authres
from gateway.mail.header import Field, fields, parse_header, unfold
from gateway.mail.tokens import parse_tags
from gateway.model.result import ArcVerdict
from gateway.model.value import replace
from tests.support.sealing import HOPS, INGRESS, authenticate, pass_on, read, rsa_operation, seal_at, validate
from tests.support.signing import MESSAGE, NOW, rsa_key, sign

SEALER = Sealer("one.example", "arc", rsa_operation(rsa_key()))
RESULTS = b"ARC-Authentication-Results: i=1; mx.one.example; dmarc=pass header.from=src.example\r\n"


def compose(message: bytes) -> tuple[bytes, bytes, bytes]:
    evidence, header = read(message)
    return seal(evidence, header, RESULTS, 1, ArcVerdict.NONE, SEALER, NOW)


def tags(field: bytes) -> dict[str, str]:
    found = parse_tags(unfold(parse_header(field)[0].value))
    assert found is not None
    return found


def names(message: bytes) -> list[str]:
    return tags(compose(message)[1])["h"].replace("\t", "").replace(" ", "").split(":")


def test_the_set_stands_in_order_and_says_what_it_must() -> None:
    made = compose(MESSAGE)
    assert [parse_header(field)[0].name for field in made] == [
        "ARC-Seal",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
    ]
    assert all(field.endswith(b"\r\n") and len(parse_header(field)) == 1 for field in made)
    assert set(tags(made[0])) == {"a", "b", "cv", "d", "i", "s", "t"}  # RFC 8617 section 4.1.3: no h=
    assert set(tags(made[1])) == {"a", "b", "bh", "c", "d", "h", "i", "s", "t"}
    assert (tags(made[0])["cv"], tags(made[0])["t"]) == ("none", "1790000000")
    assert made[2] == RESULTS


def test_sealing_again_gives_the_same_octets() -> None:
    assert compose(sign()) == compose(sign())


def test_what_hops_write_is_not_signed_and_from_is_signed_once_more() -> None:
    above = b"".join(
        b"%s: x\r\n" % name
        for name in (
            b"Received",
            b"Return-Path",
            b"Authentication-Results",
            b"X-Waypost-Verdict",
            b"ARC-Seal",
            b"X-Any",
        )
    )
    assert names(above + sign()) == ["from", "from", "to", "subject", "date", "dkim-signature"]


def test_every_signature_of_the_message_is_covered() -> None:
    assert names(sign(sign())).count("dkim-signature") == 2


def test_a_header_of_thousands_makes_no_field_that_verifiers_refuse() -> None:
    message = b"To: x@y.example\r\n" * 5000 + b"Content-Transfer-Encoding: 8bit\r\n" * 5000 + MESSAGE
    made = compose(message)
    assert names(message).count("to") == 16
    assert max(map(len, made)) < 8192
    assert validate(b"".join(made) + message).result is ArcVerdict.PASS


def test_lines_stay_short_but_for_the_signature_itself() -> None:
    lines = [line for field in compose(sign())[:2] for line in field.split(b"\r\n") if b"b=" not in line[:3]]
    assert max(map(len, lines)) <= 78
    assert max(len(line) for field in compose(sign()) for line in field.split(b"\r\n")) < 998  # RFC 5322 section 2.1.1


def test_a_seal_covers_the_sets_before_it_in_order() -> None:
    two = pass_on(MESSAGE, 2)
    header = read(two)[1]
    first = next(field for field in fields(header, "arc-seal") if b"i=1" in field.value)
    moved = two[: first.start] + two[first.end :]
    # The older set's place in the header does not matter, only its presence.
    assert validate(two[first.start : first.end] + moved).result is ArcVerdict.PASS
    assert validate(moved).result is ArcVerdict.FAIL


def test_a_dropped_field_is_as_if_it_had_never_been() -> None:
    forged = b"Subject: forged\r\n"
    evidence, header = read(forged + MESSAGE)
    made = seal(evidence, header[1:], RESULTS, 1, ArcVerdict.NONE, SEALER, NOW)
    assert validate(b"".join(made) + MESSAGE).result is ArcVerdict.PASS


def test_over_a_failed_chain_only_the_own_set_is_covered() -> None:
    """RFC 8617 section 5.1.2, which the gateway itself never uses."""
    broken = pass_on(MESSAGE, 1).replace(b"t=1790000000", b"t=1790000001", 1)
    evidence, header = read(broken)
    results = RESULTS.replace(b"i=1", b"i=2")
    made = seal(evidence, header, results, 2, ArcVerdict.FAIL, SEALER, NOW)
    without = tuple(field for field in header if not field.lower.startswith("arc-"))
    assert tags(made[0])["cv"] == "fail"
    assert made == seal(evidence, without, results, 2, ArcVerdict.FAIL, SEALER, NOW)


def test_without_a_body_digest_there_is_no_seal() -> None:
    evidence, header = read(MESSAGE)
    with pytest.raises(CannotSign):
        seal(replace(evidence, digests=()), header, RESULTS, 1, ArcVerdict.NONE, SEALER, NOW)


def test_a_message_without_header_is_sealed() -> None:
    made = compose(b"\r\nHello.\r\n")
    assert validate(b"".join(made) + b"\r\nHello.\r\n").result is ArcVerdict.PASS


def parsed(field: bytes) -> Field:
    return parse_header(field)[0]


def test_sealed_results_hold_no_comment_and_nothing_else_is_lost() -> None:
    results = authenticate(pass_on(sign(), 1))
    own = authres.compose("mx.two.example", results, INGRESS)
    sealed = authres.compose_sealed(2, "mx.two.example", results, INGRESS)
    assert b"(" in own
    assert b"(" not in sealed
    number, _, rest = unfold(parsed(sealed).value).partition(";")
    assert number == "i=2"
    assert authres.parse(rest) == authres.parse(unfold(parsed(own).value))


def test_each_hop_names_itself() -> None:
    assert validate(seal_at(HOPS[1], pass_on(MESSAGE, 1))).sealers == HOPS[:2]
