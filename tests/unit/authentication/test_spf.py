"""SPF: pyspf's errors are corrected, the work is bounded, and DNS is only the content of the view."""

from __future__ import annotations

import time
from typing import Any

import pytest

from gateway.authentication import spf
from gateway.authentication.lookup import DnsView
from gateway.mail.domain import a_label
from gateway.model.envelope import IPText, Mailbox
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import SpfIdentity, SpfResult, SpfVerdict
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import build_zone

CLIENT = "192.0.2.1"
ONLY_US: dict[str, Any] = {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}


def _ingress(client: str | None = CLIENT, helo: str = "helo.example", reason: str = "") -> EdgeIngress:
    ip = None if client is None else IPText(client)
    return EdgeIngress(ip, ClientSource.PEER, helo, "mx", IPText("198.51.100.9"), reason=reason)


def _mailbox(address: str) -> Mailbox:
    local, _, domain = address.rpartition("@")
    return Mailbox(local, domain, a_label(domain) or domain.lower())


def _window(zone: dict[str, Any]) -> DnsView:
    return DnsView(ZoneResolver(build_zone(zone)).known)


def _evaluate(
    zone: dict[str, Any],
    sender: str | None = "a@corp.example",
    client: str | None = CLIENT,
    helo: str = "helo.example",
    identity: SpfIdentity = SpfIdentity.MAILFROM,
) -> SpfResult:
    mail_from = None if sender is None else _mailbox(sender)
    return spf.evaluate(_ingress(client, helo), mail_from, identity, _window(zone), "mx.receiver.example")


# --- which identity and domain


def test_null_sender_is_checked_as_the_helo_identity() -> None:
    result = _evaluate({"helo.example": ONLY_US}, sender=None)
    assert (result.result, result.identity, result.domain) == (SpfVerdict.PASS, SpfIdentity.HELO, "helo.example")


def test_null_sender_macros_are_postmaster_at_helo() -> None:
    zone = {"helo.example": {"TXT": ["v=spf1 exists:%{l}.%{o}.ok.example -all"]}}
    zone["postmaster.helo.example.ok.example"] = {"A": ["127.0.0.1"]}
    assert _evaluate(zone, sender=None).result is SpfVerdict.PASS


def test_helo_identity_ignores_the_sender() -> None:
    zone = {"helo.example": ONLY_US, "corp.example": {"TXT": ["v=spf1 -all"]}}
    result = _evaluate(zone, identity=SpfIdentity.HELO)
    assert (result.result, result.domain) == (SpfVerdict.PASS, "helo.example")


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ('"a@b"@corp.example', "corp.example"),
        ("a@CORP.example.", "corp.example"),
        ("a@bücher.example", "xn--bcher-kva.example"),
        ("@corp.example", "corp.example"),
    ],
)
def test_domain_of_odd_senders(sender: str, domain: str) -> None:
    result = _evaluate({domain: ONLY_US}, sender=sender)
    assert (result.result, result.domain) == (SpfVerdict.PASS, domain)


def test_quoted_local_part_is_expanded_whole() -> None:
    zone = {"corp.example": {"TXT": ["v=spf1 exists:%{l}.ok.example -all"]}, '"a@b".ok.example': {"A": ["127.0.0.1"]}}
    assert _evaluate(zone, sender='"a@b"@corp.example').result is SpfVerdict.PASS


@pytest.mark.parametrize("helo", ["[192.0.2.1]", "localhost", "192.0.2.1", "", "a..b.example", "a" * 64 + ".example"])
def test_no_domain_name_is_none_without_a_lookup(helo: str) -> None:
    window = DnsView(lambda question: None)
    result = spf.evaluate(_ingress(helo=helo), None, SpfIdentity.MAILFROM, window, "mx")
    assert (result.result, result.reason) == (SpfVerdict.NONE, "no domain name to check")


def test_unknown_client_is_none_with_the_reason() -> None:
    ingress = _ingress(client=None, reason="relay did not say")
    result = spf.evaluate(ingress, _mailbox("a@corp.example"), SpfIdentity.MAILFROM, DnsView(lambda _: None), "mx")
    assert (result.result, result.reason, result.domain) == (SpfVerdict.NONE, "relay did not say", "corp.example")


@pytest.mark.parametrize(
    ("client", "record"),
    [("::ffff:192.0.2.1", "ip4:192.0.2.1"), ("fe80::1%eth0", "ip6:fe80::/64"), ("2001:DB8::1", "ip6:2001:db8::/32")],
)
def test_addresses_in_any_form(client: str, record: str) -> None:
    assert _evaluate({"corp.example": {"TXT": [f"v=spf1 {record} -all"]}}, client=client).result is SpfVerdict.PASS


# --- results


@pytest.mark.parametrize(
    ("record", "result", "mechanism"),
    [
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass", "ip4:192.0.2.0/24"),
        ("v=spf1 ip4:198.51.100.0/24 -all", "fail", "-all"),
        ("v=spf1 ~all", "softfail", "~all"),
        ("v=spf1 ?all", "neutral", "?all"),
        ("v=spf1", "neutral", ""),
        ("v=spf1 include:x.example -all", "permerror", ""),
        ("v=spf10 -all", "none", ""),
        ("v=spf1 ip4:192.0.2.0/0 -all", "pass", "ip4:192.0.2.0/0"),
        ("v=spf1 ip4:192.0.2.2/31 ip4:192.0.2.0/31 -all", "pass", "ip4:192.0.2.0/31"),
    ],
)
def test_results_name_their_mechanism(record: str, result: str, mechanism: str) -> None:
    found = _evaluate({"corp.example": {"TXT": [record]}})
    assert (found.result, found.mechanism) == (result, mechanism)


@pytest.mark.parametrize("failure", ["TIMEOUT", "SERVFAIL"])
def test_failed_lookups_are_temperror(failure: str) -> None:
    zone = {"corp.example": {"TXT": ["v=spf1 include:inner.example -all"]}, "inner.example": {"TXT": failure}}
    result = _evaluate(zone)
    assert result.result is SpfVerdict.TEMPERROR
    assert "inner.example" in result.reason


@pytest.mark.parametrize("broken", ["PTR", "A"])
def test_dns_error_under_ptr_is_no_match(broken: str) -> None:
    """RFC 7208 section 5.5."""
    zone: dict[str, Any] = {"corp.example": {"TXT": ["v=spf1 ptr -all"]}}
    zone["1.2.0.192.in-addr.arpa"] = {"PTR": "SERVFAIL" if broken == "PTR" else ["host.corp.example"]}
    zone["host.corp.example"] = {"A": "SERVFAIL"}
    assert _evaluate(zone).result is SpfVerdict.FAIL


def test_ptr_matches_a_confirmed_name() -> None:
    zone: dict[str, Any] = {"corp.example": {"TXT": ["v=spf1 ptr -all"]}, "host.corp.example": {"A": [CLIENT]}}
    zone["1.2.0.192.in-addr.arpa"] = {"PTR": ["host.corp.example"]}
    assert _evaluate(zone).result is SpfVerdict.PASS


def test_null_mx_matches_nothing() -> None:
    assert _evaluate({"corp.example": {"TXT": ["v=spf1 mx -all"], "MX": ["0 ."]}}).result is SpfVerdict.FAIL


@pytest.mark.parametrize(
    ("record", "exact"),
    [
        ("v=spf1 -all", True),
        ("V=SPF1  -ALL ", True),
        ("v=spf1 ip4:198.51.100.1 -all", False),
        ("v=spf1 redirect=none.example", False),
        ("v=spf1 -all exp=why.example", False),
        ("v=spf1 ~all", False),
    ],
)
def test_sends_no_mail_is_the_exact_record(record: str, exact: bool) -> None:
    zone = {"corp.example": {"TXT": ["other text", record]}, "none.example": {"TXT": ["v=spf1 -all"]}}
    assert _evaluate(zone).sends_no_mail is exact


def test_helo_name_that_sends_no_mail_says_nothing_about_the_sender() -> None:
    result = _evaluate({"helo.example": {"TXT": ["v=spf1 -all"]}}, sender=None)
    assert (result.result, result.sends_no_mail) == (SpfVerdict.FAIL, False)


# --- hostile input


def test_expanded_names_are_cut_from_the_left() -> None:
    """RFC 7208 section 7.3."""
    zone: dict[str, Any] = {"corp.example": {"TXT": ["v=spf1 exists:%{l}.%{l}.%{l}.%{l}.%{l}.ok.example -all"]}}
    label = "a" * 60
    zone[f"{label}.{label}.{label}.{label}.ok.example".removeprefix(f"{label}.")] = {"A": ["127.0.0.1"]}
    assert len(f"{label}.{label}.{label}.{label}.ok.example") > 253
    assert _evaluate(zone, sender=f"{label}@corp.example").result is SpfVerdict.PASS


@pytest.mark.parametrize("local", ["é", "a\r\nb", "a..b", "x" * 70, "\udc80", "%", "a b", "\x00"])
def test_odd_local_parts_never_match_and_never_raise(local: str) -> None:
    zone = {"corp.example": {"TXT": ["v=spf1 exists:%{l}._x.corp.example -all"]}}
    assert _evaluate(zone, sender=f"{local}@corp.example").result is SpfVerdict.FAIL


def test_text_of_the_publisher_is_made_printable() -> None:
    result = _evaluate({"corp.example": {"TXT": ["v=spf1 foo:\r\nSubject:x -all"]}})
    assert result.result is SpfVerdict.PERMERROR
    assert result.reason.isprintable()


@pytest.mark.parametrize(
    "term",
    ["x{}=" + "%%." * 80, "exists:." + "a" * 240 + "!", "a:" + "a." * 120 + "!", "x{}=" + "%{{s}}." * 40, "a" * 8000],
)
def test_costly_records_are_refused_quickly(term: str) -> None:
    record = " ".join(["v=spf1", *(term.format(number) for number in range(250))])
    started = time.process_time()
    result = _evaluate({"corp.example": {"TXT": [record]}}, sender="u" * 64 + "@corp.example")
    assert result.result is SpfVerdict.PERMERROR
    assert time.process_time() - started < 0.1


def test_many_large_records_are_refused() -> None:
    zone: dict[str, Any] = {}
    filler = " ".join(f"ip4:10.0.{number}.0/24" for number in range(250))
    for number in range(9):
        zone[f"d{number}.example"] = {
            "TXT": [f"v=spf1 {filler} {filler[:3000].rpartition(' ')[0]} include:d{number + 1}.example"]
        }
    result = _evaluate(zone, sender="a@d0.example")
    assert result.result is SpfVerdict.PERMERROR
    assert "too long" in result.reason


def test_whatever_escapes_from_the_library_is_permerror(monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(_self: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(spf.spf.query, "check", boom)
    assert _evaluate({"corp.example": ONLY_US}).result is SpfVerdict.PERMERROR


def test_include_loops_and_lookup_limit_end() -> None:
    zone = {
        "corp.example": {"TXT": ["v=spf1 include:b.example"]},
        "b.example": {"TXT": ["v=spf1 include:corp.example"]},
    }
    result = _evaluate(zone)
    assert (result.result, result.reason) == (SpfVerdict.PERMERROR, "Too many DNS lookups")


# --- void lookups


@pytest.mark.parametrize("client", ["2001:db8::5", "192.0.2.5"])
@pytest.mark.parametrize("how", ["mx", "a:h1.corp.example a:h2.corp.example a:h3.corp.example a:h4.corp.example"])
def test_a_host_without_an_address_of_the_client_s_family_is_no_void_lookup(client: str, how: str) -> None:
    other = {"A": ["198.51.100.1"]} if ":" in client else {"AAAA": ["2001:db8:1::1"]}
    zone: dict[str, Any] = {
        "corp.example": {
            "TXT": [f"v=spf1 {how} include:cloud.example -all"],
            "MX": [f"{n} h{n}.corp.example" for n in range(1, 5)],
        },
        "cloud.example": {"TXT": ["v=spf1 ip6:2001:db8::/64 ip4:192.0.2.0/24 -all"]},
        **{f"h{n}.corp.example": other for n in range(1, 5)},
    }
    assert _evaluate(zone, client=client).result is SpfVerdict.PASS
    gone = {name: entry for name, entry in zone.items() if not name.startswith("h")}
    result = _evaluate(gone, client=client)
    assert (result.result, "oid lookup limit of 2" in result.reason) == (SpfVerdict.PERMERROR, True)


@pytest.mark.parametrize("client", ["2001:db8::5", "192.0.2.5"])
def test_exists_without_an_answer_is_a_void_lookup(client: str) -> None:
    terms = " ".join(f"exists:e{n}.corp.example" for n in range(3))
    zone: dict[str, Any] = {f"e{n}.corp.example": {"TXT": ["there"]} for n in range(3)}
    zone["corp.example"] = {"TXT": [f"v=spf1 {terms} ?all"]}
    assert _evaluate(zone, client=client).result is SpfVerdict.PERMERROR
