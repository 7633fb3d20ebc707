"""DNS checks of the client itself: its name, and its listing on block lists. Off unless configured."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Network

from gateway.authentication import dnsbl, iprev
from gateway.authentication.dnsbl import BlockList
from gateway.authentication.lookup import DnsView
from gateway.model.dnsdata import Question
from gateway.model.envelope import Envelope
from gateway.model.ingress import EdgeIngress, Ingress
from gateway.model.result import Authentication, DnsblResult, IprevResult, IprevVerdict, NamedDomains
from gateway.model.value import Value, replace
from gateway.policy.routing import is_role


class ClientChecks(Value):
    """The checks that are made."""

    fcrdns: bool = False
    lists: tuple[BlockList, ...] = ()
    named: bool = True
    """DNS is asked of the domains that an unproven message names."""


NO_CHECKS = ClientChecks()


def check_client(
    ingress: Ingress, envelope: Envelope, checks: ClientChecks, own: Collection[str], window: DnsView
) -> tuple[IprevResult, DnsblResult]:
    """Both checks, for a client at the edge with a known address. Raises NeedAnswers with the questions of both noted.
    Mail to role addresses is exempt from block lists (SPEC section 2)."""
    if not isinstance(ingress, EdgeIngress) or ingress.client is None:
        return IprevResult(), DnsblResult()
    role = bool(envelope.rcpts) and all(is_role(rcpt.mailbox, own) for rcpt in envelope.rcpts)
    lists = () if role else checks.lists
    for question in (*_reverse(ingress, checks), *dnsbl.questions(ingress.client, lists)):
        window.peek(question)
    name = iprev.evaluate(ingress.client, window) if checks.fcrdns else IprevResult()
    return name, dnsbl.evaluate(ingress.client, lists, window)


def questions(ingress: EdgeIngress, checks: ClientChecks) -> tuple[Question, ...]:
    """The first questions of `check_client`, for prefetch."""
    if ingress.client is None:
        return ()
    return (*_reverse(ingress, checks), *dnsbl.questions(ingress.client, checks.lists))


def _reverse(ingress: EdgeIngress, checks: ClientChecks) -> tuple[Question, ...]:
    return iprev.questions(ingress.client) if checks.fcrdns and ingress.client is not None else ()


def name_client(ingress: Ingress, result: IprevResult) -> Ingress:
    """The ingress with the name that was confirmed here; otherwise the name that our relay confirmed stays."""
    if isinstance(ingress, EdgeIngress) and result.result is IprevVerdict.PASS:
        return replace(ingress, rdns=result.name)
    return ingress


def recorded_checks(then: Authentication, now: ClientChecks) -> ClientChecks:
    """The checks of an earlier judgement: it is repeated with them, regardless of later configuration."""
    asked, codes = then.dnsbl.asked, then.dnsbl.codes
    if len(codes) == len(asked):
        lists = tuple(BlockList(zone, tuple(map(IPv4Network, one))) for zone, one in zip(asked, codes, strict=True))
    else:  # An older trace does not record the codes that counted.
        known = {one.zone: one for one in now.lists}
        lists = tuple(known.get(zone, BlockList(zone)) for zone in asked)
    return ClientChecks(then.iprev.result is not IprevVerdict.NONE, lists, then.named != NamedDomains())
