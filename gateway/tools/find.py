"""`waypost find`: the options as a query, the answer for people and programs, and what to check when nothing is
found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gateway.mail.printable import clean
from gateway.model.search import DeliveryState, FoundMessage, MessageQuery
from gateway.model.value import replace
from gateway.tools.results import Json, safe_json, show_times

NO_TIME = "{text} is no time: write 10:15, 2026-11-30T10:15, today, yesterday, or 2h for two hours ago"
NO_STATE = "{text} is no state; there are: {states}"
ENDS_FIRST = "the time to search ends ({until}) before it begins ({since}); a time without a day is the last such time"
MORE = "There are more: add --after {cursor} to see them, or --limit for a longer list."
EXPLAIN = "`waypost explain ID` tells the whole story of one."
EVERYTHING = "everything"
NOTHING = "Nothing was found. Searched: {query}."
EMPTY = "The spool has no traces at all: no message has come to this gateway yet."
REACH = (
    "All mail that came to this gateway since {oldest} was searched: accepted, refused, deferred, greylisted and held "
    "mail alike. Traces are kept as long as [retention] trace says."
)
BEFORE_REACH = "The time asked for begins before that: of earlier mail nothing is kept here."
FUTURE = "The time asked for ends in the future: is the day right?"
NO_SUBJECTS = "Subjects cannot be searched: set [search] subjects = true, and restart."
ELSEWHERE = "At another time the same was found: the last one came {received} (`waypost explain {id}`)."
NEXT = "So the message did not reach this gateway, or its client left before it named a recipient. Check next:"
STEP_MX = (
    "Does the sender's mail come here? `dig +short MX {domain}` must name this gateway and no other host: mail that "
    "another host takes is not seen here."
)
STEP_BOUNCE = (
    "Ask the sender for the bounce, or for their own mail log: `waypost bounce FILE` tells who refused the message, "
    "and why. A server that cannot reach us tries for days before it tells its user."
)
STEP_SENDER = (
    "Is the address right? MAIL FROM often differs from the address that people see: search for the domain with "
    "--domain, or for the recipient or the time alone."
)
STEP_LOG = (
    "Did the client leave before it named a recipient? Such a session has no trace: look in the gateway's log for "
    "`listener-refused` with the sender's address."
)

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DAYS = {"today": 0, "yesterday": 1}
_MOST_RCPTS = 5
_MINUTE = 60.0


def read_time(text: str, now: float, end: bool = False) -> float:
    """A moment as epoch seconds: ISO 8601, `10:15` (the last one, in the time of this machine), `today`, `yesterday`,
    or `2h` ago. With `end` a minute or a day stands for its last moment. Raises ValueError."""
    here = datetime.fromtimestamp(now).astimezone()
    word = text.strip().lower()
    if found := _AGO.fullmatch(word):
        return now - int(found[1]) * _UNITS[found[2]]
    if word in _DAYS:
        midnight = here.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=_DAYS[word])
        return _as_epoch(midnight, "day" if end else "")
    if found := _CLOCK.fullmatch(word):
        moment = here.replace(hour=int(found[1]), minute=int(found[2]), second=int(found[3] or 0), microsecond=0)
        if moment > here:
            moment -= timedelta(days=1)
        return _as_epoch(moment, "" if not end else "second" if found[3] else "minute")
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(NO_TIME.format(text=repr(text))) from None
    whole = "" if not end else "day" if len(text.strip()) == 10 else "minute" if len(text.strip()) == 16 else "second"
    # A moment without a zone is meant in the time of this machine.
    return _as_epoch(moment if moment.tzinfo else moment.astimezone(), whole)


def _as_epoch(moment: datetime, whole: str) -> float:
    length = {"": 0.0, "second": 1.0, "minute": 60.0, "day": 86_400.0}[whole]
    return moment.timestamp() + (length - 1e-6 if length else 0.0)


def read_query(options: Mapping[str, str], words: Sequence[str], now: float) -> MessageQuery:
    """The options by name, empty where they were not given. Raises ValueError for a value that says nothing."""
    state = options.get("state", "").strip().lower()
    if state and state not in {one.value for one in DeliveryState}:
        raise ValueError(NO_STATE.format(text=repr(state), states=", ".join(one.value for one in DeliveryState)))
    since, until = options.get("since", ""), options.get("until", "")
    query = MessageQuery(
        words=tuple(word.strip() for word in words if word.strip()),
        sender=options.get("sender", "").strip(),
        rcpt=options.get("rcpt", "").strip(),
        domain=options.get("domain", "").strip(),
        message_id=options.get("message_id", "").strip(),
        subject=options.get("subject", "").strip(),
        network=options.get("ip", "").strip(),
        since=read_time(since, now) if since else None,
        until=read_time(until, now, end=True) if until else None,
        state=DeliveryState(state) if state else None,
        dmarc=options.get("dmarc", "").strip().lower(),
        spf=options.get("spf", "").strip().lower(),
        rule=options.get("rule", "").strip(),
        backend=options.get("backend", "").strip(),
    )
    if query.since is not None and query.until is not None and query.since > query.until:
        raise ValueError(ENDS_FIRST.format(since=show_times(query.since), until=show_times(query.until)))
    return query


def message_json(found: FoundMessage, node: str, subjects: bool) -> dict[str, Json]:
    """One message as plain values. The subject is null where subjects may not be searched."""
    return safe_json(
        {
            "id": found.id,
            "node": node or None,
            "received": _iso(found.received),
            "client": found.client or None,
            "mail_from": found.mail_from or None,
            "from": found.author or None,
            "rcpts": [
                {
                    "address": one.address,
                    "backend": one.backend or None,
                    "state": one.state.value,
                    "reply": one.reply or None,
                }
                for one in found.rcpts
            ],
            "subject": (found.subject or None) if subjects else None,
            "message_id": found.message_id or None,
            "size": found.size,
            "action": found.action,
            "rule": found.rule,
            "reply": found.reply,
            "spf": found.spf or None,
            "dkim": found.dkim or None,
            "dmarc": found.dmarc or None,
        }
    )


def render_found(messages: Sequence[FoundMessage], subjects: bool, next: str, follows: bool = False) -> Group:
    """The messages as a table. No id and no address is cut. One that `follows` another has no heading."""
    table = Table(box=None, pad_edge=False, header_style="", show_header=not follows)
    headings = ["received", "id", "sender", "recipients", "state", "why", "route"]
    for heading in [*headings, "subject"] if subjects else headings:
        table.add_column(heading, no_wrap=True)
    for one in messages:
        cells = [_local(one.received), one.id, _tell_sender(one), *_tell_recipients(one)]
        table.add_row(*(Text(clean(cell)) for cell in ([*cells, one.subject] if subjects else cells)))
    lines = [MORE.format(cursor=next)] if next else []
    return Group(table, *(Text(clean(line)) for line in ([] if follows else [*lines, EXPLAIN])))


def _tell_sender(one: FoundMessage) -> str:
    mail_from = one.mail_from or "<>"
    return f"{mail_from} (From {one.author})" if one.author and one.author != one.mail_from else mail_from


def _tell_recipients(one: FoundMessage) -> tuple[str, str, str, str]:
    """Recipients, their states, the reason, and the routes."""
    named = [rcpt.address for rcpt in one.rcpts]
    shown = ", ".join(named[:_MOST_RCPTS]) + (
        f" and {len(named) - _MOST_RCPTS} more" if len(named) > _MOST_RCPTS else ""
    )
    states = list(dict.fromkeys(rcpt.state.value for rcpt in one.rcpts)) or [_STATES.get(one.action, one.action)]
    routes = dict.fromkeys(rcpt.backend for rcpt in one.rcpts if rcpt.backend)
    return shown, ", ".join(states), tell_reason(one), ", ".join(routes)


_STATES = {"reject": "refused", "defer": "deferred", "greylist": "greylisted"}
_TROUBLED = (DeliveryState.FAILED, DeliveryState.WITHHELD, DeliveryState.EXPIRED, DeliveryState.WAITING)


def tell_reason(one: FoundMessage) -> str:
    """Why the message is where it is, in one phrase: a backend's last reply, else the rule and our reply."""
    replies = dict.fromkeys(rcpt.reply for rcpt in one.rcpts if rcpt.state in _TROUBLED and rcpt.reply)
    if replies:
        return "; ".join(replies)
    if one.action == "accept":
        return ""
    return f"{one.rule}: {one.reply}" if one.action in _STATES else one.rule


def tell_query(query: MessageQuery) -> str:
    """What was searched for, in words."""
    said = [
        ("words", " ".join(query.words)),
        ("sender", query.sender),
        ("recipient", query.rcpt),
        ("domain", query.domain),
        ("Message-ID", query.message_id),
        ("subject", query.subject),
        ("client", query.network),
        ("state", query.state.value if query.state else ""),
        ("DMARC", query.dmarc),
        ("SPF", query.spf),
        ("rule", query.rule),
        ("route", query.backend),
        ("since", "" if query.since is None else show_times(query.since)),
        ("until", "" if query.until is None else show_times(query.until)),
    ]
    return ", ".join(f"{name} {value}" for name, value in said if value) or EVERYTHING


def widen(query: MessageQuery) -> MessageQuery | None:
    """The same question without its time; None when it has none, or nothing else."""
    wide = replace(query, since=None, until=None)
    return wide if wide not in (query, MessageQuery()) else None


def render_nothing(
    query: MessageQuery, oldest: float | None, elsewhere: FoundMessage | None, subjects: bool, now: float
) -> Group:
    """What was searched, how far back the traces go, and what to check next. `elsewhere` is a message that the same
    query finds at another time."""
    lines = [NOTHING.format(query=tell_query(query))]
    if oldest is None:
        lines.append(EMPTY)
    else:
        lines.append(REACH.format(oldest=show_times(oldest)))
        if query.since is not None and query.since < oldest - _MINUTE:
            lines.append(BEFORE_REACH)
    if query.until is not None and query.until > now + _MINUTE:
        lines.append(FUTURE)
    if query.subject and not subjects:
        lines.append(NO_SUBJECTS)
    if elsewhere is not None:
        lines.append(ELSEWHERE.format(received=show_times(elsewhere.received), id=elsewhere.id))
        return Group(*(Text(clean(line)) for line in lines))
    lines += [NEXT, *(f"  {number}. {step}" for number, step in enumerate(_steps(query), 1))]
    return Group(*(Text(clean(line)) for line in lines))


def _steps(query: MessageQuery) -> list[str]:
    domain = query.rcpt.strip("<>").rpartition("@")[2] or "YOUR-DOMAIN"
    return [STEP_MX.format(domain=domain), STEP_BOUNCE, STEP_SENDER, STEP_LOG]


def _local(epoch: float) -> str:
    return datetime.fromtimestamp(epoch).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
