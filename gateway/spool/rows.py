"""The rows of each write. Every function runs inside a transaction that its caller holds."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from gateway.model.delivery import Act, Claim, Final, Intake, Settlement, Transfer
from gateway.model.message import Content, Evidence, Message
from gateway.model.value import Value, field, replace
from gateway.ports import Damage
from gateway.spool import codec, greylist, holding, senders, unanswered
from gateway.spool.content import ContentStore
from gateway.spool.queries import QUERIES

_MOST_CLAIMED_OCTETS = 16_777_216
"""Octets of content that one `claim` loads into memory at most, except for its first transfer."""

_LONGEST_SESSION = 900.0
"""Seconds from a message's arrival, or from the end of an attempt, within which it is written. If a write is further
away than that, the clock was set meanwhile."""
UNREADABLE = "unreadable row: "
"""Prefix of the reason for holding such a transfer."""


class RetentionPeriods(Value):
    """Retention of content and traces, in seconds."""

    delivered_seconds: float = 0.0
    """Content of a message with all recipients delivered."""
    failed_seconds: float = 604_800.0
    """Content of a message with a recipient in another final state."""
    trace_seconds: float = 2_592_000.0
    """Traces and attempts, counted from reception; never shorter than the content."""
    refused_octets: int = 1_073_741_824
    """Octets that traces of refused mail may use together; the oldest are removed early."""


class _Claimed(NamedTuple):
    """A valid claim: its rows and the state of its message."""

    n: int
    message: int
    failed: int
    path: str | None
    size: int
    needed: int
    """Another transfer waits or is held."""


class Rows(Value):
    """The writes of one shard."""

    store: ContentStore
    retention: RetentionPeriods
    lease: float
    """Seconds for which a transfer stored as claimed belongs to its committer."""
    damage: list[Damage] = field(default_factory=list)
    """Transfers found to be unreadable."""

    def put(self, connection: sqlite3.Connection, intake: Intake, now: float) -> None:
        """Store one reception."""
        trace, message, hold = intake.trace, intake.message, intake.hold
        if hold is not None and message is not None:
            holding.check_room(connection, hold, message.content.size)
        body = codec.pack_trace(trace)
        row = (trace.id, trace.received, body, 0 if message is not None else len(body))
        n = connection.execute(QUERIES["insert_trace"], row).lastrowid
        if intake.sighting is not None:
            senders.count(connection, intake.sighting, trace.received, trace.id)
        if intake.acquaintance is not None:
            greylist.remember(connection, intake.acquaintance)
        if message is None:
            return
        if n is None:
            raise RuntimeError("SQLite gave a row no number")
        self._put_message(connection, n, intake, message, now)
        jump = _find_jump(trace.received, now)
        if intake.fingerprint:
            unanswered.put(connection, n, intake.fingerprint, trace.received + jump)
        if hold is not None:
            hold = replace(hold, expires=hold.expires + jump)
            holding.put_hold(connection, n, hold, message.content.size)
        for transfer in intake.transfers:
            if _find_jump(transfer.created, now):
                transfer = replace(transfer, created=now, due=now)
            self._put_transfer(connection, n, transfer, intake.claimed, now)

    def _put_message(
        self, connection: sqlite3.Connection, n: int, intake: Intake, message: Message, now: float
    ) -> None:
        content = message.content
        traced = message.evidence == intake.trace.evidence
        held = intake.hold is not None
        waits = held or intake.transfers
        row = (
            n,
            content.size,
            content.sha256,
            content.leading_dot,
            content.eight_bit,
            codec.SPANS.pack(message.dropped),
            None if traced else codec.EVIDENCE.pack(message.evidence),
            held,
            codec.as_text(intake.trace.decision.rule) if held else "",
            None if waits else now + self.retention.failed_seconds,
            self.store.name_of(content),
            content.data,
            content.chunks_only,
        )
        connection.execute(QUERIES["insert_message"], row)

    def _put_transfer(
        self, connection: sqlite3.Connection, n: int, transfer: Transfer, claimed: bool, now: float
    ) -> None:
        wake = now + self.lease if claimed else transfer.due
        row = (
            n,
            transfer.id,
            transfer.backend,
            wake,
            transfer.due,
            claimed,
            int(claimed),
            transfer.attempts,
            transfer.delay_warned,
            codec.RECIPIENTS.pack(transfer.rcpts),
            codec.pack_transfer(transfer),
        )
        connection.execute(QUERIES["insert_transfer"], row)

    def claim(
        self, connection: sqlite3.Connection, skip: Collection[str], limit: int, now: float, lease: float
    ) -> list[Claim]:
        """Lease due transfers: the oldest of each backend in turn, so that a backend with many does not delay another's
        mail."""
        claims: list[Claim] = []
        octets = 0
        for n in find_due(connection, skip, limit, now):
            if octets > _MOST_CLAIMED_OCTETS:
                break
            try:
                claim = self.read_claim(connection, n)
            except codec.Unreadable as error:
                # One bad row must not stop the queue: it waits for an admin, or for a program that can read it.
                self._hold(connection, n, f"{UNREADABLE}{error}")
                found = connection.execute(QUERIES["name_transfer"], (n,)).fetchone()
                self.damage.append(Damage(found[0], found[1], str(error)))
                continue
            connection.execute(QUERIES["lease_transfer"], (now + lease, n))
            claims.append(claim)
            octets += len(claim.message.content.data or b"")
        return claims

    def let_readable_go(self, connection: sqlite3.Connection, now: float) -> None:
        """Make due the transfers that an older program could not read and this one can."""
        for n, transfer in connection.execute(QUERIES["held_unreadable"], (UNREADABLE,)).fetchall():
            try:
                self.read_claim(connection, transfer)
            except codec.Unreadable:
                continue
            connection.execute(QUERIES["wake_transfer"], {"due": now, "n": transfer})
            connection.execute(QUERIES["lift_hold_of_free"], (n,))

    def read_claim(self, connection: sqlite3.Connection, n: int) -> Claim:
        """A transfer as its next claim would be. Raises `codec.Unreadable`."""
        row = connection.execute(QUERIES["read_claim"], (n,)).fetchone()
        if row is None:
            raise codec.Unreadable("its message is gone")
        (
            epoch,
            due,
            attempts,
            warned,
            rcpts,
            body,
            size,
            sha256,
            dot,
            eight_bit,
            dropped,
            evidence,
            trace,
            path,
            data,
            chunks_only,
        ) = row
        transfer = codec.unpack_transfer(due, attempts, warned, rcpts, body)
        content = Content(size, sha256, bool(dot), bool(eight_bit), data, self.store.path_of(path), bool(chunks_only))
        message = Message(content, _read_evidence(evidence, trace), codec.SPANS.unpack(dropped))
        return Claim(transfer, message, epoch + 1)

    def release(self, connection: sqlite3.Connection, claim: Claim, due: float) -> None:
        """Return a claim."""
        found = _find_claimed(connection, claim.transfer.message_id, claim.transfer.id, claim.epoch)
        if found is not None:
            connection.execute(QUERIES["release_transfer"], {"n": found.n, "due": due})

    def hold(self, connection: sqlite3.Connection, claim: Claim, reason: str) -> None:
        """Hold a claimed transfer."""
        found = _find_claimed(connection, claim.transfer.message_id, claim.transfer.id, claim.epoch)
        if found is not None:
            self._hold(connection, found.n, reason)

    def let_go(self, connection: sqlite3.Connection, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        """End the holding of a message, and send it by these transfers too. False when it is not held."""
        n = holding.let_go(connection, id, act)
        if n is None:
            return False
        for transfer in transfers:
            self._put_transfer(connection, n, transfer, False, act.at)
        return True

    def _hold(self, connection: sqlite3.Connection, n: int, reason: str) -> None:
        connection.execute(QUERIES["hold_transfer"], (n,))
        connection.execute(QUERIES["hold_message"], (codec.as_text(reason), n))

    def settle(
        self, connection: sqlite3.Connection, settlement: Settlement, now: float
    ) -> tuple[bool, tuple[str, ...]]:
        """Store one attempt. Gives whether the claim was still valid, and the content files that no row names any
        more."""
        found = _find_claimed(connection, settlement.message_id, settlement.transfer_id, settlement.epoch)
        return (False, ()) if found is None else (True, self._settle(connection, found, settlement, now))

    def settle_unclaimed(self, connection: sqlite3.Connection, settlement: Settlement, now: float) -> tuple[str, ...]:
        """The same for an unclaimed transfer, under the epoch that its next claim would have."""
        values = (settlement.message_id, settlement.transfer_id, settlement.epoch)
        found = _Claimed(*connection.execute(QUERIES["find_unclaimed"], values).fetchone())
        return self._settle(connection, found, settlement, now)

    def _settle(
        self, connection: sqlite3.Connection, found: _Claimed, settlement: Settlement, now: float
    ) -> tuple[str, ...]:
        if settlement.hold is not None and not holding.is_held(connection, found.message):
            holding.check_room(connection, settlement.hold, found.size)
        body = codec.ATTEMPT.pack((settlement.attempt, settlement.endings))
        row = (found.message, settlement.transfer_id, settlement.epoch, body)
        connection.execute(QUERIES["insert_attempt"], row)
        failed = any(ending.state not in (Final.DELIVERED, Final.RETURNED) for ending in settlement.endings)
        if failed and not found.failed:
            connection.execute(QUERIES["mark_failed"], (found.message,))
        if settlement.told:
            # Nothing is kept that a retry would duplicate, because the client will get the refusal.
            connection.execute(QUERIES["drop_unanswered"], (found.message,))
        if settlement.dsn is not None:
            self.put(connection, settlement.dsn, now)
        if settlement.remaining:
            self._defer(connection, found.n, settlement, now)
            if settlement.reason:
                self._hold(connection, found.n, settlement.reason)
            if settlement.hold is not None:
                jump = _find_jump(settlement.attempt.ended, now)
                hold = replace(settlement.hold, expires=settlement.hold.expires + jump)
                holding.put_hold(connection, found.message, hold, found.size)
            return ()
        connection.execute(QUERIES["delete_transfer"], (found.n,))
        if found.needed:
            return ()
        return self._finish_message(connection, found, failed or bool(found.failed), now)

    def _defer(self, connection: sqlite3.Connection, n: int, settlement: Settlement, now: float) -> None:
        jump = _find_jump(settlement.attempt.ended, now)
        values = {
            "n": n,
            "due": now if settlement.due is None else settlement.due + jump,
            "delay_warned": settlement.delay_warned,
            "last_reply": _last_reply(settlement),
            "rcpts": codec.RECIPIENTS.pack(settlement.remaining),
        }
        connection.execute(QUERIES["defer_transfer"], values)

    def _finish_message(
        self, connection: sqlite3.Connection, found: _Claimed, failed: bool, now: float
    ) -> tuple[str, ...]:
        """No transfer needs the content any more: delete it, or set its time of deletion."""
        seconds = self.retention.failed_seconds if failed else self.retention.delivered_seconds
        if seconds > 0:
            connection.execute(QUERIES["keep_message"], (now + seconds, found.message))
            return ()
        connection.execute(QUERIES["delete_message"], (found.message,))
        return (found.path,) if found.path else ()


def find_backends(connection: sqlite3.Connection, skip: Collection[str] = ()) -> list[str]:
    """Backends that have transfers, by one index seek for each backend."""
    return [name for (name,) in connection.execute(QUERIES["backends"]) if name not in skip]


def find_due(connection: sqlite3.Connection, skip: Collection[str], limit: int, now: float) -> Iterable[int]:
    """Due transfers: the oldest of each backend, then the second of each, and so on."""
    ranked: list[tuple[int, float, int]] = []
    for backend in find_backends(connection, skip):
        rows = connection.execute(QUERIES["due_transfers"], (backend, now, limit))
        ranked.extend((rank, wake, n) for rank, (wake, n) in enumerate(rows))
    return [n for _, _, n in heapq.nsmallest(limit, ranked)]


def _find_claimed(connection: sqlite3.Connection, message_id: str, transfer_id: str, epoch: int) -> _Claimed | None:
    """The rows of a claim; None when the claim is no longer valid."""
    row = connection.execute(QUERIES["find_claimed"], (message_id, transfer_id, epoch)).fetchone()
    return _Claimed(*row) if row else None


def _read_evidence(own: bytes | None, trace: bytes) -> Evidence:
    if own is not None:
        return codec.EVIDENCE.unpack(own)
    evidence = codec.TRACED_EVIDENCE.unpack(trace).evidence
    if evidence is None:
        raise codec.Unreadable("neither message nor trace has evidence")
    return evidence


def _last_reply(settlement: Settlement) -> str:
    """The text for the queue: the reply for a recipient that is tried again."""
    remaining = set(settlement.remaining)
    for outcome in settlement.attempt.outcomes:
        if outcome.rcpt in remaining:
            return codec.as_text(str(outcome.reply))
    return ""


def _find_jump(planned: float, now: float) -> float:
    """Seconds by which the clock was set between a time of a write and the write itself; 0 as a rule."""
    return now - planned if abs(now - planned) > _LONGEST_SESSION else 0.0
