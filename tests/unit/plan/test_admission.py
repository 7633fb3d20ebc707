"""Admission of recipients to a transaction."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from gateway.mail.srs import Srs
from gateway.model.envelope import Envelope, IPText, Mailbox, Recipient
from gateway.model.message import Capabilities
from gateway.model.value import replace
from gateway.plan.admission import Asking, refuse_recipient
from gateway.policy.routing import RoutingTable
from tests.unit.policy.scenes import mailbox

TABLE = RoutingTable(
    {"own.example": "google", "open.example": "microsoft"},
    {"alice@own.example": "google"},
    maps=({"bob@own.example": "microsoft"},),
    listed=frozenset({"own.example"}),
    origins={"microsoft": (ip_network("192.0.2.0/24"),)},
)
STALE = RoutingTable(TABLE.domains, TABLE.addresses, maps=TABLE.maps, listed=TABLE.listed, stale=True)


def rules_for(mailbox: Mailbox) -> str:
    return "strict" if mailbox.ascii_domain == "open.example" else "enforce"


def ask(
    address: str,
    *accepted: str,
    routing: RoutingTable = TABLE,
    size: int | None = None,
    client: str = "198.51.100.1",
    known: Capabilities | None = None,
    sender: str | None = "a@sender.example",
    most: int = 3,
) -> str:
    """The refusal's name and its codes; empty when there is none."""
    rcpts = tuple(Recipient(mailbox(one)) for one in accepted)
    asking = Asking(Envelope(mailbox(sender) if sender else None, rcpts), size, IPText(client))
    refusal = refuse_recipient(Recipient(mailbox(address)), asking, routing, rules_for, lambda _: known, most)
    return "" if refusal is None else f"{refusal[0]} {refusal[1].code} {refusal[1].enhanced}"


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("alice@own.example", ""),
        ("Bob@OWN.example", ""),
        ("alice+news@own.example", ""),
        ("alice+@own.example", ""),
        ("+alice@own.example", "unknown-mailbox 550 5.1.1"),
        ("carol@own.example", "unknown-mailbox 550 5.1.1"),
        ("postmaster@own.example", ""),
        ("postmaster", ""),
        ("Abuse@own.example", ""),
        ("anyone@open.example", ""),
        ("alice@sub.own.example", "relay-denied 550 5.7.1"),
        ("alice@stranger.example", "relay-denied 550 5.7.1"),
    ],
)
def test_a_listed_domain_has_the_mailboxes_that_are_listed(address: str, refusal: str) -> None:
    assert ask(address) == refusal


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("carol@own.example", "directory-stale 451 4.4.3"),
        ("alice@own.example", ""),
        ("postmaster@own.example", ""),
        ("anyone@open.example", ""),
        ("alice@stranger.example", "relay-denied 550 5.7.1"),
    ],
)
def test_a_stale_directory_puts_off_and_refuses_nobody(address: str, refusal: str) -> None:
    assert ask(address, routing=STALE) == refusal


def test_a_subaddress_is_routed_like_its_mailbox() -> None:
    table = RoutingTable({"own.example": "google"}, {"bob@own.example": "microsoft", "bob+x@own.example": "desk"})
    assert table.backend_for(mailbox("bob+news@own.example")) == "microsoft"
    assert table.backend_for(mailbox("bob+x@own.example")) == "desk"
    assert table.backend_for(mailbox("bo+news@own.example")) == "google"


@pytest.mark.parametrize(
    ("size", "limit", "refusal"),
    [
        (1000, 1000, ""),
        (1001, 1000, "too-big-for-route 552 5.3.4"),
        (None, 1000, ""),
        (10**12, 0, ""),
        (0, 1, ""),
    ],
)
def test_size_is_judged_by_the_route(size: int | None, limit: int, refusal: str) -> None:
    assert ask("alice@own.example", size=size, known=Capabilities(limit, True)) == refusal


@pytest.mark.parametrize(
    ("address", "sender", "refusal"),
    [
        ("anyone@open.example", "a@sender.example", ""),
        ("jürgen@open.example", "a@sender.example", "no-utf8-on-route 550 5.6.7"),
        ("anyone@open.example", "ä@sender.example", "no-utf8-on-route 550 5.6.7"),
        ("anyone@open.example", None, ""),
    ],
)
def test_wide_addresses_are_judged_by_the_route(address: str, sender: str | None, refusal: str) -> None:
    assert ask(address, sender=sender, known=Capabilities(0, False)) == refusal
    assert ask(address, sender=sender, known=Capabilities(0, True)) == ""
    assert ask(address, sender=sender, known=None) == ""


def test_the_text_names_the_limit_of_the_route() -> None:
    asking = Asking(Envelope(None, ()), 20_000_000, IPText("198.51.100.1"))
    refusal = refuse_recipient(
        Recipient(mailbox("alice@own.example")), asking, TABLE, rules_for, lambda _: Capabilities(10_000_000, True), 3
    )
    assert refusal is not None
    assert "10000000 octets" in refusal[1].text


@pytest.mark.parametrize(
    ("address", "client", "refusal"),
    [
        ("bob@own.example", "192.0.2.7", "loop-to-origin 550 5.1.1"),
        ("bob@own.example", "192.0.3.7", ""),
        ("bob@own.example", "2001:db8::7", ""),
        ("alice@own.example", "192.0.2.7", ""),
        ("postmaster@open.example", "192.0.2.7", ""),
        ("abuse@open.example", "192.0.2.7", ""),
    ],
)
def test_mail_never_goes_back_to_where_it_came_from(address: str, client: str, refusal: str) -> None:
    assert ask(address, client=client) == refusal


def test_what_cannot_share_a_transaction_waits() -> None:
    assert ask("abuse@own.example", "alice@own.example") == "mixed-recipients 452 4.5.3"
    assert ask("alice@own.example", "abuse@own.example") == "mixed-recipients 452 4.5.3"
    assert ask("abuse@own.example", "postmaster@own.example") == ""
    assert ask("abuse@own.example", "postmaster@open.example") == "mixed-recipients 452 4.5.3"
    assert ask("alice@own.example", "d@open.example") == "mixed-recipients 452 4.5.3", "their rules differ"
    assert ask("d@open.example", "a@open.example", "b@open.example", "c@open.example").startswith("too-many")


SRS = Srs("own.example", (b"secret",))
RETURNING = replace(TABLE, srs=SRS)
PATH = str(SRS.rewrite(mailbox("author@first.example"), 1_800_000_000.0))


@pytest.mark.parametrize(
    ("sender", "accepted", "days", "path", "refusal"),
    [
        (None, (), 1, PATH, ""),
        (None, (), 30, PATH, "unknown-return-path 550 5.1.1"),
        (None, (), 1, PATH.replace("author", "victim"), "unknown-return-path 550 5.1.1"),
        ("a@sender.example", (), 1, PATH, "no-bounce 550 5.7.1"),
        (None, ("alice@own.example",), 1, PATH, "mixed-recipients 452 4.5.3"),
        (None, (PATH,), 1, "alice@own.example", "mixed-recipients 452 4.5.3"),
    ],
)
def test_a_return_path_of_ours_takes_bounces_and_nothing_else(
    sender: str | None, accepted: tuple[str, ...], days: int, path: str, refusal: str
) -> None:
    rcpts = tuple(Recipient(mailbox(one)) for one in accepted)
    now = 1_800_000_000.0 + days * 86_400
    asking = Asking(Envelope(mailbox(sender) if sender else None, rcpts), None, IPText("198.51.100.1"), now)
    found = refuse_recipient(Recipient(mailbox(path)), asking, RETURNING, rules_for, lambda _: None, 9)
    assert ("" if found is None else f"{found[0]} {found[1].code} {found[1].enhanced}") == refusal
    (target,) = RETURNING.targets(mailbox(PATH))
    assert (str(target.mailbox), target.third_party) == ("author@first.example", True)
