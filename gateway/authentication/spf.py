"""SPF (RFC 7208) at the true ingress address: pyspf over DNS answers that are data. The one file that imports pyspf."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, cast

from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.mail.domain import a_label
from gateway.model.dnsdata import DnsStatus, Question
from gateway.model.envelope import Mailbox, ip_text
from gateway.model.ingress import EdgeIngress
from gateway.model.result import SpfIdentity, SpfResult, SpfVerdict

with warnings.catch_warnings():
    # Its docstrings contain escapes that cause a warning when Python compiles them.
    warnings.simplefilter("ignore")
    import spf

_MOST_NAME = 253
_MOST_RECORD = 8192
_MOST_TERM = 255
"""pyspf's macro and domain patterns are quadratic in the length of a term; a name has no more than 253 octets."""
_MOST_MACROS = 100
"""Percent signs in a record."""
_MOST_RECORDS = 32_768
"""Octets of SPF records in one evaluation."""
_MOST_PREFETCHED = 12
_MOST_FOLLOWED = 60
_NETWORK = re.compile(r"[-+?~]?ip[46]:", re.ASCII | re.IGNORECASE)
_TERM = re.compile(
    r"[-+?~]?(?:(include:|redirect=|exists:)([\w.-]+)|(a|mx)(?::([\w.-]+))?(?:/[\d/]+)?)", re.ASCII | re.IGNORECASE
)


class _Family(str):
    """The record type of the client's family, as `a` and `mx` ask for it; `exists` asks for A, and gives plain text."""


@dataclass(slots=True)
class _Run:
    """One evaluation under way."""

    window: DnsView
    query: Any = None
    read: list[tuple[Question, tuple[str, ...]]] = field(default_factory=list)
    """Records seen so far. The names in them are asked for together with any missing answers."""
    asked: list[Question] = field(default_factory=list)
    octets: int = 0
    status: DnsStatus | None = None
    lacks: bool = False
    """An answer was missing: this check, not another that shares the window, needs a further round."""


_RUN: ContextVar[_Run] = ContextVar("spf_run")


def evaluate(
    ingress: EdgeIngress, mail_from: Mailbox | None, identity: SpfIdentity, window: DnsView, receiver: str
) -> SpfResult:
    """Judge one identity (RFC 7208 section 4). Raises NeedAnswers, and nothing else.

    A null sender is checked as postmaster at the HELO name (RFC 7208 section 2.4); the result then says HELO.
    """
    if identity is SpfIdentity.MAILFROM and mail_from is None:
        identity = SpfIdentity.HELO
    sender = mail_from if identity is SpfIdentity.MAILFROM else None
    domain = a_label(sender.ascii_domain if sender else ingress.helo) or ""
    if ingress.client is None:
        return SpfResult(SpfVerdict.NONE, domain, identity, ingress.reason)
    # RFC 7208 section 4.3: a malformed or single-label domain, or a literal, gives "none".
    if "." not in domain or domain.rpartition(".")[2].isdigit():
        return SpfResult(SpfVerdict.NONE, domain, identity, "no domain name to check")
    result, reason, mechanism = _check(ingress, sender, domain, window, receiver)
    return SpfResult(
        result,
        domain,
        identity,
        reason,
        mechanism,
        sends_no_mail=sender is not None and result is SpfVerdict.FAIL and _sends_no_mail(domain, window),
    )


def questions(ingress: EdgeIngress, mail_from: Mailbox | None) -> tuple[Question, ...]:
    """The first questions of `evaluate`, for both identities."""
    names = (a_label(ingress.helo), a_label(mail_from.ascii_domain) if mail_from else None)
    return tuple(Question(name, "TXT") for name in dict.fromkeys(names) if name and "." in name)


def _check(
    ingress: EdgeIngress, sender: Mailbox | None, domain: str, window: DnsView, receiver: str
) -> tuple[SpfVerdict, str, str]:
    """Result, reason and deciding mechanism. Raises NeedAnswers."""
    # Without macros a record gives the same result for every sender at this address (RFC 7208 section 7.3): the local
    # part, HELO and our own name cannot change it.
    key = ("spf", ingress.client, domain)
    known = window.recall(key)
    if known is not None:
        return cast("tuple[SpfVerdict, str, str]", known)
    run = _Run(window)
    outcome = None
    token = _RUN.set(run)
    try:
        run.query = _prepare(ingress, sender, domain, receiver)
        word, _, _ = run.query.check()
        outcome = _conclude(run.query, SpfVerdict(word))
    except NeedAnswers:
        pass
    except Exception as error:
        # pyspf raises any exception on odd input: an error in the record or the identity, never one of ours.
        outcome = SpfVerdict.PERMERROR, f"the record could not be evaluated ({type(error).__name__})", ""
    finally:
        _RUN.reset(token)
    # `pending` decides, regardless of exceptions raised or swallowed on the way.
    if run.lacks:
        _prefetch(run)
    if outcome is None or window.pending:
        raise NeedAnswers
    if not any("%" in record for question, records in run.read if question.type == "TXT" for record in records):
        window.keep(key, outcome, dict.fromkeys(run.asked))
    return outcome


def _conclude(query: Any, result: SpfVerdict) -> tuple[SpfVerdict, str, str]:
    reason = ""
    if result in (SpfVerdict.PERMERROR, SpfVerdict.TEMPERROR):
        reason = ": ".join([query.prob, *query.mech])
    elif result is SpfVerdict.NONE:
        reason = "no SPF record"
    return result, _clean(reason), _clean(query.mechanism or "")


def _prepare(ingress: EdgeIngress, sender: Mailbox | None, domain: str, receiver: str) -> Any:
    """A pyspf query with corrections for pyspf's errors. One query object serves one evaluation."""
    local = sender.local[:_MOST_NAME] if sender and sender.local else "postmaster"  # RFC 7208 section 4.3
    query = spf.query(
        i=ip_text(ingress.client or ""),
        s=f"postmaster@{domain}",
        h=a_label(ingress.helo) or ingress.helo[:_MOST_NAME],
        receiver=receiver,
        querytime=0,
        timeout=0,
    )
    # pyspf splits at the first @, which a quoted local part may contain.
    query.l, query.s = local, f"{local}@{domain}"
    # exp= is fetched for every result and under a bare except; the explanation is not needed here.
    query.get_explanation = lambda _spec: None
    query.validated_ptrs = partial(_validate_names, query)
    query.A = _Family(query.A)
    query.dns_a = partial(_find_addresses, query)
    # The same comparison without network objects: building them took a fifth of a warm evaluation.
    query.cidrmatch = partial(_match_prefix, query.ipaddr)
    # Networks are most of a large record and the same for every client: each is read once.
    query.validate_mechanism = partial(_validate_term, query.validate_mechanism)
    return query


def _validate_term(validate: Callable[[str], tuple[Any, ...]], term: str) -> tuple[Any, ...]:
    return _read_network(term) if _NETWORK.match(term) else validate(term)


@lru_cache(maxsize=8192)
def _read_network(term: str) -> tuple[Any, ...]:
    """An `ip4` or `ip6` term, parsed as pyspf does; it depends on nothing else. Raises PermError."""
    reader = spf.query(i="192.0.2.1", s="postmaster@example", h="example", querytime=0, timeout=0)
    network: tuple[Any, ...] = reader.validate_mechanism(term)
    return network


def _find_addresses(query: Any, name: str, family: str = "A") -> list[str]:
    """The addresses of a host. An existing host without addresses of the client's family is not a void lookup:
    otherwise MX hosts with IPv4 alone would spoil the record for IPv6 clients (RFC 7208 section 4.6.4)."""
    run = _RUN.get()
    run.status = None
    addresses: list[str] = query.dns(name, family, ignore_void=True) if name else []
    if not addresses and run.status and not (run.status is DnsStatus.NODATA and isinstance(family, _Family)):
        query.void_lookups += 1
        if query.void_lookups > spf.MAX_VOID_LOOKUPS:
            raise spf.PermError(f"Void lookup limit of {spf.MAX_VOID_LOOKUPS} exceeded")
    return addresses


def _validate_names(query: Any) -> list[str]:
    """The client's names, confirmed forward (RFC 7208 section 5.5). A DNS error is no match there, never temperror."""
    try:
        names = query.dns_ptr(query.i)[: spf.MAX_PTR]
    except spf.TempError:
        return []
    return [name for name in names if _confirms(query, name)]


def _confirms(query: Any, name: str) -> bool:
    try:
        return bool(query.cidrmatch(query.dns_a(name, str(query.A)), query.cidrmax))
    except spf.TempError:
        return False


def _match_prefix(client: IPv4Address | IPv6Address, addresses: list[str], bits: int) -> bool:
    """True when the first `bits` bits of some address are the client's (RFC 7208 section 5)."""
    shift = client.max_prefixlen - bits
    prefix = int(client) >> shift
    try:
        return any(_to_int(client.version, address) >> shift == prefix for address in addresses)
    except ValueError as error:
        raise spf.PermError(str(error)) from error


@lru_cache(maxsize=8192)
def _to_int(version: int, address: str) -> int:
    return int(IPv4Address(address) if version == 4 else IPv6Address(address))


def _look_up(name: str, qtype: str, _strict: object, _timeout: object) -> list[tuple[tuple[str, str], object]]:
    """pyspf's DNS: the answers in the view of the current evaluation."""
    run = _RUN.get()
    question = _to_question(name, qtype)
    if question is None:
        return []
    answer = run.window.peek(question)
    run.asked.append(question)
    if answer is None:
        run.lacks = True
        raise NeedAnswers
    run.status = answer.status
    if answer.failed:
        raise spf.TempError(f"DNS {answer.status} for {question.type} of {question.name}")
    if qtype == "TXT":
        _bound(run, question, answer.records)
    run.read.append((question, answer.records))
    key = (name, qtype)
    if qtype == "TXT":
        return [(key, (record.encode("latin-1", "replace"),)) for record in answer.records]
    if qtype == "MX":
        return [(key, _split_mx(record)) for record in answer.records]
    return [(key, record) for record in answer.records]


def _split_mx(record: str) -> tuple[int, str]:
    """Preference and host; no host for a null MX (RFC 7505)."""
    preference, _, host = record.partition(" ")
    return int(preference), host.removesuffix(".")


def _to_question(name: str, qtype: str) -> Question | None:
    """None for a name that DNS cannot hold: such a name has no answer.

    RFC 7208 section 7.3: an expanded name that is too long loses labels from the left. RFC 8616 section 4: a name with
    a non-ASCII local part expanded into it never matches.
    """
    while len(name) > _MOST_NAME:
        _, dot, name = name.partition(".")
        if not dot:
            return None
    labels = name.split(".")
    if not name.isascii() or not name.isprintable() or not all(0 < len(label) < 64 for label in labels):
        return None
    return Question(name, str(qtype))


def _bound(run: _Run, question: Question, records: tuple[str, ...]) -> None:
    """Refuse SPF records whose evaluation would cost too much."""
    for record in filter(_is_spf, records):
        run.octets += len(record)
        too_long = len(record) > _MOST_RECORD or run.octets > _MOST_RECORDS or record.count("%") > _MOST_MACROS
        if too_long or max(map(len, record.split(" "))) > _MOST_TERM:
            raise spf.PermError(f"the SPF record of {question.name} is too long")


def _is_spf(record: str) -> bool:
    return record[:6].lower() == "v=spf1"


def _prefetch(run: _Run) -> None:
    """Note, with the missing questions, the names in the records seen so far and the names behind those, so that one
    round fetches all. Used only when a round is needed anyway: a complete evaluation never waits for these names."""
    most = len(run.window.pending) + _MOST_PREFETCHED
    followed = {question for question, _ in run.read}
    for question, records in run.read:
        for wanted in _find_names(question, records, str(run.query.A)):
            if len(run.window.pending) >= most or len(followed) >= _MOST_FOLLOWED:
                return
            if wanted not in followed:
                followed.add(wanted)
                answer = run.window.peek(wanted)
                if answer is not None:
                    run.read.append((wanted, answer.records))  # this loop visits it later


def _find_names(question: Question, records: tuple[str, ...], family: str) -> Iterator[Question]:
    """The questions in these records that need no macro expansion."""
    match question.type:
        case "TXT":
            for term in (term for record in filter(_is_spf, records) for term in record.split(" ")):
                yield from _read_term(term, question.name, family)
        case "MX":
            yield from (Question(host, family) for _, host in map(_split_mx, records[: spf.MAX_MX]) if host)
        case "PTR":
            yield from (Question(host, family) for host in records[: spf.MAX_PTR])


def _read_term(term: str, domain: str, family: str) -> Iterator[Question]:
    mark = _TERM.fullmatch(term)
    if mark is not None:
        name = a_label(mark[2] or mark[4] or domain)
        if name is not None and "." in name:
            kind = (mark[1] or mark[3]).lower()
            yield Question(name, {"exists:": "A", "a": family, "mx": "MX"}.get(kind, "TXT"))


def _sends_no_mail(domain: str, window: DnsView) -> bool:
    """The domain's record is exactly `v=spf1 -all`."""
    answer = window.ask(Question(domain, "TXT"))
    records = [record.lower().split() for record in answer.records if _is_spf(record)]
    return records == [["v=spf1", "-all"]]


def _clean(text: str) -> str:
    """Printable ASCII of bounded length, because parts of it come from the publisher's record."""
    return "".join(char if " " <= char <= "~" else "?" for char in text[:200])


spf.DNSLookup = _look_up
