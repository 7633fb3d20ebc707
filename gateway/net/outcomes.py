"""The one table from a backend's reply, or its silence, to an outcome: the result for the recipients, the subject of
the failure, and whether another host is tried at once."""

from __future__ import annotations

from enum import Enum

from gateway.mail.refusal import Cause, classify
from gateway.model.delivery import Outcome, OutcomeKind, Scope
from gateway.model.envelope import Recipient
from gateway.model.ingress import Tls
from gateway.model.reply import Reply
from gateway.model.value import Value, replace

_MOST_TEXT = 4096
"""Characters of a reply that are kept: eight lines of RFC 5321 section 4.5.3.1.5."""


class Phase(Enum):
    """The progress of a session with a backend."""

    GREETING = "greeting"
    HELLO = "EHLO"
    TLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    """354 has arrived, the final dot has not been sent."""
    DOT = "final dot"


class ReplyJudgement(Value):
    """The meaning of one reply or silence for its recipients."""

    kind: OutcomeKind
    scope: Scope
    next_host: bool = False
    """Another host of the backend may take them now."""


_OPENING = frozenset({Phase.GREETING, Phase.HELLO, Phase.TLS, Phase.AUTH})
_LOGIN = frozenset({Phase.AUTH})
_RCPT = frozenset({Phase.RCPT})
_MESSAGE = frozenset({Phase.MAIL, Phase.DATA, Phase.CONTENT, Phase.DOT})
_END = frozenset({Phase.DOT})
_ANY = frozenset(Phase)
_NO_DETAIL = "-"

_TABLE: tuple[tuple[frozenset[Phase], str, str, ReplyJudgement], ...] = (
    # phases, start of the code, start of the enhanced code's subject and detail, meaning; the first row counts
    (_END, "2", "", ReplyJudgement(OutcomeKind.DELIVERED, Scope.MESSAGE)),
    # The host closes. A 4.7.x is a verdict on us or the message that another host would repeat: it waits.
    (_ANY, "421", "7.", ReplyJudgement(OutcomeKind.DEFERRED, Scope.SITE)),
    (_ANY, "421", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.SITE, next_host=True)),
    # Our password is wrong: no host of the backend will accept it, and the admin has to know (promise P5).
    (_LOGIN, "5", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.OURS)),
    # A refusal before MAIL concerns the connection, never a message (RFC 5321 section 3.1): it bounces nothing.
    (_OPENING, "4", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.SITE, next_host=True)),
    (_OPENING, "5", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.SITE, next_host=True)),
    # Wrong sequence, or a missing login or TLS: we or our settings are at fault (promise P5).
    (_ANY, "503", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.OURS)),
    (_ANY, "530", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.OURS)),
    (_ANY, "534", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.OURS)),
    (_ANY, "535", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.OURS)),
    (_ANY, "538", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.OURS)),
    # Old servers say 552 for "too many recipients" (RFC 5321 section 4.5.3.1.10).
    (_RCPT, "552", _NO_DETAIL, ReplyJudgement(OutcomeKind.DEFERRED, Scope.RECIPIENT)),
    (_RCPT, "552", "5.3", ReplyJudgement(OutcomeKind.DEFERRED, Scope.RECIPIENT)),
    (_RCPT, "4", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.RECIPIENT)),
    (_RCPT, "5", "", ReplyJudgement(OutcomeKind.FAILED, Scope.RECIPIENT)),
    # The fault is the host's, not the message's: another host may not have it.
    (_MESSAGE, "4", "3.", ReplyJudgement(OutcomeKind.DEFERRED, Scope.SESSION, next_host=True)),
    (_MESSAGE, "4", "4.", ReplyJudgement(OutcomeKind.DEFERRED, Scope.SESSION, next_host=True)),
    (_MESSAGE, "4", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.MESSAGE)),
    (_MESSAGE, "5", "", ReplyJudgement(OutcomeKind.FAILED, Scope.MESSAGE)),
    # A reply that has no meaning here (a 2yz to DATA, a 3yz to MAIL) violates the protocol.
    (_ANY, "", "", ReplyJudgement(OutcomeKind.DEFERRED, Scope.SESSION, next_host=True)),
)


def judge(phase: Phase, reply: Reply) -> ReplyJudgement:
    """The meaning of a host's reply in this phase."""
    code = str(reply.code)
    detail = reply.detail or _NO_DETAIL
    return next(row[3] for row in _TABLE if phase in row[0] and code.startswith(row[1]) and detail.startswith(row[2]))


def judge_silence(phase: Phase) -> ReplyJudgement:
    """The meaning of a missing reply: no connection, a lost one, a timeout, no TLS, or octets that are not a reply."""
    if phase in _OPENING:
        return ReplyJudgement(OutcomeKind.DEFERRED, Scope.SITE, next_host=True)
    # After the dot the host may have the message: another host would duplicate it.
    return ReplyJudgement(OutcomeKind.DEFERRED, Scope.SESSION, next_host=phase is not Phase.DOT)


class NoReply(Exception):
    """A host gave no usable reply. `reply` says so in our own words."""

    def __init__(self, phase: Phase, reply: Reply, certificate: str = "") -> None:
        super().__init__(str(reply))
        self.phase = phase
        self.reply = reply
        self.certificate = certificate


class HostRefused(Exception):
    """A host refused the session with a reply of its own."""

    def __init__(self, phase: Phase, reply: Reply) -> None:
        super().__init__(str(reply))
        self.phase = phase
        self.reply = reply


class Unsendable(Exception):
    """This host cannot take the message unchanged, and it is never converted (promise P2)."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


class Peer(Value):
    """The host of an attempt, as its outcomes name it."""

    host: str
    address: str
    tls: Tls | None = None
    certificate: str = ""
    dsn: bool = False
    """It offers DSN (RFC 3461)."""


NOBODY = Peer("", "")


def read_reply(phase: Phase, code: int, text: str, peer: Peer) -> Reply:
    """A host's reply as a value: its text bounded, without control characters and octets that are not UTF-8.

    Raises NoReply if it is not an SMTP reply (RFC 5321 section 4.2).
    """
    if not 200 <= code < 600:
        reply = Reply(451, "5.0", f"{peer.host} [{peer.address}]: no SMTP reply ({phase.value})")
        raise NoReply(phase, reply)
    clean = text[:_MOST_TEXT].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if not clean.replace("\n", "").isprintable():
        clean = "".join(char if char == "\n" or char.isprintable() else f"\\x{ord(char):02x}" for char in clean)
    return Reply.received(code, clean)


def tls_failed(peer: Peer, why: str, certificate: bool) -> NoReply:
    """Required TLS was not established; `certificate`: because of the host's certificate alone."""
    # RFC 3463 section 3.8: X.7.5, cryptographic failure
    reply = Reply(451, "7.5", f"{peer.host} [{peer.address}]: TLS is required and failed: {why}")
    return NoReply(Phase.TLS, reply, f"unverified ({why})" if certificate else "")


_TOO_MANY = frozenset({(452, "5.3"), (452, ""), (552, "5.3"), (552, "")})
"""Replies to RCPT that mean "too many recipients" (RFC 5321 section 4.5.3.1.10): code, and subject and detail of the
enhanced code."""


class Result(Value):
    """One recipient's outcome at one host."""

    outcome: Outcome
    next_host: bool = False
    too_many: bool = False
    """This transaction has its maximum of recipients; another one may take this recipient."""

    @property
    def concerns_all(self) -> bool:
        """The message was not taken, for a reason that does not concern this recipient."""
        return self.outcome.kind is not OutcomeKind.DELIVERED and self.outcome.scope is not Scope.RECIPIENT

    def about(self, rcpt: Recipient) -> Result:
        """The same for a recipient not yet named, who therefore cannot have the message."""
        return Result(replace(self.outcome, rcpt=rcpt, ambiguous=False), self.next_host)


def answered(rcpt: Recipient, phase: Phase, reply: Reply, peer: Peer) -> Result:
    """The result of a reply that the host gave."""
    found = judge(phase, reply)
    if reply.code < 400 and found.kind is not OutcomeKind.DELIVERED:
        # It cannot be a diagnostic, so it is reported in our own words.
        text = f"{peer.host} [{peer.address}]: unexpected reply ({phase.value}): {reply}"
        return unanswered(rcpt, NoReply(phase, Reply(451, "5.0", text)), peer)
    outcome = Outcome(
        rcpt,
        found.kind,
        reply,
        found.scope,
        peer.host,
        peer.address,
        tls=peer.tls,
        certificate=peer.certificate,
        reports=peer.dsn and found.kind is OutcomeKind.DELIVERED,
    )
    return Result(outcome, found.next_host, phase is Phase.RCPT and (reply.code, reply.detail) in _TOO_MANY)


def unanswered(rcpt: Recipient, error: NoReply, peer: Peer) -> Result:
    """The result of silence: no remote MTA is named, because none replied."""
    found = judge_silence(error.phase)
    outcome = Outcome(
        rcpt,
        found.kind,
        error.reply,
        found.scope,
        "",
        peer.address,
        tls=peer.tls,
        certificate=error.certificate or peer.certificate,
        ambiguous=error.phase is Phase.DOT,
    )
    return Result(outcome, found.next_host)


def decided_here(rcpt: Recipient, scope: Scope, reply: Reply, peer: Peer = NOBODY) -> Result:
    """The result of a reply of our own: the message cannot be sent (5yz), or not now (4yz)."""
    kind = OutcomeKind.FAILED if reply.permanent else OutcomeKind.DEFERRED
    outcome = Outcome(rcpt, kind, reply, scope, "", peer.address, tls=peer.tls, certificate=peer.certificate)
    return Result(outcome)


_WANTS_LESS = frozenset({Cause.THROTTLED, Cause.RATE, Cause.TOO_MANY_CONNECTIONS})


def at_backend(outcome: Outcome) -> Outcome:
    """The outcome at a configured backend. It takes others' mail from us. So an objection to our address, names,
    certificate or connector, or to authentication that it checks again behind the edge, is our own fault (promise P5),
    whatever its code. A request for less mail concerns the site."""
    if not outcome.remote_mta or outcome.kind is OutcomeKind.DELIVERED:
        return outcome
    refusal = classify(outcome.reply, outcome.remote_mta, backend=True)
    if refusal.scope is Scope.OURS:
        return replace(outcome, kind=OutcomeKind.DEFERRED, scope=Scope.OURS)
    if outcome.kind is OutcomeKind.DEFERRED and refusal.cause in _WANTS_LESS:
        return replace(outcome, scope=Scope.SITE)
    return outcome


def at_another_site(outcome: Outcome) -> Outcome:
    """The outcome for a backend that is `mx`: each domain is a site of its own, so a site's fault is not the
    backend's."""
    return replace(outcome, scope=Scope.RECIPIENT) if outcome.scope is Scope.SITE else outcome


def supersedes(new: Result, old: Result | None) -> bool:
    """True when the result of a later host replaces the earlier one: silence says less than an answer."""
    if old is None or not old.outcome.remote_mta:
        return True
    return bool(new.outcome.remote_mta) or new.outcome.ambiguous or new.outcome.kind is not OutcomeKind.DEFERRED
