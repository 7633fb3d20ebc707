"""Recipients who did not get their message, as long as that is kept."""

from __future__ import annotations

import sqlite3

from gateway.model.delivery import Final
from gateway.model.failure import Failure
from gateway.spool import codec
from gateway.spool.queries import QUERIES

_GOOD = (Final.DELIVERED, Final.RETURNED)


def list_failed(connection: sqlite3.Connection, limit: int) -> list[Failure]:
    """Those of up to `limit` attempts, the newest messages first. What cannot be read is left out."""
    found = []
    for trace_body, attempt_body in connection.execute(QUERIES["list_failed"], (limit,)):
        try:
            trace = codec.TRACE.unpack(trace_body)
            attempt, endings = codec.ATTEMPT.unpack(attempt_body)
        except codec.Unreadable:
            continue
        sender = str(trace.envelope.mail_from or "")
        found += [
            Failure(trace.id, attempt.ended, sender, str(one.rcpt.mailbox), attempt.backend, one.state, one.reply)
            for one in endings
            if one.state not in _GOOD
        ]
    return found
