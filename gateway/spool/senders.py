"""The rows of the memory of senders: bounded for each organization and in all, even in a flood."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from gateway.model.history import History, Sender, Sighting
from gateway.spool import codec
from gateway.spool.queries import QUERIES

_MOST_SOURCES = 300
"""Sources of one organization's mail that have rows of their own; all further sources are counted in one more row."""
_MOST_ROWS = 50_000
"""Own domains are not removed for this limit."""
_FORGOTTEN_AT_ONCE = 2000


def count(connection: sqlite3.Connection, sighting: Sighting, now: float, id: str) -> None:
    """Count one more message of a source, inside the transaction of its reception."""
    values: dict[str, object] = {
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
        "selector": sighting.selector,
    }
    if connection.execute(QUERIES["count_sender"], values).rowcount:
        return
    known = connection.execute(QUERIES["count_sources"], (sighting.zone,)).fetchone()[0]
    if known >= _MOST_SOURCES and not (sighting.passed and _make_room(connection, sighting.zone, values)):
        # A flood from many sources must neither grow the table nor go uncounted.
        _count_together(connection, values)
    else:
        connection.execute(QUERIES["insert_sender"], values)


def _make_room(connection: sqlite3.Connection, zone: str, values: dict[str, object]) -> bool:
    """Merge the oldest source that never passed into the common row: a flood must not displace sources that pass. False
    when there is none."""
    found = connection.execute(QUERIES["find_failing"], (zone,)).fetchone()
    if found is None:
        return False
    key, failed = found[:3], found[3]
    connection.execute(QUERIES["delete_sender"], key)
    _count_together(connection, {**values, "passed": 0, "failed": failed})
    return True


def _count_together(connection: sqlite3.Connection, values: dict[str, object]) -> None:
    together = {**values, "domain": values["zone"], "source": "", "signer": ""}
    if not connection.execute(QUERIES["count_sender"], together).rowcount:
        connection.execute(QUERIES["insert_sender"], together)


def recall(connection: sqlite3.Connection, domain: str, source: str, names: Sequence[str]) -> History:
    """The memory of an Author Domain, of a source, and of the domains that sign for it."""
    author, theirs, selectors = connection.execute(QUERIES["recall_sender"], (source, domain)).fetchone()
    network = connection.execute(QUERIES["recall_network"], (source,)).fetchone()[0]
    passes = (connection.execute(QUERIES["recall_name"], {"name": name}).fetchone()[0] for name in names)
    return History(author, theirs, network, tuple(passes), frozenset(selectors.split()))


def list_senders(connection: sqlite3.Connection, domains: Collection[str], limit: int) -> list[Sender]:
    """Sources of mail of these domains and of those below them, the last seen first. Without any domain: the sources
    with failures, of all domains that are not ours."""
    found = {}
    for name, domain in [("list_senders", domain) for domain in domains] or [("list_failing", "")]:
        for row in connection.execute(QUERIES[name], {"domain": domain, "limit": limit}):
            sender = Sender(*row)
            found[sender.domain, sender.source, sender.signer] = sender
    return sorted(found.values(), key=lambda one: -one.last)[:limit]


def forget(connection: sqlite3.Connection) -> int:
    """Remove the rows beyond the limit, those that never passed first, the oldest first; gives their number."""
    surplus = connection.execute(QUERIES["count_senders"]).fetchone()[0] - _MOST_ROWS
    if surplus <= 0:
        return 0
    return connection.execute(QUERIES["forget_senders"], (min(surplus, _FORGOTTEN_AT_ONCE),)).rowcount
