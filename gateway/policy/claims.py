"""The claims of a message's header and their plausibility: a list was here, this is a notification, our own other half
wrote it.

Anyone can write a header field. So a claim counts only with a sign that is harder to forge: a passing signature, an SPF
record, or this gateway's knowledge of the client. docs/policy.md lists the claims that stay cheap.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from gateway.mail.author import Author
from gateway.mail.domain import is_subdomain, organization_of
from gateway.mail.header import Field, fields, find_fields, unfold
from gateway.model.envelope import Envelope
from gateway.model.result import Authentication, DkimVerdict, SpfVerdict

_LIST_FIELDS = frozenset(
    {
        # RFC 2919, RFC 2369, and the older fields of list managers. List-Unsubscribe and List-Help are left out: every
        # bulk sender writes them on his own mail, so they do not show a list in between.
        *("list-id", "list-post", "list-owner", "list-archive", "list-subscribe"),
        *("mailing-list", "x-mailing-list", "x-beenthere", "x-mailman-version", "precedence"),
    }
)
_MOST_OCTETS = 2000
_MOST_NAMES = 16
_DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})+")
_LIST_ID = re.compile(rf"<({_DOMAIN.pattern})>$")
_REPORT_TYPE = re.compile(r';\s*report-type\s*=\s*"?([a-z-]+)', re.IGNORECASE)
_PERSONAL = frozenset({"disposition-notification"})
"""Reports that a person's mail program writes in that person's name (RFC 8098)."""
_DAEMON = re.compile(
    r"(?:[\w.+-]*(?:mailer|mail)[._-]?daemon|daemon|mdaemon|postmaster|mail(?:er|delivery|admin|system)|bounces?"
    r"|microsoftexchange[0-9a-f]+|(?:sys(?:tem)?)?admin(?:istrator)?|root|abuse|(?:no|donot|do-not)[._-]?reply"
    r"|(?:fbl|feedback|arf)[\w.-]*)",
    re.IGNORECASE,
)
"""Local parts that programs write notifications under."""
_MAIL_DAEMON = re.compile(r"[\w.+-]*mail(?:er)?[._-]?daemon|mdaemon", re.IGNORECASE)
"""Local parts that no reader takes for a person."""
_FAILURE = re.compile(
    r"failure notice|undeliver|non-?deliver|delivery (?:status|failure|report|has failed|problem)|returned mail"
    r"|(?:mail|message) (?:delivery|could not)|delivery delayed|delayed mail|returning message|nicht zustellbar"
    r"|unzustellbar",
    re.IGNORECASE,
)
_AUTOMATIC = frozenset({"x-autoreply", "x-auto-reply", "x-autorespond", "x-autoresponder", "x-mail-autoreply"})
"""Fields of automatic responders from before RFC 3834 defined Auto-Submitted."""
_LOCAL = re.compile(r'"?([^<>@\s",;:]+)"?@')


def find_list(header: Sequence[Field], results: Authentication, signature: str, known: Collection[str]) -> str:
    """The field by which a mailing list claims to be involved, if that is plausible; empty otherwise. It is plausible
    when the list is known here, or signs; and with a signature of the author's, when SPF passes for the list."""
    claims = [field for field in header if field.lower in _LIST_FIELDS]
    if not claims:
        return ""
    signers = [one.domain for one in results.dkim if one.result is DkimVerdict.PASS]
    if signature != "none" and results.spf.result is SpfVerdict.PASS:
        signers.append(results.spf.domain)
    houses = {organization_of(one) for one in signers if one}
    for field in claims:
        value = unfold(field.value[:_MOST_OCTETS])
        if field.lower == "precedence" and value.strip().lower() != "list":
            continue
        names = _DOMAIN.findall(value)[:_MOST_NAMES]
        if known or any(organization_of(name.lower()) in houses for name in names):
            return f"field {field.lower}"
    return ""


def is_signed_list(header: Sequence[Field], results: Authentication) -> bool:
    """The one List-Id (RFC 2919) names a list in a domain whose signature passes."""
    named, hidden = find_fields(header, "list-id")
    found = _LIST_ID.search(unfold(named[0].value[-_MOST_OCTETS:])) if len(named) == 1 and not hidden else None
    if found is None:
        return False
    house = organization_of(found[1].lower())
    return any(one.result is DkimVerdict.PASS and organization_of(one.domain) == house for one in results.dkim)


def find_agent(agents: Sequence[str], results: Authentication) -> str:
    """The one domain that Sender names, if it sent the message on behalf of another author and proves that itself: a
    signature of it passes, and SPF passes for its MAIL FROM. A client that forwards a meeting does the same, and its
    organizer stays in From (RFC 5322 section 3.6.2)."""
    if len(agents) != 1 or results.spf.result is not SpfVerdict.PASS:
        return ""
    house = organization_of(agents[0])
    if organization_of(results.spf.domain) != house or organization_of(results.dmarc.domain) == house:
        return ""
    signs = any(one.result is DkimVerdict.PASS and organization_of(one.domain) == house for one in results.dkim)
    return f"Sender at {agents[0]}, which signs it and sent it" if signs else ""


def find_notification(envelope: Envelope, header: Sequence[Field], author: Author) -> str:
    """The sign that this is a report or an automatic answer, with the null sender that both must have (RFC 3464, RFC
    3834); empty when it is neither."""
    if envelope.mail_from is not None:
        return ""
    daemon = _writes_as(_DAEMON, header, author)
    for field in header:
        value = unfold(field.value[:_MOST_OCTETS])
        word = value.partition(";")[0].strip().lower()
        if field.lower == "content-type" and word == "multipart/report":
            kind = _REPORT_TYPE.search(value)
            if daemon or (kind is not None and kind[1].lower() in _PERSONAL):
                return "multipart/report"
        elif field.lower == "auto-submitted" and word.partition(" ")[0] not in ("", "no"):
            # RFC 3834 section 5: any keyword but `no`.
            return "Auto-Submitted"
        elif field.lower in _AUTOMATIC and word not in ("", "no"):
            return field.lower
        elif field.lower == "precedence" and word.replace("-", "_") == "auto_reply":
            return "Precedence"
        elif field.lower == "subject" and daemon and _FAILURE.search(value):
            return "the subject of a bounce"
    return "a mail daemon's From" if _writes_as(_MAIL_DAEMON, header, author) else ""


def _writes_as(names: re.Pattern[str], header: Sequence[Field], author: Author) -> bool:
    """True when each address in From has a name of this kind, or when there is no address."""
    if not author.domains:
        return True
    text = " ".join(unfold(field.value[:_MOST_OCTETS]) for field in fields(header, "from"))
    found = _LOCAL.findall(text)
    return bool(found) and all(names.fullmatch(one) for one in found)


def find_own_half(
    header: Sequence[Field], envelope: Envelope, results: Authentication, own: Collection[str], notification: str
) -> str:
    """The reason why this is mail of our own tenant at a provider, despite lacking proof of our domain; empty when it
    is not.

    The SPF record of our own domain must list the client: a sender there could write our domain into MAIL FROM and
    pass. The message must also be of a kind that such a tenant sends without our signature: a notification, or mail of
    a service that names itself in Sender, in MAIL FROM and by its passing signature.
    """
    if not own or results.named.author_spf is not SpfVerdict.PASS:
        return ""
    if notification:
        return f"{notification}, from a client that the SPF record of {results.dmarc.domain} lists"
    passing = [one.domain for one in results.dkim if one.result is DkimVerdict.PASS]
    senders = _DOMAIN.findall(" ".join(unfold(one.value[:_MOST_OCTETS]) for one in fields(header, "sender")))
    if len(senders) != 1 or envelope.mail_from is None:
        return ""
    service, path = senders[0].lower(), envelope.mail_from.ascii_domain
    if service in passing and is_subdomain(path, organization_of(service)) and path != service:
        return f"the service {service}, from a client that the SPF record of {results.dmarc.domain} lists"
    return ""
