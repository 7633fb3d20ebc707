"""Every cell of matrix.txt: a real message, a zone and a client are judged, and action, disposition, reply and
overrides compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.app.runtime_config import make_runtime
from gateway.model.delivery import Trace
from gateway.model.history import History
from gateway.model.reply import REPLIES
from gateway.service.runtime import RuntimeConfig
from tests.support.judging_context import House, make_config
from tests.support.samples import plain, sign, signing_key

TEXT = Path(__file__).with_name("matrix.txt").read_text("utf-8")
DOMAINS = {"stranger": "stranger.example", "own": "corp.example", "protected": "bank.example"}
CLIENT, FORWARDER, RELAY, HOP = "198.51.100.7", "203.0.113.30", "203.0.113.40", "203.0.113.50"


@dataclass(frozen=True)
class Cell:
    """One cell, and where it stands."""

    rules: str
    settings: dict[str, str]
    situation: str
    column: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.rules}-{'-'.join(self.settings.values())}-{self.situation}-{self.column}"


def read_sections() -> Iterator[tuple[str, list[str]]]:
    for part in re.split(r"^\[", TEXT, flags=re.MULTILINE)[1:]:
        head, *lines = part.splitlines()
        yield head.rstrip("]"), [line for line in lines if line.strip() and not line.startswith("#")]


SECTIONS = dict(read_sections())
CELLS = {line.split()[0]: line.split()[1:] for line in SECTIONS.pop("cells")}
COLUMNS = {line.split()[0]: line.split(maxsplit=1)[1:] for line in SECTIONS.pop("columns")}


def read_matrix() -> list[Cell]:
    found = []
    for head, (names, *rows) in SECTIONS.items():
        rules, *settings = head.split(", ")
        for row in rows:
            situation, *cells = re.split(r"\s{2,}", row.strip())
            for column, wanted in zip(names.split(), cells, strict=True):
                found.append(Cell(rules, dict(one.split("=") for one in settings), situation, column, wanted))
    return found


MATRIX = read_matrix()


@cache
def law(rules: str, firewall: str) -> RuntimeConfig:
    policy = {
        "set": rules,
        "firewall": firewall,
        "protected_domains": "bank.example",
        "sender": [{"name": "tickets", "dkim": "tickets.example"}],
        "forwarder": [{"name": "alumni", "networks": FORWARDER}],
    }
    relay = {"name": "old", "addresses": RELAY, "by": "old.corp.example", "format": "postfix"}
    return make_runtime(make_config(policy=policy, relay=[relay], own_hop=[{"name": "inner", "addresses": HOP}]))


class Remembering:
    """A spool's memory in which each author domain passes, and never from here."""

    def __init__(self, network: int) -> None:
        self._network = network

    async def recall(self, domain: str, source: str, names: Sequence[str] = ()) -> History:
        return History(author_passes=50, network_passes=self._network)


@cache
def signed(author: str, signer: str) -> bytes:
    return sign(plain(author), signer)


async def play(cell: Cell) -> Trace:
    """The cell's message, received."""
    domain = DOMAINS[cell.settings["author"]]
    record, _, sub = (COLUMNS[cell.column] or [""])[0].partition("sub=")
    at = f"{sub.strip()}.{domain}" if sub else domain
    author, situation = f"ceo@{at}", cell.situation
    zone: dict[str, Any] = {
        domain: {"TXT": ["v=spf1 ip4:192.0.2.1 -all a"], "A": ["192.0.2.1"]},
        f"there.{domain}": {"A": ["192.0.2.1"]},
        "other.example": {"TXT": [f"v=spf1 ip4:{CLIENT} ip4:{FORWARDER} ~all"]},
        **({f"_dmarc.{domain}": {"TXT": [record.strip()]}} if record else {}),
        **{f"sel1._domainkey.{one}": {"TXT": [signing_key()[1]]} for one in (domain, "tickets.example")},
    }
    octets, sender, rcpt, client = plain(author), "x@other.example", "alice@corp.example", CLIENT
    if situation == "aligned by DKIM":
        octets = signed(author, domain)
    elif situation == "aligned by SPF":
        sender = f"x@{domain}"
        zone[domain]["TXT"] = [f"v=spf1 ip4:{CLIENT} -all"]
    elif situation == "named sender":
        octets = signed(author, "tickets.example")
    elif situation == "notification":
        sender, octets = "", b"Auto-Submitted: auto-replied\r\n" + octets
    elif situation == "to abuse@":
        rcpt = "abuse@corp.example"
    elif situation == "key silent":
        octets, zone[f"sel1._domainkey.{domain}"] = signed(author, domain), "TIMEOUT"
    elif situation == "SPF silent":
        sender, zone[domain] = f"x@{domain}", {"TXT": "TIMEOUT", "A": ["192.0.2.1"]}
    elif situation == "unknown client":
        client, octets = RELAY, b"Received: from nowhere by old.corp.example; today\r\n" + octets
    client = {"forwarder": FORWARDER, "inside": HOP}.get(situation, client)
    if situation == "list that signs":
        octets = sign(b"List-Id: <l.tickets.example>\r\n" + octets, "tickets.example")
    elif situation.startswith("list"):
        octets = b"List-Id: <l.lists.example>\r\n" + octets
    elif situation.startswith("broken"):
        octets = signed(author, domain) + b"-- \r\nThe list's footer\r\n"
    elif situation == "hop of names alone":
        octets = b"Received: from out.first.example by mx.second.example with ESMTP id 1; today\r\n" + octets
    elif "hop" in situation:
        octets = b"Received: from x (unknown [192.0.2.77]) by mx.second.example with ESMTP id 1; today\r\n" + octets
    elif situation == "ARC set":
        octets = b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=third.example; s=s; t=1; b=AAAA\r\n" + octets
    house = House(law(cell.rules, cell.settings.get("firewall", "published")), zone, client)
    if situation.endswith(("strange source", "known forwarder")):
        known = 50 if situation.endswith("known forwarder") else 0
        house.spool.reader.recall = Remembering(known).recall  # type: ignore[method-assign]
    return await house.send(octets, sender, rcpt)


@pytest.mark.parametrize("cell", MATRIX, ids=str)
async def test_cell(cell: Cell) -> None:
    action, disposition, reply, *overrides = CELLS[cell.wanted]
    trace = await play(cell)
    decision = trace.decision
    assert (decision.action, decision.disposition) == (action, disposition), decision
    assert [override.type for override in decision.overrides] == [one for one in overrides if one != "-"], decision
    wanted = REPLIES[reply]
    assert (decision.reply.code, decision.reply.detail) == (wanted.code, wanted.detail)
    assert decision.reply.text.startswith(wanted.text.partition("{")[0]), "the very reply, not one of the same code"


def test_the_matrix_is_as_large_as_it_should_be() -> None:
    assert len(MATRIX) >= 400
    assert {cell.wanted for cell in MATRIX} == set(CELLS), "every kind of cell is used"
    assert len({str(cell) for cell in MATRIX}) == len(MATRIX)


async def test_in_learn_every_cell_is_marked_with_what_enforce_does() -> None:
    twins = {str(cell).replace("learn", "enforce"): cell for cell in MATRIX if cell.rules == "learn"}
    compared = 0
    for cell in MATRIX:
        twin = twins.get(str(cell))
        if twin is not None and cell.rules == "enforce":
            would = (await play(twin)).decision.would
            assert would is not None
            assert (would.rule_set, would.action) == ("enforce", CELLS[cell.wanted][0]), str(cell)
            compared += 1
    assert compared > 150
