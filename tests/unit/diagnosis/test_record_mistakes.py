"""Records as people really publish them, with the findings about each; and every sentence of these tools once."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from rich.console import Console

from gateway.authentication import spf
from gateway.authentication.lookup import DnsView
from gateway.diagnosis.records import own_domains, texts
from gateway.diagnosis.records.dkim_report import check_key, render_key
from gateway.diagnosis.records.dmarc_advice import advise, render_advice, render_survey
from gateway.diagnosis.records.dmarc_survey import survey
from gateway.diagnosis.records.spf_report import is_sound, render_check, render_walk, walk_json
from gateway.diagnosis.records.spf_walk import walk
from gateway.mail.path import mailbox
from gateway.model.envelope import ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import SpfIdentity
from gateway.net.zone import build_zone
from tests.support.judging import judge_zone
from tests.support.sentences import unsaid
from tests.support.signing import key_record, rsa_key

ALIAS = "selector1-a-example._domainkey.a.onmicrosoft.com"


def show(renderable: object) -> str:
    console = Console(width=400, soft_wrap=True, highlight=False)
    with console.capture() as shown:
        console.print(renderable)
    return shown.get()


def dmarc(zone: dict[str, Any], domain: str = "a.example") -> str:
    found = survey(domain, DnsView(build_zone(zone).find))
    return show(render_survey(found)) + show(render_advice(found, advise(found)))


def published(*records: str, **around: Any) -> dict[str, Any]:
    return {"_dmarc.a.example": {"TXT": list(records)}, "a.example": {"TXT": ["v=spf1 a ~all"]}, **around}


def sender(zone: dict[str, Any], address: str = "", domain: str = "a.example") -> str:
    window = DnsView(build_zone(zone).find)
    found = walk(domain, window)
    verdict = None
    path = mailbox(f"ann@{domain}")
    if address and path:
        client = ip_text(address)
        ingress = EdgeIngress(client, ClientSource.PEER, domain, "", client)
        verdict = spf.evaluate(ingress, path, SpfIdentity.MAILFROM, receiver="waypost.invalid", window=window)
    return show(render_check(found, verdict, address)) + show(render_walk(found))


def senders(*records: str, **around: Any) -> dict[str, Any]:
    return {"a.example": {"TXT": list(records)}, **around}


def key(zone: dict[str, Any], selector: str = "s") -> str:
    return show(render_key(check_key(selector, "a.example", DnsView(build_zone(zone).find))))


@pytest.mark.parametrize(
    ("record", "reason", "meant"),
    [
        ("v=DMARC1 p=reject rua=mailto:r@a.example", "lacks semicolons", "v=DMARC1; p=reject; rua=mailto:r@a.example"),
        ("v=DMARC1 p=none; rua=mailto:r@a.example", "lacks semicolons", "v=DMARC1; p=none; rua=mailto:r@a.example"),
        ("v=DMARC1, p=none, rua=mailto:r@a.example", "has commas between", "v=DMARC1; p=none; rua=mailto:r@a.example"),
        ('"v=DMARC1; p=none"', "quotation marks", "v=DMARC1; p=none"),
        (" v=DMARC1; p=none", "begins with a blank", "v=DMARC1; p=none"),
        ("v=DMARC1\\; p=none", "backslashes", "v=DMARC1; p=none"),
        ("v=DMARC1\u00a0p=none", "no-break space", "v=DMARC1; p=none"),
    ],
)
def test_a_dmarc_record_that_receivers_do_not_see(record: str, reason: str, meant: str) -> None:
    said = dmarc(published(record))
    assert reason in said
    assert f"publish: {meant}" in said
    assert "in exactly these letters" not in said


def test_letters_are_blamed_only_where_they_are_wrong() -> None:
    assert "in exactly these letters" in dmarc(published("v=dmarc1; p=none"))
    assert "must begin with v=DMARC1;." in dmarc(published("p=none; v=DMARC1"))


def test_two_spf_records_are_shown_and_merged() -> None:
    zone = senders("v=spf1 include:m.example -all", "v=spf1 include:g.example ip4:192.0.2.1 ~all")
    said = sender(zone)
    assert "no record" not in said
    assert said.count("a.example: v=spf1") == 4
    assert "Merge them into one: v=spf1 include:m.example include:g.example ip4:192.0.2.1 ~all" in said
    found = walk("a.example", DnsView(build_zone(zone).find))
    assert not is_sound(found)
    records = walk_json(found)["records"]
    assert isinstance(records, list)
    assert len(records) == 2
    redirected = sender(senders("v=spf1 a -all", "v=spf1 redirect=r.example"))
    assert "Merge them into one: v=spf1 a include:r.example ~all" in redirected


def test_two_dmarc_records_are_both_shown() -> None:
    said = dmarc(published("v=DMARC1; p=none", "v=DMARC1; p=reject"))
    assert "v=DMARC1; p=none; v=DMARC1; p=reject" in said
    assert "has 2 records" in said


def test_an_alias_without_record_is_named_with_its_target() -> None:
    dangling = {"selector1._domainkey.a.example": {"CNAME": [ALIAS]}}
    said = key(dangling, "selector1")
    assert f"is an alias (CNAME) of {ALIAS}" in said
    assert "Microsoft has not published the key" in said
    assert "has no TXT record" not in said
    assert "alias (CNAME) of d.example" in key({"s._domainkey.a.example": {"CNAME": ["d.example"]}})
    assert "alias (CNAME) of d.example" in dmarc({"_dmarc.a.example": {"CNAME": ["d.example"]}})
    included = senders("v=spf1 include:i.example -all", **{"i.example": {"CNAME": ["gone.example"]}})
    assert "alias (CNAME) of gone.example" in sender(included)
    good = {"selector1._domainkey.a.example": {"CNAME": [ALIAS]}, ALIAS: {"TXT": [key_record(rsa_key())]}}
    assert "alias" not in key(good, "selector1")


def test_a_name_to_which_the_panel_added_the_domain() -> None:
    assert "stands at _dmarc.a.example.a.example" in dmarc(
        {"_dmarc.a.example.a.example": {"TXT": ["v=DMARC1; p=none"]}}
    )
    doubled = {"s._domainkey.a.example.a.example": {"TXT": [key_record(rsa_key())]}}
    assert "stands at s._domainkey.a.example.a.example" in key(doubled)


def test_the_table_shows_the_policy_that_applies() -> None:
    zone = published("v=DMARC1; p=reject; sp=quarantine; np=none")
    above = dmarc(zone | {"m.a.example": {"A": ["192.0.2.1"]}}, "m.a.example")
    assert "(sp=quarantine of a.example)" in above
    assert "treat it as suspicious; this is the one for m.a.example" in above
    assert "(np=none of a.example)" in dmarc(zone, "none.a.example")
    assert "refuse it; this is the one for a.example" in dmarc(zone)
    broken = dmarc(published("v=DMARC1; p=reject; sp=rejct; rua=mailto:r@a.example"))
    assert "p=reject)" not in broken
    assert "p      none" in broken


@pytest.mark.parametrize(
    ("record", "address", "right", "wrong"),
    [
        ("v=spf1 ip4:192.0.2.1 -all", "192.0.2.1", "Nothing is wrong", "does not list"),
        ("v=spf1 ip4:192.0.2.1 -all", "192.0.2.2", "does not list 192.0.2.2", "Nothing is wrong"),
        ("v=spf1 ip4:192.0.2.1 -all", "2001:db8::1", "add ip6:2001:db8::1", "Nothing is wrong"),
        ("v=spf1 exists:%{i}.x.example -all", "192.0.2.2", "fail", "Nothing is wrong"),
    ],
)
def test_nothing_is_wrong_only_where_nothing_is(record: str, address: str, right: str, wrong: str) -> None:
    said = sender(senders(record), address)
    assert right in said
    assert wrong not in said


def test_a_key_with_an_error_is_not_called_usable() -> None:
    said = key({"s._domainkey.a.example": {"TXT": ['"' + key_record(rsa_key()) + '"']}})
    assert texts.KEY_USABLE not in said


def test_a_key_cut_into_two_records() -> None:
    whole = key_record(rsa_key())
    cut = {"s._domainkey.a.example": {"TXT": [whole[:100], whole[100:]]}}
    assert "one key was cut into 2 records" in key(cut)
    assert "receivers may take any" in key({"s._domainkey.a.example": {"TXT": [whole, whole + "; n=x"]}})


DMARC = (
    "v=DMARC1; p=none; fo=9; adkim=x; t=x; psd=z; pct=500; rf=afrf; ri=1; zz=1; oops; rua=r@a.example; ruf=ftp:x; fo=1",
    "v=DMARC1; rua=mailto:r@b.example,mailto:x@c.example,mailto:y@d.example; sp=none; p=reject; t=y; psd=y; aspf=s",
    "v=DMARC1; sp=none; fo=1; psd=n; rua=x",
    "v=DMARC1; p=quarantine; rua=mailto:r@a.example",
    "v=DMARC1; p=reject; rua=mailto:r@a.example",
    "v=DMARC1; p=reject; ruf=mailto:r@a.example; sp=none",
    "v=DMARC1; p=nome",
    "v=DMARC1; p=none; rua=mailto:r@a.example",
    "v=DMARC1; p=none rua=mailto:r@a.example",
)
NEAR = (
    "v=dmarc1; p=none",
    "p=none; v=DMARC1",
    "v=DMARC1, p=none",
    '"v=DMARC1 p=none"',
    " v=DMARC1; p=n\\",
    "v=DMARC1\u2013",
)
SPF = (
    "v=spf1 ipv4:1 ip4=1 redirect:x include: +redirect=x a/99 ip4:x foo ~all",
    "v=spf1 ip4:2001:db8::1 a:192.0.2.1 ip4: 192.0.2.1 ~all",
    "v=spf1 ?all a redirect=x redirect=y",
    "v=spf1 all:x =x b, ptr ip4:0.0.0.0/1 include:a.example include:none.example include:empty.example mx:many.example",
    "v=spf1 +all",
    "v=spf1 a:x.example a:y.example a:z.example include:" + 300 * "y",
    "v=spf1 " + " ".join(f"include:i{number}.example" for number in range(12)) + " -all",
    "v=spf1include:x -all",
    "spf2.0/pra a",
    "v=spf 1",
    "“v=spf1 -all",
)


def own(good: str) -> list[str]:
    """The findings of `check --dns`."""
    sound = {"TXT": ["v=spf1 ip4:198.51.100.7 -all"]}
    alias = "selector1._domainkey.a.example"
    shared = {
        "a.example": {"TXT": ["v=spf1 include:sendgrid.net -all"]},
        "sendgrid.net": {"TXT": ["v=spf1 ip4:203.0.113.0/24 ~all"]},
    }
    cases: list[tuple[dict[str, object], bool]] = [
        ({"a.example": sound, "google._domainkey.a.example": {"TXT": [good]}}, False),
        ({"a.example": sound, alias: {"CNAME": ["selector1-a._domainkey.t.onmicrosoft.com"]}}, False),
        ({"a.example": sound, alias: {"CNAME": ["x.other.example"]}}, False),
        ({"a.example": {"TXT": ["x"]}}, False),
        ({"a.example": "SERVFAIL"}, False),
        ({"a.example": {"TXT": ["v=spf1 nonsense -all"]}}, False),
        (dict(shared), False),
        (dict(shared), True),
    ]
    halves = (own_domains.GOOGLE, own_domains.MICROSOFT)
    found = [
        one
        for zone, guarded in cases
        for one in judge_zone(zone, partial(own_domains.examine_domain, "a.example", halves, guarded))
    ]
    signers: list[dict[str, object]] = [{}, {"b.example": {"A": ["192.0.2.1"]}}]
    found += [judge_zone(zone, partial(own_domains.examine_signer, "b.example")) for zone in signers]
    return [f"{one.found} {one.fix}" for one in found]


def test_every_sentence_is_said() -> None:
    others = {
        "a.example._report._dmarc.c.example": {"TXT": ["v=DMARC1"]},
        "a.example._report._dmarc.d.example": "TIMEOUT",
        "empty.example": {"TXT": ["x"]},
        "many.example": {"MX": [f"10 h{number}.example" for number in range(12)]},
        **{f"i{number}.example": {"TXT": [f"v=spf1 ip4:192.0.2.{number} -all"]} for number in range(12)},
    }
    said = [dmarc(published(record, **others)) for record in (*DMARC, *NEAR)]
    said += [
        dmarc({}),
        dmarc({"a.example": {"TXT": ["v=spf1 -all"]}}),
        dmarc({"a.example": {"TXT": ["v=DMARC1; p=none"]}}),
        dmarc(published(DMARC[3], DMARC[4])),
        dmarc(published(DMARC[1]), "m.a.example"),
        dmarc({"_dmarc.a.example": {"CNAME": ["x.example"]}, "_dmarc.a.example.a.example": {"TXT": ["v=DMARC1"]}}),
    ]
    said += [sender(senders(record, **others)) for record in SPF]
    said += [
        sender({"a.example": "SERVFAIL"}),
        sender(senders("v=spf1 a -all", "v=spf1 mx -all")),
        sender(senders("v=spf1 a -all"), "192.0.2.9"),
        sender(senders("v=spf1 ip4:192.0.2.9 -all"), "192.0.2.9"),
        sender({}),
    ]
    good = key_record(rsa_key())
    short = key_record(rsa_key(1024))
    at = "s._domainkey.a.example"
    said += [
        key({at: {"TXT": [record]}})
        for record in (good, short, "v=DKIM1; p=", good.replace("v=DKIM1;", "t=y:s; g=*; h=sha1;"), good + " t=s")
    ]
    said += [
        key({}, "selector1"),
        key({}, "google"),
        key({at: "SERVFAIL"}),
        key({at: {"A": ["192.0.2.1"]}}),
        key({at: {"TXT": [good, good + ";n=x"]}}),
        key({at: {"TXT": [good[:90], good[90:]]}}),
        key({"selector2._domainkey.a.example": {"CNAME": [ALIAS]}}, "selector2"),
    ]
    said += own(good)
    assert unsaid(texts, *said) == ["SWAPPED"], "which the tests of poor input have"
