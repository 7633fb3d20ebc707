"""`classify`: an SMTP reply -> the refusing and the refused party, the cause, and the remedy."""

from __future__ import annotations

from gateway.mail.refusal.advice import advise
from gateway.mail.refusal.cause import Advice, Blame, Cause
from gateway.mail.refusal.nesting import Layer, unwrap
from gateway.mail.refusal.provider import Provider, recognise, recognise_detail, recognise_host
from gateway.mail.refusal.signs import find_cause
from gateway.model.delivery import Scope
from gateway.model.reply import REPLIES, Reply
from gateway.model.value import Value, replace

_MICROSOFT_STATUS = frozenset({"7.23", "7.350", "0.350", "1.351", "7.367", "4.300", "4.316", "4.317"})
"""Statuses that Exchange Online puts around another server's refusal."""


class Refusal(Value):
    """The meaning of the innermost reply."""

    reply: Reply
    """The innermost reply, its text on one line. When no server replied, it is made of the reporter's words."""
    quote: str
    """The innermost reply as it was quoted; empty when no server replied."""
    cause: Cause
    provider: Provider
    """The provider of the refusing server."""
    refuser: str
    """That server's name; empty when no text names it."""
    relay: Provider | None
    """The provider of the server that was refused and passed the refusal on in a reply of its own; None when the reply
    is not nested."""
    layers: tuple[Reply, ...]
    """All replies, outermost first; the last one is `reply`. Empty when no server replied."""
    relayed: bool
    """The refused server had received the message from another one, so the receiver's SPF check says nothing about the
    author."""
    scope: Scope
    """The subject of the failure, from the viewpoint of the party that got the outermost reply."""
    advice: Advice


class Witness(Value):
    """The servers that a bounce names beside its words."""

    remote: str = ""
    """The refusing server, as a field of the bounce names it."""
    reporter: str = ""
    """The server that wrote the bounce."""
    relayed: bool = False
    """The reporter had received the message from another server."""

    @property
    def speaker(self) -> str:
        """The server to which words belong when no other is named."""
        return self.remote or self.reporter


def classify(reply: Reply, host: str = "", backend: bool = False) -> Refusal:
    """Read a reply that the server `host` gave to us.

    `backend`: that server is a backend of this gateway, so the mail it takes is others', and what it holds against us
    or against authentication behind the edge is our own fault (`Scope.OURS`). Otherwise we send mail of our own to a
    stranger, who may judge it. Pure, linear time, never raises.
    """
    layers = unwrap(str(reply)) or (Layer(reply, "", ""),)
    return _read(layers, Witness(host, relayed=backend))


def classify_outcome(reply: Reply, remote_mta: str, backend: bool = False) -> Refusal:
    """Read the reply of an outcome of ours, as `classify` does. Without a host this gateway itself decided: its reply
    to a return by hand has the administrator's reason as its text, which is no server's refusal."""
    refusal = classify(reply, remote_mta, backend)
    returned = REPLIES["returned-by-admin"]
    if remote_mta or (reply.code, reply.detail) != (returned.code, returned.detail):
        return refusal
    return replace(refusal, cause=Cause.ADMINISTRATOR, advice=advise(Cause.ADMINISTRATOR, False), scope=Scope.MESSAGE)


def classify_text(text: str, witness: Witness | None = None) -> Refusal | None:
    """The same for words of a bounce; None when they contain no reply."""
    layers = unwrap(text)
    return _read(layers, witness or Witness()) if layers else None


def classify_words(reply: Reply, quote: str, witness: Witness) -> Refusal:
    """The same when no reply is quoted in full: `reply` is made of a status and of the reporter's words."""
    found = _recognise(reply, witness.speaker, False)
    cause = find_cause(reply, found)
    provider = _without_refuser(found, cause, "")
    return Refusal(
        reply=reply,
        quote=quote,
        cause=cause,
        provider=provider,
        refuser=witness.remote if quote else "",
        relay=None,
        layers=(),
        relayed=witness.relayed,
        scope=_scope(cause.blame, False, False),
        advice=advise(cause, witness.relayed),
    )


def _read(layers: tuple[Layer, ...], witness: Witness) -> Refusal:
    inner = layers[-1]
    nested = len(layers) > 1
    by_text = recognise(inner.reply.text, inner.host)
    wrapped_here = nested and _wraps(witness, by_text)
    refuser = inner.host or ("" if nested and not wrapped_here else witness.remote)
    found = _recognise(inner.reply, refuser or ("" if nested else witness.speaker), nested)
    cause = _by_command(find_cause(inner.reply, found), inner)
    provider = _without_refuser(found, cause, refuser)
    relay = _relay(layers[-2], witness.reporter if wrapped_here else witness.speaker) if nested else None
    return Refusal(
        reply=inner.reply,
        quote=str(inner.reply),
        cause=cause,
        provider=provider,
        refuser=refuser,
        relay=relay,
        layers=tuple(layer.reply for layer in layers),
        relayed=witness.relayed or nested,
        scope=_scope(cause.blame, witness.relayed, nested),
        advice=advise(cause, witness.relayed or nested),
    )


def _recognise(reply: Reply, host: str, nested: bool) -> Provider:
    found = recognise(reply.text, host)
    return recognise_detail(reply.detail) if found is Provider.OTHER and not nested else found


_NOBODY_REFUSED = frozenset({Cause.UNREACHABLE, Cause.EXPIRED, Cause.DNS_TROUBLE, Cause.NO_SUCH_DOMAIN, Cause.NULL_MX})


def _without_refuser(provider: Provider, cause: Cause, refuser: str) -> Provider:
    """A reporter that reached no server reports no provider's refusal."""
    return Provider.OTHER if cause in _NOBODY_REFUSED and not refuser else provider


_ABOUT_AN_ADDRESS = frozenset(
    {Cause.UNKNOWN_RECIPIENT, Cause.NO_SUCH_DOMAIN, Cause.MAILBOX_DISABLED, Cause.NULL_MX, Cause.DIRECTORY}
)


def _by_command(cause: Cause, layer: Layer) -> Cause:
    """An address in a reply to MAIL is the sender's. A name in a reply to EHLO is the one given there."""
    if layer.command == "MAIL" and cause in _ABOUT_AN_ADDRESS:
        return Cause.SENDER_UNKNOWN
    if layer.command == "EHLO" and cause in (*_ABOUT_AN_ADDRESS, Cause.PROTOCOL, Cause.UNKNOWN):
        return Cause.HELO
    return cause


def _wraps(witness: Witness, inner: Provider) -> bool:
    """True when the reporter itself put its status around the reply of the server that its bounce names. Otherwise that
    server wrapped the reply of a server behind it."""
    if not witness.remote:
        return True
    remote, reporter = recognise_host(witness.remote), recognise_host(witness.reporter)
    return bool(witness.reporter) and remote is not reporter and remote is inner


def _relay(outer: Layer, host: str) -> Provider:
    """The provider of the server that wrapped the innermost reply."""
    named = recognise_host(outer.host or host)
    if named is not Provider.OTHER:
        return named
    found = recognise(outer.reply.text)
    return Provider.MICROSOFT if found is Provider.OTHER and outer.reply.detail in _MICROSOFT_STATUS else found


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
