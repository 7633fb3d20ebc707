"""Our own DKIM signatures: their coverage, that they verify, and that nothing can be added to the covered fields."""

from __future__ import annotations

import time

import dkim as stock
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.authentication.body import BodyHasher
from gateway.authentication.signing import DIGEST, LIFETIME, CannotSign, SigningKey, choose_names, find_keys, sign
from gateway.mail.header import parse_header, split_message, unfold
from gateway.mail.tokens import parse_tags
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.message import Evidence, Span
from gateway.model.result import DkimVerdict
from tests.support.sealing import rsa_operation
from tests.support.signing import MESSAGE, NOW, ed25519_key, key_record, rsa_key, verify

RSA = SigningKey("src.example", "r1", "rsa-sha256", rsa_operation(rsa_key()))
ED25519 = SigningKey("src.example", "e1", "ed25519-sha256", ed25519_key().sign)
DNS = {
    Question("r1._domainkey.src.example", "TXT"): Answer(DnsStatus.FOUND, (key_record(),)),
    Question("e1._domainkey.src.example", "TXT"): Answer(DnsStatus.FOUND, (key_record(ed25519_key()),)),
}
OVERSIGNED = (
    *("From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "In-Reply-To", "References"),
    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
)


def read(message: bytes) -> Evidence:
    block, body = split_message(message)
    hasher = BodyHasher({DIGEST})
    hasher.update(message[body:])
    return Evidence(block, hasher.digests(), len(message))


def signed(message: bytes = MESSAGE, added: bytes = b"", dropped: tuple[Span, ...] = (), now: float = NOW) -> bytes:
    """The message as it leaves: signatures, added fields, and the content without the dropped spans."""
    fields = sign(read(message), dropped, added, (RSA, ED25519), now)
    for span in reversed(dropped):
        message = message[: span.start] + message[span.end :]
    return b"".join(fields) + added + message


def results(message: bytes) -> list[str]:
    return [one.result for one in verify(message, DNS)]


def test_both_signatures_pass_and_the_rsa_one_stands_first() -> None:
    made = signed()
    assert [(one.selector, one.algorithm, one.result) for one in verify(made, DNS)] == [
        ("r1", "rsa-sha256", DkimVerdict.PASS),
        ("e1", "ed25519-sha256", DkimVerdict.PASS),
    ]


def test_stock_dkimpy_verifies_the_rsa_signature() -> None:
    made = signed(now=time.time())  # the verifier uses the real clock
    assert stock.DKIM(made).verify(0, dnsfunc=lambda name, timeout=5: key_record().encode())


@pytest.mark.parametrize("name", OVERSIGNED)
def test_a_further_field_of_a_name_that_people_see_breaks_both(name: str) -> None:
    added = f"{name}: evil@attacker.example\r\n".encode()
    assert results(added + signed()) == ["fail", "fail"]


def test_what_a_list_and_further_hops_add_breaks_nothing() -> None:
    above = b"Received: x\r\nList-Id: <l.example>\r\nList-Unsubscribe: <mailto:x@l.example>\r\nSender: l@l.example\r\n"
    assert results(above + signed()) == ["pass", "pass"]


def test_what_is_there_of_a_list_is_signed() -> None:
    message = b"List-Id: <own.src.example>\r\n" + MESSAGE
    assert results(signed(message).replace(b"<own.src", b"<oth.src")) == ["fail", "fail"]


def test_added_fields_are_signed_and_dropped_ones_are_not() -> None:
    message = b"X-Secret: hunter2\r\nSubject: other\r\n" + MESSAGE
    block = parse_header(message)
    gone = (Span(block[0].start, block[0].end), Span(block[1].start, block[1].end))
    made = signed(message, b"Message-ID: <1@mx.src.example>\r\n", gone)
    assert b"hunter2" not in made
    assert b"Subject: other" not in made
    assert results(made) == ["pass", "pass"]
    assert results(made.replace(b"<1@mx", b"<2@mx")) == ["fail", "fail"]


def test_the_tags_say_what_they_must() -> None:
    field = sign(read(MESSAGE), (), b"", (RSA,), NOW)[0]
    tags = parse_tags(unfold(parse_header(field)[0].value))
    assert tags is not None
    assert set(tags) == {"a", "b", "bh", "c", "d", "h", "s", "t", "v", "x"}
    assert (tags["c"], tags["d"], int(tags["x"]) - int(tags["t"])) == ("relaxed/relaxed", "src.example", LIFETIME)
    assert max(map(len, field.split(b"\r\n"))) < 998
    assert [one.result for one in verify(signed(), DNS, NOW + LIFETIME + 3600)] != ["pass", "pass"]


def test_a_name_is_named_once_more_than_it_stands_there() -> None:
    header = parse_header(b"From: a@b.example\r\nTo: c@d.example\r\nReceived: x\r\nAuthentication-Results: y\r\n")
    names = choose_names(header)
    assert (names.count("from"), names.count("to"), names.count("cc")) == (2, 2, 1)
    assert not {"received", "authentication-results", "return-path"} & set(names)
    many = parse_header(b"To: x\r\n" * 5000)
    assert choose_names(many).count("to") <= 17


def test_without_the_digest_nothing_is_signed() -> None:
    with pytest.raises(CannotSign):
        sign(Evidence(b"From: a@src.example\r\n", (), 20), (), b"", (RSA,), NOW)


def test_the_nearest_domain_signs() -> None:
    below = SigningKey("news.src.example", "n1", "rsa-sha256", RSA.sign)
    other = SigningKey("rc.example", "o1", "rsa-sha256", RSA.sign)
    keys = (ED25519, RSA, below, other)
    assert [key.selector for key in find_keys(keys, "src.example")] == ["r1", "e1"]
    assert [key.selector for key in find_keys(keys, "mail.src.example")] == ["r1", "e1"]
    assert [key.selector for key in find_keys(keys, "a.news.src.example")] == ["n1"]
    assert find_keys(keys, "example") == ()
    assert find_keys(keys, "evilsrc.example") == ()


def test_a_message_without_a_header_or_body_is_signed() -> None:
    for message in (b"", b"\r\n", b"From: a@src.example", b"From: a@src.example\r\n\r\n"):
        fields = sign(read(message), (), b"From: forced@src.example\r\n", (RSA,), NOW)
        assert len(fields) == 1


def test_another_key_does_not_verify() -> None:
    wrong = SigningKey("src.example", "e1", "ed25519-sha256", Ed25519PrivateKey.generate().sign)
    field = sign(read(MESSAGE), (), b"", (wrong,), NOW)[0]
    assert results(field + MESSAGE) == ["fail"]
