"""`waypost dkim check`: whether a key is published and usable, and its quality."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.text import Text

from gateway.authentication.lookup import DnsView, NeedAnswers
from gateway.diagnosis.records import texts
from gateway.diagnosis.records.aliases import explain_absence, find_alias
from gateway.diagnosis.records.key_lint import KeyReport, report_key
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.value import Value
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json


class KeyCheck(Value):
    """The record at one selector."""

    name: str
    status: str
    keys: tuple[KeyReport, ...]
    faults: tuple[str, ...]
    """Faults of the name as a whole."""

    @property
    def sound(self) -> bool:
        """Receivers find exactly one usable key."""
        return not self.faults and all(key.usable and not key.problems for key in self.keys)


def check_key(selector: str, domain: str, window: DnsView) -> KeyCheck:
    """Look up one selector of a domain, both as A-labels. Raises NeedAnswers."""
    name = f"{selector}._domainkey.{domain}"
    answer = window.ask(Question(name, "TXT"))
    faults = list(_find_faults(answer))
    if not answer.records and answer.status is not DnsStatus.TIMEOUT:
        target = find_alias(name, window)
        faults += explain_absence(name, domain, window)
        if window.pending:
            raise NeedAnswers
        if target and texts.KEY_FAULTS["record"] in faults:
            faults.remove(texts.KEY_FAULTS["record"])
        if target.endswith((".onmicrosoft.com", ".dkim.mail.microsoft")):
            faults.append(texts.KEY_FAULTS["microsoft target"])
        elif not target and selector in ("selector1", "selector2"):
            faults.append(texts.KEY_FAULTS["microsoft"].format(selector=selector))
        elif not target and selector == "google":
            faults.append(texts.KEY_FAULTS["google"].format(selector=selector))
    return KeyCheck(name, answer.status.value, tuple(map(report_key, answer.records[:8])), tuple(faults))


def _find_faults(answer: Answer) -> Iterator[str]:
    """Faults of the name as a whole."""
    if answer.failed:
        yield texts.KEY_FAULTS["answer"].format(status=answer.status)
    elif answer.status is DnsStatus.NXDOMAIN:
        yield texts.KEY_FAULTS["name"]
    elif not answer.records:
        yield texts.KEY_FAULTS["record"]
    elif len(answer.records) > 1:
        usable = sum(report_key(record).usable for record in answer.records)
        joined = any(report_key("".join(order)).usable for order in itertools.permutations(answer.records[:3]))
        word = "cut" if joined and usable < len(answer.records) and not _are_keys(answer.records) else "several"
        yield texts.KEY_FAULTS[word].format(count=len(answer.records))


def _are_keys(records: Sequence[str]) -> bool:
    """Each is a record with a key of its own."""
    return all("p=" in record for record in records)


def key_json(check: KeyCheck) -> dict[str, Json]:
    """Everything, for programs."""
    return safe_json(
        {
            "name": check.name,
            "status": check.status,
            "sound": check.sound,
            "faults": list(check.faults),
            "keys": [
                {
                    "record": key.record,
                    "type": key.type,
                    "bits": key.bits,
                    "usable": key.usable,
                    "testing": key.testing,
                    "strict": key.strict,
                    "problems": list(key.problems),
                    "notes": list(key.notes),
                }
                for key in check.keys
            ],
        }
    )


def render_key(check: KeyCheck) -> Group:
    """For people."""
    parts = [Text(clean(check.name), "bold")]
    for key in check.keys:
        size = texts.KEY_SIZE.format(bits=key.bits) if key.bits else ""
        word, style = (
            (texts.KEY_USABLE, "green") if key.usable and not key.problems else (texts.KEY_USELESS, "bold red")
        )
        parts += [Text(clean(f"  {key.record}")), Text(clean(f"  {key.type or '?'}{size}: {word}"), style)]
        parts += [Text(clean(f"  Error: {problem}"), "bold red") for problem in key.problems]
        parts += [Text(clean(f"  Note: {note}"), "yellow") for note in key.notes]
        if key.strict:
            parts.append(Text(f"  {texts.KEY_STRICT}"))
    parts += [Text(clean(f"  Error: {fault}"), "bold red") for fault in check.faults]
    return Group(*parts)
