"""The rows of held messages. Every function that writes runs inside a transaction that its caller holds."""

from __future__ import annotations

import sqlite3

from gateway.mail.header import fields, parse_header, unfold
from gateway.model.delivery import Act, HeldEntry, Hold, Quota, Trace
from gateway.ports import HoldFull
from gateway.spool import codec
from gateway.spool.queries import QUERIES

_MOST_SUBJECT = 1000
"""Octets of a subject that are read: thousands of messages are listed at once."""


def check_room(connection: sqlite3.Connection, hold: Hold, size: int) -> None:
    """Raises HoldFull when the message exceeds its domain's quota or the total quota."""
    quota, held = hold.quota, measure(connection, hold.domain)
    if held.domain_messages >= quota.domain_messages or held.domain_octets + size > quota.domain_octets:
        raise HoldFull(f"{held.domain_messages} messages of {held.domain_octets} octets are held of {hold.domain}")
    if held.messages >= quota.messages or held.octets + size > quota.octets:
        raise HoldFull(f"{held.messages} messages of {held.octets} octets are held in all")


def is_held(connection: sqlite3.Connection, n: int) -> bool:
    """The message already counts in the quota."""
    return connection.execute(QUERIES["is_held"], (n,)).fetchone() is not None


def put_hold(connection: sqlite3.Connection, n: int, hold: Hold, size: int) -> None:
    """Store the terms of a message that was just stored."""
    connection.execute(QUERIES["insert_hold"], (n, hold.domain, size, hold.expires))


def let_go(connection: sqlite3.Connection, id: str, act: Act) -> int | None:
    """End the holding of a message; gives its row number, or None when it is not held."""
    found = connection.execute(QUERIES["find_held"], (codec.as_text(id),)).fetchone()
    if found is None:
        return None
    n = int(found[0])
    connection.execute(QUERIES["wake_transfers"], {"due": act.at, "message": n})
    for query in ("lift_hold", "end_hold"):
        connection.execute(QUERIES[query], (n,))
    put_act(connection, n, act)
    return n


def discard(connection: sqlite3.Connection, id: str, act: Act) -> tuple[bool, tuple[str, ...]]:
    """Delete a held message. Gives whether it was held, and the content file that no row names any more."""
    found = connection.execute(QUERIES["find_held"], (codec.as_text(id),)).fetchone()
    if found is None or found[2]:
        return False, ()
    n, path, _ = found
    for query in ("delete_transfers", "delete_message", "end_hold"):
        connection.execute(QUERIES[query], (n,))
    put_act(connection, n, act)
    return True, (path,) if path else ()


def put_act(connection: sqlite3.Connection, n: int, act: Act) -> None:
    """Record an act on the message of this number."""
    connection.execute(QUERIES["insert_act"], (n, act.at, act.what, codec.ACT.pack(act)))


def list_held(connection: sqlite3.Connection, limit: int) -> list[HeldEntry]:
    """Held messages, the oldest first."""
    return [_read_entry(*row) for row in connection.execute(QUERIES["list_held"], (limit,))]


def list_given_up(connection: sqlite3.Connection, since: float, limit: int) -> list[HeldEntry]:
    """Messages whose time to be held has ended since then; it ended at `expires`."""
    return [_read_entry(*row) for row in connection.execute(QUERIES["list_given_up"], (since, limit))]


def measure(connection: sqlite3.Connection, domain: str) -> Quota:
    """The amount held, of a domain and in all."""
    of_domain = connection.execute(QUERIES["held_of_domain"], (domain,)).fetchone()
    in_all = connection.execute(QUERIES["held_in_all"]).fetchone()
    return Quota(of_domain[0], int(of_domain[1]), in_all[0], int(in_all[1]))


def list_overdue(connection: sqlite3.Connection, now: float, limit: int) -> list[str]:
    """Ids of messages whose time to be held is over."""
    return [id for (id,) in connection.execute(QUERIES["overdue_holds"], (now, limit))]


def _read_entry(id: str, received: float, body: bytes, expires: float, domain: str, reason: str) -> HeldEntry:
    try:
        trace = codec.TRACE.unpack(body)
    except codec.Unreadable as error:
        # One damaged row must not hide the others.
        return HeldEntry(id, received, expires, domain, "", (), "", 0, f"unreadable row: {error}")
    return HeldEntry(
        id=trace.id,
        received=trace.received,
        expires=expires,
        domain=domain,
        mail_from=str(trace.envelope.mail_from or ""),
        rcpts=tuple(str(rcpt.mailbox) for rcpt in trace.envelope.rcpts),
        subject=_find_subject(trace),
        size=trace.content.size if trace.content else 0,
        reason=reason,
    )


def _find_subject(trace: Trace) -> str:
    header = parse_header(trace.evidence.header) if trace.evidence else ()
    return next((unfold(field.value[:_MOST_SUBJECT]).strip() for field in fields(header, "subject")), "")
