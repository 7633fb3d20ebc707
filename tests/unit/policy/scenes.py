"""Messages as the rules see them: the results of the checks, combined as in `plan`."""

from __future__ import annotations

from pathlib import Path

from gateway.mail.author import find_author
from gateway.mail.header import parse_header
from gateway.model.decision import Decision
from gateway.model.envelope import Envelope, Mailbox, Recipient, ip_text
from gateway.model.history import Circumstances, Standing
from gateway.model.ingress import ClientSource, EdgeIngress, Ingress, InternalIngress
from gateway.model.message import Evidence
from gateway.model.result import (
    ArcResult,
    ArcVerdict,
    Authentication,
    DkimResult,
    DkimVerdict,
    DmarcPolicy,
    DmarcResult,
    DmarcVerdict,
    NamedDomains,
    SpfIdentity,
    SpfResult,
    SpfVerdict,
)
from gateway.model.value import Value, replace
from gateway.policy.evaluate import judge
from gateway.policy.facts import FactValue, data_facts
from gateway.policy.load import load
from gateway.policy.rules import RuleSet
from gateway.policy.weighing import Case, FactSettings, weigh

CLIENT = ip_text("203.0.113.7")
OUR_SETTINGS = FactSettings(own=frozenset({"own.example", "second.example"}), protected=frozenset({"bank.example"}))

EDGE = EdgeIngress(CLIENT, ClientSource.PEER, "out.stranger.example", "mx", peer=CLIENT, rdns="out.stranger.example")
UNKNOWN = replace(EDGE, client=None, source=ClientSource.RECEIVED, rdns="", helo="", reason="line unreadable")
INSIDE = InternalIngress(CLIENT, "inner.own.example", "mx", peer=CLIENT, trusted_by="own hop inner")


def mailbox(text: str) -> Mailbox:
    local, _, domain = text.rpartition("@") if "@" in text else (text, "", "")
    return Mailbox(local, domain, domain.lower())


def signature(domain: str, result: DkimVerdict = DkimVerdict.PASS) -> DkimResult:
    return DkimResult(result, domain, "s1", "rsa-sha256")


def spf(result: SpfVerdict, domain: str = "stranger.example", *, sends_no_mail: bool = False) -> SpfResult:
    return SpfResult(result, domain, SpfIdentity.MAILFROM, sends_no_mail=sends_no_mail)


NO_SPF = spf(SpfVerdict.NONE)
NO_ARC = ArcResult(ArcVerdict.NONE)


class Scene(Value):
    """One message. The default is an unsigned stranger's, from a domain without a DMARC record."""

    header: str = "From: someone@stranger.example"
    ingress: Ingress = EDGE
    mail_from: str = "someone@stranger.example"
    rcpts: tuple[str, ...] = ("alice@own.example",)
    spf: SpfResult = NO_SPF
    dkim: tuple[DkimResult, ...] = ()
    arc: ArcResult = NO_ARC
    dmarc: DmarcVerdict = DmarcVerdict.NONE
    policy: DmarcPolicy | None = None
    published: DmarcPolicy | None = None
    """As `policy` when not given."""
    spf_aligned: bool = False
    dkim_aligned: tuple[bool, ...] = ()
    testing: bool = False
    organization: str = ""
    settings: FactSettings = OUR_SETTINGS
    standing: Standing = Standing.UNKNOWN
    client_known: tuple[str, ...] = ()
    named: NamedDomains = NamedDomains()
    dns_waited: bool = False

    def facts(self) -> dict[str, FactValue]:
        block = "".join(line + "\r\n" for line in self.header.split("\n")).encode("utf-8", "surrogateescape")
        header = parse_header(block)
        author = find_author(header)
        domain = author.domains[0] if author.domains else ""
        dmarc = DmarcResult(
            self.dmarc,
            domain,
            organizational_domain=self.organization,
            policy=self.policy,
            published=self.published or self.policy,
            spf_aligned=self.spf_aligned,
            dkim_aligned=self.dkim_aligned,
            testing=self.testing,
        )
        authentication = Authentication(self.spf, self.spf, self.dkim, self.arc, dmarc, named=self.named)
        envelope = Envelope(
            mailbox(self.mail_from) if self.mail_from else None,
            tuple(Recipient(mailbox(rcpt)) for rcpt in self.rcpts),
        )
        remembered = Circumstances(self.standing, self.dns_waited, client_known=self.client_known)
        case = Case.of(self.ingress, envelope, Evidence(block, (), 1000), 0.0, remembered, header)
        return data_facts(case, authentication, self.settings, weigh(case, authentication, self.settings))

    def judged(self, rules: RuleSet) -> Decision:
        return judge(rules, self.facts())


def shipped(name: str) -> RuleSet:
    """A rule set of this checkout."""
    directory = Path(__file__).resolve().parents[3] / "policies"
    return load(name, {file.name: file.read_text("utf-8") for file in directory.glob("*.toml")})
