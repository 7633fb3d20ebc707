"""SPF against two third-party suites: on DNS as data, and with real DNS packets through the resolver."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest

from gateway.authentication import spf
from gateway.authentication.lookup import DnsView
from gateway.mail.domain import a_label
from gateway.model.envelope import IPText, Mailbox
from gateway.model.ingress import ClientSource, EdgeIngress
from gateway.model.result import SpfIdentity, SpfResult
from tests.support.corpora import corpus
from tests.support.dnsserver import DnsServer
from tests.support.judging import judge, judge_zone
from tests.support.resolving import open_resolver
from tests.support.spf_suites import DEVIATIONS, Case, read_mail_auth, read_openspf


def check(case: Case, window: DnsView) -> SpfResult:
    ingress = EdgeIngress(IPText(case.ip), ClientSource.PEER, case.helo, "mx", IPText(case.ip))
    return spf.evaluate(ingress, _mailbox(case.sender), SpfIdentity.MAILFROM, window, "mx.receiver.example")


def _mailbox(sender: str) -> Mailbox | None:
    if not sender:
        return None
    local, _, domain = sender.rpartition("@")
    return Mailbox(local, domain, a_label(domain) or domain.lower())


OPENSPF = read_openspf()


def test_openspf_suite_is_whole() -> None:
    assert len(OPENSPF) == 203


@pytest.mark.parametrize("case", OPENSPF, ids=lambda case: case.id)
def test_openspf_on_data(case: Case) -> None:
    result = judge_zone(case.zone, partial(check, case))
    assert result.result in case.expect, result


async def test_openspf_over_dns() -> None:
    """All scenarios, each with a server of its own and a cold cache for every case."""
    wrong = {}
    for scenario in {id(case.zone): case.zone for case in OPENSPF}.values():
        async with DnsServer(scenario) as server:
            for case in OPENSPF:
                if case.zone is scenario:
                    resolver = open_resolver([server.address], 0.3, time.monotonic)
                    result = await judge(resolver, partial(check, case))
                    if result.result not in case.expect:
                        wrong[case.id] = result
    assert wrong == {}


MAIL_AUTH = read_mail_auth()


def test_mail_auth_suite_is_whole() -> None:
    listed = json.loads(corpus("spf/mail-auth/deviations.json").read_text())["deviations"]
    assert len(MAIL_AUTH) == 163
    assert len(DEVIATIONS) == len(listed)
    assert {id.partition("/")[0] for id in DEVIATIONS} == {name.partition("/")[0] for name in listed}
    assert {case.id for case in MAIL_AUTH} >= DEVIATIONS.keys()


@pytest.mark.parametrize("case", MAIL_AUTH, ids=lambda case: case.id)
def test_mail_auth_on_data(case: Case) -> None:
    result = judge_zone(case.zone, partial(check, case))
    assert result.result == DEVIATIONS.get(case.id, case.expect[0]), result


async def test_mail_auth_over_dns() -> None:
    wrong = {}
    for case in MAIL_AUTH:
        async with DnsServer(case.zone) as server:
            result = await judge(open_resolver([server.address], 1.0, time.monotonic), partial(check, case))
        if result.result != DEVIATIONS.get(case.id, case.expect[0]):
            wrong[case.id] = result
    assert wrong == {}
