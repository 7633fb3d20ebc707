"""The writes of an admin's command: it reads the transfers of one message and writes their changes, in one transaction
that its caller holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from gateway.model.delivery import Amendment, Pending, Requeued, Transfer
from gateway.model.value import replace
from gateway.spool import codec, holding
from gateway.spool.queries import QUERIES
from gateway.spool.rows import Rows

Plan = Callable[[tuple[Pending, ...]], Amendment]


def amend(
    rows: Rows, connection: sqlite3.Connection, message_id: str, plan: Plan, now: float
) -> tuple[Amendment, tuple[str, ...]]:
    """Apply `plan` to the message's transfers. Returns the amendment, and the content files that no row names any
    more."""
    found = connection.execute(QUERIES["find_transfers"], (codec.as_text(message_id),)).fetchall()
    numbers: dict[str, int] = {}
    pendings = []
    damaged = []
    for n, id, leased, held in found:
        try:
            pendings.append(Pending(rows.read_claim(connection, n), bool(leased), bool(held)))
        except codec.Unreadable as error:
            damaged.append(f"{id}: its row is unreadable: {error}")
        numbers[id] = n
    amendment = plan(tuple(pendings))
    amendment = replace(amendment, refusals=(*amendment.refusals, *damaged))
    files: tuple[str, ...] = ()
    for change in amendment.changes:
        if isinstance(change, Requeued):
            _requeue(connection, numbers[change.transfer_id], change)
        else:
            files += rows.settle_unclaimed(connection, change, now)
    if amendment.changes:
        if amendment.act is not None:
            (message,) = connection.execute(QUERIES["find_message"], (codec.as_text(message_id),)).fetchone()
            holding.put_act(connection, message, amendment.act)
        for query in ("unhold_free_message", "end_hold_of_free_message"):
            connection.execute(QUERIES[query], (codec.as_text(message_id),))
    return amendment, files


def _requeue(connection: sqlite3.Connection, n: int, change: Requeued) -> None:
    if change.held:
        connection.execute(QUERIES["hold_message"], (codec.as_text(change.held), n))
    first, *others = change.transfers
    for other in others:
        connection.execute(QUERIES["split_transfer"], _values(n, other, change))
    connection.execute(QUERIES["requeue_transfer"], _values(n, first, change))


def _values(n: int, transfer: Transfer, change: Requeued) -> dict[str, object]:
    return {
        "n": n,
        "id": transfer.id,
        "backend": transfer.backend,
        "wake": transfer.due if change.held is None else None,
        "due": transfer.due,
        "attempts": transfer.attempts,
        "rcpts": codec.RECIPIENTS.pack(transfer.rcpts),
        "body": codec.pack_transfer(transfer),
    }
