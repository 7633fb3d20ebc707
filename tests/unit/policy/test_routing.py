"""Recipients to backends."""

from __future__ import annotations

import pytest

from gateway.model.envelope import Recipient
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
