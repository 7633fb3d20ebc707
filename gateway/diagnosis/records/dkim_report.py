"""`waypost dkim check`: is a key published, can it be used, and how good is it?"""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from gateway.authentication.lookup import DnsView
from gateway.diagnosis.records.key_lint import KeyReport, report_key
from gateway.model.dnsdata import DnsStatus, Question
from gateway.model.value import Value
from gateway.tools.narrative import clean
from gateway.tools.results import Json, safe_json


class KeyCheck(Value):
    """What stands at one selector."""

    name: str
    status: str
    keys: tuple[KeyReport, ...]
    faults: tuple[str, ...]
    """What is wrong with the name as a whole."""

    @property
    def sound(self) -> bool:
        """Receivers find exactly one key that they can use."""
        return not self.faults and all(key.usable and not key.problems for key in self.keys)


def check_key(selector: str, domain: str, window: DnsView) -> KeyCheck:
    """Look up one selector of a domain, both as A-labels. Raises NeedAnswers."""
    name = f"{selector}._domainkey.{domain}"
    answer = window.ask(Question(name, "TXT"))
    faults = []
    if answer.failed:
        faults.append(f"DNS gave no answer ({answer.status}): receivers try again later")
    elif answer.status is DnsStatus.NXDOMAIN:
        faults.append("there is no such name: no signature with this selector verifies")
    elif not answer.records:
        faults.append("the name has no TXT record: no signature with this selector verifies")
    elif len(answer.records) > 1:
        faults.append(f"has {len(answer.records)} records; receivers may take any of them (RFC 6376 section 3.6.2.2)")
    return KeyCheck(name, answer.status.value, tuple(map(report_key, answer.records[:8])), tuple(faults))


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
        size = f" of {key.bits} bits" if key.bits else ""
        word, style = (
            ("a key that receivers can use", "green") if key.usable else ("no key that can be used", "bold red")
        )
        parts += [Text(clean(f"  {key.record}")), Text(clean(f"  {key.type or '?'}{size}: {word}"), style)]
        parts += [Text(clean(f"  Error: {problem}"), "bold red") for problem in key.problems]
        parts += [Text(clean(f"  Note: {note}"), "yellow") for note in key.notes]
        if key.strict:
            parts.append(Text("  t=s: only addresses of the domain itself, none of its subdomains"))
    parts += [Text(clean(f"  Error: {fault}"), "bold red") for fault in check.faults]
    return Group(*parts)
