"""`waypost explain`: the story in words and as JSON, checked against the stored data."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import AsyncIterator
from ipaddress import IPv4Network

import pytest
from rich.console import Console

from gateway.app import make_runtime
from gateway.authentication.dnsbl import BlockList
from gateway.mail.path import mailbox
from gateway.model.decision import Action, Finding
from gateway.model.delivery import (
    TRACE_VERSION,
    Attempt,
    Ending,
    Final,
    Outcome,
    OutcomeKind,
    Scope,
    Story,
    Trace,
    Transfer,
)
from gateway.model.dnsdata import Answer, DnsStatus, Lookup
from gateway.model.envelope import Body, IPText, Recipient
from gateway.model.ingress import ClientSource, EdgeIngress, InternalIngress, Tls
from gateway.model.message import Departure, Span
from gateway.model.reply import Reply
from gateway.model.result import DkimVerdict, DmarcVerdict
from gateway.model.value import replace
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone
from gateway.plan.client import ClientChecks
from gateway.policy.load import load
from gateway.service.runtime import RuntimeConfig
from gateway.spool.codec import TRACE
from gateway.tools.explain import Checked, ContentState, Replayed, check_content, render_story, replay, story_json
from gateway.tools.narrative import narrate
from gateway.tools.queue import render_states
from gateway.tools.rehearsal import Delivered, rehearse
from gateway.tools.simulate import make_config
from tests.support.samples import nested_multipart, plain, sign, signing_key

ZONE = {
    "sender.example": {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]},
    "7.113.0.203.list.example": {"A": ["127.0.0.10"]},
    "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
    "sel1._domainkey.sender.example": {"TXT": [signing_key()[1]]},
    "_dmarc.microsoft.com": {"TXT": ["v=DMARC1; p=reject; pct=100"]},
    "other.example": {"TXT": ["v=spf1 ip4:203.0.113.7 -all"]},
}
SIGNED = sign(nested_multipart("author@sender.example"), "sender.example")


def box(text: str) -> Recipient:
    found = mailbox(text)
    assert found is not None
    return Recipient(found)


ALICE, BOB = box("alice@corp.example"), box("bob@corp.example")


@pytest.fixture(scope="module")
def runtime() -> RuntimeConfig:
    return make_runtime(make_config([ALICE.mailbox]))


async def judged(
    runtime: RuntimeConfig, octets: bytes, mail_from: str = "author@sender.example", helo: str = "h.example"
) -> Trace:
    sender = mailbox(mail_from)
    delivered = Delivered(IPText("203.0.113.7"), helo, sender, (ALICE.mailbox, BOB.mailbox), octets, 1795295400.0)
    return (await rehearse(delivered, runtime, ZoneResolver(build_zone(ZONE)))).trace


@pytest.fixture
async def accepted(runtime: RuntimeConfig) -> Trace:
    return await judged(runtime, SIGNED)


@pytest.fixture
async def spoof(runtime: RuntimeConfig) -> Trace:
    return await judged(runtime, plain("security@microsoft.com"), "x@other.example")


FINE = Checked(ContentState.PURGED, Replayed.SAME)


def show(renderable: object) -> str:
    page = io.StringIO()
    Console(width=400, file=page).print(renderable)
    return page.getvalue()


def text_of(story: Story, checked: Checked = FINE) -> str:
    return show(render_story(story, checked))


def told(trace: Trace) -> Story:
    return Story(trace, (), (), (), content_kept=False, held=False)


async def test_incident_3_in_plain_words(spoof: Trace) -> None:
    text = text_of(told(spoof))
    for words in (
        "Message simulated, received 2026-11-21 21:10:00 UTC",
        'It came from 203.0.113.7, which called itself "h.example": the address is that of the TCP connection.',
        "The envelope: from <x@other.example> to alice@corp.example, bob@corp.example.",
        "The author, as the header From says, is at microsoft.com",
        "SPF: other.example, the envelope's domain, lets 203.0.113.7 send: pass",
        "But other.example is not aligned with microsoft.com, so it proves nothing about the author.",
        "DKIM: it carries no signature.",
        'DMARC: the record at microsoft.com is "v=DMARC1; p=reject; pct=100".',
        "Neither SPF nor DKIM passed for a domain aligned with microsoft.com; the record asks for p=reject.",
        "Ground beyond the published record: direct-spoof: the author domain signed nothing",
        'Rule "dmarc-reject" of set "enforce" decided to refuse it: reject, '
        "answered `550 5.7.1 Email rejected per DMARC policy for microsoft.com. ",
        "alice@corp.example: refused",
        "matched  dmarc-reject at data",
        "content: never kept, because the message was refused; the evidence is kept",
        "From: <security@microsoft.com>",
        "replayed: same",
    ):
        assert words in text, f"{words} is missing in\n{text}"


async def test_queue_show_says_the_same_of_the_content_as_explain(spoof: Trace) -> None:
    page = io.StringIO()
    Console(width=400, file=page).print(render_states(told(spoof)))
    assert "The content was never kept, because the message was refused; the evidence is kept." in page.getvalue()


async def test_the_story_as_json(accepted: Trace) -> None:
    tls = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    done = Outcome(
        ALICE, OutcomeKind.DELIVERED, Reply(250, "0.0", "OK"), Scope.RECIPIENT, "google", "192.0.2.1", tls, "verified"
    )
    late = Outcome(BOB, OutcomeKind.DEFERRED, Reply(451, "4.0", "later"), Scope.SITE, "")
    transfer = Transfer("t2", "simulated", "ms", None, (BOB,), b"", Body.EIGHT_BIT, False, None, "", 0.0, 60.0)
    story = Story(
        replace(accepted, dropped=(Span(0, 10),)),
        (Ending(ALICE, Final.DELIVERED, Reply(250, "0.0", "OK")),),
        (transfer,),
        (Attempt("t1", "google", 1.0, 2.5, (done,)), Attempt("t2", "ms", 1.0, 1.5, (late,))),
        content_kept=True,
        held=False,
    )
    tree = json.loads(json.dumps(story_json(story, Checked(ContentState.IDENTICAL, Replayed.SAME))))
    assert tree["ingress"]["edge"] is True
    assert (tree["ingress"]["client"], tree["ingress"]["source"]) == ("203.0.113.7", "peer")
    assert tree["envelope"]["mail_from"] == "author@sender.example"
    assert tree["evidence"]["sha256"] == hashlib.sha256(SIGNED).hexdigest()
    assert tree["evidence"]["header"].startswith("DKIM-Signature:")
    assert tree["evidence"]["digests"][0]["canonicalisation"] == "relaxed"
    assert {"name": "_dmarc.sender.example", "type": "TXT", "status": "found"}.items() <= tree["dns"][1].items()
    assert tree["results"]["dkim"][0]["result"] == "pass"
    assert tree["results"]["dmarc"]["alignment"] == {"spf": True, "dkim": True}
    assert tree["results"]["spf_helo"]["identity"] == "helo"
    assert tree["decision"]["rule"] == "default"
    assert tree["routes"][0] == {"rcpt": "alice@corp.example", "backend": "default"}
    assert tree["added"][-1].startswith("Received: ")
    assert tree["removed"] == [{"start": 0, "end": 10}]
    assert tree["attempts"][0]["outcomes"][0] == {
        "rcpt": "alice@corp.example",
        "kind": "delivered",
        "host": "google",
        "address": "192.0.2.1",
        "tls": {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "peer_subject": ""},
        "certificate": "verified",
        "reply": "250 2.0.0 OK",
        "scope": "recipient",
        "ambiguous": False,
        "refusal": None,
    }
    assert tree["recipients"] == [
        {"rcpt": "alice@corp.example", "state": "delivered", "reply": "250 2.0.0 OK"},
        {"rcpt": "bob@corp.example", "state": "waiting", "reply": None},
    ]
    assert (tree["content"], tree["replayed"]) == ("identical", "same")
    text = text_of(story, Checked(ContentState.ALTERED, Replayed.DIFFERENT))
    for words in (
        "alice@corp.example: delivered (250 2.0.0 OK)",
        "1970-01-01 00:00:01 UTC to google, 1.500 s",
        "alice@corp.example: delivered by google [192.0.2.1], TLSv1.3, certificate verified: 250 2.0.0 OK",
        "bob@corp.example: deferred by this gateway itself, no host was reached, no TLS: 451 4.4.0 later",
        "next: 1970-01-01 00:01:00 UTC to ms for bob@corp.example",
        "content: ALTERED",
        "replayed: different",
        "removed before sending: DKIM-Signature",
    ):
        assert words in text, f"{words} is missing in\n{text}"


async def test_rules_that_said_no_are_shown_on_demand(accepted: Trace, spoof: Trace) -> None:
    assert "no      " not in text_of(told(spoof))
    page = io.StringIO()
    Console(width=400, file=page).print(render_story(told(spoof), FINE, everything=True))
    assert "no       several-authors at data" in page.getvalue()
    assert "matched  dmarc-reject at data" in page.getvalue()
    assert "The rule that decided" not in text_of(told(accepted)), "none did"


async def test_content_that_was_delivered_is_not_called_refused(accepted: Trace) -> None:
    done = Ending(ALICE, Final.DELIVERED, Reply(250, "0.0", "OK"))
    assert "content: deleted after delivery; the evidence is kept" in text_of(replace(told(accepted), endings=(done,)))
    failed = Ending(ALICE, Final.FAILED, Reply(550, "1.1", "no"))
    assert "content: deleted when nothing was left" in text_of(replace(told(accepted), endings=(failed,)))


async def test_an_alias_and_a_mailbox_at_two_backends_have_their_states(accepted: Trace) -> None:
    ok = Reply(250, "0.0", "OK")
    sales = replace(box("carl@corp.example"), orcpt="rfc822;alice@corp.example")
    story = replace(
        told(accepted),
        endings=(
            Ending(sales, Final.DELIVERED, ok),
            Ending(BOB, Final.DELIVERED, ok),
            Ending(BOB, Final.FAILED, Reply(550, "1.1", "no")),
        ),
    )
    shown = [(one["rcpt"], one["state"]) for one in story_json(story, FINE)["recipients"]]
    assert shown == [
        ("alice@corp.example -> carl@corp.example", "delivered"),
        ("bob@corp.example", "delivered"),
        ("bob@corp.example", "failed"),
    ]
    own = replace(accepted.envelope, rcpts=(replace(ALICE, orcpt="rfc822;x@far.example"), BOB))
    story = replace(
        story,
        trace=replace(accepted, envelope=own),
        endings=(Ending(replace(sales, orcpt="rfc822;x@far.example"), Final.DELIVERED, ok),),
    )
    assert story_json(story, FINE)["recipients"][0]["rcpt"] == "alice@corp.example -> carl@corp.example"


async def test_a_demand_of_ours_that_failed_is_told_as_ours(accepted: Trace) -> None:
    reply = Reply(451, "7.5", "mx.corp.example [192.0.2.1]: TLS is required and failed: no STARTTLS")
    outcome = Outcome(BOB, OutcomeKind.DEFERRED, reply, Scope.SITE, "", "192.0.2.1")
    story = replace(told(accepted), attempts=(Attempt("t", "ms", 1.0, 1.5, (outcome,)),))
    assert "deferred by this gateway itself, about the host [192.0.2.1]" in text_of(story)


async def test_a_domain_is_never_called_unaligned_with_itself(runtime: RuntimeConfig) -> None:
    octets = sign(nested_multipart("author@plain.example"), "plain.example")
    words = " ".join(narrate(await judged(runtime, octets, "a@plain.example")))
    assert "not aligned" not in words
    zone = {
        **ZONE,
        "plain.example": ZONE["other.example"],
        "sel1._domainkey.plain.example": ZONE["sel1._domainkey.sender.example"],
    }
    sender = mailbox("a@plain.example")
    delivered = Delivered(IPText("203.0.113.7"), "h.example", sender, (ALICE.mailbox,), octets, 1795295400.0)
    words = " ".join(narrate((await rehearse(delivered, runtime, ZoneResolver(build_zone(zone)))).trace))
    assert words.count("That is the author's own domain.") == 2
    assert "not aligned" not in words


async def test_a_forced_sender_is_told(accepted: Trace) -> None:
    inside = InternalIngress(IPText("10.0.0.9"), "h", "smarthost", IPText("10.0.0.9"), "sender printer")
    leaves = Departure("printer", "sender printer", ALICE.mailbox, (b"From: <alice@corp.example>\r\n",), ())
    words = narrate(replace(accepted, edge=None, internal=inside, departure=leaves))
    assert (
        "It left with the envelope sender <alice@corp.example> in place of <author@sender.example>, which is not the "
        "sender's." in words
    )
    assert "Its From was not the sender's: <alice@corp.example> was put in its place." in words


async def test_held_and_refused_before_judgement(accepted: Trace, spoof: Trace) -> None:
    held = replace(told(accepted), held=True)
    assert [one["state"] for one in story_json(held, FINE)["recipients"]] == ["held", "held"]
    early = replace(spoof, authentication=None, evidence=None, content=None, lookups=())
    tree = story_json(told(early), FINE)
    assert tree["evidence"] is None
    assert tree["results"] | {"spf_helo": None} == tree["results"]
    assert "SPF:" not in text_of(told(early))


async def test_replay(runtime: RuntimeConfig, accepted: Trace, spoof: Trace) -> None:
    assert replay(accepted, runtime.context) is Replayed.SAME
    assert replay(spoof, runtime.context) is Replayed.SAME
    answers = tuple(
        Lookup(one.question, Answer(DnsStatus.NXDOMAIN)) if "domainkey" in one.question.name else one
        for one in accepted.lookups
    )
    assert replay(replace(accepted, lookups=answers), runtime.context) is Replayed.DIFFERENT
    assert replay(replace(accepted, lookups=()), runtime.context) is Replayed.DIFFERENT
    other = replace(spoof, decision=replace(spoof.decision, action=Action.QUARANTINE))
    assert replay(other, runtime.context) is Replayed.DIFFERENT
    assert replay(replace(spoof, authentication=None), runtime.context) is Replayed.SAME


EARLY = """set = "early"
[[rule]]
id = "early"
stage = "STAGE"
when = 'ingress.address == "203.0.113.7"'
then = "reject"
reply = "unacceptable"
"""


@pytest.mark.parametrize("stage", ["connect", "mail", "rcpt"])
async def test_what_was_refused_before_the_message_is_asked_again_too(runtime: RuntimeConfig, stage: str) -> None:
    rules = load("early", {"early.toml": EARLY.replace("STAGE", stage)})
    then = replace(runtime, context=replace(runtime.context, rules=rules))
    trace = replace(await judged(then, SIGNED), authentication=None)
    assert (trace.decision.rule, trace.evidence) == ("early", None)
    assert replay(trace, then.context) is Replayed.SAME
    assert replay(trace, runtime.context) is Replayed.DIFFERENT


async def test_rules_that_cannot_be_asked_now_do_not_hide_the_story(runtime: RuntimeConfig, accepted: Trace) -> None:
    text = EARLY.replace("STAGE", "data").replace(
        "ingress.address ==", "author.domains[message.size == 10000 ? 0 : 9] =="
    )
    assert replay(accepted, replace(runtime.context, rules=load("early", {"early.toml": text}))) is Replayed.DIFFERENT


async def test_replay_with_the_block_list_codes_of_then(runtime: RuntimeConfig) -> None:
    def asking(codes: str) -> RuntimeConfig:
        lists = (BlockList("list.example", (IPv4Network(codes),)),)
        return replace(runtime, context=replace(runtime.context, client=ClientChecks(lists=lists)))

    then, later = asking("127.0.0.8/30"), asking("127.0.0.2/32")
    trace = TRACE.unpack(TRACE.pack(await judged(then, SIGNED)))
    assert trace.authentication is not None
    assert trace.authentication.dnsbl.listed == ("list.example",)
    assert replay(trace, then.context) is Replayed.SAME
    assert replay(trace, later.context) is Replayed.SAME
    older = replace(trace.authentication, dnsbl=replace(trace.authentication.dnsbl, codes=()))
    assert replay(replace(trace, authentication=older), then.context) is Replayed.SAME


async def test_what_checks_of_another_version_judged_is_not_judged_again(
    runtime: RuntimeConfig, accepted: Trace
) -> None:
    later = replace(accepted, version=TRACE_VERSION + 1)
    assert replay(later, runtime.context) is Replayed.DIFFERENT
    checked = Checked(ContentState.PURGED, Replayed.DIFFERENT)
    assert f"checks of version {TRACE_VERSION + 1} judged it" in text_of(told(later), checked)
    assert story_json(told(later), checked)["version"] == TRACE_VERSION + 1


async def test_content(accepted: Trace) -> None:
    async def octets(*chunks: bytes) -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    assert await check_content(accepted, None) is ContentState.PURGED
    assert await check_content(accepted, octets(SIGNED[:100], SIGNED[100:])) is ContentState.IDENTICAL
    assert await check_content(accepted, octets(SIGNED, b"x")) is ContentState.ALTERED
    nothing = replace(accepted, content=None)
    assert await check_content(nothing, octets(SIGNED)) is ContentState.PURGED


def edge(**changes: object) -> EdgeIngress:
    base = EdgeIngress(IPText("203.0.113.7"), ClientSource.PEER, "h.example", "mx", IPText("192.0.2.10"))
    return replace(base, **changes)


@pytest.mark.parametrize(
    ("ingress", "words"),
    [
        (edge(source=ClientSource.PROXY), "the balancer 192.0.2.10 gave the address in its PROXY header"),
        (edge(source=ClientSource.RECEIVED), "our relay 192.0.2.10 recorded the address in its Received line"),
        (edge(source=ClientSource.XCLIENT), "the relay 192.0.2.10 gave the address by XCLIENT"),
        (
            edge(source=ClientSource.RECEIVED, via=("near", "middle", "far")),
            "our relay far recorded the address in its Received line, from which it came here through middle and near.",
        ),
        (edge(rdns="out.example"), "It came from 203.0.113.7 (out.example), which"),
        (edge(helo=""), "which gave no name"),
        (edge(client=None, reason="no line"), "The true client is unknown: no line."),
        (
            InternalIngress(IPText("10.0.0.9"), "h", "mx", IPText("10.0.0.9"), "own hop inner"),
            "It came from 10.0.0.9, which is trusted (own hop inner): it crossed no border here, so SPF was",
        ),
    ],
)
async def test_where_it_came_from(spoof: Trace, ingress: EdgeIngress | InternalIngress, words: str) -> None:
    inside = isinstance(ingress, InternalIngress)
    trace = replace(spoof, edge=None if inside else ingress, internal=ingress if inside else None)
    assert words in narrate(trace)[0]
    story_json(told(trace), FINE)


async def test_nothing_from_outside_reaches_the_terminal_raw(runtime: RuntimeConfig) -> None:
    trace = await judged(
        runtime, plain("security@microsoft.com"), "x@other.example", helo="h\x1b]0;owned\x07\u202e\udcff"
    )
    hostile = Lookup(trace.lookups[0].question, Answer(DnsStatus.FOUND, ("\x1b[2J\r\n\x9b31m",)))
    story = told(replace(trace, lookups=(hostile,), added=("X: a\x1b[31m\r\n\tb",)))
    text = text_of(story)
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\udcff", "\r"} & set(text)
    json.dumps(story_json(story, FINE), ensure_ascii=False).encode()


async def test_a_pretended_markup_stays_text(runtime: RuntimeConfig) -> None:
    trace = await judged(runtime, plain("security@microsoft.com"), "x@other.example", helo="[bold red]x[/bold red]")
    assert '"[bold red]x[/bold red]"' in text_of(told(trace))


async def test_quarantine_arc_and_broken_signatures(runtime: RuntimeConfig) -> None:
    trace = await judged(runtime, SIGNED.replace(b"Hi</p>", b"Ho</p>"), "x@other.example")
    words = "\n".join(narrate(trace))
    assert "DKIM: the signature of sender.example (selector sel1): fail (" in words
    assert "deliver it, marked for the junk folder: quarantine" in words
    assert "The published policy was not followed (local_policy)" in words


async def test_a_passing_signature_that_is_not_aligned(runtime: RuntimeConfig) -> None:
    message = sign(plain("security@microsoft.com"), "sender.example")
    words = "\n".join(narrate(await judged(runtime, message)))
    assert "pass. It is not aligned with microsoft.com." in words


async def test_direct_mail_that_passes_is_not_said_to_have_taken_an_indirect_way(accepted: Trace) -> None:
    assert accepted.authentication is not None
    assert accepted.authentication.dmarc.result is DmarcVerdict.PASS
    assert "indirect way" not in " ".join(narrate(accepted))
    # A passing signature of the author's is not a sign of it, under any DMARC result.
    decision = replace(accepted.decision, findings=(Finding("author-signature", "x"), Finding("earlier-hop", "y")))
    dmarc = replace(accepted.authentication.dmarc, result=DmarcVerdict.FAIL)
    failed = replace(accepted.authentication, dmarc=dmarc)
    told = " ".join(narrate(replace(accepted, authentication=failed, decision=decision)))
    assert "indirect way: author-signature" not in told
    assert "It may have taken an indirect way: earlier-hop (y)." in told
    broken = replace(failed, dkim=tuple(replace(one, result=DkimVerdict.FAIL) for one in failed.dkim))
    told = " ".join(narrate(replace(accepted, authentication=broken, decision=decision)))
    assert "It may have taken an indirect way: author-signature (x)." in told


async def test_dmarc_pass_names_what_it_rests_on(accepted: Trace) -> None:
    words = "\n".join(narrate(accepted))
    assert 'No rule matched, so "default" of set "enforce" decided to accept it: accept' in words
    assert "by aligned SPF and DKIM." in words
    assert "That is the author's own domain." in words
