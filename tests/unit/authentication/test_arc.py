"""ARC chains."""

from __future__ import annotations

import re
import time

import pytest

from gateway.authentication import arc
from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.result import ArcResult, ArcVerdict
from tests.support.signing import AAR, MESSAGE, NOW, chain, ed25519_key, evidence, key_record, seal, validate, zone

KEY = Question("s._domainkey.src.example", "TXT")


def failed(result: ArcResult) -> str:
    assert result.result is ArcVerdict.FAIL
    return result.reason


def test_no_sets_is_none() -> None:
    assert validate(MESSAGE) == ArcResult(ArcVerdict.NONE)


@pytest.mark.parametrize("length", [1, 2, 5, 50])
def test_a_sound_chain_passes(length: int) -> None:
    assert validate(chain(length)) == ArcResult(ArcVerdict.PASS, 0, ("src.example",) * length)


def test_sealers_are_oldest_first() -> None:
    message = re.sub(rb"^(ARC-.*?)d=src", rb"\1d=new", seal(chain(1), 2), count=2, flags=re.M)
    result = validate(message, zone(key_record()) | zone(key_record(), name="s._domainkey.new.example"))
    assert result.sealers == ("src.example", "new.example")
    assert failed(result) == "ARC-Message-Signature 2: signature did not verify"


@pytest.mark.parametrize("form", ["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple"])
def test_canonicalisations(form: str) -> None:
    assert validate(seal(MESSAGE, 1, c=form)).result is ArcVerdict.PASS


@pytest.mark.parametrize("written", [b"i=1;", b":i=1;", b":\ti=1;", b": i = 1 ;", b":\r\n i\r\n\t=1\r\n ;"])
def test_instances_as_they_may_be_written(written: bytes) -> None:
    """Some of these change signed octets, so only the reading of the instance is checked."""
    lead = written if written.startswith(b":") else b": " + written
    message = chain(1).replace(b"ARC-Message-Signature: i=1;", b"ARC-Message-Signature" + lead)
    message = message.replace(b"ARC-Authentication-Results: i=1;", b"ARC-Authentication-Results" + lead)
    assert "instance" not in validate(message).reason
    assert validate(message.replace(b"a=rsa", b"a=xsa", 1)).reason.startswith("ARC-Seal 1: ")


def test_a_comment_before_the_instance_of_results() -> None:
    message = chain(1).replace(b"Results: i=1", b"Results: (a comment) i=1")
    assert failed(validate(message)) == "ARC-Seal 1: signature did not verify"


# --- steps 1 to 3 of RFC 8617 section 5.2: structure


def test_fifty_one_sets_fail() -> None:
    assert failed(validate(AAR % 1 * 51 + chain(1))) == "more than 50 ARC sets"


@pytest.mark.parametrize("name", [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])
def test_an_incomplete_or_doubled_set_fails(name: bytes) -> None:
    message = chain(2)
    (field, *_) = re.findall(rb"^%s: (?:.*?i=2;).*\r\n" % name, message, re.M)
    assert failed(validate(message.replace(field, b"", 1))) == "an ARC set is incomplete"
    assert failed(validate(field + message)) == "an ARC set is incomplete"
    doubled = field.replace(b"i=2;", b"i=1;")
    assert failed(validate(message.replace(field, doubled, 1))) == "ARC instances are not 1 to N, each once"


@pytest.mark.parametrize("instance", [b"0", b"3", b"51", b"", b"x", b"001", b"-1", b"9" * 5000])
@pytest.mark.parametrize("name", [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])
def test_bad_instances(name: bytes, instance: bytes) -> None:
    message = re.sub(rb"^(%s: .*?)i=2;" % name, rb"\1i=" + instance + b";", chain(2), count=1, flags=re.M)
    assert failed(validate(message)) == "ARC instances are not 1 to N, each once"


@pytest.mark.parametrize("name", [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])
def test_a_bad_instance_is_not_taken_for_the_first(name: bytes) -> None:
    message = chain(1).replace(name + b": i=1;", name + b": i=x;")
    assert failed(validate(message)) == "ARC instances are not 1 to N, each once"


def test_a_gap_in_the_chain() -> None:
    assert failed(validate(seal(chain(1), 3))) == "ARC instances are not 1 to N, each once"


def test_the_newest_seal_says_fail() -> None:
    assert failed(validate(seal(chain(1), 2, cv="fail"))) == "sealer 2 found the chain broken"


@pytest.mark.parametrize(("instance", "cv"), [(1, "pass"), (2, "none"), (2, "PASS"), (2, "")])
def test_cv_must_fit_its_place(instance: int, cv: str) -> None:
    message = seal(chain(instance - 1), instance, cv=cv or "x").replace(b"cv=x", b"cv=")
    assert failed(validate(message)) == f"ARC-Seal {instance}: cv= is not what its place asks for"


def test_an_older_cv_of_fail_is_a_broken_chain() -> None:
    message = seal(seal(MESSAGE, 1, cv="fail"), 2)
    assert failed(validate(message)) == "ARC-Seal 1: cv= is not what its place asks for"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"a": "rsa-sha1"}, "rsa-sha1 is not accepted (RFC 8301)"),
        ({"bh": None}, "signature has no bh= tag"),
        ({"h": None}, "signature has no h= tag"),
        ({"d": "src..example"}, "d= is not a domain name"),
        ({"h": "from:arc-seal"}, "ARC-Seal must not be signed"),
        ({"t": "x"}, "t= is not a number"),
        ({"z": "x" * 65_536}, "signature syntax error"),
        ({"x": "1789000000"}, "signature has expired"),
        ({"l": "3"}, "l= leaves 25 octets of the body unsigned"),
    ],
)
def test_message_signature_rules(tags: dict[str, str | None], reason: str) -> None:
    if "z" in tags:  # too long to be read: neither is its instance
        assert failed(validate(seal(MESSAGE, 1, **tags))) == "ARC instances are not 1 to N, each once"
    else:
        # `seal` writes d= into both fields; here the seal keeps its own.
        message = seal(MESSAGE, 1, **tags)
        if "d" in tags:
            message = re.sub(rb"(?m)^(ARC-Seal: [^\r]*?d=)src\.\.example", rb"\1src.example", message)
        assert failed(validate(message)) == f"ARC-Message-Signature 1: {reason}"


def test_the_seal_is_named_first_where_both_fields_have_the_same_fault() -> None:
    """The seal's d= is the name that trust in a sealer looks up, so an admin has to see that one."""
    assert failed(validate(seal(MESSAGE, 1, d="src..example"))) == "ARC-Seal 1: d= is not a domain name"


def test_a_seal_has_no_h() -> None:
    message = chain(1).replace(b"cv=none", b"cv=none; h=from", 1)
    assert failed(validate(message)) == "ARC-Seal 1: h= is not allowed"


# --- steps 4 to 8: signatures


def test_an_altered_message_fails_at_the_newest_set() -> None:
    assert failed(validate(chain(2) + b"x\r\n")) == "ARC-Message-Signature 2: body hash did not verify"
    altered = chain(2).replace(b"A  question", b"An answer")
    assert failed(validate(altered)) == "ARC-Message-Signature 2: signature did not verify"


def test_a_second_from_field() -> None:
    assert failed(validate(b"From: eve@evil.example\r\n" + chain(1))).endswith("a From field is not signed")


def test_oldest_pass_names_the_first_set_after_the_last_change() -> None:
    assert validate(seal(chain(1) + b"footer\r\n", 2)).oldest_pass == 2
    assert validate(seal(seal(chain(2) + b"footer\r\n", 3), 4)).oldest_pass == 3
    assert validate(chain(3)).oldest_pass == 0


def test_altered_results_break_their_seal() -> None:
    message = chain(3).replace(b"i=2; gw.example; dmarc=pass", b"i=2; gw.example; dmarc=fail")
    assert failed(validate(message)) == "ARC-Seal 3: signature did not verify"


def test_every_seal_is_verified() -> None:
    for broken in range(1, 4):
        message = chain(broken)
        message = re.sub(rb" b=(.)", lambda found: b" b=" + (b"B" if found[1] == b"A" else b"A"), message, count=1)
        for instance in range(broken + 1, 5):
            message = seal(message, instance)
        assert failed(validate(message)) == f"ARC-Seal {broken}: signature did not verify"


def test_a_set_need_not_sign_from() -> None:
    assert validate(seal(MESSAGE, 1, h="to")).result is ArcVerdict.PASS
    assert validate(seal(MESSAGE, 1, h="")).result is ArcVerdict.PASS


def test_relaxed_seals_survive_folding() -> None:
    message = chain(2).replace(b"Results: i=1; gw", b"RESULTS :\r\n\ti=1;  gw", 1)
    assert validate(message).result is ArcVerdict.PASS


def test_ed25519_sets_pass() -> None:
    """RFC 8617 names rsa-sha256 only; seals by Ed25519 exist and are sound."""
    known = zone(key_record(ed25519_key()), key_record())
    assert validate(seal(chain(1), 2, key=ed25519_key()), known).result is ArcVerdict.PASS
    assert failed(validate(chain(1), zone(key_record(ed25519_key())))).endswith("another type than a=")


def test_a_strict_key_is_no_matter_for_a_set() -> None:
    assert validate(chain(1), zone(key_record(tags="t=s;"))).result is ArcVerdict.PASS


# --- keys


def test_dns_failure_is_said_to_be_temporary() -> None:
    result = validate(chain(1), {KEY: Answer(DnsStatus.SERVFAIL)})
    assert failed(result) == "temperror: ARC-Message-Signature 1: key could not be looked up"


def test_no_key_and_weak_key() -> None:
    assert failed(validate(chain(1), {})) == "ARC-Message-Signature 1: no key for signature"
    assert "key cannot be read" in failed(validate(chain(1), zone("p=" + "A" * 100)))


def test_all_keys_are_asked_for_at_once() -> None:
    facts, header = evidence(seal(chain(1), 2, s="other"))
    missing = DnsView(lambda _: None)
    with pytest.raises(NeedAnswers):
        arc.validate(facts, header, missing, NOW)
    assert missing.pending == {KEY, Question("other._domainkey.src.example", "TXT")} == set(arc.questions(header))


def test_a_broken_structure_asks_nothing() -> None:
    facts, header = evidence(seal(chain(1), 3))
    assert arc.questions(header) == ()
    assert arc.validate(facts, header, DnsView(lambda _: None), NOW).result is ArcVerdict.FAIL


def test_a_chain_may_not_ask_for_many_keys() -> None:
    message = MESSAGE
    for instance in range(1, 22):
        message = seal(message, instance, s=f"s{instance}")
    facts, header = evidence(message)
    window = DnsView(lambda _: None)
    assert failed(arc.validate(facts, header, window, NOW)) == "chain needs more than 20 keys"
    assert not window.pending


# --- hostile input


def timed(message: bytes) -> float:
    start = time.process_time()
    validate(message)
    return time.process_time() - start


@pytest.mark.parametrize("junk", [b" ", b"(", b"()", b"\r\n ", b"i=", b"(a" * 3, b"\\"])
def test_hostile_results(junk: bytes) -> None:
    long = b"ARC-Authentication-Results: " + junk * (60_000 // len(junk)) + b"\r\n"
    rest = chain(1).replace(AAR % 1, b"")
    assert timed(long + rest) < 0.3
    assert timed(long * 8 + rest) < 0.5


def test_a_thousand_sets_and_a_large_header() -> None:
    assert timed(chain(1).partition(MESSAGE)[0] * 1_000 + MESSAGE) < 0.5
    large = b"X: " + b"a b\t c " * 40_000 + b"\r\n" + MESSAGE
    assert timed(seal(large, 1, h="from:x")) < 0.3


def test_fifty_sets_over_a_large_header() -> None:
    message = b"X: " + b"a b\t c " * 40_000 + b"\r\n" + MESSAGE
    for instance in range(1, 51):
        message = seal(message, instance, h="from:x")
    assert timed(message) < 0.8
