"""`classify`: an SMTP reply -> who refused whom, for what cause, and what to do about it."""

from __future__ import annotations

from gateway.mail.refusal.advice import advise
from gateway.mail.refusal.cause import Advice, Blame, Cause
from gateway.mail.refusal.nesting import Layer, unwrap
from gateway.mail.refusal.provider import Provider, recognise
from gateway.mail.refusal.signs import find_cause
from gateway.model.delivery import Scope
from gateway.model.reply import Reply
from gateway.model.value import Value

_MICROSOFT_STATUS = "7.23"
"""What Exchange Online puts on the outside when a server behind it refused for any reason of authentication."""


class Refusal(Value):
    """What the innermost reply means."""

    reply: Reply
    """The innermost reply, its text on one line."""
    cause: Cause
    provider: Provider
    """Whose server refused."""
    refuser: str
    """That server's name; empty when nothing names it."""
    relay: Provider | None
    """Whose server was refused and passed the refusal on in a reply of its own; None when the reply is not nested."""
    layers: tuple[Reply, ...]
    """All replies, outermost first; the last one is `reply`."""
    relayed: bool
    """The server that was refused had the message from elsewhere, so the receiver's SPF check could say nothing about
    the author."""
    scope: Scope
    """What the failure says something about, to the one who got the outermost reply."""
    advice: Advice


def classify(reply: Reply, host: str = "", backend: bool = False) -> Refusal:
    """Read a reply that the server `host` gave to us.

    `backend`: that server is a backend of this gateway, so the mail it takes is others', and what it holds against us
    or against authentication behind the edge is our own fault (`Scope.OURS`). Otherwise we send mail of our own to a
    stranger, who may judge it. Pure, linear time, never raises.
    """
    layers = unwrap(str(reply)) or (Layer(reply, ""),)
    return _read(layers, host, backend)


def classify_text(text: str, host: str = "", relayed: bool = False, reporter: str = "") -> Refusal | None:
    """The same for words of a bounce that `reporter` wrote, which name its servers; None when no reply is in them."""
    layers = unwrap(text)
    return _read(layers, host, relayed, reporter) if layers else None


def _read(layers: tuple[Layer, ...], host: str, relayed: bool, reporter: str = "") -> Refusal:
    inner = layers[-1]
    nested = len(layers) > 1
    refuser = inner.host or ("" if nested else host)
    provider = recognise(inner.reply.text, refuser)
    cause = find_cause(inner.reply, provider)
    relay = _relay(layers, host or reporter) if nested else None
    return Refusal(
        reply=inner.reply,
        cause=cause,
        provider=provider,
        refuser=refuser,
        relay=relay,
        layers=tuple(layer.reply for layer in layers),
        relayed=relayed or nested,
        scope=_scope(cause.blame, relayed, nested),
        advice=advise(cause, relayed or nested),
    )


def _relay(layers: tuple[Layer, ...], host: str) -> Provider:
    """Whose server wrapped the innermost reply."""
    outer = layers[-2]
    found = recognise(outer.reply.text, outer.host or host)
    if found is Provider.OTHER and outer.reply.detail == _MICROSOFT_STATUS:
        return Provider.MICROSOFT
    return found


_SCOPES = {
    Blame.SENDER: Scope.MESSAGE,
    Blame.MESSAGE: Scope.MESSAGE,
    Blame.RECIPIENT: Scope.RECIPIENT,
    Blame.SITE: Scope.SITE,
}


def _scope(blame: Blame, backend: bool, nested: bool) -> Scope:
    if blame is Blame.AUTHENTICATION:
        return Scope.OURS if backend else Scope.MESSAGE
    if blame is Blame.CLIENT:
        # A nested refusal blames the server between, which is not ours.
        return Scope.OURS if backend and not nested else Scope.MESSAGE
    return _SCOPES[blame]
