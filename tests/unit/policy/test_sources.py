"""The source of a message, by the names that the admin gave."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.model.envelope import IPText, ip_text
from gateway.policy.grounds import Source, find_networks, find_source

CRM = Source("crm", frozenset({"crm.example"}), domains=frozenset({"own.example"}))
LIST = Source("list", networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))
CLIENT = ip_text("198.51.100.7")


@pytest.mark.parametrize(
    ("client", "passing", "authors", "name"),
    [
        (CLIENT, ["crm.example"], ["own.example"], "crm"),
        (None, ["x.example", "crm.example"], ["news.own.example"], "crm"),
        (CLIENT, ["mail.crm.example"], ["own.example"], ""),
        (CLIENT, ["example"], ["own.example"], ""),
        (CLIENT, ["crm.example"], ["bank.example"], ""),
        (CLIENT, ["crm.example"], ["own.example", "bank.example"], ""),
        (CLIENT, ["crm.example"], ["notown.example"], ""),
        (ip_text("192.0.2.9"), [], ["anything.example"], "list"),
        (ip_text("2001:db8::9"), [], ["anything.example"], "list"),
        (CLIENT, [], ["own.example"], ""),
        (None, [], ["own.example"], ""),
    ],
)
def test_a_source_is_known_by_either_proof(
    client: IPText | None, passing: list[str], authors: list[str], name: str
) -> None:
    assert find_source((CRM, LIST), client, passing, authors) == name


def test_networks_have_names() -> None:
    networks = {"a": (ip_network("192.0.2.0/24"),), "b": (ip_network("192.0.2.9/32"), ip_network("::/0"))}
    assert find_networks(networks, ip_text("192.0.2.9")) == ["a", "b"]
    assert find_networks(networks, ip_text("::1")) == ["b"]
    assert find_networks(networks, None) == []
