"""A spool in memory: it keeps the contract of ports.Spool, and fails on request."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field

from gateway.model.delivery import (
    Act,
    Amendment,
    Attempt,
    Backlog,
    Claim,
    Ending,
    Failure,
    Final,
    HeldEntry,
    Hold,
    Intake,
    Pending,
    QueueEntry,
    Settlement,
    Story,
    Trace,
    Transfer,
)
from gateway.model.history import REMEMBERED, Acquaintance, History, Sender, Sighting
from gateway.model.message import Content, Message
from gateway.model.value import replace
from gateway.ports import Clock, ContentAltered, ContentWriter, Damage, HoldFull, Storage

_CHUNK = 1_048_576
_MOST_PURGED = 500


@dataclass
class _Row:
    transfer: Transfer
    wake: float | None
    """None when held."""
    leased: bool
    epoch: int
    last_reply: str = ""


@dataclass
class _Record:
    trace: Trace
    message: Message | None
    hold: Hold | None
    held: bool
    reason: str = ""
    rows: dict[str, _Row] = field(default_factory=dict)
    endings: list[Ending] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    kept_until: float | None = None


class _Writer:
    def __init__(self, spool: FakeSpool) -> None:
        self._spool = spool
        self._path = f"memory-{next(spool.serial)}"
        self._data = bytearray()

    def write(self, chunk: bytes) -> None:
        self._data += chunk

    async def drain(self) -> None:
        pass

    async def finish(self) -> str:
        self._spool.files[self._path] = bytes(self._data)
        return self._path

    def discard(self) -> None:
        if self._path not in self._spool.stored:
            self._spool.files.pop(self._path, None)


class FakeSpool:
    """Implements `ports.Spool`."""

    def __init__(
        self,
        clock: Clock,
        *,
        lease: float = 900.0,
        failed_seconds: float = 604_800.0,
        trace_seconds: float = 2_592_000.0,
    ) -> None:
        self.serial = itertools.count()
        self.files: dict[str, bytes] = {}
        self.stored: set[str] = set()
        self.failures: dict[str, list[BaseException]] = defaultdict(list)
        """Method name to the exceptions that its next calls raise."""
        self.calls: Counter[str] = Counter()
        self.committed: list[Intake] = []
        self.settlements: list[Settlement] = []
        self._unanswered: dict[bytes, tuple[str, float, bool]] = {}
        """By fingerprint: id, time of reception, and whether its client is known not to have got the reply."""
        self._clock = clock
        self._lease = lease
        self._failed_seconds = failed_seconds
        self._trace_seconds = trace_seconds
        self._records: dict[str, _Record] = {}
        self._senders: dict[tuple[str, str, str], Sender] = {}
        self._acquaintances: dict[str, Acquaintance] = {}
        self._own: set[str] = set()
        self._selectors: dict[str, list[str]] = {}

    @property
    def reader(self) -> FakeSpool:
        """The spool is its own reader."""
        return self

    def _called(self, name: str) -> None:
        self.calls[name] += 1
        if self.failures[name]:
            raise self.failures[name].pop(0)

    async def commit(self, intake: Intake) -> None:
        self._called("commit")
        self._put(intake)
        self.committed.append(intake)

    def _put(self, intake: Intake) -> None:
        if intake.trace.id in self._records:
            raise ValueError("UNIQUE id")
        ids = [transfer.id for transfer in intake.transfers]
        if len(set(ids)) != len(ids):
            raise ValueError("UNIQUE transfer")
        if intake.hold is not None and intake.message is not None:
            self._check_room(intake.hold, intake.message.content.size)
        if intake.sighting is not None:
            self._count(intake.sighting, intake.trace)
        if intake.acquaintance is not None:
            self._acquaint(intake.acquaintance)
        reason = intake.trace.decision.rule if intake.hold else ""
        record = _Record(intake.trace, intake.message, intake.hold, intake.hold is not None, reason)
        if intake.message is not None and intake.message.content.path:
            self.stored.add(intake.message.content.path)
        for transfer in intake.transfers:
            wake = self._clock.now() + self._lease if intake.claimed else transfer.due
            row = _Row(transfer, wake, intake.claimed, 1 if intake.claimed else 0)
            record.rows[transfer.id] = row
        self._records[intake.trace.id] = record
        if intake.fingerprint:
            self._unanswered[intake.fingerprint] = (intake.trace.id, intake.trace.received, False)

    def _check_room(self, hold: Hold, size: int) -> None:
        quota, holding = hold.quota, [one for one in self._records.values() if one.held and one.hold and one.message]
        theirs = [one for one in holding if one.hold and one.hold.domain == hold.domain]
        for records, messages, octets in (
            (theirs, quota.domain_messages, quota.domain_octets),
            (holding, quota.messages, quota.octets),
        ):
            total = sum(one.message.content.size for one in records if one.message)
            if len(records) >= messages or total + size > octets:
                raise HoldFull(hold.domain)

    def _count(self, seen: Sighting, trace: Trace) -> None:
        at, id = trace.received, trace.id
        if seen.ours:
            self._own.add(seen.domain)
        if seen.selector:
            self._selectors.setdefault(seen.domain, []).append(seen.selector)
        key = (seen.domain, seen.source, seen.signer)
        theirs = sum(domain == seen.zone or domain.endswith(f".{seen.zone}") for domain, _, _ in self._senders)
        if key not in self._senders and theirs >= 300:
            together = (seen.zone, "", "")
            failing = [
                other
                for other, one in self._senders.items()
                if other[1] and not one.passed and (one.domain == seen.zone or one.domain.endswith(f".{seen.zone}"))
            ]
            if seen.passed and failing:
                victim = self._senders.pop(min(failing, key=lambda one: self._senders[one].last))
                before = self._senders.get(together) or Sender(*together, "", 0, 0, at, at, id)
                self._senders[together] = replace(before, failed=before.failed + victim.failed)
            else:
                key = together
        before = self._senders.get(key) or Sender(*key, seen.name, 0, 0, at, at, id)
        passed, failed = before.passed + seen.passed, before.failed + (not seen.passed)
        self._senders[key] = replace(before, name=seen.name, passed=passed, failed=failed, last=at, last_id=id)

    def _acquaint(self, known: Acquaintance) -> None:
        before = self._acquaintances.get(known.key)
        if before is not None and before.expires > known.first:
            expires = max(before.expires, known.expires)
            known = replace(known, passed=before.passed or known.passed, expires=expires)
        self._acquaintances[known.key] = known

    async def acquaintance(self, key: str) -> Acquaintance | None:
        return self._acquaintances.get(key)

    async def recall(self, domain: str, source: str, names: Sequence[str] = ()) -> History:
        theirs = [one for one in self._senders.values() if one.domain == domain]
        everyone = self._senders.values()
        return History(
            sum(one.passed for one in theirs),
            sum(one.passed for one in theirs if one.source in (source, "")),
            sum(one.passed for one in everyone if one.source == source),
            tuple(
                sum(one.passed for one in everyone if one.signer == name or f".{one.domain}".endswith(f".{name}"))
                for name in names
            ),
            frozenset(self._selectors.get(domain, ())),
        )

    async def senders(self, domains: Collection[str], limit: int) -> Sequence[Sender]:
        found = [
            one
            for one in self._senders.values()
            if any(one.domain == domain or one.domain.endswith(f".{domain}") for domain in domains)
            or (not domains and one.failed and one.domain not in self._own)
        ]
        return sorted(found, key=lambda one: -one.last)[:limit]

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        entries = [
            HeldEntry(
                id=one.trace.id,
                received=one.trace.received,
                expires=one.hold.expires,
                domain=one.hold.domain,
                mail_from=str(one.trace.envelope.mail_from or ""),
                rcpts=tuple(str(rcpt.mailbox) for rcpt in one.trace.envelope.rcpts),
                subject="",
                size=one.message.content.size,
                reason=one.reason,
            )
            for one in self._records.values()
            if one.hold and one.message
        ]
        return entries[:limit]

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        return [
            HeldEntry(id, one.trace.received, act.at, "", "", (), "", 0, "")
            for id, one in self._records.items()
            for act in one.acts
            if act.what == "expired" and act.at > since
        ][:limit]

    async def overdue(self, now: float, limit: int) -> Sequence[str]:
        found = [(one.hold.expires, id) for id, one in self._records.items() if one.held and one.hold]
        return [id for expires, id in sorted(found)[:limit] if expires <= now]

    async def let_go(self, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        self._called("let_go")
        record = self._records.get(id)
        if record is None or record.hold is None:
            return False
        record.held, record.reason, record.hold = False, "", None
        for row in record.rows.values():
            if row.wake is None:
                row.wake, row.transfer = act.at, replace(row.transfer, due=act.at)
        record.rows |= {transfer.id: _Row(transfer, transfer.due, False, 0) for transfer in transfers}
        record.acts.append(act)
        return True

    async def discard(self, id: str, act: Act) -> bool:
        self._called("discard")
        record = self._records.get(id)
        if record is None or record.hold is None:
            return False
        if any(row.leased for row in record.rows.values()):
            return False
        record.held, record.hold = False, None
        record.rows.clear()
        record.endings += act.endings
        record.acts.append(act)
        self._forget_content(record)
        return True

    def note_answer(self, id: str, heard: bool) -> None:
        self._called("note_answer")
        for key, (found, received, _) in list(self._unanswered.items()):
            if found == id:
                self._unanswered[key] = (id, received, True)
                if heard:
                    del self._unanswered[key]

    async def is_unanswered(self, marks: tuple[bytes, bytes]) -> bool:
        return any(mark in self._unanswered and not self._unanswered[mark][2] for mark in marks)

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = False) -> str | None:
        for id, received, unheard in (self._unanswered[mark] for mark in marks if mark in self._unanswered):
            if unheard and received > now - REMEMBERED:
                return id
        return None

    def open_content(self) -> ContentWriter:
        return _Writer(self)

    async def read_content(self, content: Content) -> AsyncIterator[bytes]:
        self._called("read_content")
        data = content.data if content.data is not None else self.files.get(content.path)
        if data is None:
            raise ContentAltered("content is missing")
        for start in range(0, len(data), _CHUNK):
            yield data[start : start + _CHUNK]

    async def claim(self, skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        self._called("claim")
        due: dict[str, list[tuple[float, _Record, _Row]]] = defaultdict(list)
        for record in self._records.values():
            for row in record.rows.values():
                if row.wake is not None and row.wake <= now and row.transfer.backend not in skip:
                    due[row.transfer.backend].append((row.wake, record, row))
        for found in due.values():
            found.sort(key=lambda one: one[0])
        turns = itertools.chain.from_iterable(itertools.zip_longest(*due.values()))
        claims = []
        for _, record, row in itertools.islice((turn for turn in turns if turn is not None), limit):
            row.leased, row.wake = True, now + lease
            row.epoch += 1
            assert record.message is not None
            claims.append(Claim(row.transfer, record.message, row.epoch))
        return claims

    def _claimed(self, message_id: str, transfer_id: str, epoch: int) -> tuple[_Record, _Row] | None:
        record = self._records.get(message_id)
        row = record.rows.get(transfer_id) if record else None
        if record is None or row is None or not row.leased or row.epoch != epoch:
            return None
        return record, row

    async def release(self, claim: Claim, due: float) -> None:
        self._called("release")
        found = self._claimed(claim.transfer.message_id, claim.transfer.id, claim.epoch)
        if found is not None:
            _, row = found
            row.leased, row.wake = False, due
            row.transfer = replace(row.transfer, due=due)

    async def settle(self, settlement: Settlement) -> bool:
        self._called("settle")
        found = self._claimed(settlement.message_id, settlement.transfer_id, settlement.epoch)
        if found is None:
            return False
        record, row = found
        if settlement.hold is not None and record.message is not None and not (record.held and record.hold):
            self._check_room(settlement.hold, record.message.content.size)
        if settlement.dsn is not None:
            self._put(settlement.dsn)
        if settlement.told:
            self._unanswered = {key: row for key, row in self._unanswered.items() if row[0] != settlement.message_id}
        self.settlements.append(settlement)
        record.endings += settlement.endings
        record.attempts.append(settlement.attempt)
        if settlement.remaining:
            due = self._clock.now() if settlement.due is None else settlement.due
            row.leased, row.wake = False, None if settlement.reason else due
            if settlement.reason:
                record.held, record.hold = True, settlement.hold or record.hold
                record.reason = settlement.reason
            row.last_reply = str(settlement.attempt.outcomes[-1].reply)
            row.transfer = replace(
                row.transfer,
                rcpts=settlement.remaining,
                due=due,
                attempts=row.transfer.attempts + 1,
                delay_warned=settlement.delay_warned,
            )
        else:
            del record.rows[row.transfer.id]
        self._end(record)
        return True

    def _end(self, record: _Record) -> None:
        """The content is deleted with the last transfer; that of a failure is kept for a time."""
        if record.rows or record.held or record.message is None:
            return
        if any(ending.state not in (Final.DELIVERED, Final.RETURNED) for ending in record.endings):
            record.kept_until = self._clock.now() + self._failed_seconds
        else:
            self._forget_content(record)

    def _forget_content(self, record: _Record) -> None:
        if record.message is not None:
            self.files.pop(record.message.content.path, None)
        record.message = record.kept_until = None

    async def hold(self, claim: Claim, reason: str) -> None:
        self._called("hold")
        found = self._claimed(claim.transfer.message_id, claim.transfer.id, claim.epoch)
        if found is not None:
            record, row = found
            record.held, record.reason = True, reason
            row.leased, row.wake = False, None

    async def amend(self, message_id: str, plan: Callable[[tuple[Pending, ...]], Amendment]) -> Amendment:
        self._called("amend")
        record = self._records.get(message_id)
        rows = dict(record.rows) if record else {}
        pendings = []
        for row in rows.values():
            assert record is not None
            assert record.message is not None
            pendings.append(Pending(Claim(row.transfer, record.message, row.epoch + 1), row.leased, row.wake is None))
        amendment = plan(tuple(pendings))
        if record is not None and amendment.changes and amendment.act is not None:
            record.acts.append(amendment.act)
        for change in amendment.changes:
            assert record is not None
            row = record.rows.pop(change.transfer_id)
            if isinstance(change, Settlement):
                if change.dsn is not None:
                    self._put(change.dsn)
                self.settlements.append(change)
                record.endings += change.endings
                record.attempts.append(change.attempt)
                continue
            record.reason = change.held or record.reason
            for at, transfer in enumerate(change.transfers):
                wake = transfer.due if change.held is None else None
                record.rows[transfer.id] = _Row(transfer, wake, False, 0 if at else row.epoch, row.last_reply)
        if record is not None and amendment.changes:
            record.held = any(row.wake is None for row in record.rows.values())
            record.reason = record.reason if record.held else ""
            self._end(record)
        return amendment

    async def next_due(self, skip: Collection[str] = ()) -> float | None:
        self._called("next_due")
        rows = (row for record in self._records.values() for row in record.rows.values())
        return min(
            (row.wake for row in rows if row.wake is not None and row.transfer.backend not in skip), default=None
        )

    async def story(self, id: str) -> Story | None:
        record = self._records.get(id)
        if record is None:
            return None
        waiting = tuple(row.transfer for row in record.rows.values())
        kept = record.message is not None
        attempts = sorted(record.attempts, key=lambda attempt: attempt.started)
        endings, acts = tuple(record.endings), tuple(record.acts)
        held = tuple(id for id, row in record.rows.items() if row.wake is None)
        return Story(record.trace, endings, waiting, tuple(attempts), kept, record.held, acts, held)

    async def content(self, id: str) -> AsyncIterator[bytes] | None:
        record = self._records.get(id)
        return None if record is None or record.message is None else self.read_content(record.message.content)

    async def count_traces(self, since: float) -> int:
        return len(self._find_traces(since))

    async def traces(self, since: float) -> AsyncIterator[Sequence[Trace]]:
        yield self._find_traces(since)

    def _find_traces(self, since: float) -> list[Trace]:
        found = [one.trace for one in self._records.values() if one.trace.received >= since]
        return sorted(found, key=lambda trace: trace.received)

    async def failed(self, limit: int) -> Sequence[Failure]:
        failures = [
            Failure(
                one.trace.id,
                attempt.ended,
                str(one.trace.envelope.mail_from or ""),
                str(ending.rcpt.mailbox),
                attempt.backend,
                ending.state,
                ending.reply,
                next((done.remote_mta for done in attempt.outcomes if done.rcpt == ending.rcpt), ""),
            )
            for one in self._records.values()
            for attempt in one.attempts
            for ending in one.endings
            if ending.state not in (Final.DELIVERED, Final.RETURNED)
        ]
        return sorted(failures, key=lambda failure: -failure.at)[:limit]

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        entries = [
            QueueEntry(
                transfer_id=row.transfer.id,
                message_id=row.transfer.message_id,
                backend=row.transfer.backend,
                mail_from=str(row.transfer.mail_from or ""),
                rcpts=tuple(str(rcpt.mailbox) for rcpt in row.transfer.rcpts),
                size=record.message.content.size if record.message else 0,
                created=row.transfer.created,
                due=row.transfer.due,
                attempts=row.transfer.attempts,
                last_reply=record.reason if row.wake is None else row.last_reply,
                claimed=row.leased,
                held=row.wake is None,
            )
            for record in self._records.values()
            for row in record.rows.values()
        ]
        return sorted(entries, key=lambda entry: entry.due)[:limit]

    async def counts(self) -> dict[str, int]:
        rows = (row for record in self._records.values() for row in record.rows.values())
        return dict(Counter(row.transfer.backend for row in rows if row.wake is not None))

    async def backlogs(self) -> Sequence[Backlog]:
        found = []
        rows = [(record, row) for record in self._records.values() for row in record.rows.values()]
        for backend in {row.transfer.backend for _, row in rows}:
            ours = [(record, row) for record, row in rows if row.transfer.backend == backend]
            waiting = [record.trace.received for record, row in ours if row.wake is not None]
            found.append(Backlog(backend, len(waiting), len(ours) - len(waiting), min(waiting, default=None)))
        return found

    def take_damage(self) -> Sequence[Damage]:
        return ()

    async def storage(self) -> Storage:
        self._called("storage")
        return Storage(0, 0, 0, takes=True)

    async def move_times(self, seconds: float) -> None:
        self._called("move_times")

    async def purge(self, now: float) -> int:
        kept = [one for one in self._records.values() if one.kept_until is not None and one.kept_until <= now]
        stale = kept[:_MOST_PURGED]
        for record in stale:
            self._forget_content(record)
        old = [
            id
            for id, record in self._records.items()
            if record.message is None and record.trace.received + self._trace_seconds <= now
        ]
        for id in old[:_MOST_PURGED]:
            del self._records[id]
        for key in [key for key, known in self._acquaintances.items() if known.expires <= now]:
            del self._acquaintances[key]
        return len(stale) + len(old[:_MOST_PURGED])

    async def close(self) -> None:
        self._called("close")

    def reopen(self) -> None:
        """Become the spool of a new process: no claim is held, and clients without a reply will never get one."""
        self._unanswered = {key: (id, at, True) for key, (id, at, _) in self._unanswered.items()}
        for record in self._records.values():
            for row in record.rows.values():
                if row.leased:
                    row.leased, row.wake = False, min(row.transfer.due, self._clock.now())
        self.files = {path: data for path, data in self.files.items() if path in self.stored}
