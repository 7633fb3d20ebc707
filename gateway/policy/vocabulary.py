"""The facts that rules may use, declared once: name, type, when it is known, what it means.

Every fact is total at its stage: empty, never absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import combinations

from gateway.model.decision import Stage
from gateway.model.ingress import ClientSource
from gateway.model.result import ArcVerdict, DmarcPolicy, DmarcVerdict, IprevVerdict, SpfVerdict
from gateway.policy.grounds import EVIDENCE, GROUNDS


class Kind(StrEnum):
    """A fact's type, as CEL calls it."""

    BOOL = "bool"
    INT = "int"
    STRING = "string"
    STRINGS = "list(string)"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact."""

    name: str
    kind: Kind
    stage: Stage
    """The first stage at which it is known."""
    help: str
    values: tuple[object, ...] = ()
    """Everything that it can be; empty when that has no end."""

    def known_at(self, stage: Stage) -> bool:
        return _ORDER[self.stage] <= _ORDER[stage]


_ORDER = {stage: number for number, stage in enumerate(Stage)}


def _flag(name: str, stage: Stage, help: str) -> Fact:
    return Fact(name, Kind.BOOL, stage, help, (False, True))


def _word(name: str, stage: Stage, help: str, *values: type[Enum] | str) -> Fact:
    words: list[object] = []
    for value in values:
        words += [value] if isinstance(value, str) else [str(one.value) for one in value]
    return Fact(name, Kind.STRING, stage, help, tuple(words))


def _words(name: str, stage: Stage, help: str, *values: str) -> Fact:
    some = tuple(list(one) for size in range(len(values) + 1) for one in combinations(values, size))
    return Fact(name, Kind.STRINGS, stage, help, some if values else ())


_CONNECT, _MAIL, _RCPT, _DATA = Stage

FACTS: tuple[Fact, ...] = (
    _flag("ingress.edge", _CONNECT, "the message crosses the border of our network here: SPF has data"),
    Fact("ingress.listener", Kind.STRING, _CONNECT, "name of the listener"),
    Fact("ingress.peer", Kind.STRING, _CONNECT, "address of the TCP peer"),
    Fact("ingress.helo", Kind.STRING, _MAIL, "what the client said in HELO or EHLO"),
    _flag("ingress.tls", _MAIL, "the session is under TLS"),
    Fact("ingress.tls_subject", Kind.STRING, _MAIL, "subject of the client's verified certificate; empty without one"),
    Fact("ingress.client", Kind.STRING, _DATA, "address of the true client; empty when unknown"),
    _flag("ingress.client_known", _DATA, "the true client's address is known"),
    _word("ingress.source", _DATA, "how the client's address was proven; empty inside", ClientSource, ""),
    Fact("ingress.rdns", Kind.STRING, _DATA, "the client's name in reverse DNS, confirmed forward; empty when unknown"),
    _word("iprev.result", _DATA, "the client's name in DNS both ways; none without policy.fcrdns", IprevVerdict),
    Fact("dnsbl.listed", Kind.STRINGS, _DATA, "the [[dnsbl]] zones that list the client; empty for role recipients"),
    Fact("dnsbl.errors", Kind.STRINGS, _DATA, "the [[dnsbl]] zones that gave no usable answer"),
    _flag("envelope.null_sender", _MAIL, "MAIL FROM is <>"),
    Fact("envelope.mail_from", Kind.STRING, _MAIL, "MAIL FROM as received; empty for the null sender"),
    Fact("envelope.mail_from_domain", Kind.STRING, _MAIL, "its domain in A-labels; empty for the null sender"),
    Fact("rcpt.count", Kind.INT, _DATA, "how many recipients"),
    _flag("rcpt.role", _DATA, "every recipient is postmaster or abuse of a domain of ours"),
    Fact("author.fields", Kind.INT, _DATA, "number of From fields"),
    Fact("author.domain", Kind.STRING, _DATA, "the Author Domain that DMARC judged; empty when there is none"),
    Fact("author.domains", Kind.STRINGS, _DATA, "every domain in From, at most five"),
    _flag("author.complete", _DATA, "author.domains holds every domain of From"),
    _flag("author.ours", _DATA, "a domain in From is ours or below one of ours"),
    _flag("author.protected", _DATA, "a domain in From is protected or below a protected one"),
    _flag(
        "author.vouched",
        _DATA,
        "the owner of each domain of ours or protected in From vouches: DMARC, or aligned SPF or DKIM",
    ),
    _word("spf.result", _DATA, "SPF for MAIL FROM, or for HELO with the null sender", SpfVerdict),
    Fact("spf.domain", Kind.STRING, _DATA, "the domain that SPF judged"),
    _flag("spf.aligned", _DATA, "SPF passes for the Author Domain"),
    _flag("spf.sends_no_mail", _DATA, 'the SPF record is exactly "v=spf1 -all"'),
    Fact("dkim.signatures", Kind.INT, _DATA, "how many DKIM signatures were judged"),
    Fact("dkim.pass_domains", Kind.STRINGS, _DATA, "d= of the signatures that pass"),
    _word("dkim.author_signature", _DATA, "signatures of the author's organization", "none", "pass", "broken"),
    _word("dmarc.result", _DATA, "DMARC for the Author Domain", DmarcVerdict),
    _word("dmarc.policy", _DATA, "the policy that applies, after sp, np and t; empty without one", DmarcPolicy, ""),
    _word("dmarc.published", _DATA, "p= as published; empty without a record", DmarcPolicy, ""),
    _flag("dmarc.testing", _DATA, "the record says t=y"),
    _words("dmarc.grounds", _DATA, "what speaks for rejecting beyond the record", *GROUNDS),
    _flag("dmarc.could_reject", _DATA, "DNS withheld an answer that could make this a reject"),
    _word("arc.result", _DATA, "the ARC chain", ArcVerdict),
    Fact("arc.sets", Kind.INT, _DATA, "how many ARC sets"),
    _flag("arc.trusted", _DATA, "a sealer that policy.trusted_sealers names says that DMARC passed with it"),
    Fact(
        "arc.trusted_chain", Kind.STRING, _DATA, "that chain as a report shows it (RFC 8617 section 7.2.2); else empty"
    ),
    _flag("list.evidence", _DATA, "a mailing list says that it was here"),
    _words("indirect.evidence", _DATA, "what speaks for an indirect way", *EVIDENCE),
    _flag("notification", _DATA, "null sender, and multipart/report or Auto-Submitted"),
    Fact("message.size", Kind.INT, _DATA, "octets of the content"),
    Fact("message.hops", Kind.INT, _DATA, "number of Received fields"),
    _word("firewall.mode", _CONNECT, "the setting policy.firewall", "published", "reject", "quarantine"),
)


def facts_table() -> str:
    """The facts as a Markdown table, for the documentation."""
    lines = ["| fact | type | known from | meaning |", "|---|---|---|---|"]
    lines += [f"| `{fact.name}` | {fact.kind} | {fact.stage} | {fact.help} |" for fact in FACTS]
    return "\n".join(lines) + "\n"
