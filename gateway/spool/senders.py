"""The rows that remember senders: bounded for each organization and in all, whatever a flood brings."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from gateway.model.history import History, Sender, Sighting
from gateway.spool import codec
from gateway.spool.queries import QUERIES

_MOST_SOURCES = 300
"""Sources of one organization's mail that are told apart; whatever comes then is counted in one more row."""
_MOST_ROWS = 50_000
"""Domains of ours are not forgotten to keep this."""
_FORGOTTEN_AT_ONCE = 2000


def count(connection: sqlite3.Connection, sighting: Sighting, now: float, id: str) -> None:
    """One more message of a source, inside the transaction of its reception."""
    values = {
        "zone": sighting.zone,
        "domain": sighting.domain,
        "source": sighting.source,
        "signer": sighting.signer,
        "name": codec.as_text(sighting.name),
        "ours": sighting.ours,
        "passed": int(sighting.passed),
        "failed": int(not sighting.passed),
        "last": now,
        "last_id": id,
    }
    if connection.execute(QUERIES["count_sender"], values).rowcount:
        return
    known = connection.execute(QUERIES["count_sources"], (sighting.zone,)).fetchone()[0]
    if known >= _MOST_SOURCES:
        # A flood from everywhere must neither grow the table nor go uncounted.
        values |= {"domain": sighting.zone, "source": "", "signer": ""}
        if connection.execute(QUERIES["count_sender"], values).rowcount:
            return
    connection.execute(QUERIES["insert_sender"], values)


def recall(connection: sqlite3.Connection, domain: str, source: str) -> History:
    """What is known of an Author Domain and a source."""
    return History(*connection.execute(QUERIES["recall_sender"], (source, domain)).fetchone())


def list_senders(connection: sqlite3.Connection, domains: Collection[str], limit: int) -> list[Sender]:
    """Sources of mail of these domains and of those below them, the last seen first."""
    found = {}
    for domain in domains:
        for row in connection.execute(QUERIES["list_senders"], {"domain": domain, "limit": limit}):
            sender = Sender(*row)
            found[sender.domain, sender.source, sender.signer] = sender
    return sorted(found.values(), key=lambda one: -one.last)[:limit]


def forget(connection: sqlite3.Connection) -> int:
    """Remove the rows that there is no room for: those that never passed first, the oldest first; how many went."""
    surplus = connection.execute(QUERIES["count_senders"]).fetchone()[0] - _MOST_ROWS
    if surplus <= 0:
        return 0
    return connection.execute(QUERIES["forget_senders"], (min(surplus, _FORGOTTEN_AT_ONCE),)).rowcount
