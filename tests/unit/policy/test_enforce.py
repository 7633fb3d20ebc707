"""The shipped default: the incidents, and mail that must not be caught with them."""

from __future__ import annotations

import time
from ipaddress import IPv4Network
from typing import Any

import pytest

from gateway.model.decision import Action, Override, Stage
from gateway.model.history import Standing
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    DkimVerdict,
    DmarcPolicy,
    DmarcVerdict,
    DomainState,
    NamedDomains,
    SpfVerdict,
)
from gateway.model.value import replace
from gateway.policy.evaluate import decide
from gateway.policy.grounds import Source
from gateway.policy.rules import RuleSet
from tests.unit.policy.scenes import EDGE, INSIDE, OUR_SETTINGS, UNKNOWN, Scene, shipped, signature, spf

ENFORCE, STRICT = shipped("enforce"), shipped("strict")
NONE, QUARANTINE, REJECT = DmarcPolicy.NONE, DmarcPolicy.QUARANTINE, DmarcPolicy.REJECT
FAIL, PASS, TEMPERROR = DmarcVerdict.FAIL, DmarcVerdict.PASS, DmarcVerdict.TEMPERROR

BANK = Scene("From: news@partner.example", mail_from="news@partner.example", organization="partner.example")
SPOOF = Scene(
    "From: security@microsoft.com", spf=spf(SpfVerdict.PASS), dmarc=FAIL, policy=REJECT, organization="microsoft.com"
)
CEO = Scene("From: ceo@own.example", spf=spf(SpfVerdict.PASS), organization="own.example")
REPORT = "From: mailer-daemon@other.example\nContent-Type: Multipart/Report; report-type=delivery-status"

INCIDENTS = {
    "1a signed multipart, unmutated": (
        replace(BANK, spf=spf(SpfVerdict.PASS, "partner.example"), dkim=(signature("partner.example"),), dmarc=PASS,
                policy=REJECT, spf_aligned=True),
        Action.ACCEPT, "default",
    ),
    "1b the mutated copy, from an unlisted host": (
        replace(BANK, spf=spf(SpfVerdict.FAIL, "partner.example"),
                dkim=(signature("partner.example", DkimVerdict.FAIL),), dmarc=FAIL, policy=REJECT),
        Action.QUARANTINE, "dmarc-unproven",
    ),
    "2a through a listed own relay that records the client": (
        replace(BANK, spf=spf(SpfVerdict.PASS, "partner.example"), dmarc=PASS, policy=REJECT, spf_aligned=True,
                header="Received: from out.partner.example (out.partner.example [203.0.113.7])\n by mx-old.own.example"
                       " (Postfix) with ESMTPS id 1\nFrom: news@partner.example"),
        Action.ACCEPT, "default",
    ),
    "2b the same, address unreadable": (
        replace(BANK, ingress=UNKNOWN, policy=REJECT), Action.ACCEPT, "default",
    ),
    "3 microsoft.com from a stranger": (SPOOF, Action.REJECT, "dmarc-reject"),
    "4 ceo@own from a stranger, own p=reject": (
        replace(CEO, dmarc=FAIL, policy=REJECT), Action.REJECT, "own-domain-dmarc",
    ),
    "4 with no record and firewall=reject": (
        replace(CEO, settings=replace(OUR_SETTINGS, firewall="reject")), Action.REJECT, "own-domain-firewall",
    ),
    "5 to abuse@, after an inner forward": (
        Scene("From: x@partner.example", ingress=INSIDE, rcpts=("abuse@own.example",), policy=REJECT),
        Action.ACCEPT, "inside",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", INCIDENTS)
def test_incident(case: str) -> None:
    scene, action, rule = INCIDENTS[case]
    decision = scene.judged(ENFORCE)
    assert (decision.action, decision.rule) == (action, rule)


def test_the_reply_to_a_spoof_says_dmarc() -> None:
    decision = SPOOF.judged(ENFORCE)
    said = "550 5.7.1 Email rejected per DMARC policy for microsoft.com. "
    advice = "Services: sign with DKIM as microsoft.com, or write as a domain of your own"
    assert str(decision.reply) == said + advice
    assert decision.grounds == ("direct-spoof",)
    assert decision.disposition is REJECT
    assert decision.overrides == ()


def test_quarantine_under_p_reject_is_an_override_with_its_reason() -> None:
    decision = INCIDENTS["1b the mutated copy, from an unlisted host"][0].judged(ENFORCE)
    assert decision.grounds == ()
    assert decision.disposition is QUARANTINE
    assert decision.overrides == (Override("local_policy", "dmarc-unproven (author-signature)"),)
    assert decision.reply.code == 250


def test_every_rule_asked_is_recorded() -> None:
    decision = SPOOF.judged(ENFORCE)
    ids = [rule.id for rule in ENFORCE.rules[Stage.DATA]]
    asked = ids[: ids.index("dmarc-reject") + 1]
    assert [(hit.rule, hit.matched) for hit in decision.considered] == [(id, id == "dmarc-reject") for id in asked]
    assert decision.rule_set == "enforce"


INDIRECT = {
    "list": replace(SPOOF, header=SPOOF.header + "\nList-Id: <l.list.example>", dkim=(signature("list.example"),)),
    "arc": replace(SPOOF, arc=ArcResult(ArcVerdict.PASS, sealers=("x.example",))),
    "earlier-hop": replace(
        SPOOF, header="Received: from x (unknown [192.0.2.5]) by mx.stranger.example with ESMTP\n" + SPOOF.header
    ),
    "author-signature": replace(SPOOF, dkim=(signature("microsoft.com", DkimVerdict.FAIL),)),
    "sender": replace(
        SPOOF,
        header="Sender: attendee@stranger.example\n" + SPOOF.header,
        spf=spf(SpfVerdict.PASS, "bounces.stranger.example"),
        dkim=(signature("stranger.example"),),
    ),
}


@pytest.mark.parametrize("evidence", INDIRECT)
def test_evidence_of_an_indirect_way_quarantines_instead_of_rejecting(evidence: str) -> None:
    decision = INDIRECT[evidence].judged(ENFORCE)
    rule = "dmarc-list" if evidence == "list" else "dmarc-unproven"
    assert (decision.action, decision.rule) == (Action.QUARANTINE, rule)
    type = "mailing_list" if evidence == "list" else "local_policy"
    assert decision.overrides == (Override(type, f"{rule} ({evidence})"),)


@pytest.mark.parametrize("evidence", INDIRECT)
@pytest.mark.parametrize("author", ["ceo@own.example", "ceo@deep.below.own.example", "x@bank.example"])
def test_no_such_evidence_lets_a_stranger_write_as_us(evidence: str, author: str) -> None:
    scene = INDIRECT[evidence]
    spoof = replace(scene, header=scene.header.replace("security@microsoft.com", author), organization="")
    decision = spoof.judged(ENFORCE)
    assert (decision.action, decision.rule) == (Action.REJECT, "own-domain-dmarc")


@pytest.mark.parametrize(
    ("policy", "firewall", "action", "rule"),
    [
        (REJECT, "published", Action.REJECT, "own-domain-dmarc"),
        (QUARANTINE, "published", Action.QUARANTINE, "own-domain-unproven"),
        (NONE, "published", Action.QUARANTINE, "own-domain-unproven"),
        (None, "published", Action.QUARANTINE, "own-domain-unproven"),
        (REJECT, "reject", Action.REJECT, "own-domain-dmarc"),
        (NONE, "reject", Action.REJECT, "own-domain-firewall"),
        (None, "reject", Action.REJECT, "own-domain-firewall"),
        (REJECT, "quarantine", Action.QUARANTINE, "own-domain-unproven"),
        (None, "quarantine", Action.QUARANTINE, "own-domain-unproven"),
    ],
)
def test_own_domain_firewall(policy: DmarcPolicy | None, firewall: str, action: Action, rule: str) -> None:
    result = FAIL if policy else DmarcVerdict.NONE
    settings = replace(OUR_SETTINGS, firewall=firewall)
    decision = replace(CEO, dmarc=result, policy=policy, settings=settings).judged(ENFORCE)
    assert (decision.action, decision.rule) == (action, rule)


def test_own_mail_that_the_owner_vouches_for_passes_without_a_record() -> None:
    assert replace(CEO, dkim=(signature("own.example"),)).judged(ENFORCE).action is Action.ACCEPT
    by_spf = replace(CEO, mail_from="ceo@own.example", spf=spf(SpfVerdict.PASS, "own.example"))
    assert by_spf.judged(ENFORCE).action is Action.ACCEPT
    # Another's signature is not our proof.
    assert replace(CEO, dkim=(signature("stranger.example"),)).judged(ENFORCE).action is Action.QUARANTINE


def test_dmarc_decides_for_an_own_domain_with_a_record() -> None:
    # adkim=s: the signature of a subdomain passes and is not aligned.
    strict = replace(CEO, dkim=(signature("sub.own.example"),), dmarc=FAIL, policy=REJECT)
    assert strict.judged(ENFORCE).action is Action.REJECT


def test_own_mail_of_an_unknown_client_is_never_rejected() -> None:
    for firewall in ("published", "reject", "quarantine"):
        settings = replace(OUR_SETTINGS, firewall=firewall)
        scene = replace(CEO, ingress=UNKNOWN, spf=spf(SpfVerdict.NONE), policy=REJECT, settings=settings)
        assert scene.judged(ENFORCE).action is Action.QUARANTINE
        signed = replace(scene, dkim=(signature("own.example"),), dmarc=PASS)
        assert signed.judged(ENFORCE).action is Action.ACCEPT


def test_one_of_several_author_domains_being_ours_is_enough_for_the_firewall() -> None:
    both = replace(CEO, header="From: a@stranger.example, ceo@own.example", dkim=(signature("stranger.example"),))
    assert both.judged(ENFORCE).rule == "own-domain-unproven"
    ours_too = replace(both, dkim=(signature("stranger.example"), signature("own.example")))
    assert ours_too.judged(ENFORCE).action is Action.ACCEPT


@pytest.mark.parametrize("rcpt", ["postmaster@own.example", "ABUSE@second.example", "postmaster"])
def test_role_recipients_get_everything(rcpt: str) -> None:
    for scene in (SPOOF, replace(CEO, dmarc=FAIL, policy=REJECT), Scene("Subject: no author")):
        decision = replace(scene, rcpts=(rcpt,)).judged(ENFORCE)
        assert (decision.action, decision.rule) == (Action.ACCEPT, "role-recipient")
    decision = replace(SPOOF, rcpts=(rcpt,)).judged(ENFORCE)
    assert decision.disposition is NONE
    assert decision.overrides == (Override("local_policy", "role-recipient"),)


@pytest.mark.parametrize("rcpts", [("abuse@own.example", "alice@own.example"), ("abuse@stranger.example",)])
def test_a_role_exempts_nobody_else(rcpts: tuple[str, ...]) -> None:
    assert replace(SPOOF, rcpts=rcpts).judged(ENFORCE).action is Action.REJECT


def test_notifications_are_at_most_quarantined() -> None:
    bounce = replace(SPOOF, header=REPORT, mail_from="")
    assert bounce.judged(ENFORCE).rule == "notification"
    assert bounce.judged(ENFORCE).action is Action.QUARANTINE
    answer = replace(bounce, header="From: a@other.example\nAuto-Submitted: auto-replied (vacation)")
    assert answer.judged(ENFORCE).rule == "notification"
    parked = replace(bounce, dmarc=DmarcVerdict.NONE, policy=None, spf=spf(SpfVerdict.FAIL, sends_no_mail=True))
    assert parked.judged(ENFORCE).action is Action.ACCEPT
    waiting = replace(bounce, dmarc=TEMPERROR, policy=None)
    assert waiting.judged(ENFORCE).action is Action.DEFER


@pytest.mark.parametrize("rules", [ENFORCE, STRICT], ids=lambda rules: rules.name)
@pytest.mark.parametrize(
    "author",
    ["<>", "MAILER-DAEMON", "MAILER-DAEMON (Mail Delivery System)", '"Mail Delivery System" <MAILER-DAEMON>', "",
     "MAILER-DAEMON@", "postmaster@[192.0.2.1]", "undisclosed:;"],
)  # fmt: skip
def test_a_notification_that_names_no_domain_is_marked(rules: RuleSet, author: str) -> None:
    bounce = Scene(header=REPORT.replace("mailer-daemon@other.example", author), mail_from="")
    decision = bounce.judged(rules)
    assert (decision.action, decision.rule) == (Action.QUARANTINE, "notification-without-author")
    assert replace(bounce, mail_from="a@other.example").judged(rules).rule == "no-author", "not a notification"
    absent = replace(bounce, header=bounce.header.partition("\n")[2])
    assert absent.judged(rules).rule == "notification-without-author"
    twice = replace(bounce, header=f"From: {author}\n" + bounce.header)
    assert twice.judged(rules).rule == "several-authors"


def test_an_error_in_the_aligned_spf_record_is_no_ground_for_direct_spoofing() -> None:
    broken = replace(SPOOF, spf=spf(SpfVerdict.PERMERROR, "mail.microsoft.com"), organization="microsoft.com")
    assert broken.judged(ENFORCE).rule == "dmarc-unproven"
    foreign = replace(broken, spf=spf(SpfVerdict.PERMERROR, "stranger.example"))
    assert foreign.judged(ENFORCE).grounds == ("direct-spoof",)


def test_what_only_looks_like_a_notification_is_none() -> None:
    assert replace(SPOOF, header=REPORT).judged(ENFORCE).action is Action.REJECT
    plain = replace(SPOOF, header="From: a@other.example\nAuto-Submitted: no", mail_from="")
    assert plain.judged(ENFORCE).action is Action.REJECT
    ours = REPORT.replace("other.example", "own.example")
    assert replace(SPOOF, header=ours, mail_from="").judged(ENFORCE).rule == "own-domain-dmarc"


@pytest.mark.parametrize(
    ("header", "rule", "reply"),
    [
        (
            "Subject: x",
            "no-author",
            "550 5.7.1 Message has no valid From field. Write one From field with your own address",
        ),
        (
            "From: undisclosed:;",
            "no-author",
            "550 5.7.1 Message has no valid From field. Write one From field with your own address",
        ),
        ("From: " + ", ".join(f"a@d{n}.example" for n in range(6)), "no-author", ""),
        ("From: a@x.example," + " " * 20000 + "ceo@own.example", "no-author", ""),
        (
            "From: a@x.example\nFrom: a@x.example",
            "several-authors",
            "550 5.7.1 Message has more than one From field. Write only one",
        ),
    ],
)
def test_one_author_is_demanded(header: str, rule: str, reply: str) -> None:
    decision = Scene(header).judged(ENFORCE)
    assert (decision.action, decision.rule) == (Action.REJECT, rule)
    assert not reply or str(decision.reply) == reply


def test_an_unquoted_comma_in_a_name_is_no_reason_to_refuse() -> None:
    assert Scene("From: Smith, John <john@stranger.example>").judged(ENFORCE).action is Action.ACCEPT


def test_policies_of_strangers() -> None:
    assert replace(SPOOF, policy=QUARANTINE).judged(ENFORCE).rule == "dmarc-quarantine"
    assert replace(SPOOF, policy=QUARANTINE).judged(ENFORCE).overrides == ()
    assert replace(SPOOF, policy=NONE).judged(ENFORCE).action is Action.ACCEPT
    assert replace(SPOOF, dmarc=DmarcVerdict.PERMERROR, policy=None).judged(ENFORCE).action is Action.ACCEPT


def test_spf_alone_refuses_only_for_a_domain_that_sends_no_mail() -> None:
    failing = Scene(spf=spf(SpfVerdict.FAIL, "parked.example"))
    assert failing.judged(ENFORCE).action is Action.ACCEPT
    parked = replace(failing, spf=spf(SpfVerdict.FAIL, "parked.example", sends_no_mail=True))
    decision = parked.judged(ENFORCE)
    assert str(decision.reply) == (
        "550 5.7.23 SPF: parked.example sends no mail. Send from a domain whose SPF record lists your server"
    )
    assert decision.rule == "spf-sends-no-mail"
    assert replace(parked, dmarc=PASS, policy=NONE).judged(ENFORCE).action is Action.ACCEPT


@pytest.mark.parametrize(
    ("scene", "action"),
    [
        (replace(SPOOF, dmarc=TEMPERROR, policy=None), Action.DEFER),
        (replace(SPOOF, dmarc=TEMPERROR, policy=REJECT), Action.DEFER),
        (replace(SPOOF, dmarc=TEMPERROR, policy=QUARANTINE), Action.DEFER),
        (replace(SPOOF, dmarc=TEMPERROR, policy=None, ingress=UNKNOWN), Action.ACCEPT),
        (replace(SPOOF, dmarc=TEMPERROR, policy=None, header=INDIRECT["list"].header), Action.DEFER),
        (replace(SPOOF, dmarc=TEMPERROR, policy=QUARANTINE, dns_waited=True), Action.QUARANTINE),
        (replace(SPOOF, dmarc=TEMPERROR, policy=NONE), Action.ACCEPT),
        # A signature of the author whose key cannot be looked up is easily forged.
        (
            replace(SPOOF, dmarc=TEMPERROR, policy=REJECT, dkim=(signature("microsoft.com", DkimVerdict.TEMPERROR),)),
            Action.DEFER,
        ),
        # The author stands behind it, and only the record is unavailable.
        (replace(SPOOF, dmarc=TEMPERROR, policy=None, spf_aligned=True), Action.ACCEPT),
        (replace(CEO, dmarc=TEMPERROR, policy=None, spf_aligned=True), Action.ACCEPT),
        (replace(INDIRECT["list"], dmarc=TEMPERROR, policy=None), Action.DEFER),
        # All of DNS is silent: nothing supports the sender, even with a signature or list in the message.
        (
            replace(SPOOF, dmarc=TEMPERROR, policy=None, header=INDIRECT["list"].header, spf=spf(SpfVerdict.TEMPERROR)),
            Action.DEFER,
        ),
        (replace(CEO, dmarc=TEMPERROR, policy=None), Action.DEFER),
        (replace(CEO, dmarc=TEMPERROR, policy=QUARANTINE), Action.QUARANTINE),
        (replace(CEO, dmarc=TEMPERROR, policy=NONE), Action.QUARANTINE),
        (replace(CEO, dmarc=TEMPERROR, policy=NONE, settings=replace(OUR_SETTINGS, firewall="reject")), Action.DEFER),
        (
            replace(CEO, dmarc=TEMPERROR, policy=REJECT, settings=replace(OUR_SETTINGS, firewall="quarantine")),
            Action.QUARANTINE,
        ),
    ],
)
def test_a_missing_dns_answer_defers_only_where_it_could_matter(scene: Scene, action: Action) -> None:
    decision = scene.judged(ENFORCE)
    assert decision.action is action
    if action is Action.DEFER:
        assert str(decision.reply).startswith("451 4.7.0 DNS")
        assert decision.overrides == ()


def test_test_mode_is_reported_as_such() -> None:
    # p=reject t=y: the policy that applies is quarantine.
    decision = replace(SPOOF, policy=QUARANTINE, published=REJECT, testing=True).judged(ENFORCE)
    assert decision.action is Action.QUARANTINE
    assert decision.overrides == (Override("policy_test_mode", "t=y: quarantine instead of reject"),)


def test_what_is_done_beyond_the_published_policy_is_an_override() -> None:
    settings = replace(OUR_SETTINGS, firewall="reject")
    decision = replace(CEO, dmarc=FAIL, policy=QUARANTINE, settings=settings).judged(ENFORCE)
    assert decision.disposition is REJECT
    assert decision.overrides == (Override("local_policy", "own-domain-firewall"),)
    unpublished = replace(CEO, settings=replace(OUR_SETTINGS, firewall="reject")).judged(ENFORCE)
    assert unpublished.overrides == ()
    assert unpublished.grounds == ("own-domain",)


@pytest.mark.parametrize(
    ("scene", "advice"),
    [
        (replace(SPOOF, spf=spf(SpfVerdict.NONE)), "Send through the mail servers of microsoft.com"),
        (SPOOF, "Services: sign with DKIM as microsoft.com"),
        (replace(CEO, dmarc=FAIL, policy=REJECT, spf=spf(SpfVerdict.NONE)), "Devices and programs: send through"),
        (replace(INDIRECT["earlier-hop"], standing=Standing.STRANGER), "Forwarders: leave the message as it is"),
        (replace(INDIRECT["list"], standing=Standing.STRANGER), "Lists: put the list's own address into From"),
    ],
)
def test_a_refusal_says_what_its_sender_can_do(scene: Scene, advice: str) -> None:
    decision = scene.judged(ENFORCE)
    assert decision.action is Action.REJECT
    assert f". {advice}" in decision.reply.text
    assert len(decision.reply.wire()) <= 512, "RFC 5321 section 4.5.3.1.5"
    helped = replace(scene, settings=replace(OUR_SETTINGS, help="https://own.example/mail")).judged(ENFORCE)
    assert helped.reply.text == f"{decision.reply.text}. Help: https://own.example/mail"


@pytest.mark.parametrize(
    ("named", "fields", "rule"),
    [
        (NamedDomains(author=DomainState.NULL_MX, author_silent=True), {}, "author-silent"),
        (NamedDomains(envelope=DomainState.MISSING), {}, "sender-unreachable"),
        (NamedDomains(envelope=DomainState.NO_MAIL), {}, "sender-unreachable"),
        (NamedDomains(envelope=DomainState.LOCAL), {}, "default"),
        (NamedDomains(), {"mail_from": "a@own.example", "spf": spf(SpfVerdict.FAIL, "own.example")}, "sender-ours"),
        (NamedDomains(), {"ingress": replace(EDGE, helo="mail.own.example")}, "helo-forged"),
        (NamedDomains(), {"ingress": replace(EDGE, helo="localhost")}, "helo-forged"),
        (NamedDomains(envelope=DomainState.LOCAL), {"ingress": replace(EDGE, helo="localhost")}, "default"),
        (NamedDomains(), {"ingress": replace(EDGE, helo="mail.own.example"), "spf": spf(SpfVerdict.PASS)}, "default"),
        (NamedDomains(), {"ingress": replace(UNKNOWN, helo="mail.own.example")}, "default"),
    ],
)
def test_domains_that_send_no_mail_and_names_that_are_not_theirs(
    named: NamedDomains, fields: dict[str, Any], rule: str
) -> None:
    decision = replace(Scene(named=named), **fields).judged(ENFORCE)
    assert (decision.action, decision.rule) == (Action.ACCEPT if rule == "default" else Action.QUARANTINE, rule)


def test_a_mailbox_provider_can_be_enforced_though_it_publishes_none() -> None:
    settings = replace(OUR_SETTINGS, enforced=frozenset({"microsoft.com"}))
    lenient = replace(SPOOF, policy=NONE)
    assert lenient.judged(ENFORCE).action is Action.ACCEPT
    assert replace(lenient, settings=settings).judged(ENFORCE).rule == "enforce-for"
    forwarded = replace(INDIRECT["earlier-hop"], policy=NONE, settings=settings)
    assert forwarded.judged(ENFORCE).rule == "enforce-for-unproven"


OWN_HALF = replace(
    CEO,
    header="From: Microsoft Outlook <postmaster@own.example>\nContent-Type: multipart/report; boundary=b",
    mail_from="",
    dmarc=FAIL,
    policy=REJECT,
    dkim=(signature("own.onmicrosoft.com"),),
    named=NamedDomains(author_spf=SpfVerdict.PASS),
)
INVITATION = replace(
    OWN_HALF,
    header="From: carl@own.example\nSender: Calendar <calendar-notification@google.com>",
    mail_from="3abc@calendar-server.bounces.google.com",
    dkim=(signature("google.com"),),
)


@pytest.mark.parametrize(
    "scene", [OWN_HALF, INVITATION, replace(OWN_HALF, header="From: b@own.example\nX-Autoreply: y")]
)
def test_our_own_other_half_is_marked_and_not_refused(scene: Scene) -> None:
    assert (scene.judged(ENFORCE).action, scene.judged(ENFORCE).rule) == (Action.QUARANTINE, "own-half")
    # Only if our own record lists the client.
    for listed in (SpfVerdict.FAIL, SpfVerdict.SOFTFAIL, SpfVerdict.NONE, SpfVerdict.TEMPERROR, None):
        assert replace(scene, named=NamedDomains(author_spf=listed)).judged(ENFORCE).action is Action.REJECT


def test_a_private_mailbox_at_our_provider_is_not_our_half() -> None:
    private = replace(INVITATION, mail_from="carl.private@gmail.com", dkim=(signature("gmail.com"),))
    for sender in ("", "\nSender: carl.private@gmail.com", "\nSender: calendar-notification@google.com"):
        assert replace(private, header=f"From: carl@own.example{sender}").judged(ENFORCE).action is Action.REJECT


HELD = replace(
    signature("own.example", DkimVerdict.FAIL),
    header_holds=True,
    signed_fields=("from", "subject", "to", "date", "message-id"),
)
POST = replace(
    CEO,
    header="From: carl@own.example\nSubject: hello\nList-Id: <members.lists.club.example>",
    mail_from="members-bounces@lists.club.example",
    spf=spf(SpfVerdict.PASS, "lists.club.example"),
    dmarc=FAIL,
    dkim=(HELD, signature("club.example")),
    client_known=("network",),
)


@pytest.mark.parametrize(
    ("policy", "held", "action", "rule"),
    [
        (NONE, True, Action.ACCEPT, "own-post"),
        (NONE, False, Action.QUARANTINE, "own-post-changed"),
        (QUARANTINE, True, Action.QUARANTINE, "own-post-changed"),
        (REJECT, True, Action.QUARANTINE, "own-post-changed"),
        (REJECT, False, Action.QUARANTINE, "own-post-changed"),
    ],
)
def test_posts_of_our_own_people_to_lists(policy: DmarcPolicy, held: bool, action: Action, rule: str) -> None:
    dkim = (replace(HELD, header_holds=held), signature("club.example"))
    decision = replace(POST, policy=policy, dkim=dkim).judged(ENFORCE)
    assert (decision.action, decision.rule) == (action, rule)
    assert "own-domain" in decision.grounds
    # A list that does not prove its name is not one, nor is a list without a signature of ours.
    unproven = replace(POST, policy=REJECT, dkim=(HELD,), spf=spf(SpfVerdict.PASS, "evil.example"))
    assert unproven.judged(ENFORCE).action is Action.REJECT
    assert replace(POST, policy=REJECT, dkim=()).judged(ENFORCE).action is Action.REJECT
    strict = replace(POST, policy=policy, settings=replace(OUR_SETTINGS, firewall="reject"))
    assert strict.judged(ENFORCE).action is Action.REJECT


REPLAYED = {
    "a client that nothing is known of": {"client_known": ()},
    "a list that does not sign": {"dkim": (HELD,)},
    "a list that others sign for": {"dkim": (HELD, signature("evil.example"))},
    "a list named in a phrase": {
        "header": POST.header.replace("<members.lists.club.example>", '"members.lists.club.example" <x.evil.example>')
    },
    "a second List-Id": {"header": f"{POST.header}\nList-Id: <x.evil.example>"},
    "no List-Id": {"header": POST.header.replace("List-Id", "List-Post")},
    "a second Subject": {"header": f"Subject: pay here\n{POST.header}"},
    "a line that reads as Subject": {"header": f"Sub ject: pay here\n{POST.header}"},
    "a Subject that is not signed": {"dkim": (replace(HELD, signed_fields=("from", "to")), signature("club.example"))},
    "a Cc that is not signed": {"header": f"Cc: all@own.example\n{POST.header}"},
    "nothing that could be added": {},
}


@pytest.mark.parametrize("trick", REPLAYED)
def test_a_signed_mail_of_ours_with_another_body_is_marked(trick: str) -> None:
    decision = replace(POST, policy=NONE, **REPLAYED[trick]).judged(ENFORCE)
    honest = trick == "nothing that could be added"
    assert decision.action is (Action.ACCEPT if honest else Action.QUARANTINE)
    assert decision.rule == "own-post" or not honest


def test_what_a_list_adds_by_itself_leaves_our_signed_header_whole() -> None:
    footed = f"Reply-To: members@club.example\nSender: members-bounces@club.example\n{POST.header}"
    assert replace(POST, policy=NONE, header=footed).judged(ENFORCE).rule == "own-post"
    # One signature of ours that covers all of it is enough.
    narrow = replace(HELD, signed_fields=("from",))
    both = replace(POST, policy=NONE, dkim=(narrow, HELD, signature("club.example")))
    assert both.judged(ENFORCE).rule == "own-post"


NOTIFIES = {
    "qmail's bounce": "From: MAILER-DAEMON@mx.other.example\nSubject: failure notice",
    "an old autoresponder": "From: a@other.example\nX-Autoreply: yes",
    "an older one": "From: a@other.example\nPrecedence: auto_reply",
    "Exchange's bounce": "From: MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@other.example\n"
    "Content-Type: multipart/report; report-type=delivery-status",
    "a read receipt": "From: a@other.example\nContent-Type: multipart/report; report-type=disposition-notification",
    "a postmaster's word on a failure": "From: postmaster@other.example\nSubject: Undeliverable: Hello",
}
NAMELESS = {
    "From: <>": "From: <>\nContent-Type: multipart/report; report-type=delivery-status",
    "no From": "Subject: failure notice",
    "no domain": "From: MAILER-DAEMON\nAuto-Submitted: auto-replied",
}


@pytest.mark.parametrize("name", NOTIFIES)
def test_what_is_a_notification(name: str) -> None:
    scene = replace(SPOOF, header=NOTIFIES[name], mail_from="")
    assert scene.judged(ENFORCE).rule == "notification"
    assert replace(scene, mail_from="x@stranger.example").judged(ENFORCE).rule == "dmarc-reject"


@pytest.mark.parametrize("name", NAMELESS)
def test_a_notification_that_names_nobody_is_marked(name: str) -> None:
    scene = Scene(NAMELESS[name], mail_from="")
    assert (scene.judged(ENFORCE).action, scene.judged(ENFORCE).rule) == (
        Action.QUARANTINE,
        "notification-without-author",
    )
    assert replace(scene, mail_from="x@stranger.example").judged(ENFORCE).action is Action.REJECT


def test_learn_refuses_nothing_by_rule() -> None:
    learn = shipped("learn")
    assert all(one.action in (Action.ACCEPT, Action.QUARANTINE) for rules in learn.rules.values() for one in rules)
    assert replace(CEO, dmarc=FAIL, policy=REJECT).judged(learn).action is Action.QUARANTINE


def best_of(rounds: int) -> float:
    facts = SPOOF.facts()
    best = 1.0
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(100):
            decide(ENFORCE, Stage.DATA, facts)
        best = min(best, (time.process_time() - start) / 100)
    return best


@pytest.mark.alone
def test_the_whole_set_is_asked_in_a_tenth_of_a_millisecond() -> None:
    # docs/performance.md has the figures of `python -m bench.policy`.
    assert best_of(20) < 100e-6


def test_hostile_text_never_makes_a_rule_fail() -> None:
    nasty = "\udc80\x00é" * 3000
    scene = Scene(
        header="From: a@x.example\nList-Id: \udcff\nReceived: from \udcff by \udcfe\nAuto-Submitted: \udcff",
        ingress=replace(EDGE, helo=nasty, rdns=nasty),
        mail_from=f"{nasty}@x.example",
        spf=spf(SpfVerdict.FAIL, nasty),
    )
    assert scene.judged(ENFORCE).action is Action.ACCEPT


@pytest.mark.parametrize("policy", [None, NONE, QUARANTINE, REJECT])
def test_a_second_subject_above_the_signed_one_is_marked_and_no_pass_in_strict(policy: DmarcPolicy | None) -> None:
    signed = replace(signature("other.example"), signed_fields=("from", "subject"))
    header = "Subject: pay here\nFrom: a@other.example\nSubject: hello"
    scene = Scene(header=header, dkim=(signed,), dkim_aligned=(True,), dmarc=PASS, policy=policy)
    assert scene.judged(ENFORCE).rule == "added-fields"
    assert scene.judged(ENFORCE).action is Action.QUARANTINE
    assert scene.judged(STRICT).action is (Action.REJECT if policy is REJECT else Action.QUARANTINE)
    assert replace(scene, header=header.partition("\n")[2]).judged(STRICT).action is Action.ACCEPT


FOREIGN = Scene("From: x@stranger.example\nSender: ceo@own.example", spf=spf(SpfVerdict.PASS))
SENDERS = {
    "an address": "Sender: ceo@own.example",
    "below ours": "Sender: ceo@deep.own.example",
    "a protected domain": "Sender: Bank <x@bank.example>",
    "a second field": "Sender: x@stranger.example\nSender: ceo@own.example",
    "a line that reads as one": "Sen der: ceo@own.example",
    "a continuation": "To: a@x.example;\n Sender: ceo@own.example",
    "hidden behind many": "Sender: " + ", ".join(f"a@n{number}.example" for number in range(40)) + ", ceo@own.example",
}


@pytest.mark.parametrize("field", SENDERS)
@pytest.mark.parametrize("dmarc", [DmarcVerdict.NONE, FAIL, PASS])
def test_our_name_in_sender_is_marked_where_nothing_proves_it(field: str, dmarc: DmarcVerdict) -> None:
    header = f"From: x@stranger.example\n{SENDERS[field]}"
    theirs = signature("stranger.example")
    scene = replace(FOREIGN, header=header, dmarc=dmarc, dkim=(theirs,), dkim_aligned=(dmarc is PASS,))
    for rules in (ENFORCE, STRICT):
        assert (scene.judged(rules).action, scene.judged(rules).rule) == (Action.QUARANTINE, "sender-field")
    learnt = scene.judged(shipped("learn"))
    assert learnt.action is Action.ACCEPT
    assert learnt.would is not None
    assert learnt.would.rule == "sender-field"


WEB = Source("web", networks=(IPv4Network("203.0.113.7/32"),))
MEMBER = "From: x@stranger.example\nSender: ann@own.example\nList-Id: <a.club.example>"
PROVEN = {
    "our signature, put on by a service": replace(FOREIGN, dkim=(signature("own.example"),)),
    "beside the service's own": replace(
        FOREIGN, dmarc=PASS, dkim=(signature("stranger.example"), signature("own.example")), dkim_aligned=(True, False)
    ),
    "through a list": replace(FOREIGN, header=MEMBER, dkim=(signature("own.example"), signature("club.example"))),
    "a signature below ours": replace(FOREIGN, dkim=(signature("mail.own.example"),)),
    "our SPF record": replace(FOREIGN, spf=spf(SpfVerdict.PASS, "own.example")),
    "from inside": replace(FOREIGN, ingress=INSIDE),
    "a named sender": replace(FOREIGN, settings=replace(OUR_SETTINGS, senders=(WEB,))),
    "a list's own name": replace(FOREIGN, header="From: x@stranger.example\nSender: list@lists.example"),
    "a name that ends like ours": replace(FOREIGN, header="From: x@stranger.example\nSender: x@notown.example"),
    "our name in the phrase alone": replace(
        FOREIGN, header='From: x@s.example\nSender: "ceo@own.example" <x@s.example>'
    ),
}


@pytest.mark.parametrize("name", PROVEN)
def test_honest_mail_with_our_name_in_sender_passes(name: str) -> None:
    assert PROVEN[name].judged(ENFORCE).action is Action.ACCEPT


MEETING = Scene(
    "From: Organizer <olga@stranger.example>\nSender: ann@third.example\nContent-Type: text/calendar; method=REQUEST",
    mail_from="ann@third.example",
    spf=spf(SpfVerdict.PASS, "third.example"),
    dkim=(signature("third.example"),),
    dmarc=FAIL,
    policy=REJECT,
)


def test_a_forwarded_meeting_is_marked_whoever_forwards_it() -> None:
    """The organizer stays in From; the forwarder is in Sender, signs, and is in MAIL FROM."""
    ours = replace(
        MEETING,
        header=MEETING.header.replace("third", "own"),
        mail_from="ann@own.example",
        spf=spf(SpfVerdict.PASS, "own.example"),
    )
    for scene in (
        MEETING,
        replace(ours, dkim=(signature("own.example"),)),
        replace(MEETING, standing=Standing.STRANGER, client_known=("network",)),
    ):
        decision = scene.judged(ENFORCE)
        assert (decision.action, decision.rule) == (Action.QUARANTINE, "dmarc-unproven")
    for refused in (
        replace(MEETING, dkim=()),
        replace(MEETING, spf=spf(SpfVerdict.PASS, "fourth.example")),
        replace(MEETING, spf=spf(SpfVerdict.FAIL, "third.example")),
        replace(MEETING, header="From: olga@stranger.example"),
        replace(MEETING, standing=Standing.STRANGER),
        replace(MEETING, header=MEETING.header.replace("olga@stranger", "olga@own")),
    ):
        assert refused.judged(ENFORCE).action is Action.REJECT


def test_a_forwarded_meeting_of_one_of_us_proves_its_sender() -> None:
    """Our other half forwards a stranger's meeting: SPF or our signature supports Sender."""
    half = replace(
        MEETING,
        header=MEETING.header.replace("third", "own"),
        mail_from="ann@own.example",
        spf=spf(SpfVerdict.PASS, "own.example"),
        dkim=(signature("contoso.onmicrosoft.com"),),
        dmarc=DmarcVerdict.NONE,
        policy=None,
    )
    assert half.facts()["sender.unproven"] is False
    assert half.judged(ENFORCE).action is Action.ACCEPT


@pytest.mark.parametrize(
    ("author", "lookalike"),
    [
        ("sec0nd.example", "second.example"),
        ("sec0nd.elsewhere.example", ""),
        ("mail.sec0nd.other", "second.example"),
        (f"{chr(0x455)}econd.example", "second.example"),
        ("5econd.example", ""),
        ("second.other", ""),
        ("second.example", ""),
        ("mail.second.example", ""),
        ("seconds.example", ""),
        ("0wn.example", ""),
        ("ba" + "rn" + "k.example", ""),
        ("rnoon.example", "moon.example"),
        ("vvood.example", "wood.example"),
    ],
)
@pytest.mark.parametrize("dmarc", [PASS, DmarcVerdict.NONE])
def test_a_domain_that_looks_like_ours_is_marked_whatever_passes(
    author: str, lookalike: str, dmarc: DmarcVerdict
) -> None:
    settings = replace(OUR_SETTINGS, protected=frozenset({"bank.example", "moon.example", "wood.example"}))
    scene = Scene(f"From: ceo@{author}", spf=spf(SpfVerdict.PASS, author), dmarc=dmarc, settings=settings)
    assert scene.facts()["author.lookalike"] == lookalike
    for rules in (ENFORCE, STRICT):
        assert (scene.judged(rules).rule == "author-lookalike") == bool(lookalike)


DENIED = Scene(
    "From: ann@partner.example",
    mail_from="ann@partner.example",
    spf=spf(SpfVerdict.FAIL, "partner.example"),
    dmarc=FAIL,
    policy=NONE,
)


def test_an_author_whose_own_spf_record_refuses_the_client_is_marked() -> None:
    below = spf(SpfVerdict.FAIL, "mail.partner.example")
    for scene in (DENIED, replace(DENIED, dmarc=DmarcVerdict.NONE, policy=None), replace(DENIED, spf=below)):
        assert (scene.judged(ENFORCE).action, scene.judged(ENFORCE).rule) == (Action.QUARANTINE, "spf-denies")
    assert DENIED.judged(ENFORCE).overrides == (Override("local_policy", "spf-denies"),)


def test_what_an_spf_failure_alone_does_not_mark() -> None:
    hop = "Received: from x (mx.partner.example [192.0.2.10]) by mx.alumni.example; today\n"
    for scene in (
        replace(DENIED, header=hop + DENIED.header),
        replace(DENIED, dkim=(signature("club.example"),)),
        replace(DENIED, dkim=(signature("partner.example", DkimVerdict.FAIL),)),
        replace(DENIED, spf=spf(SpfVerdict.SOFTFAIL, "partner.example")),
        replace(DENIED, spf=spf(SpfVerdict.FAIL, "bounces.mailer.example")),
        replace(DENIED, client_known=("network",)),
        replace(DENIED, ingress=UNKNOWN),
        replace(DENIED, mail_from="", header=f"{DENIED.header}\nAuto-Submitted: auto-replied"),
    ):
        assert scene.judged(ENFORCE).action is Action.ACCEPT
