"""Zones as data: the ZONE rules, in JSON and as a master file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.net.resolver import read_zone
from gateway.net.zone import ZoneError, build_zone

MASTER = """
; no SOA, origin is the root
$TTL 60
Corp.Example.      IN  MX   10 Mx.Corp.Example.
corp.example           TXT  "v=spf1 " "ip4:192.0.2.1 -all"
                       TXT  unquoted
mx.corp.example.  300  IN A 192.0.2.1
                       AAAA 2001:DB8:0:0::1
$ORIGIN deep.corp.example.
a.b                IN  CNAME mx.corp.example.
1.2.0.192.in-addr.arpa. PTR MX.corp.example.
_25._tcp.mx.corp.example. TLSA 3 1 0 AB CD ( EF
  01 )
tlsrpt.corp.example. TXT "semi;colon and \\"quote\\""
"""


def _find(zone: Any, name: str, type: str) -> Answer:
    return zone.find(Question(name, type))


@pytest.mark.parametrize(
    ("name", "type", "records"),
    [
        ("corp.example", "MX", ("10 mx.corp.example",)),
        ("corp.example", "TXT", ("v=spf1 ip4:192.0.2.1 -all", "unquoted")),
        ("mx.corp.example", "A", ("192.0.2.1",)),
        ("mx.corp.example", "AAAA", ("2001:db8::1",)),
        ("a.b.deep.corp.example", "CNAME", ("mx.corp.example",)),
        ("a.b.deep.corp.example", "A", ("192.0.2.1",)),
        ("1.2.0.192.in-addr.arpa", "PTR", ("mx.corp.example",)),
        ("_25._tcp.mx.corp.example", "TLSA", ("3 1 0 abcdef01",)),
        ("tlsrpt.corp.example", "TXT", ('semi;colon and "quote"',)),
    ],
)
def test_master_file(name: str, type: str, records: tuple[str, ...]) -> None:
    assert _find(read_zone(MASTER), name, type) == Answer(DnsStatus.FOUND, records)


@pytest.mark.parametrize(
    "text",
    ["corp.example. IN A nonsense", "corp.example. BOGUS x", '$INCLUDE "/etc/passwd"', "$TTL", 'a. 1 IN TXT "open'],
)
def test_master_file_mistakes(text: str) -> None:
    with pytest.raises(ZoneError, match="not a master file"):
        read_zone(text)


def test_both_forms_say_the_same() -> None:
    data = {
        "Corp.Example.": {"MX": ["10 Mx.Corp.Example."], "TXT": ["é" * 200], "SRV": ["0 5 25 Mx.corp.example."]},
        "soa.example": {"SOA": ["ns.example. root.example. 1 2 3 4 5"], "NS": ["NS.example."]},
        "t.example": {"TLSA": ["3 1 0 AB CD"], "CAA": ['0 issue "ca.example"']},
    }
    master = f"""Corp.Example. MX 10 Mx.Corp.Example.
    Corp.Example. TXT "{"é" * 100}" "{"é" * 100}"
    corp.example. SRV 0 5 25 mx.corp.example.
    soa.example. SOA ns.example. root.example. 1 2 3 4 5
    soa.example. NS NS.example.
    t.example. TLSA 3 1 0 ABCD
    t.example. CAA 0 issue "ca.example"
    """.replace("\n    ", "\n")
    ours, theirs = read_zone(json.dumps(data)), read_zone(master)
    for name, kinds in data.items():
        for kind in kinds.keys() - {"SOA"}:
            assert _find(ours, name, kind) == _find(theirs, name, kind), kind
            assert _find(ours, name, kind).status is DnsStatus.FOUND
    assert _find(ours, "corp.example", "TXT").records[0].encode("latin-1").decode() == "é" * 200


@pytest.mark.parametrize(
    ("name", "type", "status"),
    [
        ("a.b.corp.example", "A", DnsStatus.FOUND),
        ("A.B.Corp.Example.", "a", DnsStatus.FOUND),
        ("a.b.corp.example", "TXT", DnsStatus.NODATA),
        ("b.corp.example", "A", DnsStatus.NODATA),
        ("example", "A", DnsStatus.NODATA),
        ("c.corp.example", "A", DnsStatus.NXDOMAIN),
        ("x.a.b.corp.example", "A", DnsStatus.NXDOMAIN),
        ("other", "A", DnsStatus.NXDOMAIN),
        ("empty.example", "A", DnsStatus.NODATA),
        ("nothing.example", "A", DnsStatus.NODATA),
        ("slow.example", "TXT", DnsStatus.TIMEOUT),
        ("slow.example", "A", DnsStatus.NODATA),
        ("dead.example", "MX", DnsStatus.SERVFAIL),
        ("below.dead.example", "MX", DnsStatus.NXDOMAIN),
        ("alias.example", "A", DnsStatus.FOUND),
        ("alias.example", "CNAME", DnsStatus.FOUND),
        ("alias.example", "TXT", DnsStatus.NODATA),
        ("dangling.example", "A", DnsStatus.NODATA),
        ("loop.example", "A", DnsStatus.SERVFAIL),
        ("toslow.example", "TXT", DnsStatus.TIMEOUT),
        ("xn--bcher-kva.example", "A", DnsStatus.FOUND),
    ],
)
def test_rules(name: str, type: str, status: DnsStatus) -> None:
    zone = build_zone(
        {
            "A.b.CORP.example.": {"a": ["192.0.2.1"]},
            "empty.example": {"A": []},
            "nothing.example": {},
            "slow.example": {"TXT": "TIMEOUT"},
            "dead.example": "SERVFAIL",
            "alias.example": {"CNAME": ["Second.example."], "A": []},
            "second.example": {"CNAME": ["a.b.corp.example"]},
            "dangling.example": {"CNAME": ["gone.example"]},
            "loop.example": {"CNAME": ["loop.example"]},
            "toslow.example": {"CNAME": ["slow.example"]},
            "bücher.example": {"A": ["192.0.2.2"]},
        }
    )
    assert _find(zone, name, type).status is status


def test_records_stand_once_and_keep_their_order() -> None:
    zone = build_zone({"x.example": {"TXT": ["b", "a", "b"], "A": ["192.0.2.2", "192.0.2.1"]}})
    assert _find(zone, "x.example", "TXT").records == ("b", "a")
    assert _find(zone, "x.example", "A").records == ("192.0.2.2", "192.0.2.1")


def test_names_written_twice_are_one() -> None:
    zone = build_zone({"x.example": {"A": ["192.0.2.1"]}, "X.example.": {"TXT": ["t"]}})
    assert _find(zone, "x.example", "A").records == ("192.0.2.1",)
    assert _find(zone, "x.example", "TXT").records == ("t",)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"x.example": {"A": ["nonsense"]}}', "x.example A"),
        ('{"x.example": {"AAAA": ["192.0.2.1"]}}', "x.example AAAA"),
        ('{"x.example": {"MX": ["mx.example"]}}', "x.example MX"),
        ('{"x.example": {"TXT": "text"}}', "x.example TXT"),
        ('{"x.example": {"TXT": [1]}}', "x.example TXT"),
        ('{"x.example": "NXDOMAIN"}', "x.example"),
        ('{"x.example": 5}', "x.example"),
        ('{"x.example": ', "line 1"),
    ],
)
def test_json_mistakes_name_their_place(text: str, place: str) -> None:
    with pytest.raises(ZoneError, match=f"^{place}"):
        read_zone(text)


def test_a_zone_is_an_object() -> None:
    with pytest.raises(ZoneError):
        build_zone(["x"])
