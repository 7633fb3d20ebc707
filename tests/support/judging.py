"""Drives a pure check over a Resolver, as the authenticator does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.model.dnsdata import Question
from gateway.net.resolver import ZoneResolver
from gateway.net.zone import Zone, build_zone
from gateway.ports import Resolver

T = TypeVar("T")


async def judge(resolver: Resolver, check: Callable[[DnsView], T], rounds: list[set[Question]] | None = None) -> T:
    """The check's result; `rounds` collects the questions of each round."""
    window = DnsView(resolver.known)
    for _ in range(60):
        try:
            result = check(window)
        except NeedAnswers:
            assert window.pending, "NeedAnswers without a name"
        else:
            if not window.pending:
                return result
        if rounds is not None:
            rounds.append(set(window.pending))
        window.rerun(await resolver.fetch(window.pending))
    raise AssertionError("the check never ends")


def judge_zone(zone: Zone | dict[str, object], check: Callable[[DnsView], T]) -> T:
    """The check's result over a zone: one run, no loop."""
    resolver = ZoneResolver(zone if isinstance(zone, Zone) else build_zone(zone))
    return check(DnsView(resolver.known))
