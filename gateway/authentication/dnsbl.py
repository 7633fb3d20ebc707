"""DNS block lists (RFC 5782): the configured lists that name the client."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from gateway.authentication.lookup import DnsView
from gateway.model.dnsdata import Answer, Question
from gateway.model.envelope import IPText, parse_ip
from gateway.model.result import DnsblResult
from gateway.model.value import Value

_CODES = IPv4Network("127.0.0.0/8")
"""RFC 5782 section 2.1. Any other answer comes from a name server that invents answers, or from a list that no longer
exists."""
_REFUSALS = IPv4Network("127.255.255.0/24")
"""Answers by which a list refuses service: the client is over its limit, or asks through an open resolver."""
_LISTED, _NOT_LISTED = IPText("127.0.0.2"), IPText("127.0.0.1")
"""RFC 5782 section 5: every list names the first and never the second."""


class BlockList(Value):
    """One list."""

    zone: str
    """A-labels, no final dot."""
    codes: tuple[IPv4Network, ...] = ()
    """Answers that count as a listing; empty: every code."""


def questions(client: IPText, lists: Sequence[BlockList]) -> tuple[Question, ...]:
    """The questions about the client, one for each list."""
    if not lists:
        return ()
    address = parse_ip(client)
    reverse = address.reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    return tuple(Question(f"{reverse}.{one.zone}", "A") for one in lists)


def evaluate(client: IPText, lists: Sequence[BlockList], window: DnsView) -> DnsblResult:
    """Ask every list. Raises NeedAnswers, and nothing else: a list without a usable answer is in `errors`."""
    answers = window.ask_all(questions(client, lists))
    listed = tuple(one.zone for one, answer in zip(lists, answers, strict=True) if _is_listed(one, answer))
    errors = tuple(one.zone for one, answer in zip(lists, answers, strict=True) if _is_error(answer))
    codes = tuple(tuple(map(str, one.codes)) for one in lists)
    return DnsblResult(tuple(one.zone for one in lists), listed, errors, codes)


def self_test_questions(lists: Sequence[BlockList]) -> tuple[Question, ...]:
    """The questions that `find_broken` needs answered."""
    return questions(_LISTED, lists) + questions(_NOT_LISTED, lists)


def find_broken(lists: Sequence[BlockList], window: DnsView) -> dict[str, str]:
    """The lists that fail the test of RFC 5782 section 5 with a wrong answer, with the reason. A list without an answer
    now may answer in a minute; until then it is in `errors`. Raises NeedAnswers."""
    answers = window.ask_all(self_test_questions(lists))
    broken = {}
    for one, yes, no in zip(lists, answers[: len(lists)], answers[len(lists) :], strict=True):
        if _is_refusal(yes) or _is_refusal(no):
            broken[one.zone] = "it does not serve us"
        elif not yes.failed and not _is_listed(BlockList(one.zone), yes):
            broken[one.zone] = f"it does not list {_LISTED}"
        elif _is_listed(BlockList(one.zone), no):
            broken[one.zone] = f"it lists {_NOT_LISTED}: it may list everything"
    return broken


def _codes(answer: Answer) -> list[IPv4Address]:
    found = []
    for record in answer.records:
        try:
            found.append(IPv4Address(record))
        except ValueError:
            continue
    return found


def _is_error(answer: Answer) -> bool:
    return answer.failed or _is_refusal(answer)


def _is_refusal(answer: Answer) -> bool:
    return any(code not in _CODES or code in _REFUSALS for code in _codes(answer))


def _is_listed(one: BlockList, answer: Answer) -> bool:
    if _is_error(answer):
        return False
    return any(not one.codes or any(code in range for range in one.codes) for code in _codes(answer))
