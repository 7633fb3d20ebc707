"""The P2 hole: a signer who lists our fields in h= more often than they occur cannot make them disappear from mail that
is marked or refused; on accepted mail only the optional ones give way, and the trace says so."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console, Group

from gateway.app import make_runtime
from gateway.mail.path import mailbox
from gateway.model.decision import Action
from gateway.model.delivery import Trace
from gateway.model.envelope import IPText
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.tools.explain import render_evidence
from gateway.tools.rehearsal import Delivered, rehearse
from gateway.tools.simulate import make_config
from tests.support.signing import MESSAGE, NOW, Signer, ed25519_key, key_record, verify, zone

GREEDY = "from:x-waypost-verdict:x-waypost-verdict:authentication-results:authentication-results:received:received"
NAMES = ["X-Waypost-Verdict", "Authentication-Results", "Received"]
RECEIVED = b"Received: from a by b; Mon, 2 Nov 2026 10:00:00 +0000\r\n" * 2


def sign(message: bytes, names: str, **tags: str | None) -> bytes:
    return Signer(tuple({"h": names, **tags}.items())).sign(message) + message


def dns(policy: str, spf: str = "v=spf1 ip4:192.0.2.9 -all") -> dict[str, Any]:
    return {
        "src.example": {"TXT": [spf]},
        "_dmarc.src.example": {"TXT": [f"v=DMARC1; p={policy}"]},
        "s._domainkey.src.example": {"TXT": [key_record()]},
        "e._domainkey.src.example": {"TXT": [key_record(ed25519_key())]},
        "s._domainkey.evil.example": {"TXT": [key_record()]},
    }


async def receive(message: bytes, names: dict[str, Any]) -> Trace:
    alice, sender = mailbox("alice@corp.example"), mailbox("ann@src.example")
    assert alice is not None
    delivered = Delivered(IPText("203.0.113.7"), "h.example", sender, (alice,), message, NOW)
    return (await rehearse(delivered, make_runtime(make_config([alice])), ZoneResolver(build_zone(names)))).trace


def added(trace: Trace) -> list[str]:
    return [field.partition(":")[0] for field in trace.added]


def forwarded(trace: Trace, message: bytes) -> bytes:
    return b"".join(field.encode() + b"\r\n" for field in trace.added) + message


async def test_a_forger_who_oversigns_cannot_make_the_mark_disappear() -> None:
    """A foreign signature passes and forbids every field of ours; the author's own domain asks for quarantine."""
    message = sign(RECEIVED + MESSAGE, GREEDY, d="evil.example")
    trace = await receive(message, dns("quarantine"))
    assert trace.authentication is not None
    assert trace.authentication.dkim[0].result == "pass"
    assert trace.decision.action is Action.QUARANTINE
    assert added(trace) == NAMES
    assert trace.omitted == ()


async def test_nor_can_the_author_domain_s_own_signature() -> None:
    """It passes, but l= leaves the body open, so DMARC does not rest on it."""
    message = sign(RECEIVED + MESSAGE, GREEDY, l="0") + b"Send money.\r\n"
    trace = await receive(message, dns("quarantine"))
    assert trace.decision.action is Action.QUARANTINE
    assert added(trace) == NAMES


async def test_a_refused_message_is_refused_whatever_it_signs() -> None:
    trace = await receive(sign(RECEIVED + MESSAGE, GREEDY, d="evil.example"), dns("reject"))
    assert trace.decision.action in (Action.REJECT, Action.QUARANTINE)
    assert trace.added == () if trace.decision.action is Action.REJECT else added(trace) == NAMES


@pytest.mark.parametrize(
    ("names", "left"),
    [
        ("from:subject", NAMES),
        ("from:x-waypost-verdict", NAMES[1:]),
        ("from:authentication-results", [NAMES[0], NAMES[2]]),
        ("from:x-waypost-verdict:authentication-results", NAMES[2:]),
        ("from:received:received", NAMES),
    ],
)
async def test_an_accepted_message_goes_without_the_optional_ones_only(names: str, left: list[str]) -> None:
    message = sign(RECEIVED + MESSAGE, names)
    trace = await receive(message, dns("reject"))
    assert trace.decision.action is Action.ACCEPT
    assert added(trace) == left
    assert verify(forwarded(trace, message))[0].result == "pass"
    assert [line.partition(":")[0] for line in trace.omitted] == [name for name in NAMES if name not in left]
    page = io.StringIO()
    Console(width=400, file=page).print(Group(*render_evidence(trace)))
    for name in set(NAMES) - set(left):
        assert f"{name}: the signature of src.example (selector s), on which the DMARC pass rests" in page.getvalue()
    assert ("Fields left out" in page.getvalue()) is bool(trace.omitted)


async def test_two_signatures_are_not_broken_by_one_field_each() -> None:
    inner = sign(MESSAGE, "from:authentication-results")
    message = Signer((("h", "from:x-waypost-verdict"), ("s", "e"), ("a", "ed25519-sha256")), ed25519_key()).sign(inner)
    trace = await receive(message + inner, dns("reject"))
    keys = zone(key_record()) | zone(key_record(ed25519_key()), name="e._domainkey.src.example")
    results = [one.result for one in verify(forwarded(trace, message + inner), keys)]
    assert "pass" in results
    assert added(trace) == ["X-Waypost-Verdict", "Received"]
    assert trace.omitted[0].startswith("Authentication-Results: the signature of src.example (selector s)")


async def test_what_received_breaks_anyway_is_not_spared() -> None:
    trace = await receive(sign(MESSAGE, GREEDY), dns("reject"))
    assert trace.decision.action is Action.ACCEPT
    assert added(trace) == NAMES


async def test_an_spf_pass_spares_no_signature() -> None:
    """The backend sees our address, not the client's: only the signature remains for DMARC."""
    trace = await receive(sign(MESSAGE, "from:x-waypost-verdict"), dns("reject", "v=spf1 ip4:203.0.113.7 -all"))
    assert trace.decision.action is Action.ACCEPT
    assert added(trace) == [name for name in NAMES if name != "X-Waypost-Verdict"]
    assert len(trace.omitted) == 1
