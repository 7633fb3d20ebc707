"""Invariant: SPF, DMARC and key records of any text are explained without raising, and a walk's networks are those
that an evaluation lets pass."""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Callable
from functools import partial

from rich.console import Console

from gateway.authentication import spf
from gateway.authentication.lookup import DnsView
from gateway.diagnosis.records.dmarc_advice import advice_json, advise, render_advice, render_survey, survey_json
from gateway.diagnosis.records.dmarc_lint import explain, lint
from gateway.diagnosis.records.dmarc_survey import survey
from gateway.diagnosis.records.key_lint import report_key
from gateway.diagnosis.records.spf_report import render_check, render_walk, walk_json
from gateway.diagnosis.records.spf_walk import MOST_LOOKUPS, walk
from gateway.model.envelope import Mailbox, ip_text
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import SpfIdentity, SpfVerdict
from gateway.net.zone import Zone, build_zone
from tests.fuzz.mutation import CASES, run
from tests.support.spf_zones import outlook_like

SPF = [
    b"v=spf1 a mx/24 include:b.example ip4:192.0.2.0/24 ip6:2001:db8::/32 redirect=b.example -all",
    b"v=spf1 ip4:198.51.100.1 ?a:b.example//64 ptr exists:%{i}.b.example exp=x.example ~all",
]
DMARC = [
    b"v=DMARC1; p=reject; sp=none; np=quarantine; adkim=s; aspf=r; t=y; pct=0; rua=mailto:a@b.example!10m; fo=1:d",
    "“v=DMARC1; p=none; rua=mailto:x@c.example, mailto:y@d.example; ruf=mailto:z@a.example”".encode(),
]
KEYS = [b"v=DKIM1; k=rsa; h=sha256; t=y:s; s=email; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDx", b"k=ed25519; p=AAAA"]
CONSOLE = Console(width=100, soft_wrap=True, highlight=False)


def show(renderable: object) -> None:
    with CONSOLE.capture() as text:
        CONSOLE.print(renderable)
    assert text.get().replace("\n", "").isprintable()


def zone(record: bytes) -> Zone:
    text = record.decode("utf-8", "replace")
    return build_zone(
        {
            "a.example": {"TXT": [text], "A": ["192.0.2.7"], "MX": ["10 b.example"]},
            "b.example": {
                "TXT": [text.replace("b.example", "c.example")],
                "A": ["198.51.100.9"],
                "AAAA": ["2001:db8::9"],
            },
            "c.example": {"TXT": ["v=spf1 ip4:203.0.113.0/28 -all"]},
            "_dmarc.a.example": {"TXT": [text]},
        }
    )


def explain_spf(record: bytes) -> None:
    found = walk("a.example", DnsView(zone(record).find))
    show(render_walk(found))
    show(render_check(found, None))
    assert json.dumps(walk_json(found), ensure_ascii=False).encode()


def explain_dmarc(record: bytes) -> None:
    text = record.decode("utf-8", "replace")
    assert [tag.name for tag in explain(text)][:2] == ["v", "p"]
    lint(text, exact=True)
    found = survey("a.example", DnsView(zone(record).find))
    advice = advise(found)
    show(render_survey(found))
    show(render_advice(found, advice))
    assert json.dumps([survey_json(found), advice_json(found, advice)], ensure_ascii=False).encode()


def explain_key(record: bytes) -> None:
    report = report_key(record.decode("latin-1"))
    assert report.usable or report.problems


def test_spf_records(full_count: Callable[[int], int]) -> None:
    run(SPF, full_count(CASES // 10), explain_spf, [b" include:c.example", b" +", b" ip4:", b"\xe2\x80\x93", b"/0"])


def test_dmarc_records(full_count: Callable[[int], int]) -> None:
    run(DMARC, full_count(CASES // 10), explain_dmarc, [b"; p=", b"mailto:", b"\xe2\x80\x9c", b";", b"="])


def test_keys(full_count: Callable[[int], int]) -> None:
    run(KEYS, full_count(CASES // 5), explain_key, [b"; p=", b'" "', b"; t=y"])


def judge(zone: Zone, domain: str, address: str) -> SpfVerdict:
    client = ip_text(address)
    ingress = EdgeIngress(client, ClientSource.PEER, domain, "", client)
    check = partial(spf.evaluate, ingress, Mailbox("x", domain, domain), SpfIdentity.MAILFROM, receiver="x.example")
    return check(window=DnsView(zone.find)).result


def random_zone(dice: random.Random) -> Zone:
    """Five domains that include each other downwards, each with a few networks."""
    data = {}
    for number in range(5):
        terms = [f"ip4:{dice.randrange(1, 224)}.{dice.randrange(256)}.0.0/{dice.randrange(16, 29)}" for _ in range(3)]
        terms += [f"include:d{below}.example" for below in range(number + 1, 5) if dice.random() < 0.4]
        dice.shuffle(terms)
        data[f"d{number}.example"] = {"TXT": [f"v=spf1 {' '.join(terms)} -all"]}
    return build_zone(data)


def test_networks_of_a_walk_pass_an_evaluation(full_count: Callable[[int], int]) -> None:
    checked = 0
    for number in range(full_count(40)):
        found = walk("d0.example", DnsView((zone := random_zone(random.Random(number))).find))
        if found.lookups > MOST_LOOKUPS:
            continue
        assert found.faults == ()
        for one in found.networks:
            checked += 1
            assert judge(zone, "d0.example", str(ipaddress.ip_network(one.network)[-1])) is SpfVerdict.PASS
        assert judge(zone, "d0.example", "2001:db8::1") is SpfVerdict.FAIL
    assert checked > 100


def test_all_networks_like_outlooks_pass() -> None:
    zone = build_zone(outlook_like())
    for one in walk("mail.example", DnsView(zone.find)).networks:
        assert judge(zone, "mail.example", str(ipaddress.ip_network(one.network)[0])) is SpfVerdict.PASS
