"""DKIM verdicts, one signature at a time."""

from __future__ import annotations

import base64
import re
import time

import dkim as stock
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_curve_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.authentication import dkim
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.mail.header import parse_header, split_message
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.message import Evidence
from gateway.model.result import DkimResult, DkimVerdict
from gateway.model.value import replace
from tests.support.signing import (
    MESSAGE,
    NOW,
    Signer,
    ed25519_key,
    evidence,
    key_record,
    rsa_key,
    sign,
    verify,
    window,
    zone,
)

FORMS = ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple", "relaxed", "simple"]
PERM, POLICY, FAIL, PASS = DkimVerdict.PERMERROR, DkimVerdict.POLICY, DkimVerdict.FAIL, DkimVerdict.PASS
BODY, SIGNATURE = "body hash did not verify", "signature did not verify"
KEY = Question("s._domainkey.src.example", "TXT")


def one(message: bytes, known: dict[Question, Answer] | None = None, now: float = NOW) -> DkimResult:
    (result,) = verify(message, known, now)
    return result


def said(result: DkimResult) -> tuple[DkimVerdict, str]:
    return result.result, result.reason


# --- signatures that pass


@pytest.mark.parametrize("form", FORMS)
def test_rsa_passes_under_every_canonicalisation(form: str) -> None:
    assert said(one(sign(c=form))) == (PASS, "")


@pytest.mark.parametrize("form", FORMS)
def test_ed25519_passes_under_every_canonicalisation(form: str) -> None:
    signer = Signer((("a", "ed25519-sha256"), ("c", form)), ed25519_key())
    assert one(signer.sign(MESSAGE) + MESSAGE, zone(key_record(ed25519_key()))).result is PASS


def test_c_is_simple_when_absent() -> None:
    assert one(sign(c=None)).result is PASS
    assert one(sign(c=None).replace(b"A  question", b"A question")).result is FAIL


@pytest.mark.parametrize("header_form", [b"relaxed", b"simple"])
@pytest.mark.parametrize("body_form", [b"relaxed", b"simple"])
def test_what_stock_dkimpy_signs(header_form: bytes, body_form: bytes) -> None:
    pem = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    field = stock.sign(MESSAGE, b"s", b"src.example", pem, canonicalize=(header_form, body_form))
    assert one(field + MESSAGE).result is PASS


def test_the_result_says_what_was_signed() -> None:
    result = one(sign(i="ann@mail.src.example", h="From : to:\r\n Subject"))
    assert result.result is PASS
    assert (result.domain, result.selector, result.algorithm) == ("src.example", "s", "rsa-sha256")
    assert result.identity == "ann@mail.src.example"
    assert result.signed_fields == ("from", "to", "subject")
    assert re.fullmatch(r"[A-Za-z0-9+/]{8}", result.signature)


def test_identity_is_the_domain_when_absent() -> None:
    assert one(sign()).identity == "@src.example"


def test_relaxed_survives_what_relays_do_to_white_space() -> None:
    message = sign().replace(b"A  question\r\n about", b" A question\tabout").replace(b"To:", b"TO :")
    assert one(message.replace(b"how  are you? \r\n", b"how are\t you?\t\r\n")).result is PASS


def test_simple_keeps_the_space_before_a_colon() -> None:
    spaced = MESSAGE.replace(b"To:", b"To :")
    field = Signer((("c", "simple/simple"), ("h", "from:subject"))).sign(spaced)
    assert one(field + spaced).result is PASS


@pytest.mark.parametrize(
    "line", [b" continuation first\r\n", b"no colon\r\n", b"From x@y Mon Nov\r\n", b"X-\xff: y\r\n"]
)
def test_lines_that_are_no_fields_do_no_harm(line: bytes) -> None:
    assert one(line + sign()).result is PASS


@pytest.mark.parametrize("fold", ["\r\n\t", "\r\n \r\n ", " ", ""])
@pytest.mark.parametrize("tags", [(), (("b", ""),), (("z", "b"), ("b", ""), ("bb", "x"))])
@pytest.mark.parametrize("form", ["simple/simple", "relaxed/relaxed"])
def test_folding_between_tags_and_b_anywhere(fold: str, tags: tuple[tuple[str, str], ...], form: str) -> None:
    assert one(Signer((*tags, ("c", form)), fold=fold).sign(MESSAGE) + MESSAGE).result is PASS


def test_signatures_of_either_form_over_the_same_fields() -> None:
    fields = [Signer((("c", form),)).sign(MESSAGE) for form in ("relaxed/simple", "simple/relaxed", "relaxed/relaxed")]
    for order in (fields, fields[::-1]):
        assert [each.result for each in verify(b"".join(order) + MESSAGE)] == [PASS] * 3


@pytest.mark.parametrize("form", ["simple/simple", "relaxed/relaxed"])
def test_white_space_in_and_around_the_b_value_is_not_signed(form: str) -> None:
    for signed in (sign(c=form), sign(b="here", c=form)):
        folded = re.sub(rb" b=(\S{20})([^;\s]+)", rb" b= \1\r\n\t\2 \r\n ", signed, count=1)
        assert folded != signed
        assert one(folded).result is PASS


def test_a_message_that_ends_in_its_header() -> None:
    message = b"From: a@src.example\r\n"
    assert one(Signer((("h", "from"),)).sign(message) + message).result is PASS


# --- signatures that fail


def test_an_altered_body() -> None:
    assert said(one(sign() + b"footer\r\n")) == (FAIL, BODY)


def test_an_altered_field() -> None:
    assert said(one(sign().replace(b"ann@", b"eve@"))) == (FAIL, SIGNATURE)


def test_another_key() -> None:
    assert said(one(sign(), zone(key_record(rsa_key(1024))))) == (FAIL, SIGNATURE)


def test_a_blank_line_between_boundaries_breaks_the_body_hash() -> None:
    mail = MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n--a\r\n--b\r\n\r\nx\r\n--b--\r\n--a--\r\n"
    assert one(sign(mail)).result is PASS
    assert said(one(sign(mail).replace(b"--b--\r\n", b"--b--\r\n\r\n"))) == (FAIL, BODY)


def test_fields_are_taken_bottom_up() -> None:
    message = b"Received: old\r\n" + MESSAGE
    signed = Signer((("h", "from:received"),)).sign(message) + message
    assert one(b"Received: new\r\n" + signed).result is PASS
    assert one(signed.replace(b"Received: old\r\n", b"Received: old\r\nReceived: new\r\n")).result is FAIL


def test_a_field_signed_as_absent_must_stay_absent() -> None:
    signed = sign(h="from:to:subject:cc:subject")
    assert one(signed).result is PASS
    assert one(b"Cc: eve\r\n" + signed).result is FAIL
    assert one(b"Subject: other\r\n" + signed).result is FAIL


def test_a_signature_does_not_sign_itself_by_name() -> None:
    signed = sign(h="from:dkim-signature")
    assert one(signed).result is PASS
    both = verify(Signer().sign(signed) + signed)
    assert [each.result for each in both] == [PASS, FAIL]


def test_a_bare_lf_slipped_into_a_signed_field() -> None:
    assert said(one(sign().replace(b"about", b"ab\nout"))) == (FAIL, SIGNATURE)


def test_an_unsigned_second_from() -> None:
    assert said(one(b"From: eve@evil.example\r\n" + sign())) == (POLICY, "a From field is not signed")
    assert one(b"From: eve@evil.example\r\n" + sign(h="from:from:to")).result is FAIL


# --- the signature's syntax


@pytest.mark.parametrize("tag", ["v", "a", "bh", "d", "h", "s"])
def test_required_tags(tag: str) -> None:
    assert said(one(sign(**{tag: None}))) == (PERM, f"signature has no {tag}= tag")


def test_required_b() -> None:
    assert said(one(sign(h="from").replace(b" b=", b" bb=", 1))) == (PERM, "signature has no b= tag")


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"v": "2"}, "signature version is unknown"),
        ({"v": ""}, "signature version is unknown"),
        ({"a": "rsa-sha1"}, "rsa-sha1 is not accepted (RFC 8301)"),
        ({"a": "rsa-sha512"}, "signature algorithm is unknown"),
        ({"a": "RSA-sha256"}, "signature algorithm is unknown"),
        ({"h": "to:subject"}, "From is not signed"),
        ({"h": ""}, "From is not signed"),
        ({"d": "src..example"}, "d= is not a domain name"),
        ({"d": "src example"}, "d= is not a domain name"),
        ({"d": ""}, "d= is not a domain name"),
        ({"s": ""}, "s= is not a selector"),
        ({"s": "a b"}, "s= is not a selector"),
        ({"i": "ann@other.example"}, "i= is not in d="),
        ({"i": "ann@evilsrc.example"}, "i= is not in d="),
        ({"i": "src.example"}, "i= is not in d="),
        ({"i": ""}, "i= is not in d="),
        ({"t": "soon"}, "t= is not a number"),
        ({"t": ""}, "t= is not a number"),
        ({"x": "-1"}, "x= is not a number"),
        ({"x": "1.5"}, "x= is not a number"),
        ({"l": "\u0661"}, "l= is not a number"),
        ({"t": "1790000000", "x": "1790000000"}, "x= is not after t="),
        ({"q": "http"}, "q= has no dns/txt"),
        ({"bh": "!!!"}, "bh= is not base64"),
        ({"bh": "A"}, "bh= is not base64"),
        ({"d": ".".join(["x" * 60] * 4), "s": "s" * 10}, "key's name is too long"),
    ],
)
def test_syntax(tags: dict[str, str], reason: str) -> None:
    assert said(one(sign(**tags))) == (PERM, reason)


def test_unknown_canonicalisation() -> None:
    assert said(one(sign().replace(b"c=relaxed/relaxed", b"c=nofws"))) == (PERM, "canonicalisation is unknown")


@pytest.mark.parametrize("field", [b"v=1; v=1", b"", b"nonsense", b"v=1;; a=x", b"v=\x00"])
def test_a_field_that_is_no_tag_list(field: bytes) -> None:
    assert said(one(b"DKIM-Signature: " + field + b"\r\n" + MESSAGE)) == (PERM, "signature syntax error")


@pytest.mark.parametrize("tags", [{"z": "From:x|To:y"}, {"q": "other:dns/txt"}, {"tag_9": "x"}, {"t": "9999999999"}])
def test_tags_that_change_nothing(tags: dict[str, str]) -> None:
    assert one(sign(**tags)).result is PASS


def test_identity_is_quoted_printable() -> None:
    result = one(sign(i="a=40b=3D@mail.src=2Eexample"))
    assert (result.result, result.identity) == (PASS, "a@b=@mail.src.example")


def test_a_long_field_is_not_read() -> None:
    assert said(one(sign(z="x" * 65_536))) == (POLICY, "signature field is longer than 65536 octets")
    assert one(sign(z="x" * 65_000)).result is PASS


@pytest.mark.parametrize(("x", "verdict"), [(1_789_999_699, PERM), (1_789_999_701, PASS), (1_790_000_001, PASS)])
def test_expiry_allows_300_seconds_of_skew(x: int, verdict: DkimVerdict) -> None:
    result = one(sign(t="1700000000", x=str(x)))
    assert said(result) == (verdict, "signature has expired" if verdict is PERM else "")


def test_a_date_beyond_twelve_digits_is_for_ever() -> None:
    assert one(sign(x="9" * 13)).result is PASS
    assert one(sign(t="9" * 13)).result is PASS


# --- l=


def test_l_over_the_whole_body_is_no_limit() -> None:
    assert one(sign(l="28")).result is PASS  # "Hello Bob,", an empty line, "how are you?"


def test_l_that_leaves_octets_unsigned() -> None:
    assert said(one(sign(l="12"))) == (POLICY, "l= leaves 16 octets of the body unsigned")
    assert said(one(sign(l="28") + b"BUY\r\n")) == (POLICY, "l= leaves 9 octets of the body unsigned")
    assert said(one(sign(l="0"))) == (POLICY, "l= leaves 28 octets of the body unsigned")


def test_l_does_not_hide_a_change() -> None:
    assert said(one(sign(l="12").replace(b"Hello", b"Hallo"))) == (FAIL, BODY)


def test_a_failing_signature_fails_whatever_else_it_leaves_open() -> None:
    assert said(one(sign(l="12").replace(b"A  question", b"Answer"))) == (FAIL, SIGNATURE)
    assert said(one(b"From: eve@evil.example\r\n" + sign().replace(b"A  question", b"Answer"))) == (FAIL, SIGNATURE)


def test_l_beyond_the_body() -> None:
    assert said(one(sign(l="29"))) == (PERM, "l= reaches beyond the body")
    assert said(one(sign(l="9" * 70))) == (PERM, "l= reaches beyond the body")


# --- keys


@pytest.mark.parametrize("status", [DnsStatus.NXDOMAIN, DnsStatus.NODATA])
def test_no_key(status: DnsStatus) -> None:
    assert said(one(sign(), {KEY: Answer(status)})) == (PERM, "no key for signature")
    assert said(one(sign() + b"altered\r\n", {KEY: Answer(status)})) == (PERM, "no key for signature")


@pytest.mark.parametrize("status", [DnsStatus.SERVFAIL, DnsStatus.TIMEOUT])
def test_dns_failure_is_temporary(status: DnsStatus) -> None:
    assert said(one(sign(), {KEY: Answer(status)})) == (DkimVerdict.TEMPERROR, "key could not be looked up")


def test_dns_failure_does_not_excuse_an_altered_body() -> None:
    assert said(one(sign() + b"x\r\n", {KEY: Answer(DnsStatus.SERVFAIL)})) == (FAIL, BODY)


def unusable() -> list[tuple[str, DkimVerdict, str]]:
    good = key_record()
    curve = generate_curve_key(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return [
        ("v=DKIM1; p=", PERM, "key is revoked"),
        ("v=DKIM1; k=rsa", PERM, "key record has no p= tag"),
        ("v=DKIM1; p=!!!", PERM, "key cannot be read"),
        ("v=DKIM1; p=AAAA", PERM, "key cannot be read"),
        ("v=DKIM1; k=ed25519; p=AAAA", PERM, "key cannot be read"),
        ("v=DKIM1; k=dsa; p=AAAA", PERM, "key type is unknown"),
        (f"v=DKIM1; p={base64.b64encode(curve).decode()}", PERM, "key is not of the type it says"),
        (good.replace("DKIM1", "DKIM2"), PERM, "key record syntax error"),
        (good + "; p=", PERM, "key record syntax error"),
        ("", PERM, "key record syntax error"),
        ("v=spf1 -all", PERM, "key record syntax error"),
        (key_record(tags="h=sha1;"), PERM, "key does not allow sha256"),
        (key_record(tags="s=tlsrpt;"), PERM, "key is not for mail"),
        (key_record(ed25519_key()), PERM, "key is of another type than a="),
        (good + "; n=" + "x" * 9000, PERM, "key record is too long"),
        (big_key(1023), POLICY, "key of 1023 bits is smaller than 1024 bits"),
        (big_key(8193), POLICY, "key of 8193 bits is larger than 8192 bits"),
        (big_key(16384), POLICY, "key is larger than 8192 bits"),
        (big_key(4096, 2**65 + 1), POLICY, "key has an excessive exponent"),
    ]


def big_key(bits: int, exponent: int = 65537) -> str:
    public = RSAPublicNumbers(exponent, (1 << bits) - 159).public_key()
    return f"v=DKIM1; p={base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode()}"


@pytest.mark.parametrize(("record", "verdict", "reason"), unusable(), ids=range(len(unusable())))
def test_keys_that_cannot_be_used(record: str, verdict: DkimVerdict, reason: str) -> None:
    assert said(one(sign(), zone(record))) == (verdict, reason)


@pytest.mark.parametrize("tags", ["h=sha1:sha256;", "s=*;", "s=other:email;", "t=y;", "n=a note;", "g=;", "x=\xff;"])
def test_key_tags_that_do_not_matter(tags: str) -> None:
    assert one(sign(), zone(key_record(tags=tags))).result is PASS


def test_keys_are_read_leniently() -> None:
    good = key_record()
    assert one(sign(), zone(good.replace("v=DKIM1; k=rsa; ", ""))).result is PASS
    assert one(sign(), zone(good.replace("MII", "M II ").replace("; ", " ;\t") + ";")).result is PASS
    unpadded = key_record(ed25519_key()).rstrip("=")
    assert one(Signer((("a", "ed25519-sha256"),), ed25519_key()).sign(MESSAGE) + MESSAGE, zone(unpadded)).result is PASS
    bare = rsa_key().public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert one(sign(), zone(f"p={base64.b64encode(bare).decode()}")).result is PASS


def test_marks_of_a_zone_file_in_the_record_are_read_over() -> None:
    good = key_record()
    half = len(good) // 2
    assert one(sign(), zone(good[:half] + '" "' + good[half:])).result is PASS
    assert one(sign(), zone(good[:half] + '""' + good[half:])).result is PASS
    assert one(sign(), zone(f'"{good}"')).result is PASS
    assert one(sign(), zone(good.replace(";", "\\;"))).result is PASS


def test_1024_and_4096_bits_pass() -> None:
    for bits in (1024, 4096):
        assert one(Signer(key=rsa_key(bits)).sign(MESSAGE) + MESSAGE, zone(key_record(rsa_key(bits)))).result is PASS


def test_strict_key_wants_the_domain_itself() -> None:
    strict = zone(key_record(tags="t=y:s;"))
    assert one(sign(), strict).result is PASS
    assert one(sign(i="ann@SRC.example"), strict).result is PASS
    assert said(one(sign(i="@mail.src.example"), strict)) == (PERM, "key is for d= itself, i= is below it")


def test_the_usable_one_of_several_records() -> None:
    others = ["v=spf1 -all", "", "v=DKIM1; p=", key_record(ed25519_key()), key_record(rsa_key(1024))]
    assert one(sign(), zone(*others, key_record())).result is PASS
    assert said(one(sign(), zone(*others))) == (FAIL, SIGNATURE)


def test_the_record_of_the_right_type_explains() -> None:
    assert one(sign(), zone("v=spf1 -all", "v=DKIM1; p=")).reason == "key is revoked"


# --- internationalised names (RFC 8616)


def test_u_labels_are_looked_up_as_a_labels() -> None:
    field = Signer((("d", "b\u00fccher.example"), ("s", "schl\u00fcssel"), ("i", "j\u00f6rg@b\u00fccher.example")))
    known = zone(key_record(), name="xn--schlssel-95a._domainkey.xn--bcher-kva.example")
    result = one(field.sign(MESSAGE) + MESSAGE, known)
    assert (result.result, result.domain, result.selector) == (PASS, "xn--bcher-kva.example", "xn--schlssel-95a")
    assert result.identity == "j?rg@xn--bcher-kva.example"


# --- several signatures, and the caller's view


def test_each_signature_is_judged_top_to_bottom() -> None:
    message = sign(d="other.example")
    message = Signer((("v", "3"),)).sign(message) + message
    message = Signer().sign(message) + message
    assert [each.result for each in verify(message)] == [PASS, PERM, PERM]
    assert verify(MESSAGE) == ()


def test_the_ninth_signature_is_not_judged() -> None:
    field = Signer().sign(MESSAGE)
    results = verify(field * 9 + MESSAGE)
    assert [each.result for each in results] == [PASS] * 8 + [POLICY]
    assert results[8].reason == "too many signatures"
    assert len(verify(field * 1000 + MESSAGE)) == 32


@pytest.mark.parametrize("own", ["src.example", "mail.src.example", "SRC.example"])
@pytest.mark.parametrize("place", [0, 4, 9, 30])
def test_the_author_s_organization_is_judged_first(own: str, place: int) -> None:
    fields = [Signer((("d", f"list{at}.example"),)).sign(MESSAGE) for at in range(30)]
    fields.insert(place, Signer((("d", own),)).sign(MESSAGE))
    results = verify(b"".join(fields) + MESSAGE)
    judged, beyond = results[:8], results[8:]
    assert own.lower() in [each.domain for each in judged]
    assert [each.reason for each in beyond] == ["too many signatures"] * 23
    assert beyond[0].domain == "list7.example"


def test_what_is_not_judged_still_names_its_domain() -> None:
    assert one(sign(d="other.example", z="x" * 65_536)).domain == "other.example"
    assert (
        one(b"DKIM-Signature: z=" + b"x" * 66_000 + b"; \r\n\td = A.Example; h=from\r\n" + MESSAGE).domain
        == "a.example"
    )


def test_header_b_tells_signatures_apart() -> None:
    lead = b"DKIM-Signature: v=1; a=rsa-sha256; d=src.example; s=s; h=from; bh=AAAA; b=ABCDEFGH"
    results = verify(lead + b"IJKL1111MNOP\r\n" + lead + b"IJKL2222MNOP\r\n" + MESSAGE)
    assert [each.signature for each in results] == ["ABCDEFGHIJKL1111", "ABCDEFGHIJKL2222"]


def test_text_from_outside_is_printable_and_short() -> None:
    for value in ("\u202eevil", "\r\n\tx", "a" * 5000, "\x80\x81", "\udcff"):
        message = sign(a=value, s=value, i=value, h=f"from:{value}")
        result = verify(message, {})[0]
        for text in (result.algorithm, result.selector, result.identity, result.signature, *result.signed_fields):
            assert re.fullmatch(r"[ -~]{0,320}", text)


def test_unknown_keys_are_all_asked_for_at_once() -> None:
    message = sign(s="one")
    message = Signer((("s", "two"),)).sign(message) + message
    message = Signer((("s", "bad"), ("v", "9"))).sign(message) + message
    facts, header = evidence(message)
    missing = DnsView(lambda _: None)
    with pytest.raises(NeedAnswers):
        dkim.verify(facts, header, missing, NOW)
    names = {Question(f"{each}._domainkey.src.example", "TXT") for each in ("one", "two")}
    assert missing.pending == names == set(dkim.questions(header))
    missing.rerun(dict.fromkeys(names, Answer(DnsStatus.FOUND, (key_record(),))))
    assert [each.result for each in dkim.verify(facts, header, missing, NOW)] == [PERM, PASS, PASS]


def test_a_digest_that_was_not_taken_is_our_fault() -> None:
    facts, header = evidence(sign())
    result = dkim.verify(replace(facts, digests=()), header, window(zone(key_record())), NOW)[0]
    assert said(result) == (DkimVerdict.TEMPERROR, "body was not digested for this signature")


# --- hostile input: no exception, and well under a second

START = b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=src.example; s=s; bh=AAAA; "
HOSTILE = {
    "blanks in b=": START + b"h=from; b=A" + b" " * 60_000 + b"!",
    "folds in b=": START + b"h=from; b=A" + b"\r\n " * 20_000 + b"!",
    "folds after b": START + b"h=from; b" + b"\r\n " * 2_500 + b"z=1; b=AAAA",
    "8 kB of folds in b=": START + b"h=from; b=A" + b"\r\n " * 2_500 + b"A==",
    "5000 names": START + b"h=from" + b":a" * 5_000 + b"; b=AAAA",
    "4000 names within 8 kB": START + b"h=from" + b":a" * 3_900 + b"; b=AAAA",
    "colons": START + b"h=from" + b":" * 7_000 + b"; b=AAAA",
    "digits of t=": START + b"h=from; b=AAAA; t=" + b"9" * 5_000,
    "digits of x=": START + b"h=from; b=AAAA; x=" + b"9" * 5_000,
    "digits of l=": START + b"h=from; b=AAAA; l=" + b"9" * 5_000,
    "zeros of l=": START + b"h=from; b=AAAA; l=" + b"0" * 5_000,
    "semicolons": START + b";" * 60_000,
    "tags": START + b"h=from; b=AAAA; " + b"".join(b"a%d=;" % at for at in range(1_000)),
    "i= of escapes": START + b"h=from; b=AAAA; i=" + b"=40" * 2_500,
    "U-label": START + b"h=from; b=AAAA; i=@" + "\u00fc".encode() * 3_500,
    "octets": START + bytes(range(256)) * 20,
    "nothing": b"DKIM-Signature:",
}


def timed(message: bytes, known: dict[Question, Answer] | None = None) -> float:
    start = time.process_time()
    verify(message, known)
    return time.process_time() - start


@pytest.mark.parametrize("field", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_signatures(field: bytes) -> None:
    assert timed((field + b"\r\n") * 8 + MESSAGE) < 0.3
    assert timed(field) < 0.3


def test_a_thousand_signatures_and_many_fields() -> None:
    assert timed(Signer().sign(MESSAGE) * 1_000 + MESSAGE) < 0.3
    many = b"".join(b"X-%d: v\r\n" % at for at in range(20_000))
    names = ":".join(["from", *(f"x-{at}" for at in range(1_000))])
    assert timed(Signer((("h", "from" + ":a" * 3_900),)).sign(MESSAGE) * 8 + b"a: b\r\n" * 20_000 + MESSAGE) < 0.8
    assert timed(Signer((("h", names),)).sign(MESSAGE) * 8 + many + MESSAGE) < 0.8


def test_a_large_header_under_eight_signatures() -> None:
    large = b"From: " + b"a b\t c " * 60_000 + b"\r\n"
    assert timed(Signer((("h", "from:to"),)).sign(large + MESSAGE) * 8 + large + MESSAGE) < 0.5


@pytest.mark.parametrize("bits", [2048, 4096, 8192, 16384, 32768])
@pytest.mark.parametrize("exponent_bits", [17, 64, 2040])
def test_hostile_keys(bits: int, exponent_bits: int) -> None:
    record = big_key(bits, 65537 if exponent_bits == 17 else (1 << exponent_bits) - 1)
    start = time.process_time()
    result = one(sign(), zone(*[record] * 100))
    assert time.process_time() - start < 0.1
    assert result.result in (FAIL, POLICY)


@pytest.mark.parametrize(
    "record", ["v=DKIM1; p=" + "A" * 60_000, ";" * 60_000, "p=" + " " * 8_000, "\x00", "p=\xff\xfe"]
)
def test_hostile_records(record: str) -> None:
    assert timed(sign(), zone(*[record] * 100)) < 0.1


def test_a_ten_kilobyte_message_costs_little() -> None:
    """parse_header and verify with known answers: 0.35 ms of processor time is the aim, twice that the bound."""
    received = b"".join(
        b"Received: from a (a [192.0.2.%d])\r\n\tby b with ESMTP id %d\r\n" % (at, at) for at in range(4)
    )
    message = sign(received + MESSAGE.replace(b"Hello", b"Hello " + b"x" * 70 + b"\r\n" + b"y" * 9_500))
    block, _ = split_message(message)
    facts, _ = evidence(message)
    known = zone(key_record())

    def judge() -> None:
        assert dkim.verify(Evidence(block, facts.digests, len(message)), parse_header(block), window(known), NOW)

    best = 1e9
    for _ in range(5):
        start = time.process_time()
        for _ in range(100):
            judge()
        best = min(best, (time.process_time() - start) * 10)
    assert best < 0.7
