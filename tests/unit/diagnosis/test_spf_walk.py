"""An SPF record followed through its includes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.diagnosis.records.spf_walk import SpfWalk, walk
from gateway.net.zone import build_zone
from tests.support.spf_zones import networks_of, outlook_like


def follow(zone: dict[str, Any], domain: str = "a.example") -> SpfWalk:
    return walk(domain, DnsView(build_zone(zone).find))


def record(*records: str, **others: list[str]) -> dict[str, Any]:
    return {"a.example": {"TXT": list(records), **others}}


def faults(found: SpfWalk) -> str:
    return " | ".join(f"{fault.weight} {fault.domain} {fault.text}" for fault in found.faults)


def test_a_record_like_outlooks_gives_its_81_networks() -> None:
    zone = outlook_like()
    found = follow(zone, "mail.example")
    assert {one.network.removesuffix("/32") for one in found.networks} == networks_of(zone)
    assert len(found.networks) == 81
    assert all(one.reached and one.result == "pass" for one in found.networks)
    assert (found.lookups, found.last, found.faults) == (4, "softfail", ())
    deep = next(one for one in found.networks if one.network == "203.0.113.0/28")
    assert deep.path == ("mail.example", "spf-a.hosted.example", "deep.hosted.example")


def test_it_asks_a_level_at_a_time() -> None:
    zone = build_zone(outlook_like())
    asked = []
    known: dict[Any, Any] = {}
    for _ in range(3):
        window = DnsView(known.get)
        with pytest.raises(NeedAnswers):
            walk("mail.example", window)
        asked.append(len(window.pending))
        known |= {question: zone.find(question) for question in window.pending}
    assert asked == [1, 3, 1]
    assert walk("mail.example", DnsView(known.get)).lookups == 4


def test_more_than_ten_lookups() -> None:
    zone = record("v=spf1 " + " ".join(f"include:i{number}.example" for number in range(12)) + " -all")
    zone |= {f"i{number}.example": {"TXT": [f"v=spf1 ip4:192.0.2.{number} -all"]} for number in range(12)}
    found = follow(zone)
    assert found.lookups == 12
    assert [one.network for one in found.networks if not one.reached] == ["192.0.2.10/32", "192.0.2.11/32"]
    assert "error a.example needs 12 lookups" in faults(found)


def test_hosts_and_prefixes() -> None:
    zone = record("v=spf1 a/28//64 mx:m.example ?ip6:2001:db8::/32 ~all", A=["192.0.2.17"], AAAA=["2001:db8::1"]) | {
        "m.example": {"MX": ["10 h.example"]},
        "h.example": {"A": ["198.51.100.1"]},
    }
    found = follow(zone)
    assert [(one.network, one.result) for one in found.networks] == [
        ("192.0.2.16/28", "pass"),
        ("2001:db8::/64", "pass"),
        ("198.51.100.1/32", "pass"),
        ("2001:db8::/32", "neutral"),
    ]


def test_inside_an_include_only_a_pass_matters() -> None:
    zone = record("v=spf1 ~include:b.example -all") | {
        "b.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -ip4:192.0.2.2 -include:c.example +all"]},
        "c.example": {"TXT": ["v=spf1 ip4:192.0.2.3 -all"]},
    }
    found = follow(zone)
    assert [(one.network, one.result) for one in found.networks] == [("192.0.2.1/32", "softfail")]
    assert found.last == "fail"


def test_redirect_counts_as_the_record_itself() -> None:
    found = follow(record("v=spf1 redirect=b.example") | {"b.example": {"TXT": ["v=spf1 -ip4:192.0.2.1 -all"]}})
    assert [(one.network, one.result) for one in found.networks] == [("192.0.2.1/32", "fail")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v=spf1 ipv4:192.0.2.1 -all", "error a.example ipv4:192.0.2.1 is not a mechanism of SPF; ip4: is meant"),
        ("v=spf1 ip4:300.1.1.1 -all", "does not hold a network"),
        ("v=spf1 ip4:2001:db8::1 -all", "holds an address of IPv6"),
        ("v=spf1 include=b.example -all", "needs a colon: include:b.example"),
        ("v=spf1 redirect:b.example", "needs an equals sign: redirect=b.example"),
        ("v=spf1 include: -all", "include: does not name a domain"),
        ("v=spf1 a/33 -all", "has an impossible prefix length"),
        ("v=spf1 include:a.example -all", "leads back to a record on the way"),
        ("v=spf1 ip4: 192.0.2.1 -all", "has a blank after a colon; meant is: ip4:192.0.2.1"),
        ("v=spf1 a:192.0.2.1 -all", "names an address: use ip4:192.0.2.1"),
        ("v=spf1 include:2001:db8::1 -all", "names an address: use ip6:2001:db8::1"),
        ("v=spf1 include:b.example, -all", "ends in ',': terms have only blanks"),
        ("v=spf1 include:b.example; -all", "ends in ';'"),
        ("v=spf1 all:b.example", "takes no value"),
        ("v=spf1 +redirect=b.example", "takes no qualifier"),
        ("v=spf1 ?all", "?all says nothing"),
        ("v=spf1 redirect=b.example redirect=c.example", "has a modifier twice"),
        ("v=spf1 a:" + 300 * "x" + " -all", "does not name a domain"),
        ("v=spf1 ip4:192.0.2.1/33 -all", "has an impossible prefix length"),
        ("v=spf1 =x", "is not a term of SPF"),
        ("v=spf1include:b.example -all", "lacks the blank after v=spf1; publish: v=spf1 include:b.example -all"),
        ("v=spf1; include:b.example -all", "lacks the blank after v=spf1; publish: v=spf1 include:b.example -all"),
        ('"v=spf1 -all"', "holds quotation marks as a part of the record; publish: v=spf1 -all"),
        (" v=spf1 -all", "begins with a blank; publish: v=spf1 -all"),
        ("spf2.0/pra a -all", "names a version that was given up; receivers read only v=spf1; publish: v=spf1 a -all"),
        ("spf1 a -all", "must begin with v=spf1 and a blank"),
        ("v=spf1 include:none.example -all", "error none.example is included and does not exist"),
        ("v=spf1 ptr -all", "warning a.example ptr is slow"),
        ("v=spf1 +all", "+all lets everyone send"),
        ("v=spf1 ip4:0.0.0.0/1 -all", "a very large part"),
        ("v=spf1 -all a", "has terms after `all`"),
        ("v=spf1 redirect=b.example -all", "redirect= is ignored"),
        ("v=spf1 a", "ends without `all`"),
        (
            "“v=spf1 -all”",
            "left double quotation mark (\\u201c), right double quotation mark (\\u201d); publish: v=spf1 -all",
        ),
        ("v=spf1 a \u2013all", "en dash (\\u2013); publish: v=spf1 a -all"),
        ("nothing", "warning a.example has no SPF record"),
    ],
)
def test_faults(text: str, expected: str) -> None:
    assert expected in faults(follow(record(text)))


def test_two_records() -> None:
    assert "has 2 SPF records, which is a permerror" in faults(follow(record("v=spf1 -all", "v=spf1 a -all")))


def test_names_that_are_not_there() -> None:
    found = follow(record("v=spf1 a:x.example a:y.example mx:z.example -all"))
    assert found.void == 3
    assert "asks for 3 names that are not there" in faults(found)


def test_dns_that_fails() -> None:
    assert "DNS gave no answer (servfail)" in faults(follow({"a.example": "SERVFAIL"}))
