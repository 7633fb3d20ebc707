"""`waypost senders`: sources with their counts, and lines that the configuration takes as they are."""

from __future__ import annotations

import io
import tomllib
from ipaddress import ip_network

import pytest
from rich.console import Console

from gateway.config.judging import Policy
from gateway.model.history import Sender
from gateway.model.value import replace
from gateway.policy.advice import find_kind
from gateway.policy.grounds import Source
from gateway.policy.weighing import FactSettings
from gateway.tools.senders import explain_origin, find_origins, make_lines, read_domains, render_senders, senders_json

OURS = FactSettings(own=frozenset({"own.example"}))


def sender(source: str, passed: int, failed: int, signer: str = "", name: str = "out.saas.example") -> Sender:
    return Sender("own.example", source, signer, name, passed, failed, 100.0, 200.0 + failed, "id1")


FOUND = [
    sender("192.0.2.0/24", 40, 0),
    sender("198.51.100.0/24", 0, 7, "saas.example"),
    sender("198.51.101.0/24", 0, 5, "saas.example"),
    sender("203.0.113.0/24", 0, 9),
    sender("", 0, 3, name=""),
]


def test_a_signer_is_one_source_whatever_networks_it_uses() -> None:
    first, second, third, fourth = find_origins(FOUND, OURS)
    assert (first.signer, first.failed, first.networks) == ("saas.example", 12, ("198.51.100.0/24", "198.51.101.0/24"))
    assert (second.networks, second.failed) == (("203.0.113.0/24",), 9)
    assert (third.networks, third.failed) == ((), 3)
    assert (fourth.passed, fourth.failed) == (40, 0)


def test_the_lines_are_what_the_configuration_takes() -> None:
    origins = find_origins(FOUND, OURS)
    lines = [make_lines(one) for one in origins]
    assert lines[2:] == ["", ""], "who cannot be told apart, and who passes"
    policy = Policy.model_validate(tomllib.loads("".join(lines))["policy"])
    by_signer, by_network = policy.sender
    assert (by_signer.name, by_signer.dkim, by_signer.domains) == ("saas.example", ("saas.example",), ("own.example",))
    assert (by_network.name, by_network.networks) == ("out.saas.example", (ip_network("203.0.113.0/24"),))


def test_what_all_tenants_of_a_provider_share_is_no_line() -> None:
    (origin,) = find_origins([sender("40.92.0.0/24", 0, 5)], OURS)
    assert make_lines(origin) == ""
    (signed,) = find_origins([sender("40.92.0.0/24", 0, 5, "tenant.onmicrosoft.com")], OURS)
    assert 'dkim = ["tenant.onmicrosoft.com"]' in make_lines(signed)


def test_who_is_named_already_needs_no_line() -> None:
    named = (Source("crm", frozenset({"saas.example"})), Source("office", networks=(ip_network("203.0.112.0/23"),)))
    origins = find_origins(FOUND, replace(OURS, senders=named))
    assert [one.named for one in origins] == ["crm", "office", "", ""]
    assert {make_lines(one) for one in origins} == {""}
    others = (Source("crm", frozenset({"saas.example"}), domains=frozenset({"else.example"})),)
    assert find_origins(FOUND, replace(OURS, senders=others))[0].named == ""


def test_for_people_and_for_programs() -> None:
    nasty = sender("203.0.113.0/24", 0, 1, name='x"\n[evil]\x1b')
    origins = find_origins([*FOUND[:2], nasty], OURS)
    page = io.StringIO()
    Console(width=200, file=page).print(render_senders(origins))
    assert "signed by saas.example, from 198.51.100.0/24" in page.getvalue()
    assert "\x1b" not in page.getvalue()
    tomllib.loads(make_lines(origins[1]))
    tree = senders_json(origins)
    assert [one["failed"] for one in tree if isinstance(one, dict)] == [7, 1, 0]


def test_domains() -> None:
    assert read_domains((), ["own.example"]) == ["own.example"]
    assert read_domains(("Bücher.example",), ["own.example"]) == ["xn--bcher-kva.example"]
    with pytest.raises(ValueError, match="no domain"):
        read_domains(("a b",), [])


@pytest.mark.parametrize(
    ("one", "words", "pasted"),
    [
        (sender("192.0.2.0/24", 0, 3, "gmail.com"), "a mailbox at Gmail", ""),
        (sender("192.0.2.0/24", 0, 3, "sendgrid.net"), "a customer of SendGrid", ""),
        (sender("192.0.2.0/24", 0, 3, "saas.example"), "let it sign as own.example, or name it", "dkim ="),
        (sender("40.92.0.0/24", 0, 3), "a tenant of Microsoft 365: switch on DKIM", ""),
        (sender("192.0.2.0/24", 0, 3), "another domain (a service or a forger)", "networks ="),
        (sender("192.0.2.0/24", 2, 3), "passes at times", "networks ="),
        (sender("192.0.2.0/24", 2, 0), "passes", ""),
    ],
)
def test_each_source_is_told_for_what_it_seems(one: Sender, words: str, pasted: str) -> None:
    (origin,) = find_origins([one], OURS)
    assert words in explain_origin(origin)
    assert pasted in make_lines(origin)
    assert bool(pasted) == bool(make_lines(origin))


def test_a_domain_below_ours_is_ours() -> None:
    (origin,) = find_origins([replace(sender("192.0.2.0/24", 0, 3), domain="news.own.example")], OURS)
    assert "[[policy.sender]]" in make_lines(origin)


def test_who_writes_as_others_can_only_be_a_forwarder() -> None:
    """For any requested domain: lines of a sender would let forgers of that domain in."""
    others = FactSettings(own=frozenset({"else.example"}), protected=frozenset({"bank.example"}))
    signed, mixed = find_origins([sender("192.0.2.0/24", 0, 9, "lists.example"), sender("192.0.2.0/24", 2, 3)], others)
    policy = Policy.model_validate(tomllib.loads(make_lines(signed) + make_lines(mixed))["policy"])
    assert [one.name for one in policy.forwarder] == ["lists.example", "out.saas.example"]
    assert policy.sender == ()
    assert "believed whatever author it names" in make_lines(signed)
    (forger,) = find_origins([sender("192.0.2.0/24", 0, 3)], others)
    assert make_lines(forger) == ""
    assert "a forwarder, another domain (a service or a forger), or a stranger" in explain_origin(forger)
    for one in (signed, mixed, forger):
        assert "let it sign" not in explain_origin(one)


@pytest.mark.parametrize("own", ["own.example", "else.example"])
@pytest.mark.parametrize(
    ("signer", "facts"),
    [
        ("", {"spf.result": "pass"}),
        ("", {"indirect.evidence": ["earlier-hop"]}),
        ("", {"spf.result": "fail"}),
        ("saas.example", {"dkim.pass_domains": ["saas.example"]}),
        ("saas.example", {"dkim.pass_domains": ["saas.example"], "list.evidence": True}),
    ],
)
def test_a_source_is_called_what_replay_calls_its_messages(signer: str, facts: dict[str, object], own: str) -> None:
    (origin,) = find_origins([sender("192.0.2.0/24", 0, 3, signer)], FactSettings(own=frozenset({own})))
    assert origin.ours == (own == "own.example")
    assert str(find_kind({**facts, "author.ours": origin.ours})) in explain_origin(origin)


def test_a_line_for_a_whole_network_says_so() -> None:
    network, machine = find_origins([sender("192.0.2.0/24", 0, 9), sender("192.0.2.7/32", 0, 3)], OURS)
    assert "Lets in every machine of these networks" in make_lines(network)
    assert "#" not in make_lines(machine)


def test_an_empty_list_says_what_counts() -> None:
    output = io.StringIO()
    Console(file=output, width=200).print(render_senders([]))
    assert "publish a DMARC policy" in " ".join(output.getvalue().split())
