"""SRS: our own return paths come back, others do not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.path import mailbox
from gateway.mail.srs import Returned, Srs
from gateway.model.envelope import Mailbox

NOW = 1_800_000_000.0
DAY = 86_400.0
SRS = Srs("own.example", (b"new secret", b"old secret"))


def box(text: str) -> Mailbox:
    found = mailbox(text)
    assert found is not None
    return found


@pytest.mark.parametrize("address", ["a@first.example", "A.b+tag=x@first.example", "x--y=z@xn--bcher-kva.example"])
def test_there_and_back(address: str) -> None:
    written = SRS.rewrite(box(address), NOW)
    assert re.fullmatch(r"SRS0=[A-Z2-7]{12}=[A-Z2-7]{2}=.*@own\.example", str(written))
    returned = SRS.restore(written)
    assert returned is not None
    assert (str(returned.mailbox), returned.is_late(NOW)) == (address, False)


def test_a_way_that_loses_case_does_no_harm() -> None:
    written = box(str(SRS.rewrite(box("Author@first.example"), NOW)).lower())
    returned = SRS.restore(written)
    assert returned is not None
    assert returned.mailbox.key == "author@first.example"


def test_what_another_forwarder_wrote_goes_back_to_the_first_one() -> None:
    other = Srs("second.example", (b"x",))
    first = other.rewrite(box("a@first.example"), NOW)
    ours = SRS.rewrite(first, NOW)
    assert str(ours).startswith("SRS1=")
    assert "second.example==" in str(ours)
    returned = SRS.restore(ours)
    assert returned == Returned(first, None)
    third = Srs("third.example", (b"y",)).rewrite(ours, NOW)
    assert "second.example==" in str(third), "a third hop still names the first forwarder"
    back = Srs("third.example", (b"y",)).restore(third)
    assert back is not None
    assert back.mailbox == first


def test_both_secrets_are_known_and_the_first_one_writes() -> None:
    old = Srs("own.example", (b"old secret",)).rewrite(box("a@first.example"), NOW)
    assert SRS.restore(old) is not None
    assert Srs("own.example", (b"old secret",)).restore(SRS.rewrite(box("a@first.example"), NOW)) is None


@pytest.mark.parametrize(("days", "late"), [(0, False), (21, False), (22, True), (500, True), (-1, True)])
def test_a_bounce_has_three_weeks(days: int, late: bool) -> None:
    returned = SRS.restore(SRS.rewrite(box("a@first.example"), NOW))
    assert returned is not None
    assert returned.is_late(NOW + days * DAY) is late


def forgeries() -> list[str]:
    written = SRS.rewrite(box("a@first.example"), NOW).local
    _, hash, day, domain, local = written.split("=")
    return [
        f"SRS0={hash[:1]}={day}={domain}={local}",
        f"SRS0={hash[:-1]}={day}={domain}={local}",
        f"SRS0={hash}A={day}={domain}={local}",
        f"SRS0=={day}={domain}={local}",
        f"SRS0={hash}={day}={domain}=b",
        f"SRS0={hash}={day}=victim.example={local}",
        f"SRS0={hash}=AA={domain}={local}",
        f"SRS0={'A' * 12}={day}={domain}={local}",
        f"SRS1={hash}={domain}=={local}",
        "SRS0=",
        "SRS1=x",
    ]


@pytest.mark.parametrize("local", forgeries())
def test_what_we_did_not_write_is_told(local: str) -> None:
    forged = Mailbox(local, "own.example", "own.example")
    assert SRS.claims(forged)
    assert SRS.restore(forged) is None


def test_other_addresses_are_no_claims() -> None:
    assert not SRS.claims(box("bob@own.example"))
    assert not SRS.claims(box("srs0@own.example"))
    assert not SRS.claims(box("SRS0=a=b=c=d@other.example"))


@pytest.mark.parametrize("address", ['"a b"@first.example', "a@[192.0.2.1]", f"{'a' * 240}@first.example"])
def test_what_has_no_room_stays_as_it_is(address: str) -> None:
    assert SRS.rewrite(box(address), NOW) == box(address)


locals = st.text("abcXYZ019.+=-_", min_size=1, max_size=40).filter(
    lambda text: mailbox(f"{text}@x.example") is not None
)


@given(locals, st.floats(0, 4e9))
def test_whatever_is_rewritten_comes_back(local: str, now: float) -> None:
    author = box(f"{local}@first.example")
    returned = SRS.restore(SRS.rewrite(author, now))
    assert returned is not None
    if not local.upper().startswith("SRS"):
        assert (returned.mailbox, returned.is_late(now)) == (author, False)


@given(st.text(min_size=1, max_size=60))
def test_reading_never_fails(local: str) -> None:
    SRS.restore(Mailbox(local, "own.example", "own.example"))
    SRS.restore(Mailbox(f"SRS0={local}", "own.example", "own.example"))
    SRS.restore(Mailbox(f"SRS1={local}", "own.example", "own.example"))


@pytest.mark.parametrize("odd", ["\u212a", "\u0130", "\u017f", "\udcff", "\x00"])
@pytest.mark.parametrize(
    "form",
    [
        "SRS0=AAAAAAAAAAAA=A{}=evil.example=bob",
        "SRS0=AAAAAAAAAAA{}=AA=evil.example=bob",
        "SRS0=AAAAAAAAAAAA=AA=evil.example=b{}b",
        "SRS1=AAAAAAAAAAA{}=evil.example==AA=AA=b=c",
        "{}RS0=AAAAAAAAAAAA=AA=evil.example=bob",
        "SRS0=A=A=b=c{}",
    ],
)
def test_letters_beyond_ascii_are_neither_ours_nor_an_error(form: str, odd: str) -> None:
    address = Mailbox(form.format(odd), "own.example", "own.example")
    assert SRS.restore(address) is None
    assert SRS.rewrite(address, NOW).ascii_domain == "own.example"
