"""The probable sender of a message that fails, and the remedy: the sentence in a refusal, and the word by which
`replay` counts the refusals of a stricter set.

In: facts. Out: one of `Kind`, which changes no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway.model.reply import Reply
from gateway.model.value import replace


class Kind(StrEnum):
    """The kind of sender that the message shows."""

    LIST = "list"
    FORWARDER = "forwarder"
    NOTIFICATION = "notification"
    OWN_HALF = "own half"
    SERVICE = "service"
    """A service that signs with its own domain and writes as another one."""
    OTHER_DOMAIN = "another domain (a service or a forger)"
    """SPF passes for a domain of its own, and nothing is signed: any sender can achieve that."""
    DEVICE = "device"
    """It writes as us without proof: a scanner, a web server, a cron daemon, or a forger."""
    STRANGER = "stranger"


_ADVICE = {
    Kind.LIST: "Lists: put the list's own address into From, or leave the message as it is",
    Kind.FORWARDER: "Forwarders: leave the message as it is, so that its DKIM signature holds",
    Kind.NOTIFICATION: "Sign notifications with DKIM as {domain}",
    Kind.OWN_HALF: "Switch on DKIM for {domain} at the provider that sent this",
    Kind.SERVICE: "Services: sign with DKIM as {domain}, or write as a domain of your own",
    Kind.OTHER_DOMAIN: "Services: sign with DKIM as {domain}, or write as a domain of your own",
    Kind.DEVICE: "Devices and programs: send through the mail server of {domain} with a login",
    Kind.STRANGER: "Send through the mail servers of {domain}, or sign with DKIM as {domain}",
}


def find_kind(facts: Mapping[str, object]) -> Kind:
    """The kind of sender, by the facts of end of data."""
    evidence = facts.get("indirect.evidence")
    if facts.get("author.own_half"):
        return Kind.OWN_HALF
    if facts.get("notification"):
        return Kind.NOTIFICATION
    if facts.get("list.evidence"):
        return Kind.LIST
    if evidence:
        return Kind.FORWARDER
    if facts.get("dkim.pass_domains"):
        return Kind.SERVICE
    if facts.get("spf.result") == "pass" and not facts.get("spf.aligned"):
        return Kind.OTHER_DOMAIN
    return Kind.DEVICE if facts.get("author.ours") else Kind.STRANGER


def advise(facts: Mapping[str, object]) -> str:
    """The sender's remedy, in one sentence without a full stop."""
    return _ADVICE[find_kind(facts)].format(domain=facts.get("author.domain") or "your domain")


def add_help(reply: Reply, facts: Mapping[str, object]) -> Reply:
    """A refusal with the address of human help for the sender, if the admin named one."""
    help = facts.get("policy.help")
    return replace(reply, text=f"{reply.text}. Help: {help}") if help and not reply.positive else reply
