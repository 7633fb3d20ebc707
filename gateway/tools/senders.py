"""`waypost senders`: the sources that write as us, their passes and failures, and the way to admit known ones.

In: the memory of receptions, and the configuration's named senders. Out: a table and lines to paste, or JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.config.providers import SharedSigner, find_shared, find_shared_signer
from gateway.mail.domain import a_label, is_subdomain
from gateway.model.envelope import ip_text
from gateway.model.history import Sender
from gateway.model.value import Value, replace
from gateway.policy.advice import Kind
from gateway.policy.grounds import Source, contains
from gateway.policy.weighing import FactSettings
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json, show_time

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_MOST_TOLD = 50
_NOTHING = (
    "Nothing is remembered of these domains. Only mail from outside counts, from a client whose address is known, once "
    "DMARC could be evaluated. Of domains that are not yours only those count that publish a DMARC policy."
)
_MOST_NETWORKS = 8
"""Networks of one source that are shown."""


class Origin(Value):
    """One source of an author domain's mail: the domain that signs it, else a network."""

    domain: str
    signer: str
    networks: tuple[str, ...]
    """Empty for the sum of those that had no room of their own."""
    name: str
    passed: int
    failed: int
    first: float
    last: float
    last_id: str
    named: str = ""
    """The configuration's name for it."""
    ours: bool = True
    """It writes as an own domain, or a protected one; otherwise it can at most be admitted as a forwarder."""


def find_origins(senders: Iterable[Sender], facts: FactSettings) -> list[Origin]:
    """The sources, each once with all its networks; those with most failures on top."""
    found: dict[tuple[str, str, str], Origin] = {}
    for one in senders:
        key = (one.domain, one.signer, "" if one.signer else one.source)
        networks = (one.source,) if one.source else ()
        origin = Origin(
            one.domain, one.signer, networks, one.name, one.passed, one.failed, one.first, one.last, one.last_id
        )
        found[key] = _join(found[key], origin) if key in found else origin
    origins = (_place(origin, facts) for origin in found.values())
    return sorted(origins, key=lambda one: (-one.failed, -one.passed, one.domain))


def _place(origin: Origin, facts: FactSettings) -> Origin:
    """The source with two additions: whether it writes as an own or a protected domain, and the configuration's name
    for it."""
    ours = any(is_subdomain(origin.domain, zone) for zone in facts.own | facts.protected)
    return replace(origin, named=_find_name(origin, facts.senders if ours else facts.forwarders), ours=ours)


def _join(one: Origin, other: Origin) -> Origin:
    late = max(one, other, key=lambda origin: origin.last)
    return replace(
        late,
        networks=(*one.networks, *other.networks),
        passed=one.passed + other.passed,
        failed=one.failed + other.failed,
        first=min(one.first, other.first),
    )


def _find_name(origin: Origin, named: Sequence[Source]) -> str:
    for source in named:
        firsts = (ip_text(network.partition("/")[0]) for network in origin.networks)
        inside = bool(origin.networks) and all(contains(source.networks, first) for first in firsts)
        if source.stands_for((origin.domain,)) and (origin.signer in source.dkim or inside):
            return source.name
    return ""


def make_lines(origin: Origin) -> str:
    """The lines to paste into the configuration: the source may write as an own domain, or pass on mail of others.
    Empty when it needs no permission or cannot be distinguished from others."""
    if not origin.failed or origin.named:
        return ""
    if origin.signer and find_shared_signer(origin.signer):
        return ""
    shared = next((found for text in origin.networks if (found := find_shared(ip_network(text)))), None)
    if origin.signer:
        name, proof = origin.signer, f'dkim = ["{origin.signer}"]'
    elif shared is not None or not origin.networks:
        return ""
    elif not origin.ours and not origin.passed:
        return ""  # a forwarder cannot be distinguished from a forger
    else:
        name = _UNFIT.sub("-", origin.name).strip("-.") or _UNFIT.sub("-", origin.networks[0])
        proof = f"networks = [{', '.join(_quote(network) for network in origin.networks)}]"
    head = f'name = "{name[:64]}"\n{proof}\n'
    if not origin.signer and any(ip_network(text).num_addresses > 1 for text in origin.networks):
        head = f"# Lets in every machine of these networks. Write the one address that you know instead.\n{head}"
    if origin.ours:
        return f'[[policy.sender]]\n{head}domains = ["{origin.domain}"]\n'
    warning = "# It is believed whatever author it names: paste this for a forwarder that you know.\n"
    return f"[[policy.forwarder]]\n{warning}{head}"


def explain_origin(origin: Origin) -> str:
    """The apparent kind of the source, and the remedy for its failures."""
    if not origin.failed:
        return "passes"
    if origin.named:
        return f'is let in as "{origin.named}"'
    service = find_shared_signer(origin.signer) if origin.signer else None
    cloud = next((found for text in origin.networks if (found := find_shared(ip_network(text)))), None)
    if not origin.ours:
        return _explain_stranger(origin, service)
    if service and service.kind == "mailboxes":
        return f"a mailbox at {service.name}, as anyone may have: {service.remedy}"
    if service:
        return (
            f"a customer of {service.name}, whose signature all have: let it sign as {origin.domain} ({service.remedy})"
        )
    if origin.signer:
        return f"a service or list that signs as {origin.signer}: let it sign as {origin.domain}, or name it"
    if cloud:
        return f"a tenant of {cloud[0]}: switch on DKIM for {origin.domain} there, if it is yours"
    if not origin.networks:
        return "many sources together"
    if origin.passed:
        return "a machine that passes at times: what it sends unsigned, or what is forwarded"
    return f"a {Kind.DEVICE}, a program, {Kind.OTHER_DOMAIN}, or a {Kind.FORWARDER}: name it only if it is yours"


def _explain_stranger(origin: Origin, service: SharedSigner | None) -> str:
    """The same for a source that writes as a domain of others."""
    if service:
        return f"a customer of {service.name}, whose signature all have: it proves no forwarder"
    if origin.signer:
        seems = f"a {Kind.LIST}, a {Kind.FORWARDER}, a {Kind.SERVICE} or a forger that signs as {origin.signer}"
        return f"{seems}: name it only if you know it"
    if not origin.networks:
        return "many sources together"
    if origin.passed:
        return "a machine that passes at times: what it sends unsigned, or what it forwards"
    seems = f"a {Kind.FORWARDER}, {Kind.OTHER_DOMAIN}, or a {Kind.STRANGER}"
    return f"{seems}: name it as a [[policy.forwarder]] only if you know the machine"


def _quote(text: str) -> str:
    return f'"{text}"'


def senders_json(origins: Sequence[Origin]) -> list[Json]:
    """The sources as plain values; times are epoch seconds."""
    return [
        safe_json(
            {
                "domain": one.domain,
                "signer": one.signer or None,
                "networks": list(one.networks),
                "name": one.name or None,
                "passed": one.passed,
                "failed": one.failed,
                "first": one.first,
                "last": one.last,
                "last_id": one.last_id,
                "named": one.named or None,
                "seems": explain_origin(one),
                "paste": make_lines(one) or None,
            }
        )
        for one in origins
    ]


def render_senders(origins: Sequence[Origin]) -> Group:
    """A table, and below it the lines to paste for failing sources."""
    if not origins:
        return Group(Text(_NOTHING))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("domain", no_wrap=True)
    table.add_column("source")
    table.add_column("passed", justify="right")
    table.add_column("failed", justify="right")
    for title in ("last seen", "last message", "named"):
        table.add_column(title, no_wrap=True)
    for one in origins:
        table.add_row(
            one.domain,
            clean(_tell_source(one)),
            str(one.passed),
            str(one.failed),
            show_time(one.last),
            one.last_id,
            one.named,
        )
    parts: list[RenderableType] = [table]
    failing = [one for one in origins if one.failed]
    parts += [Text()] if failing else []
    parts += [Text(clean(f"{one.domain}, {_tell_source(one)}: {explain_origin(one)}")) for one in failing[:_MOST_TOLD]]
    pastes = [(one, lines) for one in origins if (lines := make_lines(one))]
    if pastes:
        parts += [Text(), Text("Lines for the configuration. Paste those of a source that you know:", "bold")]
        for one, lines in pastes:
            parts += [Text(), Text(f"# {clean(_tell_source(one))}: failed {one.failed}, passed {one.passed}")]
            parts.append(Text(lines.rstrip()))
    return Group(*parts)


def _tell_source(origin: Origin) -> str:
    shown = ", ".join(origin.networks[:_MOST_NETWORKS])
    more = len(origin.networks) - _MOST_NETWORKS
    networks = f"{shown} and {more} more" if more > 0 else shown or "many others"
    if origin.signer:
        return f"signed by {origin.signer}, from {networks}"
    return f"{networks} ({origin.name})" if origin.name else networks


def read_domains(asked: Sequence[str], ours: Iterable[str]) -> list[str]:
    """The domains to list: the requested ones, else all of ours. Raises ValueError for a text that is not a domain."""
    domains = []
    for text in asked:
        domain = a_label(text)
        if not domain:
            raise ValueError(f"{text!r} is no domain")
        domains.append(domain)
    return domains or list(ours)
