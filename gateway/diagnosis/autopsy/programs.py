"""Mail programs and services by the marks that they leave in a header."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.diagnosis.autopsy import texts
from gateway.mail.header import Field, unfold
from gateway.model.value import Value


class Program(Value):
    """The marks that identify a program."""

    label: str
    received: str = "$^"
    """In a Received field."""
    names: str = "$^"
    """In the name of a field that it adds."""
    values: str = "$^"
    """In a List-Id field."""


PROGRAMS = {
    "exchange": Program(
        "Exchange",
        r"Microsoft SMTP Server|mapi id|\bby \S+\.(?:outlook|office365|exchangelabs)\.com",
        r"x-ms-exchange-|x-microsoft-antispam|x-microsoft-exchange-|x-forefront-",
    ),
    "google": Program("Gmail", r"gsmtp|\bby \S+\.google\.com|\bby 2002:a", r"x-gm-message-state|x-google-smtp-source"),
    "google-groups": Program("Google Groups", names=r"x-google-group-id", values=r"googlegroups\.com"),
    "mailman": Program("Mailman", names=r"x-mailman-version|x-beenthere|x-mailman-rule"),
    "sendmail": Program("sendmail", r"\(8\.\d{1,2}\.\d{1,2}[/)]"),
    "postfix": Program("Postfix", r"\(Postfix\)"),
    "exim": Program("Exim", r"\(Exim \d"),
    "mimecast": Program("Mimecast", r"\bby \S+\.mimecast\.com", r"x-mimecast-|x-mc-unique"),
    "proofpoint": Program("Proofpoint", r"\.(?:pphosted|ppe-hosted)\.com", r"x-proofpoint-"),
    "ses": Program("Amazon SES", r"\bby \S+\.amazonses\.com", r"x-ses-outgoing"),
    "mailscanner": Program("MailScanner", r"\(MailScanner\)", r"x-(?:[a-z0-9-]+-)?mailscanner"),
    "hmailserver": Program("hMailServer", r"hMailServer"),
    "rspamd": Program("rspamd", names=r"x-rspamd-|x-spamd-result"),
    "wildduck": Program("WildDuck", r"\(WildDuck|ZoneMTA"),
    "gen_smtp": Program("gen_smtp", r"gen_smtp"),
    "dotnet": Program("a .NET mail library"),
    "python": Program("a Python program"),
    "mailbox": Program("a mailbox file"),
}
"""By key. Some programs leave no mark of their own, but are known by their changes."""
_RECEIVED = {key: re.compile(program.received, re.IGNORECASE) for key, program in PROGRAMS.items()}
_NAMES = {key: re.compile(program.names, re.IGNORECASE) for key, program in PROGRAMS.items()}
_VALUES = {key: re.compile(program.values, re.IGNORECASE) for key, program in PROGRAMS.items()}
_LONGEST = 4096


def programs_of(received: str) -> frozenset[str]:
    """The programs that a Received field names."""
    return frozenset(key for key, pattern in _RECEIVED.items() if pattern.search(received[:_LONGEST]))


def seen_in(header: Iterable[Field]) -> dict[str, str]:
    """Programs by the fields that they added, each with a ground in words."""
    found: dict[str, str] = {}
    for field in header:
        for key, pattern in _NAMES.items():
            if key not in found and field.lower and pattern.match(field.lower):
                found[key] = texts.CLAIMS["field"].format(field=field.name, program=PROGRAMS[key].label)
        if field.lower == "list-id":
            text = unfold(field.value)[:_LONGEST]
            for key, pattern in _VALUES.items():
                if key not in found and pattern.search(text):
                    found[key] = texts.CLAIMS["list"].format(text=text[:100])
    return found
