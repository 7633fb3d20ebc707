"""Recipients to backends."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.model.envelope import IPText, Recipient
from gateway.policy.routing import RoutingTable
from tests.unit.policy.scenes import mailbox

TABLE = RoutingTable(
    {"own.example": "google", "second.example": "microsoft"},
    {
        "bob@own.example": "microsoft",
        "carol@second.example": "google",
        "x@stranger.example": "google",
        "postmaster@own.example": "desk",
    },
    frozenset({"google"}),
)


@pytest.mark.parametrize(
    ("address", "backend"),
    [
        ("alice@own.example", "google"),
        ("bob@own.example", "microsoft"),
        ("BOB@OWN.example", "microsoft"),
        ("carol@second.example", "google"),
        ("dave@second.example", "microsoft"),
        ("x@stranger.example", None),
        ("alice@sub.own.example", None),
        ("alice@[192.0.2.1]", None),
        ("postmaster", "desk"),
        ("Postmaster", "desk"),
        ("abuse", None),
    ],
)
def test_backend_for(address: str, backend: str | None) -> None:
    assert TABLE.backend_for(mailbox(address)) == backend


def test_the_bare_postmaster_lives_at_the_first_domain() -> None:
    assert RoutingTable({"b.example": "two", "a.example": "one"}, {}).backend_for(mailbox("postmaster")) == "two"
    assert RoutingTable({}, {}).backend_for(mailbox("postmaster")) is None


@pytest.mark.parametrize(
    ("address", "role"),
    [
        ("postmaster@own.example", True),
        ("PostMaster@OWN.example", True),
        ("abuse@second.example", True),
        ("postmaster", True),
        ("abuse", False),
        ("abuse@stranger.example", False),
        ("abuse@sub.own.example", False),
        ("abuse2@own.example", False),
        ("alice@own.example", False),
    ],
)
def test_role(address: str, role: bool) -> None:
    assert TABLE.role(mailbox(address)) is role


def group(*addresses: str) -> list[tuple[str, list[str]]]:
    routes = TABLE.group(Recipient(mailbox(address)) for address in addresses)
    return [(route.backend, [str(rcpt.mailbox) for rcpt in route.rcpts]) for route in routes]


def test_one_transaction_per_backend_in_the_order_of_arrival() -> None:
    assert group("bob@own.example", "alice@own.example", "dave@second.example") == [
        ("microsoft", ["bob@own.example", "dave@second.example"]),
        ("google", ["alice@own.example"]),
    ]


def test_one_domain_per_transaction_where_the_backend_wants_it() -> None:
    assert group("alice@own.example", "carol@second.example", "eve@own.example") == [
        ("google", ["alice@own.example", "eve@own.example"]),
        ("google", ["carol@second.example"]),
    ]


def test_a_stranger_is_never_routed() -> None:
    with pytest.raises(ValueError, match="stranger"):
        group("alice@own.example", "x@stranger.example")


ALIASES = RoutingTable(
    {"own.example": "google", "second.example": "microsoft"},
    {
        "info@own.example": "bob@own.example",
        "bob@own.example": "microsoft",
        "both@own.example": "google microsoft",
        "team@own.example": "alice@own.example bob@own.example x@third.example",
        "me@own.example": "me@own.example eve@second.example",
        "a@own.example": "b@own.example",
        "b@own.example": "a@own.example",
        "wide@own.example": "büro@second.example",
    },
    outside="out",
    origins={"google": (ip_network("192.0.2.0/24"),)},
)


@pytest.mark.parametrize(
    ("address", "targets"),
    [
        ("info@own.example", ["microsoft bob@own.example"]),
        ("Info+Tag@own.example", ["microsoft bob+Tag@own.example"]),
        ('"info+x"@own.example', ["microsoft bob@own.example"]),
        ("both@own.example", ["google both@own.example", "microsoft both@own.example"]),
        ("team@own.example", ["google alice@own.example", "microsoft bob@own.example", "out x@third.example"]),
        ("me@own.example", ["google me@own.example", "microsoft eve@second.example"]),
        ("a@own.example", ["google a@own.example"]),
        ("wide@own.example", ["microsoft büro@second.example"]),
        ("x@third.example", []),
    ],
)
def test_an_address_may_stand_for_others(address: str, targets: list[str]) -> None:
    assert [f"{one.backend} {one.mailbox}" for one in ALIASES.targets(mailbox(address))] == targets


def test_each_recipient_is_once_in_a_route_and_keeps_its_first_name() -> None:
    rcpts = (Recipient(mailbox("info@own.example")), Recipient(mailbox("bob@own.example"), orcpt="rfc822;b"))
    (route,) = ALIASES.group(rcpts)
    assert [(str(rcpt.mailbox), rcpt.orcpt) for rcpt in route.rcpts] == [("bob@own.example", "rfc822;info@own.example")]


def test_a_given_orcpt_stays_and_a_plus_is_written_as_xtext() -> None:
    (route,) = ALIASES.group([Recipient(mailbox("info+tag@own.example"))])
    assert route.rcpts[0].orcpt == "rfc822;info+2Btag@own.example"
    (route,) = ALIASES.group([Recipient(mailbox("info@own.example"), orcpt="rfc822;first@x.example")])
    assert route.rcpts[0].orcpt == "rfc822;first@x.example"


def test_the_backend_that_a_message_comes_from_gets_none_of_it() -> None:
    def backends(client: str) -> list[str]:
        return [route.backend for route in ALIASES.group([Recipient(mailbox("both@own.example"))], IPText(client))]

    assert backends("198.51.100.1") == ["google", "microsoft"]
    assert backends("192.0.2.1") == ["microsoft"]


def test_backends_are_those_of_values_and_of_the_outside() -> None:
    assert ALIASES.backends() == {"google", "microsoft", "out"}
    assert TABLE.backends() == {"google", "microsoft", "desk"}


def test_a_bomb_of_aliases_stays_bounded() -> None:
    entries = {f"n{at}@own.example": f"n{2 * at}@own.example n{2 * at + 1}@own.example" for at in range(1, 5000)}
    assert len(RoutingTable({"own.example": "g"}, entries).targets(mailbox("n1@own.example"))) < 100
