"""A missing DNS answer defers only if it could matter, for at most four hours, and never an aligned pass."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.model.decision import Action
from gateway.model.delivery import Trace
from gateway.tools.explain import Replayed, replay
from tests.support.judging_context import START, House, make_config
from tests.support.samples import plain, sign, signing_key

HOUR = 3600.0
STRANGER = "security@silent.example"
ENVELOPE = {"plain.example": {"MX": ["10 mx.plain.example"]}}
SILENT: dict[str, Any] = {
    **ENVELOPE,
    "silent.example": {"TXT": ["v=spf1 -all a"]},
    "_dmarc.silent.example": "TIMEOUT",
}


def house(zone: dict[str, Any], policy: str = "enforce", **settings: Any) -> House:
    return House(make_runtime(make_config(policy={"set": policy, **settings})), zone)


def outcome(trace: Trace) -> tuple[str, str]:
    return trace.decision.action.value, trace.decision.rule


async def test_it_waits_four_hours_and_is_then_judged_without_and_marked() -> None:
    at_home = house(SILENT)
    for hours in (0, 1, 3.99):
        at_home.clock.time = START + hours * HOUR
        trace = await at_home.send(plain(STRANGER))
        assert outcome(trace) == ("defer", "dns-wait")
        assert str(trace.decision.reply).startswith("451 4.7.0 DNS")
        assert trace.decision.overrides == ()
    at_home.clock.time = START + 4 * HOUR
    trace = await at_home.send(plain(STRANGER))
    assert outcome(trace) == ("quarantine", "dns-unanswered")
    assert trace.circumstances.dns_waited
    assert trace.added[0].startswith("X-Waypost-Verdict: action=quarantine; dmarc=temperror")
    assert replay(trace, at_home.runtime.context) is Replayed.SAME


async def test_the_wait_goes_on_after_a_restart_and_in_another_worker() -> None:
    first = house(SILENT)
    second = House(first.runtime, SILENT, clock=first.clock, spool=first.spool)
    assert outcome(await first.send(plain(STRANGER)))[0] == "defer"
    first.clock.time += 4 * HOUR
    assert outcome(await second.send(plain(STRANGER))) == ("quarantine", "dns-unanswered")


async def test_each_author_domain_and_network_waits_for_itself() -> None:
    at_home = house({**SILENT, "_dmarc.other.example": "SERVFAIL"})
    assert outcome(await at_home.send(plain(STRANGER)))[0] == "defer"
    at_home.clock.time += 4 * HOUR
    assert outcome(await at_home.send(plain("x@other.example")))[0] == "defer"
    at_home.client = "203.0.113.9"
    assert outcome(await at_home.send(plain(STRANGER)))[0] == "defer"
    at_home.client = "198.51.100.99"
    assert outcome(await at_home.send(plain(STRANGER)))[0] == "quarantine", "the same /24"


async def test_an_own_domain_that_dns_does_not_vouch_for_is_marked_in_the_end() -> None:
    at_home = house({"_dmarc.corp.example": "TIMEOUT"})
    assert outcome(await at_home.send(plain("ceo@corp.example"))) == ("defer", "dns-wait")
    at_home.clock.time += 4 * HOUR
    assert outcome(await at_home.send(plain("ceo@corp.example"))) == ("quarantine", "own-domain-unproven")


def signed_zone(**more: Any) -> dict[str, Any]:
    return {"sel1._domainkey.silent.example": {"TXT": [signing_key()[1]]}, **more}


PASSES: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "by DKIM, SPF silent": (
        signed_zone(**{"silent.example": "TIMEOUT", "_dmarc.silent.example": {"TXT": ["v=DMARC1; p=reject"]}}),
        sign(plain(STRANGER), "silent.example"),
        STRANGER,
    ),
    "by SPF, key silent": (
        {
            "silent.example": {"TXT": ["v=spf1 ip4:198.51.100.7 -all"]},
            "_dmarc.silent.example": {"TXT": ["v=DMARC1; p=reject"]},
            "sel1._domainkey.silent.example": "TIMEOUT",
        },
        sign(plain(STRANGER), "silent.example"),
        STRANGER,
    ),
}


@pytest.mark.parametrize("case", PASSES)
@pytest.mark.parametrize("policy", ["enforce", "strict", "learn"])
async def test_an_aligned_pass_is_never_deferred(case: str, policy: str) -> None:
    zone, octets, sender = PASSES[case]
    trace = await house(zone, policy).send(octets, sender)
    assert trace.authentication is not None
    assert trace.authentication.dmarc.result == "pass"
    assert trace.decision.action is Action.ACCEPT


KEY_SILENT = {**ENVELOPE, "sel1._domainkey.silent.example": "TIMEOUT", "silent.example": {"TXT": ["v=spf1 -all a"]}}


@pytest.mark.parametrize(
    ("policy", "record", "action"),
    [
        # Signed, with an unavailable key: if it did not exist, the signature would only be a header field.
        ("enforce", "v=DMARC1; p=reject", "defer"),
        ("enforce", "v=DMARC1; p=none", "accept"),
        ("strict", "v=DMARC1; p=reject", "defer"),
        ("strict", "v=DMARC1; p=quarantine", "defer"),
        ("strict", "v=DMARC1; p=none", "accept"),
        ("strict", "v=DMARC1; p=reject; t=y", "defer"),
        ("learn", "v=DMARC1; p=reject", "accept"),
    ],
)
async def test_only_an_answer_that_could_make_it_worse_is_waited_for(policy: str, record: str, action: str) -> None:
    zone = {**KEY_SILENT, "_dmarc.silent.example": {"TXT": [record]}}
    trace = await house(zone, policy).send(sign(plain(STRANGER), "silent.example"))
    assert trace.authentication is not None
    assert trace.authentication.dmarc.result == "temperror"
    assert trace.decision.action == action


async def test_what_is_refused_anyway_is_not_put_off() -> None:
    zone = {**SILENT, "7.100.51.198.list.example": {"A": ["127.0.0.2"]}}
    config = make_config(policy={"listed": "reject"}, dnsbl=[{"zone": "list.example"}])
    trace = await House(make_runtime(config), zone).send(plain(STRANGER))
    assert outcome(trace) == ("reject", "listed-reject")
    assert str(trace.decision.reply) == "550 5.7.1 Mail from 198.51.100.7 is refused: it is on list.example"


async def test_role_addresses_and_mail_from_inside_do_not_wait() -> None:
    assert (await house(SILENT).send(plain(STRANGER), rcpt="abuse@corp.example")).decision.action is Action.ACCEPT
    inside = make_config(own_hop=[{"name": "inner", "addresses": "198.51.100.7"}])
    assert (await House(make_runtime(inside), SILENT).send(plain(STRANGER))).decision.action is Action.ACCEPT


async def test_many_silent_domains_raise_one_alarm() -> None:
    at_home = house({f"_dmarc.d{number}.example": "TIMEOUT" for number in range(80)})
    for number in range(80):
        await at_home.send(plain(f"x@d{number}.example"), f"x@d{number}.example")
    assert [event.name for event in at_home.events].count("dns-outage") == 1
