"""The intended names of a record: aliases that lead nowhere, and names with the domain added twice."""

from __future__ import annotations

from gateway.authentication.lookup import DnsView
from gateway.diagnosis.records import texts
from gateway.model.dnsdata import Question


def find_alias(name: str, window: DnsView) -> str:
    """The target of a CNAME; empty when there is none, or the answer is pending."""
    answer = window.peek(Question(name, "CNAME"))
    return answer.records[0] if answer is not None and answer.records else ""


def explain_absence(name: str, domain: str, window: DnsView) -> list[str]:
    """Reasons why a record may be missing at `name`, in words. `domain`: the name that a DNS panel may have added;
    empty when it cannot have."""
    found = []
    target = find_alias(name, window)
    if target:
        found.append(texts.CNAME.format(name=name, target=target))
    doubled = f"{name}.{domain}"
    if domain and len(doubled) < 250:
        answer = window.peek(Question(doubled, "TXT"))
        if answer is not None and any("v=" in record.lower() for record in answer.records):
            found.append(texts.PANEL.format(name=doubled))
    return found
